"""What an account holder watches: the account at a glance, its grants, the forecast, the usage report, running calls."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import JSONResponse

from credits_core import analytics
from credits_core import calls as call_log
from credits_core.http.caller import Called
from credits_core.http.figures import FirstDay, LastDay, Zone
from credits_core.http.models import Answer, Balance
from credits_core.http.reading import Whose
from credits_core.http.shapes import answer

router = APIRouter(prefix="/credits")

Percent = Annotated[float | None, Field(examples=[12.5], description="null: nothing was used before.")]
Day = Annotated[str, Field(examples=["2026-11-20"])]
LateDay = Annotated[str | None, Field(examples=["2026-12-24"], description="null: beyond a year.")]
Operation = Annotated[str, Field(examples=["call"])]


class Grant(Answer):
    grant_id: int
    source: str = Field(examples=["purchase"])
    promotional: bool
    granted: str = Field(examples=["10.00"])
    granted_micros: int
    remaining: str = Field(examples=["7.85"])
    remaining_micros: int
    cost_cents: int | None = Field(description="What was paid for it; null: nothing.")
    expires_at: str | None
    status: Literal["active", "used up", "expired"]


class Account(Answer):
    account_id: int
    email: str | None
    name: str | None
    role: str
    balance: Balance
    grants: list[Grant] = Field(description="In spend order, used up ones last; at most 100.")


class RunOut(Answer):
    reason: str = Field(
        examples=["weeks"],
        description="What it rests on: weeks, or average (little history); or unlimited, empty, no_use.",
    )
    days: int | None = Field(examples=[34])
    date: str | None = Field(examples=["2026-12-24"])
    soonest_date: LateDay
    latest_date: LateDay
    daily: str = Field(examples=["0.92"])
    daily_micros: int
    trend: Literal["rising", "falling", "steady"]


class PathDay(Answer):
    day: Day
    at_least: str = Field(examples=["6.10"])
    at_least_micros: int
    expected: str = Field(examples=["7.40"])
    expected_micros: int
    at_most: str = Field(examples=["8.20"])
    at_most_micros: int


class PastForecast(Answer):
    from_: str = Field(alias="from", examples=["2026-10-21"])
    to: Day
    spent_micros: int
    expected_micros: int
    was_within: bool = Field(description="Whether what was spent lay in the range of that forecast.")
    used_up_on: str | None


class Forecast(RunOut):
    account_id: int
    available: str = Field(examples=["31.20"])
    available_micros: int
    as_of: str
    time_zone: str
    path: list[PathDay] = Field(description="What is left at the end of each of the next 60 days.")
    past: PastForecast | None = Field(description="The forecast of 30 days ago against what happened.")


class AccountOverview(Answer):
    account_id: int
    as_of: str
    time_zone: str
    level: Literal["ok", "low", "empty", "debt", "new"] = Field(
        description="low: less than a week is left at the present pace."
    )
    balance: Balance
    month: dict[str, Any] = Field(description="Used this month, against the same days of the last.")
    run_out: RunOut
    days: list[dict[str, Any]] = Field(description="Each day's use and closing balance.")


class Bucket(Answer):
    start: Day
    end: Day
    charged: str = Field(examples=["3.15"])
    charged_micros: int
    events: int
    before: str = Field(examples=["2.80"], description="In the period before, laid over day by day.")
    before_micros: int


class OperationUse(Answer):
    operation: Operation
    name: str
    measure: str = Field(examples=["seconds"], description="What `quantity` counts.")
    quantity: float = Field(examples=[1_890])
    events: int
    charged: str = Field(examples=["3.15"])
    charged_micros: int
    before: str = Field(examples=["2.80"])
    before_micros: int
    change_percent: Percent
    share_percent: float | None = Field(examples=[75.0])


class ReportRow(Bucket):
    operation: Operation
    name: str
    measure: str
    quantity: float


class Report(Answer):
    account_id: int
    from_: str = Field(alias="from", examples=["2026-10-22"])
    to: Day
    before_from: Day
    before_to: Day
    unit: Literal["day", "week", "month"]
    time_zone: str
    total: str = Field(examples=["3.15"])
    total_micros: int
    total_events: int
    before: str = Field(examples=["2.80"])
    before_micros: int
    change_percent: Percent
    buckets: list[Bucket] = Field(description="One a day, week or month; they add up to the total.")
    operations: list[OperationUse] = Field(description="The largest first; they add up to the total too.")
    rows: list[ReportRow] = Field(description="By bucket and operation.")


class LiveCall(Answer):
    call_id: int
    operation: Operation
    started_at: str
    elapsed_seconds: int
    remaining_seconds: int = Field(description="Talk time left, of all that the account has.")
    level: Literal["ok", "low", "ending", "end"]
    cost_so_far: str = Field(examples=["0.30"])
    cost_so_far_micros: int
    held_micros: int
    silent_seconds: int = Field(description="Since the program that carries it was heard of.")
    pays: list[dict[str, Any]] = Field(description="Grants that pay it, and those behind them.")


class LiveCalls(Answer):
    account_id: int
    as_of: str
    running: int = Field(description="How many run; `items` are the newest 50 of them.")
    available: str
    available_micros: int
    held: str
    held_micros: int
    items: list[LiveCall]


@router.get("/account", response_model=Account, tags=["Account"])
def account(caller: Called, account: Whose = None) -> JSONResponse:
    """Who an account is, its balance, and its grants with their cost and end."""
    account_id = caller.account_id(account)
    return answer(analytics.account_detail(caller.db, caller.identity, account_id))


@router.get("/account/overview", response_model=AccountOverview, tags=["Account"])
def overview(
    caller: Called,
    account: Whose = None,
    days: Annotated[int, Query(ge=2, le=366, description="So many days one by one.")] = 30,
    time_zone: Zone = "UTC",
) -> JSONResponse:
    """An account at a glance: balance, this month against the last, when credits run out, the last days."""
    account_id = caller.account_id(account)
    found = analytics.account_overview(
        caller.db, caller.identity, account_id=account_id, days=days, time_zone=time_zone
    )
    return answer(found)


@router.get("/usage/forecast", response_model=Forecast, tags=["Figures"])
def forecast(caller: Called, account: Whose = None, time_zone: Zone = "UTC") -> JSONResponse:
    """When credits run out: the expected day, from when to when (8 times in 10 it lies between), the next 60 days, and how the
    forecast of a month ago came out."""
    account_id = caller.account_id(account)
    return answer(
        analytics.run_out_forecast(caller.db, caller.identity, account_id=account_id, time_zone=time_zone)
    )


@router.get("/usage/report", response_model=Report, tags=["Figures"])
def report(
    caller: Called,
    first: FirstDay = None,
    last: LastDay = None,
    unit: analytics.Unit = "day",
    operation: Annotated[str | None, Query(min_length=1, max_length=64)] = None,
    time_zone: Zone = "UTC",
    account: Whose = None,
) -> JSONResponse:
    """What was used by day, week or month and by operation, against the same number of days before."""
    found = analytics.usage_report(
        caller.db,
        caller.identity,
        account_id=caller.account_id(account),
        first=first,
        last=last,
        unit=unit,
        operation=operation,
        time_zone=time_zone,
    )
    return answer(found)


@router.get("/calls/live", response_model=LiveCalls, tags=["Spending"])
def live_calls(caller: Called, account: Whose = None) -> JSONResponse:
    """The calls that run now, with cost so far, talk time left and what pays them. Watching holds and writes nothing."""
    account_id = caller.account_id(account)
    return answer(call_log.live_calls(caller.db, caller.identity, account_id=account_id))
