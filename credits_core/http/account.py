"""An account's limits, plan, settings and alerts."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse

from credits_core import alerts, catalog, limits
from credits_core.http import metering_answers as answers
from credits_core.http import metering_bodies as bodies
from credits_core.http.caller import Called
from credits_core.http.decimal_json import DecimalRoute
from credits_core.http.reading import Cursor, Limit, Whose
from credits_core.http.shapes import answer
from credits_core.units import format_credits

router = APIRouter(prefix="/credits", tags=["Limits and alerts"], route_class=DecimalRoute)


@router.get("/limits", response_model=answers.Limits)
def read_limits(caller: Called, account: Whose = None) -> JSONResponse:
    """Usage against the month's allowances and all spending caps, with the level of each."""
    return answer(limits.limits(caller.db, caller.identity, account_id=caller.account_id(account)))


@router.post("/limits/caps", response_model=answers.Limits)
def set_cap(caller: Called, body: bodies.Cap) -> JSONResponse:
    """Cap what the account, or one of its API keys, spends in a day or a month. Beyond it a charge is refused with 429.

    What was spent in the running period counts at once.
    """
    changed = limits.set_cap(
        caller.db,
        caller.identity,
        body.period,
        body.cap,
        api_key_id=body.api_key_id,
        account_id=caller.account_id(body.account),
    )
    return answer(changed)


@router.get("/plans", response_model=answers.Plans)
def plans(caller: Called) -> JSONResponse:
    """Plans and what each includes a month; it pays before credits do. Needs no sign-in."""
    return answer(catalog.plans(caller.db, caller.identity_or_nobody) or {"catalog": None, "plans": []})


@router.get("/account/settings", response_model=answers.Settings)
def read_settings(caller: Called, account: Whose = None) -> JSONResponse:
    """Time zone, billing day, levels of the low-balance alert, and a catalog of the account's own if it has one."""
    return _settings(
        limits.account_settings(caller.db, caller.identity, account_id=caller.account_id(account))
    )


@router.post("/account/settings", response_model=answers.Settings)
def settings(caller: Called, body: bodies.AccountSettings) -> JSONResponse:
    """Change the time zone, the levels of the low-balance alert, and (administrators) the billing day."""
    changed = limits.set_account_settings(
        caller.db,
        caller.identity,
        account_id=caller.account_id(body.account),
        time_zone=body.time_zone,
        anchor_day=body.anchor_day,
        low_balance_micros=body.low_balance,
        catalog=body.catalog,
    )
    return _settings(changed)


def _settings(found: dict[str, Any]) -> JSONResponse:
    levels = [format_credits(micros) for micros in found["low_balance_micros"]]
    return answer({**found, "low_balance": levels})


@router.get("/alerts", response_model=answers.Alerts)
def read_alerts(
    caller: Called,
    account: Whose = None,
    unread: Annotated[bool, Query(description="Only those that were not read yet.")] = False,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> JSONResponse:
    """Low balance and the like, newest first; each level is told once for every crossing."""
    found = alerts.alerts(
        caller.db,
        caller.identity,
        account_id=caller.account_id(account),
        unread_only=unread,
        limit=limit,
        cursor=cursor,
    )
    return answer(found)


@router.post("/alerts/read", response_model=answers.AlertsRead)
def mark_read(caller: Called, body: bodies.ReadAlerts | None = None) -> JSONResponse:
    """Mark all alerts as read, or one."""
    account_id = caller.account_id(body.account if body else None)
    alert_id = body.alert_id if body else None
    return answer(
        alerts.mark_alerts_read(caller.db, caller.identity, account_id=account_id, alert_id=alert_id)
    )
