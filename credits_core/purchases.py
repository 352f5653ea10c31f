"""Purchases: the list and one of them. Buying is checkout.py, crediting fulfillment.py; rules: *_purchases.sql."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from credits_core.db.port import Database, Identity

Answer = dict[str, Any]


def purchases(
    db: Database,
    identity: Identity,
    *,
    account_id: int | None = None,
    status: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Answer:
    """Purchases, newest first: items [purchase_id, status, credits_micros, bonus_micros, price_cents, ...], next_cursor."""
    answer: Answer = db.call(
        "purchases", identity, account_id=account_id, status=status, limit=limit, cursor=cursor
    )
    return answer


def purchase(db: Database, identity: Identity, purchase_id: UUID | str) -> Answer:
    """One purchase of the caller's (or anybody's, for staff). NotFound."""
    answer: Answer = db.call("purchase", identity, purchase_id=purchase_id)
    return answer


def purchase_status(db: Database, identity: Identity, session_id: str) -> Answer:
    """The purchase of a Stripe session of the caller's. NotFound."""
    answer: Answer = db.call("purchase_status", identity, session_id=session_id)
    return answer
