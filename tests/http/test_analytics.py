"""Figures over HTTP: usage in the viewer's time zone (H1), the business (H1, G2), margins (C5), price rehearsal (C6)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from credits_core import catalog
from tests.http.conftest import HOLDER, SUPER, Api, problem

NIGHT = datetime(2026, 11, 10, 23, 30, tzinfo=UTC)


@pytest.fixture
def at(owner_sql: Callable[..., Any]) -> Callable[[datetime], None]:
    """`at(moment)`: what the database takes for now."""

    def move(moment: datetime) -> None:
        owner_sql(
            "create or replace function credits._now() returns timestamptz language sql volatile set search_path = ''"
            f" as $$ select timestamptz '{moment.isoformat()}' $$"
        )

    return move


@pytest.fixture
def used(
    holder: Api, give: Callable[..., Any], at: Callable[[datetime], None], service: Callable[..., Any]
) -> None:
    """2 SMS (2.00) at 23:30 UTC on 10 November, a call of 90 s (2.00) an hour later."""
    service("load_catalog", catalog=catalog.read("ai_services"))
    at(NIGHT - timedelta(days=1))
    give("100.00")
    at(NIGHT)
    for _ in range(2):
        holder.post("use", {"operation": "sms", "quantity": 1})
    at(NIGHT + timedelta(hours=1))
    holder.post("use", {"operation": "voice_call", "quantity": 90})


RANGE = {"from": "2026-11-09", "to": "2026-11-12"}


@pytest.mark.parametrize(
    ("zone", "days"),
    [("UTC", [0, 2, 2, 0]), ("Europe/Berlin", [0, 0, 4, 0]), ("America/New_York", [0, 4, 0, 0]), ("Asia/Kathmandu", [0, 0, 4, 0])],
)  # fmt: skip
def test_days_are_those_of_the_viewer_and_add_up(used: None, holder: Api, zone: str, days: list[int]) -> None:
    """H1: day sums equal the range's total in every zone."""
    found = holder.get("usage/analytics", **RANGE, time_zone=zone).json()
    assert [row["day"] for row in found["rows"]] == [f"2026-11-{day:02}" for day in (9, 10, 11, 12)]
    assert [row["charged_micros"] for row in found["rows"]] == [n * 1_000_000 for n in days]
    assert sum(row["charged_micros"] for row in found["rows"]) == found["total_micros"] == 4_000_000
    assert (found["total"], found["total_events"]) == ("4.00", 3)
    moment = NIGHT.astimezone(ZoneInfo(zone)).date().isoformat()
    assert next(row for row in found["rows"] if row["events"])["day"] == moment


def test_by_operation_and_by_both(used: None, holder: Api) -> None:
    by_operation = holder.get("usage/analytics", **RANGE, group_by="operation").json()
    assert {
        (row["operation"], row["charged"], row["events"], row["share_percent"])
        for row in by_operation["rows"]
    } == {
        ("sms", "2.00", 2, 50.0),
        ("voice_call", "2.00", 1, 50.0),
    }
    both = holder.get("usage/analytics", **RANGE, group_by="day_operation").json()
    assert len(both["rows"]) == 8
    assert sum(row["charged_micros"] for row in both["rows"]) == both["total_micros"] == 4_000_000


def test_the_last_thirty_days_without_a_range(holder: Api, give: Callable[..., Any]) -> None:
    give("1.00")
    holder.post("use", {"operation": "call", "quantity": 60})
    found = holder.get("usage/analytics").json()
    assert len(found["rows"]) == 30 and found["total"] == "0.15"
    assert found["rows"][-1]["day"] == datetime.now(UTC).date().isoformat()


@pytest.mark.parametrize(
    "query",
    [{"time_zone": "Mars/Base"}, {"time_zone": ""}, {"time_zone": "x" * 65}, {"time_zone": "'; --"}, {"group_by": "hour"},
     {"from": "2026-11-10", "to": "2026-11-09"}, {"from": "2020-01-01", "to": "2026-01-01"}, {"from": "10.11.2026"},
     {"to": "infinity"}, {"account": [1]}],
    ids=str,
)  # fmt: skip
def test_usage_asked_for_wrongly(holder: Api, query: dict[str, Any]) -> None:
    answer = holder.get("usage/analytics", **query)
    if "account" in query:
        assert answer.status_code in (200, 403)
        return
    problem(answer, 422, "invalid_request")


def test_usage_of_others_is_for_staff(used: None, holder: Api, admin: Api, api: Callable[..., Api]) -> None:
    theirs = admin.get("me").json()["account_id"]
    problem(holder.get("usage/analytics", account=theirs), 403, "not_allowed")
    finance = api("finance@demo.test").get("usage/analytics", **RANGE, account=HOLDER).json()
    assert finance["total"] == "4.00"


def test_the_business(used: None, holder: Api, admin: Api, api: Callable[..., Api]) -> None:
    problem(holder.get("admin/analytics"), 403, "not_allowed")
    for caller in (admin, api("finance@demo.test"), api(SUPER)):
        found = caller.get("admin/analytics", **RANGE, time_zone="Europe/Berlin").json()
        assert found["usage"]["total"] == "4.00" and found["livemode"] is False
        assert found["top_accounts"][0]["email"] == HOLDER
        assert found["sales"]["currencies"] == []
    problem(admin.get("admin/analytics", time_zone="Mars/Base"), 422, "invalid_request")


