"""One hold, one call: read it, extend it."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import JSONResponse

from credits_core import calls, holds
from credits_core.http import metering_answers, metering_bodies, models
from credits_core.http.caller import Called
from credits_core.http.decimal_json import DecimalRoute
from credits_core.http.shapes import answer
from credits_core.http.spending import Id

router = APIRouter(prefix="/credits", tags=["Spending"], route_class=DecimalRoute)


@router.get("/calls/{call_id}", response_model=models.CallState)
def read_call(caller: Called, call_id: Id) -> JSONResponse:
    """One call as it is now: cost so far and talk time left while it runs, the charge when it is over."""
    return answer(calls.call(caller.db, caller.identity, call_id))


@router.get("/holds/{hold_id}", response_model=metering_answers.HoldState)
def read_hold(caller: Called, hold_id: Id) -> JSONResponse:
    """One hold: what it keeps, until when, and what became of it."""
    return answer(holds.hold(caller.db, caller.identity, hold_id))


@router.post("/holds/{hold_id}/extend", response_model=metering_answers.HoldState)
def extend_hold(caller: Called, hold_id: Id, body: metering_bodies.ExtendHold | None = None) -> JSONResponse:
    """Make an open hold cover `quantity` in all, or last longer. Smaller or shorter than now changes nothing."""
    wanted = body or metering_bodies.ExtendHold()
    extended = holds.extend_hold(
        caller.db,
        caller.identity,
        hold_id,
        quantity=wanted.quantity,
        expires_in_seconds=wanted.expires_in_seconds,
    )
    return answer(extended)
