"""Figures: usage of an account; for staff the whole business, margins, and new prices tried on past usage."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse

from credits_core import analytics, catalog
from credits_core.http import metering_answers as answers
from credits_core.http import metering_bodies as bodies
from credits_core.http.caller import Called
from credits_core.http.decimal_json import DecimalRoute
from credits_core.http.reading import From, To, Whose
from credits_core.http.shapes import answer

router = APIRouter(prefix="/credits", tags=["Figures"], route_class=DecimalRoute)

FirstDay = Annotated[
    date | None, Query(alias="from", description="First day; without it 29 days before `to`.")
]
LastDay = Annotated[date | None, Query(alias="to", description="Last day, included; without it today.")]
Zone = Annotated[str, Query(max_length=64, description="Days are cut by the clocks of this IANA time zone.")]
MARGIN_DAYS = timedelta(days=30)


@router.get("/usage/analytics", response_model=answers.Usage)
def usage(
    caller: Called,
    first: FirstDay = None,
    last: LastDay = None,
    group_by: analytics.GroupBy = "day",
    time_zone: Zone = "UTC",
    account: Whose = None,
) -> JSONResponse:
    """What was used, by day, operation, or both; the rows add up to the total, in every time zone."""
    found = analytics.usage_analytics(
        caller.db,
        caller.identity,
        account_id=caller.account_id(account),
        first=first,
        last=last,
        group_by=group_by,
        time_zone=time_zone,
    )
    return answer(found)


@router.get("/admin/analytics", response_model=answers.Overview)
def overview(
    caller: Called, first: FirstDay = None, last: LastDay = None, time_zone: Zone = "UTC"
) -> JSONResponse:
    """Sales and usage of everybody, with the accounts that used most. For staff; test and live are never mixed."""
    found = analytics.finance_overview(
        caller.db,
        caller.identity,
        livemode=caller.runtime.settings.stripe_live,
        first=first,
        last=last,
        time_zone=time_zone,
    )
    return answer(found)


@router.get("/admin/margins", response_model=answers.Margins)
def margins(caller: Called, from_: From = None, to: To = None) -> JSONResponse:
    """Revenue, provider cost and margin by operation; without times, of the last 30 days. For staff."""
    end = to or datetime.now(UTC)
    return answer(analytics.margins(caller.db, caller.identity, from_ or end - MARGIN_DAYS, end))


@router.post("/admin/rehearsal", response_model=answers.Rehearsed)
def rehearse(caller: Called, body: bodies.Rehearsal) -> JSONResponse:
    """Replay past usage under draft prices: the difference by operation and account, and who would have run out.

    Changes nothing. For staff.
    """
    draft = [_draft(price) for price in body.prices]
    return answer(catalog.rehearse_prices(caller.db, caller.identity, draft, body.from_, body.to))


def _draft(price: bodies.DraftPrice) -> dict[str, Any]:
    """The price as SQL takes it: amounts in micros, nothing for what is left out."""
    fields = price.model_dump(exclude_none=True)
    if "minimum_charge" in fields:
        fields["minimum_charge_micros"] = fields.pop("minimum_charge")
    for component in fields["components"]:
        component["price_micros"] = component.pop("price")
    return fields


@router.post("/admin/provider-cost", response_model=answers.ProviderCostSet)
def provider_cost(caller: Called, body: bodies.ProviderCost) -> JSONResponse:
    """What the provider charges us for an operation, from a moment on; margins use it. For administrators."""
    made = catalog.set_provider_cost(
        caller.db,
        caller.identity,
        body.operation,
        body.cost_cents,
        unit_size=1 if body.unit_size is None else body.unit_size,
        effective_from=body.effective_from,
    )
    return answer(made)
