"""Reconciliation with Stripe, for finance and administrators: runs, differences, what is done about them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import JSONResponse

from credits_core import reconcile
from credits_core.http.caller import Called
from credits_core.http.decimal_json import DecimalRoute
from credits_core.http.fields import Key, KeyHeader, Text, Time, idempotency_key, with_key
from credits_core.http.models import Answer, Body
from credits_core.http.reading import Cursor, Limit
from credits_core.http.shapes import answer
from credits_core.runtime import get_runtime

router = APIRouter(prefix="/credits/admin/reconciliations", tags=["Finance"], route_class=DecimalRoute)

Status = Literal["open", "repaired", "accepted"]


class Range(Body):
    from_: Time = Field(alias="from", examples=["2026-11-01T00:00:00Z"])
    to: Time = Field(examples=["2026-12-01T00:00:00Z"], description="Not included; later than now means now.")
    idempotency_key: Key | None = Field(default=None, description="Or send it as the header Idempotency-Key.")


class Accepted(Body):
    reason: Text = Field(min_length=1, examples=["Rounded by the bank"])


class Run(Answer):
    reconciliation_id: int
    status: Literal["waiting", "running", "finished", "failed"]
    found: int | None = Field(description="Differences this run saw; null until it has finished.")
    totals: list[dict[str, Any]] = Field(
        description="By currency: gross - refunds - disputes - fees + other = net = paid_out + to_pay_out, all `*_cents`."
    )
    error: str | None


class Started(Run):
    idempotency_key: str


class Runs(Answer):
    items: list[Run]
    next_cursor: str | None


class Difference(Answer):
    difference_id: int
    kind: str
    object_id: str
    expected_cents: int | None = Field(description="By our books.")
    found_cents: int | None = Field(description="At Stripe.")
    explanation: str
    repairable: bool
    status: Status


class Differences(Answer):
    items: list[Difference]
    next_cursor: str | None


@router.get("", response_model=Runs)
def list_reconciliations(caller: Called, limit: Limit = 50, cursor: Cursor = None) -> JSONResponse:
    """Runs, newest first, with totals and how many differences each found."""
    return answer(reconcile.reconciliations(caller.db, caller.identity, limit=limit, cursor=cursor))


@router.post("", response_model=Started)
def start_reconciliation(caller: Called, body: Range, key: KeyHeader = None) -> JSONResponse:
    """Compare our books with Stripe's over a range. It begins within seconds; follow it in the list. One at a time: 409."""
    key = idempotency_key(key, body.idempotency_key)
    livemode = get_runtime().stripe.livemode
    asked = reconcile.start(
        caller.db, caller.identity, body.from_, body.to, livemode=livemode, idempotency_key=key
    )
    return answer(with_key(asked, key))


@router.get("/differences", response_model=Differences)
def list_differences(
    caller: Called,
    status: Annotated[Status | None, Query()] = None,
    reconciliation: Annotated[int | None, Query(ge=1, description="As this run saw them.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> JSONResponse:
    """What does not agree, newest first, each explained."""
    return answer(
        reconcile.differences(
            caller.db,
            caller.identity,
            status=status,
            reconciliation_id=reconciliation,
            limit=limit,
            cursor=cursor,
        )
    )


@router.post("/differences/{difference_id}/repair", response_model=Difference)
def repair_difference(caller: Called, difference_id: int) -> JSONResponse:
    """Bring our books to what Stripe says now, for administrators. What only a person can settle: 409, with what to do."""
    stripe = get_runtime().stripe
    return answer(reconcile.repair(caller.db, stripe, caller.identity, difference_id))


@router.post("/differences/{difference_id}/accept", response_model=Difference)
def accept_difference(caller: Called, difference_id: int, body: Accepted) -> JSONResponse:
    """Leave a difference as it is, with the reason. It comes back when it changes."""
    return answer(reconcile.accept(caller.db, caller.identity, difference_id, body.reason))
