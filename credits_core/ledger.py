"""The ledger: balances, transactions, corrections, the check. Rules: supabase/migrations/*_ledger*.sql, *_corrections.sql."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from credits_core.db.port import Database, Identity

Answer = dict[str, Any]

# What a transaction can be, as the table of transactions has it, in the order in which people look for them.
KINDS = (
    "use", "purchase", "bonus", "grant", "adjustment", "reversal", "refund", "dispute", "expiry", "extension", "debt_recovery",
)  # fmt: skip


def balance(db: Database, identity: Identity, *, account_id: int | None = None) -> Answer:
    """available, posted, held, debt, overdraft, total_purchased, total_used (each `*_micros`), unlimited, as_of."""
    answer: Answer = db.call("balance", identity, account_id=account_id)
    return answer


def balance_as_of(db: Database, identity: Identity, at: datetime, *, account_id: int | None = None) -> Answer:
    """posted_micros at a past moment; grants expired by then count as gone. InvalidRequest for the future."""
    answer: Answer = db.call("balance_as_of", identity, at=at, account_id=account_id)
    return answer


def transactions(
    db: Database,
    identity: Identity,
    *,
    account_id: int | None = None,
    kind: str | None = None,
    from_: datetime | None = None,
    to: datetime | None = None,
    search: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Answer:
    """Transactions, newest first: items, next_cursor. kind: one kind, or `purchases` or `usage`."""
    answer: Answer = db.call(
        "transactions",
        identity,
        account_id=account_id,
        kind=kind,
        **{"from": from_},
        to=to,
        search=search,
        limit=limit,
        cursor=cursor,
    )
    return answer


def explain(db: Database, identity: Identity, transaction_id: str) -> Answer:
    """Everything behind one transaction: price version and components, what paid, grants drawn, balance before and after."""
    answer: Answer = db.call("explain", identity, transaction_id=transaction_id)
    return answer


def adjust(
    db: Database,
    identity: Identity,
    account_id: int,
    amount_micros: int,
    reason: str,
    idempotency_key: str,
    *,
    expires_at: datetime | None = None,
) -> Answer:
    """Add (positive) or remove (negative) credits; admins and programs. status `booked`, transaction_id, available_micros,
    posted_micros; from the limit on `waiting` with an approval_id and approval_reason, and nothing is booked. What one
    administrator adjusts, reverses and extends on one account within 24 hours adds up.

    InsufficientCredits when more is removed than is available, IdempotencyKeyReused, InvalidRequest without a reason."""
    answer: Answer = db.call(
        "adjust",
        identity,
        account_id=account_id,
        amount_micros=amount_micros,
        reason=reason,
        idempotency_key=idempotency_key,
        expires_at=expires_at,
    )
    return answer


def adjust_preview(db: Database, identity: Identity, account_id: int, amount_micros: int) -> Answer:
    """What an adjustment would do: available_before_micros, available_after_micros, allowed, reason, needs_approval,
    approval_reason, limit_micros (from where on a second person decides), moved_micros (what the caller moved on this account
    within 24 hours, which counts too), is_own (the caller's own account: always a second person)."""
    answer: Answer = db.call("adjust_preview", identity, account_id=account_id, amount_micros=amount_micros)
    return answer


def reverse(
    db: Database, identity: Identity, transaction_id: str, reason: str, idempotency_key: str
) -> Answer:
    """Undo a use or an adjustment, back to the very grants, once; admins and programs. Conflict when it was reversed before.

    status `booked`, transaction_id, available_micros; from the limit of adjustments on `waiting` with an approval_id."""
    answer: Answer = db.call(
        "reverse", identity, transaction_id=transaction_id, reason=reason, idempotency_key=idempotency_key
    )
    return answer


def extend_grant(
    db: Database, identity: Identity, grant_id: int, expires_at: datetime, reason: str, idempotency_key: str
) -> Answer:
    """Give what is left of a grant, or what expired of it, a later end, as a new grant; admins and programs.

    status `booked`, transaction_id, available_micros, grant_id (the new one); from the limit of adjustments on `waiting` with an
    approval_id. Conflict when nothing is left."""
    answer: Answer = db.call(
        "extend_grant",
        identity,
        grant_id=grant_id,
        expires_at=expires_at,
        reason=reason,
        idempotency_key=idempotency_key,
    )
    return answer


def verify(db: Database, identity: Identity) -> Answer:
    """Recompute every balance: differences [{account_id, what, expected_micros, found_micros}], accounts, transactions."""
    answer: Answer = db.call("verify", identity)
    return answer


def expire_grants(db: Database, identity: Identity, *, limit: int = 500) -> Answer:
    """Book grants that have expired: accounts (how many were looked at)."""
    answer: Answer = db.call("expire_grants", identity, limit=limit)
    return answer


def rollup_usage(db: Database, identity: Identity) -> Answer:
    """Add new usage to the quarter-hour rollup: rows."""
    answer: Answer = db.call("rollup_usage", identity)
    return answer
