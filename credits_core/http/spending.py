"""Spending: check, use (one or many), calls, holds. Each write is one SQL call, made once for its idempotency key."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.responses import JSONResponse

from credits_core import calls, catalog, holds, usage
from credits_core.errors import InvalidRequest
from credits_core.http import models
from credits_core.http.caller import Called
from credits_core.http.decimal_json import DecimalRoute
from credits_core.http.fields import KeyHeader, idempotency_key, with_key
from credits_core.http.shapes import answer

router = APIRouter(prefix="/credits", tags=["Spending"], route_class=DecimalRoute)
Id = Annotated[int, Path(ge=1, le=2**63 - 1)]


@router.post("/check", response_model=models.Checked)
def check(caller: Called, body: models.Check) -> JSONResponse:
    """What this would cost and whether it is covered. Changes nothing."""
    account_id = caller.account_id(body.account)
    return answer(
        usage.check(caller.db, caller.identity, body.operation, body.quantity, account_id=account_id)
    )


@router.post("/use", response_model=models.Used)
@router.post("/deduct", response_model=models.Used, summary="Deduct (the same as use)")
def use(caller: Called, body: models.Use, key: KeyHeader = None) -> JSONResponse:
    """Charge an operation. 402 when the balance does not cover it; then nothing is charged."""
    key = idempotency_key(key, body.idempotency_key)
    charged = usage.use(
        caller.db,
        caller.identity,
        body.operation,
        body.quantity,
        key,
        account_id=caller.account_id(body.account),
        metadata=body.metadata,
        occurred_at=body.occurred_at,
    )
    return answer(with_key(charged, key))


@router.post("/use/batch", response_model=models.UsedBatch)
def use_batch(caller: Called, body: models.UseBatch, key: KeyHeader = None) -> JSONResponse:
    """Charge up to 10,000 events in order, each on its own: one that is refused leaves the others as they are."""
    key = idempotency_key(key, body.idempotency_key)
    account_ids = {
        named: caller.account_id(named) for named in {body.account, *(e.account for e in body.events)}
    }
    events = [
        _event(event, f"{key}:{place}", account_ids[event.account or body.account])
        for place, event in enumerate(body.events)
    ]
    charged = usage.use_batch(caller.db, caller.identity, events)
    for event, result in zip(events, charged["results"], strict=True):
        result["idempotency_key"] = event["idempotency_key"]
    return answer(with_key(charged, key))


def _event(event: models.Event, key: str, account_id: int | None) -> dict[str, Any]:
    fields = {
        "operation": event.operation,
        "quantity": event.quantity,
        "idempotency_key": event.idempotency_key or key,
        "account_id": account_id,
        "metadata": event.metadata,
        "occurred_at": event.occurred_at,
    }
    return {name: value for name, value in fields.items() if value is not None}


@router.post("/calls", response_model=models.StartedCall)
def start_call(caller: Called, body: models.StartCall, key: KeyHeader = None) -> JSONResponse:
    """Start a call, or record one that is over: with `ended_at` or `duration_seconds` it is charged at once.

    A running call needs a heartbeat now and then; without one for five minutes it counts as abandoned.
    """
    key = idempotency_key(key, body.idempotency_key)
    started = calls.start_call(
        caller.db,
        caller.identity,
        body.operation or _call_operation(caller),
        key,
        started_at=body.started_at,
        ended_at=_ended_at(body),
        to=body.to,
        from_=body.from_,
        metadata=body.metadata,
        account_id=caller.account_id(body.account),
    )
    return answer(with_key({"max_duration_seconds": None, **started}, key))


def _ended_at(body: models.StartCall) -> datetime | None:
    """The end of a call by its time or its duration. A duration is often rounded: they agree within a second."""
    if body.duration_seconds is None:
        return body.ended_at
    if body.started_at is None:
        raise InvalidRequest("Send started_at together with duration_seconds.")
    ended_at = body.started_at + timedelta(microseconds=int(body.duration_seconds * 1_000_000))
    if body.ended_at is not None and abs(body.ended_at - ended_at) >= timedelta(seconds=1):
        raise InvalidRequest("duration_seconds and ended_at disagree; check them, or send one of them.")
    return body.ended_at or ended_at


def _call_operation(caller: Called) -> str:
    """The operation of a call that names none: the one measured in seconds, where there is exactly one."""
    prices = catalog.pricing(caller.db, caller.identity) or {"operations": []}
    timed = [item["operation"] for item in prices["operations"] if item["measure"] == "seconds"]
    if len(timed) != 1:
        raise InvalidRequest("Name the operation of the call; GET /api/credits/pricing lists the codes.")
    return str(timed[0])


@router.post("/calls/{call_id}/heartbeat", response_model=models.CallState)
def heartbeat(caller: Called, call_id: Id, body: models.Moment | None = None) -> JSONResponse:
    """Say that a call goes on; the answer says for how long the credits last, and when to hang up."""
    return answer(calls.heartbeat(caller.db, caller.identity, call_id, at=body.at if body else None))


@router.post("/calls/{call_id}/end", response_model=models.CallState)
def end_call(caller: Called, call_id: Id, body: models.Moment | None = None) -> JSONResponse:
    """End a call and charge it. Ending it again gives the same answer."""
    at, reason = (body.at, body.reason) if body else (None, None)
    return answer(calls.end_call(caller.db, caller.identity, call_id, ended_at=at, reason=reason))


@router.post("/holds", response_model=models.Held)
def place_hold(caller: Called, body: models.Hold, key: KeyHeader = None) -> JSONResponse:
    """Reserve what an operation will cost; capture what was used, or release it. It expires on its own."""
    key = idempotency_key(key, body.idempotency_key)
    held = holds.place_hold(
        caller.db,
        caller.identity,
        body.operation,
        body.quantity,
        key,
        expires_in_seconds=body.expires_in_seconds,
        account_id=caller.account_id(body.account),
    )
    return answer(with_key(held, key))


@router.post("/holds/{hold_id}/capture", response_model=models.ClosedHold)
def capture_hold(caller: Called, hold_id: Id, body: models.Capture | None = None) -> JSONResponse:
    """Charge what was really used (without `quantity`: all that was reserved) and free the rest.

    Repeating it gives the same answer; another quantity is a conflict.
    """
    quantity = body.quantity if body else None
    return answer(holds.capture_hold(caller.db, caller.identity, hold_id, quantity=quantity))


@router.post("/holds/{hold_id}/release", response_model=models.ClosedHold)
def release_hold(caller: Called, hold_id: Id) -> JSONResponse:
    """Free a hold without a charge. Repeating it gives the same answer."""
    return answer(holds.release_hold(caller.db, caller.identity, hold_id))
