"""Spending: quote, charge, charge many. Rules: supabase/migrations/*_rating.sql, *_spending.sql."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from credits_core.db.port import Database, Identity

Answer = dict[str, Any]


def check(
    db: Database,
    identity: Identity,
    operation: str,
    quantity: Decimal | int,
    *,
    account_id: int | None = None,
) -> Answer:
    """A quote: allowed, reason, cost_micros, available_micros, pays_from, covers_quantity. Changes nothing."""
    answer: Answer = db.call(
        "check_use", identity, operation=operation, quantity=quantity, account_id=account_id
    )
    return answer


def use(
    db: Database,
    identity: Identity,
    operation: str,
    quantity: Decimal | int,
    idempotency_key: str,
    *,
    account_id: int | None = None,
    metadata: dict[str, Any] | None = None,
    occurred_at: datetime | None = None,
) -> Answer:
    """Charge an operation once for its key: transaction_id, charged_micros, available_micros, replayed.

    InsufficientCredits (nothing is charged), NotFound for the operation, IdempotencyKeyReused, InvalidRequest."""
    answer: Answer = db.call(
        "use",
        identity,
        operation=operation,
        quantity=quantity,
        idempotency_key=idempotency_key,
        account_id=account_id,
        metadata=metadata,
        occurred_at=occurred_at,
    )
    return answer


def use_batch(db: Database, identity: Identity, events: Sequence[dict[str, Any]]) -> Answer:
    """Charge up to 10,000 events in order: results [{status, transaction_id, charged_micros, available_micros, error}]."""
    answer: Answer = db.call("use_batch", identity, events=events)
    return answer
