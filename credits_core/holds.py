"""Holds: credits reserved for work that has begun. Rules: supabase/migrations/*_holds.sql."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from credits_core.db.port import Database, Identity

Answer = dict[str, Any]


def place_hold(
    db: Database,
    identity: Identity,
    operation: str,
    quantity: Decimal | int,
    idempotency_key: str,
    *,
    expires_in_seconds: int = 3600,
    account_id: int | None = None,
) -> Answer:
    """Reserve what an operation will cost: hold_id, held_micros, expires_at. InsufficientCredits."""
    answer: Answer = db.call(
        "place_hold",
        identity,
        operation=operation,
        quantity=quantity,
        idempotency_key=idempotency_key,
        expires_in_seconds=expires_in_seconds,
        account_id=account_id,
    )
    return answer


def extend_hold(
    db: Database,
    identity: Identity,
    hold_id: int,
    *,
    quantity: Decimal | int | None = None,
    expires_in_seconds: int = 3600,
) -> Answer:
    """Make a hold cover more in all, or last longer. Conflict when it is closed."""
    answer: Answer = db.call(
        "extend_hold", identity, hold_id=hold_id, quantity=quantity, expires_in_seconds=expires_in_seconds
    )
    return answer


def capture_hold(
    db: Database, identity: Identity, hold_id: int, *, quantity: Decimal | int | None = None
) -> Answer:
    """Charge what was really used: charged_micros, released_micros, debt_micros. Conflict after another capture or a release."""
    answer: Answer = db.call("capture_hold", identity, hold_id=hold_id, quantity=quantity)
    return answer


def release_hold(db: Database, identity: Identity, hold_id: int) -> Answer:
    """Give everything back to the same grants: released_micros. Conflict when it was captured."""
    answer: Answer = db.call("release_hold", identity, hold_id=hold_id)
    return answer


def hold(db: Database, identity: Identity, hold_id: int) -> Answer:
    """One hold: status, held_micros, expires_at."""
    answer: Answer = db.call("hold", identity, hold_id=hold_id)
    return answer


def expire_holds(db: Database, identity: Identity, *, limit: int = 500) -> Answer:
    """Free holds nobody closed in time: expired."""
    answer: Answer = db.call("expire_holds", identity, limit=limit)
    return answer
