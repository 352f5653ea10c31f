"""Purchases: the list and one of them. Buying is checkout.py, crediting fulfillment.py; rules: *_purchases.sql."""

from __future__ import annotations

from datetime import date, datetime
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
    from_: datetime | None = None,
    to: datetime | None = None,
) -> Answer:
    """Purchases, newest first, started from `from_` to before `to`: items [purchase_id, status, credits_micros, bonus_micros,
    price_cents (what was to be paid, tax apart), list_price_cents, discount_cents, tax_cents, amount_total_cents, receipt_url,
    invoice_url, terms_accepted_at, ...], next_cursor."""
    answer: Answer = db.call(
        "purchases",
        identity,
        account_id=account_id,
        status=status,
        limit=limit,
        cursor=cursor,
        **{"from": from_},
        to=to,
    )
    return answer


def sales(
    db: Database,
    identity: Identity,
    *,
    livemode: bool,
    first: date | None = None,
    last: date | None = None,
    time_zone: str = "UTC",
    limit: int = 50,
    cursor: str | None = None,
) -> Answer:
    """Credited purchases of everybody from day `first` to day `last` of a time zone, newest first, like `purchases`. For staff."""
    answer: Answer = db.call(
        "sales",
        identity,
        livemode=livemode,
        **{"from": first.isoformat() if first else None, "to": last.isoformat() if last else None},
        time_zone=time_zone,
        limit=limit,
        cursor=cursor,
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
