"""Figures by day: cut in the viewer's zone, filled with zeros, adding up to their range (H1)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from credits_core import analytics, promotions
from credits_core.db.port import SERVICE, Identity
from credits_core.db.psycopg_transport import PsycopgDatabase
from credits_core.errors import InvalidRequest, NotAllowed
from credits_core.units import MICROS_PER_CREDIT

MINUTE = 150_000  # the voice catalog's price of a minute
CLOCK_CHANGES = [
    ("Europe/Berlin", dt.date(2026, 3, 29)),
    ("Europe/Berlin", dt.date(2025, 10, 26)),
    (
        "America/Havana",
        dt.date(2025, 11, 2),
    ),  # at one o'clock back to midnight: an hour of the day comes twice
    ("Africa/Cairo", dt.date(2026, 4, 24)),  # at midnight forward: the day begins at one o'clock
    ("Australia/Lord_Howe", dt.date(2026, 4, 5)),  # by half an hour
    ("Asia/Kathmandu", dt.date(2026, 1, 1)),  # three quarters of an hour from the full one
]


@pytest.fixture
def holder(
    make_user: Callable[..., Identity], account_of: Callable[..., int], service: Callable[..., Any]
) -> Identity:
    """A person with 1,000 credits."""
    person = make_user()
    service(
        "adjust",
        account_id=account_of(person),
        amount_micros=1000 * MICROS_PER_CREDIT,
        reason="Opening",
        idempotency_key="opening",
    )
    return person


@pytest.fixture
def call_at(database: PsycopgDatabase) -> Callable[[Identity, dt.datetime], None]:
    """Charge a call of a minute that happened at a moment."""
    return lambda person, moment: database.call(
        "use",
        person,
        operation="call",
        quantity=60,
        idempotency_key=f"call-{moment.isoformat()}",
        occurred_at=moment,
    )


@pytest.mark.parametrize(("zone", "day"), CLOCK_CHANGES)
@pytest.mark.parametrize("rolled_up", [False, True])
def test_day_sums_equal_the_total_across_a_clock_change(
    database: PsycopgDatabase,
    holder: Identity,
    call_at: Callable[..., None],
    service: Callable[..., Any],
    zone: str,
    day: dt.date,
    rolled_up: bool,
) -> None:
    begin = dt.datetime.combine(day - dt.timedelta(days=2), dt.time(), ZoneInfo(zone)).astimezone(dt.UTC)
    moments = [begin + dt.timedelta(minutes=30 * step) for step in range(5 * 48)]
    for moment in moments:
        call_at(holder, moment)
    if rolled_up:
        service("rollup_usage")
    expected: dict[str, int] = {}
    first, last = day - dt.timedelta(days=1), day + dt.timedelta(days=1)
    for moment in moments:
        local = moment.astimezone(ZoneInfo(zone)).date()
        if first <= local <= last:
            expected[local.isoformat()] = expected.get(local.isoformat(), 0) + MINUTE
    answer = analytics.usage_analytics(database, holder, first=first, last=last, time_zone=zone)
    assert {row["day"]: row["charged_micros"] for row in answer["rows"]} == expected
    assert answer["total_micros"] == sum(row["charged_micros"] for row in answer["rows"])
    single = [
        analytics.usage_analytics(
            database,
            holder,
            first=first + dt.timedelta(days=n),
            last=first + dt.timedelta(days=n),
            time_zone=zone,
        )["total_micros"]
        for n in range(3)
    ]
    assert sum(single) == answer["total_micros"]


def test_days_and_operations_without_use_are_zero_rows(
    database: PsycopgDatabase, holder: Identity, call_at: Callable[..., None]
) -> None:
    call_at(holder, dt.datetime(2026, 3, 3, 12, tzinfo=dt.UTC))
    answer = analytics.usage_analytics(
        database, holder, first=dt.date(2026, 3, 1), last=dt.date(2026, 3, 5), group_by="day_operation"
    )
    assert [row["charged_micros"] for row in answer["rows"]] == [0, 0, MINUTE, 0, 0]
    assert answer["days"] == [f"2026-03-0{n}" for n in range(1, 6)]
    by_operation = analytics.usage_analytics(
        database, holder, first=dt.date(2026, 3, 1), last=dt.date(2026, 3, 5), group_by="operation"
    )
    assert [(row["operation"], row["events"]) for row in by_operation["rows"]] == [("call", 1)]
    nothing = analytics.usage_analytics(database, holder, first=dt.date(2020, 1, 1), last=dt.date(2020, 1, 2))
    assert [row["charged_micros"] for row in nothing["rows"]] == [0, 0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"time_zone": "Mars/Olympus"},
        {"time_zone": ""},
        {"group_by": "planet"},
        {"first": dt.date(2026, 3, 2), "last": dt.date(2026, 3, 1)},
        {"first": dt.date(1990, 1, 1)},
    ],
)
def test_bad_ranges_and_zones_are_refused(
    database: PsycopgDatabase, holder: Identity, wrong: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequest):
        analytics.usage_analytics(database, holder, **wrong)


def test_the_overview_tells_balance_month_and_run_out(
    database: PsycopgDatabase, holder: Identity, call_at: Callable[..., None]
) -> None:
    now = dt.datetime.now(dt.UTC)
    for days in range(1, 11):
        call_at(holder, now - dt.timedelta(days=days))
    overview = analytics.account_overview(database, holder)
    available = 1000 * MICROS_PER_CREDIT - 10 * MINUTE
    assert overview["balance"]["available_micros"] == available
    assert overview["run_out"] | {"projection_micros": None} == {
        "reason": "average",
        "basis_days": 10,
        "daily_micros": MINUTE,
        "days": available // MINUTE,
        "date": (now.date() + dt.timedelta(days=available // MINUTE)).isoformat(),
        "projection_micros": None,
        "trend": "steady",
        **dict.fromkeys(("soonest_days", "soonest_date", "latest_days", "latest_date")),  # beyond a year
    }
    assert overview["level"] == "ok"
    assert len(overview["days"]) == 30
    assert overview["days"][-1]["posted_micros"] == available
    assert overview["days"][-2]["posted_micros"] == 0  # booked today, though the calls happened before
    assert overview["today_micros"] == available
    assert [day["calls"] for day in overview["days"]][-11:] == [1] * 10 + [0]


def test_levels_of_the_overview(
    database: PsycopgDatabase,
    make_user: Callable[..., Identity],
    account_of: Callable[..., int],
    service: Callable[..., Any],
    call_at: Callable[..., None],
) -> None:
    person = make_user()
    assert analytics.account_overview(database, person)["level"] == "new"
    service(
        "adjust",
        account_id=account_of(person),
        amount_micros=4 * MINUTE,
        reason="Some",
        idempotency_key="some",
    )
    assert analytics.account_overview(database, person)["level"] == "ok"
    call_at(person, dt.datetime.now(dt.UTC) - dt.timedelta(days=1))
    overview = analytics.account_overview(database, person)
    assert (overview["level"], overview["run_out"]["days"]) == ("low", 3)
    for hours in range(3):
        call_at(person, dt.datetime.now(dt.UTC) - dt.timedelta(hours=hours, seconds=1))
    overview = analytics.account_overview(database, person)
    assert (overview["level"], overview["run_out"]["reason"]) == ("empty", "empty")
    boss = make_user(role="super_admin")
    assert analytics.account_overview(database, boss)["run_out"]["reason"] == "unlimited"


def test_finance_sees_sales_and_usage_of_everybody(
    database: PsycopgDatabase,
    holder: Identity,
    make_user: Callable[..., Identity],
    call_at: Callable[..., None],
    buy: Callable[..., dict[str, Any]],
) -> None:
    finance = make_user(role="finance")
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    call_at(holder, yesterday)
    buy(holder, "usd_10")
    buy(holder, "usd_50")
    overview = analytics.finance_overview(database, finance, livemode=False)
    sales, usage = overview["sales"], overview["usage"]
    assert [
        (c["currency"], c["total_cents"], c["purchases"], c["average_cents"]) for c in sales["currencies"]
    ] == [("usd", 6000, 2, 3000)]
    assert sum(row["total_cents"] for row in sales["rows"]) == 6000
    assert len(sales["rows"]) == 30 * 2
    assert usage["total_micros"] == MINUTE == sum(row["charged_micros"] for row in usage["rows"])
    assert [row["charged_micros"] for row in overview["top_accounts"]] == [MINUTE]
    assert analytics.finance_overview(database, finance, livemode=True)["sales"]["currencies"] == []


def test_others_see_nothing_of_each_other(
    database: PsycopgDatabase,
    holder: Identity,
    make_user: Callable[..., Identity],
    account_of: Callable[..., int],
) -> None:
    other, finance = make_user(), make_user(role="finance")
    theirs = account_of(holder)
    for ask in (analytics.account_overview, analytics.usage_analytics):
        with pytest.raises(NotAllowed):
            ask(database, other, account_id=theirs)
        assert ask(database, finance, account_id=theirs)["account_id"] == theirs
    with pytest.raises(NotAllowed):
        analytics.account_detail(database, other, theirs)
    with pytest.raises(NotAllowed):
        analytics.finance_overview(database, other, livemode=False)


def test_account_detail_lists_grants_in_spend_order(
    database: PsycopgDatabase,
    holder: Identity,
    account_of: Callable[..., int],
    buy: Callable[..., dict[str, Any]],
) -> None:
    buy(holder, "usd_10")
    detail = analytics.account_detail(database, SERVICE, account_of(holder))
    assert [(grant["source"], grant["status"]) for grant in detail["grants"]] == [
        ("adjustment", "active"),
        ("purchase", "active"),
    ]
    assert detail["balance"]["available_micros"] == sum(
        grant["remaining_micros"] for grant in detail["grants"]
    )


def test_a_quote_says_what_a_custom_amount_buys(database: PsycopgDatabase, holder: Identity) -> None:
    quote = promotions.purchase_quote(database, holder, amount_cents=2500)
    assert (quote["credits_micros"], quote["cents_per_credit"]) == (25 * MICROS_PER_CREDIT, "100.0000")
    with pytest.raises(InvalidRequest):
        promotions.purchase_quote(database, holder, amount_cents=1)
