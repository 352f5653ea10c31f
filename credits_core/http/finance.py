"""Figures for finance: money by month, cohorts, the checkout funnel."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import JSONResponse

from credits_core import finance
from credits_core.http.caller import Called
from credits_core.http.figures import FirstDay, LastDay, Zone
from credits_core.http.models import Answer
from credits_core.http.shapes import answer

router = APIRouter(prefix="/credits/admin", tags=["Figures"])

Months = Annotated[int, Query(ge=1, le=36, description="So many months, the running one included.")]


class RevenueMonth(Answer):
    month: str = Field(examples=["2026-11-01"])
    currency: str = Field(examples=["usd"])
    sales_cents: int = Field(examples=[125_000], description="Paid for credits, tax apart.")
    purchases: int = Field(examples=[48])
    buyers: int = Field(examples=[31])
    new_buyers: int = Field(examples=[9])
    refunds_cents: int = Field(examples=[2_000])
    disputes_cents: int = Field(examples=[0])
    net_cents: int = Field(examples=[123_000])
    per_buyer_cents: int | None = Field(examples=[3_968], description="Net sales of a paying account.")


class Revenue(Answer):
    livemode: bool
    rows: list[RevenueMonth]


class RecurringMonth(Answer):
    month: str = Field(examples=["2026-11-01"])
    currency: str = Field(examples=["usd"])
    mrr_cents: int = Field(examples=[58_000], description="Monthly recurring revenue at the month's end.")
    subscriptions: int = Field(examples=[20])
    new_cents: int = Field(examples=[5_800])
    expansion_cents: int = Field(examples=[1_000])
    contraction_cents: int = Field(examples=[-500])
    churn_cents: int = Field(examples=[-2_900])


class Recurring(Answer):
    livemode: bool
    rows: list[RecurringMonth]


class CohortMonth(Answer):
    cohort: str = Field(examples=["2026-09-01"], description="The month of the first purchase.")
    accounts: int = Field(examples=[12])
    currency: str = Field(examples=["usd"])
    months_later: int = Field(examples=[1])
    buyers: int = Field(examples=[7])
    sales_cents: int = Field(examples=[21_000])
    retention_percent: float = Field(examples=[58.3])


class Cohorts(Answer):
    rows: list[CohortMonth]


class PackageFunnel(Answer):
    package: str | None = Field(examples=["usd_10"], description="null: a custom amount.")
    name: str = Field(examples=["$10 package"])
    begun: int = Field(examples=[40])
    paid: int = Field(examples=[31])
    paid_percent: float = Field(examples=[77.5])


class Failure(Answer):
    reason: str = Field(examples=["insufficient_funds"])
    count: int = Field(examples=[3])


class Funnel(Answer):
    from_: str = Field(alias="from", examples=["2026-10-22"])
    to: str = Field(examples=["2026-11-20"])
    begun: int = Field(examples=[60])
    opened: int = Field(examples=[59])
    paid: int = Field(examples=[48])
    waiting: int = Field(examples=[2])
    processing: int = Field(examples=[1])
    expired: int = Field(examples=[7])
    failed: int = Field(examples=[2])
    review: int = Field(examples=[0])
    paid_percent: float | None = Field(examples=[80.0])
    median_seconds_to_pay: int | None = Field(examples=[74])
    packages: list[PackageFunnel]
    failures: list[Failure]


@router.get("/revenue", response_model=Revenue)
def revenue(caller: Called, months: Months = 12, time_zone: Zone = "UTC") -> JSONResponse:
    """Sales, refunds, disputes and buyers by month and currency. For staff; test and live are never mixed."""
    live = caller.runtime.settings.stripe_live
    return answer(
        finance.revenue_by_month(
            caller.db, caller.identity, livemode=live, months=months, time_zone=time_zone
        )
    )


@router.get("/recurring-revenue", response_model=Recurring)
def recurring_revenue(caller: Called, months: Months = 12, time_zone: Zone = "UTC") -> JSONResponse:
    """Monthly recurring revenue of the subscriptions, and what moved it. For staff."""
    live = caller.runtime.settings.stripe_live
    return answer(
        finance.recurring_revenue(
            caller.db, caller.identity, livemode=live, months=months, time_zone=time_zone
        )
    )


@router.get("/cohorts", response_model=Cohorts)
def cohorts(caller: Called, months: Months = 12, time_zone: Zone = "UTC") -> JSONResponse:
    """Accounts by the month of their first purchase, and how many of them bought again. For staff."""
    live = caller.runtime.settings.stripe_live
    return answer(
        finance.cohorts(caller.db, caller.identity, livemode=live, months=months, time_zone=time_zone)
    )


@router.get("/funnel", response_model=Funnel)
def funnel(
    caller: Called, first: FirstDay = None, last: LastDay = None, time_zone: Zone = "UTC"
) -> JSONResponse:
    """What became of the purchases that were begun, and why some were not paid. For staff."""
    live = caller.runtime.settings.stripe_live
    found = finance.checkout_funnel(
        caller.db, caller.identity, livemode=live, first=first, last=last, time_zone=time_zone
    )
    return answer(found)