def test_margins_know_what_the_credits_cost(
    holder: Api, admin: Api, service: Callable[..., Any], give: Callable[..., Any], runtime: Any
) -> None:
    """C5: promotional credits earn nothing, paid ones what they cost; without a cost there is no margin."""
    give("0.15")
    cost = {
        "operation": "call",
        "cost_cents": "1.4",
        "unit_size": 60,
        "effective_from": "2026-01-01T00:00:00Z",
    }
    assert admin.post("admin/provider-cost", cost).json() == {
        "operation": "call",
        "cost_cents": 1.4,
        "unit_size": 60,
    }
    problem(admin.post("admin/provider-cost", cost), 409, "conflict")
    holder.post("use", {"operation": "call", "quantity": 60})
    (row,) = admin.get("admin/margins").json()["rows"]
    assert (row["charged"], row["revenue_cents"], row["cost_cents"], row["margin_cents"]) == (
        "0.15",
        0,
        1.4,
        -1.4,
    )
    nothing = admin.get(
        "admin/margins", **{"from": "2020-01-01T00:00:00Z", "to": "2020-02-01T00:00:00Z"}
    ).json()
    assert nothing["rows"] == []
    assert set(nothing["total"].values()) == {0, None}
    problem(holder.get("admin/margins"), 403, "not_allowed")
    problem(holder.post("admin/provider-cost", cost), 403, "not_allowed")


DRAFT = {
    "prices": [
        {
            "operation": "voice_call",
            "components": [{"unit": "minute", "price": "1", "initial": 1, "following": 1}],
        }
    ],
    "from": "2026-11-01T00:00:00Z",
    "to": "2026-12-01T00:00:00Z",
}


def test_new_prices_on_past_usage(used: None, holder: Api, admin: Api, api: Callable[..., Api]) -> None:
    """C6: 90 s cost 2.00 by the minute and would cost 1.50 by the second; nothing changes."""
    before = holder.get("pricing").json()
    for caller in (admin, api("finance@demo.test")):
        found = caller.post("admin/rehearsal", DRAFT).json()
        assert (found["before"], found["after"], found["events"]) == ("4.00", "3.50", 3)
        by_operation = {row["operation"]: row["difference_micros"] for row in found["operations"]}
        assert by_operation == {"sms": 0, "voice_call": -500_000}
        (account,) = found["accounts"]
        assert (account["difference_micros"], account["runs_out_at"], found["would_run_out"]) == (
            -500_000,
            None,
            0,
        )
    assert holder.get("pricing").json() == before and holder.available() == "96.00"


def test_who_would_run_out(used: None, admin: Api) -> None:
    dear = [
        {
            "operation": "sms",
            "components": [{"unit": "message", "price": "60"}],
            "minimum_charge": "1",
            "rounding": "up",
        }
    ]
    found = admin.post("admin/rehearsal", DRAFT | {"prices": dear}).json()
    assert (found["would_run_out"], found["after"]) == (1, "122.00")
    assert found["accounts"][0]["runs_out_at"].startswith("2026-11-10T23:30")


def draft(operation: str = "sms", unit: str = "call", price: str = "1", **more: Any) -> dict[str, Any]:
    return {"prices": [{"operation": operation, "components": [{"unit": unit, "price": price, **more}]}]}


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"prices": []}, 422), ({"prices": draft()["prices"] * 2}, 422),
        ({"prices": [{"operation": "sms", "components": []}]}, 422),
        (draft("nope"), 404), (draft(unit="hour"), 422), (draft(price="-1"), 422), (draft(price="NaN"), 422),
        (draft(price="1e300"), 422), (draft(unit_size=0), 422), (draft(initial=-1), 422), (draft(price="0.0000001"), 422),
        (draft() | {"from": "2026-12-02T00:00:00Z"}, 422), (draft() | {"until": "2026-12-02T00:00:00Z"}, 422),
    ],
    ids=str,
)  # fmt: skip
def test_a_rehearsal_that_makes_no_sense(
    admin: Api, changed: dict[str, Any], status: int, service: Callable[..., Any]
) -> None:
    service("load_catalog", catalog=catalog.read("ai_services"))
    code = {404: "not_found", 422: "invalid_request"}[status]
    problem(admin.post("admin/rehearsal", DRAFT | changed), status, code)


def test_a_rehearsal_is_for_staff(holder: Api) -> None:
    problem(holder.post("admin/rehearsal", DRAFT), 403, "not_allowed")


@pytest.mark.parametrize(
    "cost",
    [{"cost_cents": "-1"}, {"cost_cents": "NaN"}, {"cost_cents": "1e300"}, {"cost_cents": None}, {"unit_size": 0},
     {"unit_size": -60}, {"effective_from": "soon"}],
    ids=str,
)  # fmt: skip
def test_a_cost_that_makes_no_sense(admin: Api, cost: dict[str, Any]) -> None:
    problem(
        admin.post("admin/provider-cost", {"operation": "call", "cost_cents": "1"} | cost),
        422,
        "invalid_request",
    )


def test_a_cost_of_nothing_there_is(admin: Api) -> None:
    problem(admin.post("admin/provider-cost", {"operation": "nope", "cost_cents": 1}), 404, "not_found")
