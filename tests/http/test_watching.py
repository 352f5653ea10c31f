"""What the account's pages show, over HTTP: overview, grants, forecast (G6), usage report (G1), live calls (D4), what
auto-reload terms would do (A10)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from credits_core import catalog
from tests.http.answers import Answers
from tests.http.conftest import FINANCE, HOLDER, Api, problem

TERMS = {"threshold": "5.00", "target": "25.00", "cap_day_cents": 5000, "cap_month_cents": 20000}
READS = ("account", "account/overview", "usage/forecast", "usage/report", "calls/live")


def about_watching(holder: Api) -> Answers:
    """One good answer of every endpoint about what a holder watches; a call runs."""
    holder.post("calls", {})
    return {
        **{("GET", f"/credits/{path}"): holder.get(path) for path in READS},
        ("POST", "/credits/auto-reload/preview"): holder.post("auto-reload/preview", TERMS),
    }


@pytest.fixture
def move(owner_sql: Callable[..., Any]) -> Callable[[datetime], None]:
    """`move(moment)`: what the database takes for now."""

    def to(moment: datetime) -> None:
        owner_sql(
            "create or replace function credits._now() returns timestamptz language sql volatile set search_path = ''"
            f" as $$ select timestamptz '{moment.isoformat()}' $$"
        )

    return to


MONDAY = datetime(2026, 11, 9, 23, 30, tzinfo=UTC)


@pytest.fixture
def used(
    holder: Api, give: Callable[..., Any], move: Callable[[datetime], None], service: Callable[..., Any]
) -> None:
    """Each Monday, 23:30 UTC: 1 SMS on 26 October, 2 on 2 November, 4 on the 9th; a call of 2.00 an hour after the last."""
    service("load_catalog", catalog=catalog.read("ai_services"))
    move(MONDAY - timedelta(days=20))
    give("100.00")
    for weeks, count in ((2, 1), (1, 2), (0, 4)):
        move(MONDAY - timedelta(weeks=weeks))
        for _ in range(count):
            holder.post("use", {"operation": "sms", "quantity": 1})
    move(MONDAY + timedelta(hours=1))
    holder.post("use", {"operation": "voice_call", "quantity": 90})


@pytest.mark.parametrize(
    ("query", "charged", "before"),
    [
        ({"from": "2026-11-09", "to": "2026-11-10"}, ["4.00", "2.00"], "0.00"),
        ({"from": "2026-11-09", "to": "2026-11-10", "time_zone": "Europe/Berlin"}, ["0.00", "6.00"], "0.00"),
        ({"from": "2026-11-02", "to": "2026-11-15", "unit": "week"}, ["2.00", "6.00"], "1.00"),
        ({"from": "2026-10-20", "to": "2026-11-15", "unit": "month"}, ["1.00", "8.00"], "0.00"),
        ({"from": "2026-11-09", "to": "2026-11-15", "unit": "week", "operation": "sms"}, ["4.00"], "2.00"),
    ],
    ids=str,
)
def test_a_report_is_cut_as_asked_and_adds_up(
    used: None, holder: Api, query: dict[str, str], charged: list[str], before: str
) -> None:
    """G1, H1: by day, week or month, by operation, in the viewer's zone, against the same number of days before."""
    found = holder.get("usage/report", **query).json()
    assert ([bucket["charged"] for bucket in found["buckets"]], found["before"]) == (charged, before)
    for part in ("buckets", "operations", "rows"):
        assert sum(row["charged_micros"] for row in found[part]) == found["total_micros"]
        assert sum(row["before_micros"] for row in found[part]) == found["before_micros"]


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("usage/report", {"unit": "hour"}, 422),
        ("usage/report", {"operation": "no_such_thing"}, 404),
        ("usage/report", {"operation": ""}, 422),
        ("usage/report", {"time_zone": "Mars/Base"}, 422),
        ("usage/report", {"from": "2026-11-10", "to": "2026-11-09"}, 422),
        ("usage/report", {"from": "2020-01-01", "to": "2026-01-01"}, 422),
        ("usage/forecast", {"time_zone": "'; --"}, 422),
        ("account/overview", {"days": 1}, 422),
        ("account/overview", {"days": 367}, 422),
        ("account", {"account": 10**12}, 403),  # a holder is not told which accounts there are
        ("calls/live", {"account": "nobody@example.test"}, 403),
    ],
    ids=str,
)
def test_asked_for_wrongly(holder: Api, path: str, query: dict[str, Any], status: int) -> None:
    code = {422: "invalid_request", 403: "not_allowed", 404: "not_found"}[status]
    problem(holder.get(path, **query), status, code)


