"""Spending: check, use (one or many), calls. Each write is one SQL call, made once for its idempotency key."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.responses import JSONResponse

from credits_core.http import models
from credits_core.http.caller import Called
from credits_core.http.decimal_json import DecimalRoute
from credits_core.http.fields import KeyHeader, idempotency_key, with_key
from credits_core.http.shapes import answer

router = APIRouter(prefix="/credits", tags=["Spending"], route_class=DecimalRoute)
CallId = Annotated[int, Path(ge=1, le=2**63 - 1)]


@router.post("/check", response_model=models.Checked)
def check(caller: Called, body: models.Check) -> JSONResponse:
    """What this would cost and whether it is covered. Changes nothing."""
    account_id = caller.account_id(body.account)
    return answer(
        caller.call("check_use", operation=body.operation, quantity=body.quantity, account_id=account_id)
    )


@router.post("/use", response_model=models.Used)
@router.post("/deduct", response_model=models.Used, summary="Deduct (the same as use)")
def use(caller: Called, body: models.Use, key: KeyHeader = None) -> JSONResponse:
    """Charge an operation. 402 when the balance does not cover it; then nothing is charged."""
    key = idempotency_key(key, body.idempotency_key)
    charged = caller.call(
        "use",
        operation=body.operation,
        quantity=body.quantity,
        idempotency_key=key,
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
    charged = caller.call("use_batch", events=events)
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


@router.post("/calls", response_model=models.Called)
def start_call(caller: Called, body: models.StartCall, key: KeyHeader = None) -> JSONResponse:
    """Start a call, or record one that is over: with `ended_at` it is charged at once."""
    key = idempotency_key(key, body.idempotency_key)
    started = caller.call(
        "start_call",
        operation=body.operation,
        to=body.to,
        **{"from": body.from_},
        started_at=body.started_at,
        ended_at=body.ended_at,
        idempotency_key=key,
        account_id=caller.account_id(body.account),
        metadata=body.metadata,
    )
    return answer(with_key(started, key))


@router.post("/calls/{call_id}/end", response_model=models.EndedCall)
def end_call(caller: Called, call_id: CallId, body: models.EndCall | None = None) -> JSONResponse:
    """End a call and charge it. Ending it again gives the same answer."""
    body = body or models.EndCall()
    ended = caller.call(
        "end_call",
        call_id=call_id,
        ended_at=body.at,
        reason=body.reason,
        account_id=caller.account_id(body.account),
    )
    return answer({**ended, "cost_so_far_micros": ended["charged_micros"], "remaining_seconds": 0})
