"""Requests that a second person decides about: adjustments, refunds, reviews and price changes above a limit.

Rules: supabase/migrations/*_approvals.sql. A request: approval_id, kind, account_id, amount in `unit` (micros, cents or always),
currency, payload (what will be done), preview (what it meant when asked), reason, status (waiting, approved, done, rejected,
expired, failed; a refund's own status for refunds), requested_by_name, expires_at, decided_by_name, decision_reason, is_own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from credits_core.db.port import Database, Identity

Answer = dict[str, Any]


def approvals(
    db: Database, identity: Identity, *, view: str = "waiting", limit: int = 50, cursor: str | None = None
) -> Answer:
    """Requests, newest first: items, next_cursor; for staff. view: waiting, for_me, mine or decided."""
    answer: Answer = db.call("approvals", identity, view=view, limit=limit, cursor=cursor)
    return answer


def approvals_count(db: Database, identity: Identity) -> Answer:
    """How many requests wait: waiting, for_me (that the caller may decide), payments in_review, held_referrals."""
    answer: Answer = db.call("approvals_count", identity)
    return answer


def decide_approval(
    db: Database, identity: Identity, approval_id: UUID | str, approve: bool, *, reason: str | None = None
) -> Answer:
    """Approve (it is carried out at once) or reject, with a reason. NotAllowed for one's own, Conflict when it was decided,
    has expired, or no longer fits."""
    answer: Answer = db.call(
        "decide_approval", identity, approval_id=approval_id, approve=approve, reason=reason
    )
    return answer


def approval_limits(db: Database, identity: Identity) -> Answer:
    """From which amount on a second person decides, by kind: items [kind, unit, amount, valid_days]."""
    answer: Answer = db.call("approval_limits", identity)
    return answer


def set_approval_limit(
    db: Database,
    identity: Identity,
    kind: str,
    amount: int,
    reason: str,
    *,
    valid_days: int | None = None,
) -> Answer:
    """Change a limit (super admins): answers all of them."""
    answer: Answer = db.call(
        "set_approval_limit", identity, kind=kind, amount=amount, reason=reason, valid_days=valid_days
    )
    return answer


def request_price_change(
    db: Database, identity: Identity, change: Mapping[str, Any], reason: str, idempotency_key: str
) -> Answer:
    """Ask for a new price, with the arguments of set_price: the request. Refused at once when set_price would refuse it."""
    answer: Answer = db.call(
        "request_price_change",
        identity,
        change=dict(change),
        reason=reason,
        idempotency_key=idempotency_key,
    )
    return answer
