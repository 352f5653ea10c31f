"""Calls: the log, and running calls that hold credits slice by slice. Rules: supabase/migrations/*_calls.sql."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from credits_core.db.port import Database, Identity

Answer = dict[str, Any]


def start_call(
    db: Database,
    identity: Identity,
    operation: str,
    idempotency_key: str,
    *,
    started_at: datetime | None = None,
    ended_at: datetime | None = None,
    to: str | None = None,
    from_: str | None = None,
    reason: str | None = None,
    metadata: dict[str, Any] | None = None,
    account_id: int | None = None,
) -> Answer:
    """Start a call, or with `ended_at` record one and charge it at once. InsufficientCredits when not covered.

    Answers call_id, status (ok, low, ending, end, ended), max_duration_seconds, hold_id, charged_micros."""
    answer: Answer = db.call(
        "start_call",
        identity,
        operation=operation,
        idempotency_key=idempotency_key,
        started_at=started_at,
        ended_at=ended_at,
        to=to,
        **{"from": from_},
        reason=reason,
        metadata=metadata,
        account_id=account_id,
    )
    return answer


def heartbeat(db: Database, identity: Identity, call_id: int, *, at: datetime | None = None) -> Answer:
    """Say that a call goes on: status, remaining_seconds, cost_so_far_micros. Late and repeated ones are harmless."""
    answer: Answer = db.call("heartbeat", identity, call_id=call_id, at=at)
    return answer


def end_call(
    db: Database,
    identity: Identity,
    call_id: int,
    *,
    ended_at: datetime | None = None,
    reason: str | None = None,
) -> Answer:
    """End a call and charge its duration; again: the same answer."""
    answer: Answer = db.call("end_call", identity, call_id=call_id, ended_at=ended_at, reason=reason)
    return answer


def call(db: Database, identity: Identity, call_id: int) -> Answer:
    """One call as it is now, with what it has cost so far."""
    answer: Answer = db.call("call", identity, call_id=call_id)
    return answer


def live_calls(db: Database, identity: Identity, *, account_id: int | None = None) -> Answer:
    """What runs now, up to this moment: available_micros, held_micros, running, and items [as `call`, with name, elapsed_seconds,
    remaining_seconds, level (ok, low, ending, end), cost_so_far_micros, held_micros, components of the rate, and in `pays` the
    grants that pay]. Only looks: heartbeats are for whoever carries the call."""
    answer: Answer = db.call("live_calls", identity, account_id=account_id)
    return answer


def call_by_key(
    db: Database, identity: Identity, idempotency_key: str, *, account_id: int | None = None
) -> Answer | None:
    """The call that a key started, as it is now, and whether it was heard of since (`connected`); None for a new key."""
    answer: Answer | None = db.call(
        "call_by_key", identity, idempotency_key=idempotency_key, account_id=account_id
    )
    return answer


def report_call(
    db: Database,
    identity: Identity,
    operation: str,
    idempotency_key: str,
    *,
    account_id: int,
    started_at: datetime | None = None,
    ended_at: datetime | None = None,
    to: str | None = None,
    from_: str | None = None,
    reason: str | None = None,
    metadata: dict[str, Any] | None = None,
) -> Answer | None:
    """What another system says of a call after its end; charged whatever the balance (the rest is debt), once.

    Ends a running call, corrects one taken for abandoned, records an unknown one. Without `started_at` a call that was
    never heard of did not connect: nothing is charged; None when it is unknown, too. For programs.
    """
    answer: Answer | None = db.call(
        "report_call",
        identity,
        operation=operation,
        idempotency_key=idempotency_key,
        started_at=started_at,
        ended_at=ended_at,
        to=to,
        **{"from": from_},
        reason=reason,
        metadata=metadata,
        account_id=account_id,
    )
    return answer


def calls(
    db: Database,
    identity: Identity,
    *,
    account_id: int | None = None,
    status: str | None = None,
    number: str | None = None,
    from_: datetime | None = None,
    to: datetime | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Answer:
    """The call log, newest first: items, next_cursor. `number` finds a part of either number."""
    answer: Answer = db.call(
        "calls",
        identity,
        account_id=account_id,
        status=status,
        number=number,
        **{"from": from_},
        to=to,
        limit=limit,
        cursor=cursor,
    )
    return answer


def settle_abandoned_calls(db: Database, identity: Identity, *, limit: int = 500) -> Answer:
    """End calls nobody has heard of for minutes, at their last heartbeat: settled."""
    answer: Answer = db.call("settle_abandoned_calls", identity, limit=limit)
    return answer
