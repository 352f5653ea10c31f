"""For administrators: accounts and their plans, and corrections, each with its reason."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse

from credits_core import accounts, ledger, limits
from credits_core.http import metering_answers, metering_bodies, models
from credits_core.http.caller import Called
from credits_core.http.decimal_json import DecimalRoute
from credits_core.http.fields import KeyHeader, idempotency_key, with_key
from credits_core.http.reading import Cursor, Limit
from credits_core.http.shapes import answer
from credits_core.http.spending import Id

router = APIRouter(prefix="/credits/admin", tags=["Administration"], route_class=DecimalRoute)


@router.get("/users", response_model=models.Page)
def users(
    caller: Called,
    search: Annotated[str | None, Query(max_length=100)] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> JSONResponse:
    """All accounts with their balances, newest first."""
    return answer(
        accounts.accounts_list(caller.db, caller.identity, search=search, limit=limit, cursor=cursor)
    )


@router.post("/adjust", response_model=models.Adjusted)
def adjust(caller: Called, body: models.Adjust, key: KeyHeader = None) -> JSONResponse:
    """Add credits to an account or take them away. More than is there is refused with 402.

    From a limit on (see the approvals' limits; what one administrator moves on one account within 24 hours adds up) nothing is
    booked: 202, status `waiting`, and another administrator approves.
    """
    key = idempotency_key(key, body.idempotency_key)
    account_id = caller.account_id(body.account)
    adjusted = ledger.adjust(
        caller.db, caller.identity, account_id, body.amount, body.reason, key, expires_at=body.expires_at
    )
    return answer(with_key(adjusted, key), _status(adjusted))


def _status(moved: dict[str, Any]) -> int:
    """What waits for a second person is accepted, not done."""
    return 202 if moved["status"] == "waiting" else 200


@router.post("/adjust/preview", response_model=models.AdjustPreview)
def preview_adjustment(caller: Called, body: models.AdjustAmount) -> JSONResponse:
    """What an adjustment would do, whether it is allowed, and whether a second person decides. Changes nothing."""
    account_id = caller.account_id(body.account)
    return answer(ledger.adjust_preview(caller.db, caller.identity, account_id, body.amount))


@router.post("/reverse", response_model=metering_answers.Corrected)
def reverse(caller: Called, body: metering_bodies.Reverse, key: KeyHeader = None) -> JSONResponse:
    """Undo a use or an adjustment, once: the credits go back to the very grants they came from.

    From the limit of adjustments on nothing is booked: 202, status `waiting`, and another administrator approves.
    """
    key = idempotency_key(key, body.idempotency_key)
    reversed_ = ledger.reverse(caller.db, caller.identity, body.transaction_id, body.reason, key)
    return answer(with_key(reversed_, key), _status(reversed_))


@router.post("/grants/{grant_id}/extend", response_model=metering_answers.ExtendedGrant)
def extend_grant(
    caller: Called, grant_id: Id, body: metering_bodies.ExtendGrant, key: KeyHeader = None
) -> JSONResponse:
    """Give what is left of a grant, or what expired of it, a later end. It becomes a new grant at the same cost.

    From the limit of adjustments on nothing is booked: 202, status `waiting`, and another administrator approves.
    """
    key = idempotency_key(key, body.idempotency_key)
    extended = ledger.extend_grant(caller.db, caller.identity, grant_id, body.expires_at, body.reason, key)
    return answer(with_key(extended, key), _status(extended))


@router.post("/plan", response_model=metering_answers.Limits)
def set_plan(caller: Called, body: metering_bodies.SetPlan) -> JSONResponse:
    """Put an account on a plan of the active catalog, from now on; what it used this month stays used."""
    account_id = caller.account_id(body.account)
    return answer(limits.set_plan(caller.db, caller.identity, account_id, body.plan))