def test_one_sees_ones_own_account_staff_every_one_nobody_none(
    used: None, holder: Api, admin: Api, api: Callable[[str | None], Api]
) -> None:
    """K1: an account that is named is somebody else's until the database says otherwise."""
    theirs = admin.get("me").json()["account_id"]
    for path in READS:
        problem(api(None).get(path), 401, "not_signed_in")
        problem(holder.get(path, account=theirs), 403, "not_allowed")
        mine, seen = holder.get(path).json(), api(FINANCE).get(path, account=HOLDER).json()
        assert mine["account_id"] == seen["account_id"] != theirs
    assert problem(api(None).post("auto-reload/preview", TERMS), 401, "not_signed_in")
    assert problem(holder.post("auto-reload/preview", TERMS | {"account": theirs}), 403, "not_allowed")


def test_an_account_says_what_it_has_and_until_when(holder: Api, give: Callable[..., Any]) -> None:
    """G3: its grants with what is left of each add up to the balance."""
    give("2.00")
    give("3.00")
    holder.post("use", {"operation": "call", "quantity": 60})
    found = holder.get("account").json()
    assert found["email"] == HOLDER and found["balance"]["posted"] == "4.85"
    assert [grant["remaining"] for grant in found["grants"]] == ["1.85", "3.00"]
    overview = holder.get("account/overview", days=7, time_zone="Asia/Tokyo").json()
    assert (overview["balance"]["available"], overview["month"]["spent"]) == ("4.85", "0.15")
    assert len(overview["days"]) == 7 and overview["level"] in ("ok", "low")


def test_an_account_without_use_has_a_forecast_that_says_so(holder: Api, give: Callable[..., Any]) -> None:
    """G6: no date is made up."""
    give("5.00")
    found = holder.get("usage/forecast").json()
    assert (found["reason"], found["date"], found["past"]) == ("no_use", None, None)
    assert len(found["path"]) == 60 and found["path"][-1]["expected"] == "5.00"


def test_a_forecast_is_that_of_the_page(used: None, holder: Api) -> None:
    """G6: the expected day lies between the soonest and the latest."""
    found = holder.get("usage/forecast", time_zone="Europe/Berlin").json()
    assert found["available"] == "91.00" and found["daily_micros"] > 0
    days = [found[name] for name in ("soonest_date", "date", "latest_date")]
    assert [day for day in days if day] == sorted(day for day in days if day)


def test_live_calls_are_those_that_run(holder: Api, give: Callable[..., Any]) -> None:
    """D4: watching holds and writes nothing; a call that ended is gone."""
    assert holder.get("calls/live").json()["items"] == []
    give("1.00")
    first, second = (holder.post("calls", {}).json()["call_id"] for _ in range(2))
    held = holder.get("balance").json()["held"]
    for _ in range(2):
        found = holder.get("calls/live").json()
        assert [call["call_id"] for call in found["items"]] == [second, first]
        assert (found["running"], found["held"]) == (2, held)
        assert all(call["remaining_seconds"] > 0 for call in found["items"])
    holder.post(f"calls/{second}/end")
    assert [call["call_id"] for call in holder.get("calls/live").json()["items"]] == [first]


def test_terms_of_auto_reload_are_tried_before_they_are_agreed_to(
    holder: Api, give: Callable[..., Any]
) -> None:
    """A10: what a reload costs and what comes next; terms that make no sense say why. Nothing is agreed to by asking."""
    give("4.00")
    due = holder.post("auto-reload/preview", TERMS).json()
    assert (due["refusal"], due["status"]) == (None, "due")
    assert (due["one_reload_cents"], due["amount_cents"]) == (2000, 2100)
    give("4.00")
    assert holder.post("auto-reload/preview", TERMS).json()["status"] == "idle"
    refused = holder.post("auto-reload/preview", TERMS | {"cap_day_cents": 100}).json()
    assert refused["refusal"].endswith(".") and refused["one_reload_cents"] == 2000
    assert holder.post("auto-reload/preview", TERMS | {"target": "1"}).json()["refusal"]
    assert holder.get("auto-reload").json()["state"] == "off"
    for wrong in (
        {"threshold": "many"},
        {"cap_day_cents": 0},
        {"cap_day_cents": "x"},
        {"consent_text": "yes"},
    ):
        assert problem(holder.post("auto-reload/preview", TERMS | wrong), 422, "invalid_request")
