"""Usage by day, week or month against the period before (G1, H1): every way to cut a range adds up to the same."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from credits_core.units import parse_credits as micros
from tests.sql.conftest import Call, Clock, Person, refused

MINUTE = micros("0.15")


@pytest.fixture
def anna(holder: Callable[..., Person], clock: Clock) -> Person:
    """Somebody with many credits, in the middle of 2027."""
    clock.set(datetime(2027, 6, 30, 12, tzinfo=UTC))
    return holder("500.00")


def report(somebody: Person, first: str, last: str, **more: object) -> dict[str, Any]:
    return dict(somebody.call("usage_report", **{"from": first, "to": last}, **more))


def test_weeks_and_months_are_cut_at_their_first_days_and_at_the_range(anna: Person) -> None:
    """H1: Wednesday 5 May to Saturday 5 June: five weeks, two months, 32 days."""
    for day in range(32):
        at = datetime(2027, 5, 5, 12, tzinfo=UTC) + timedelta(days=day)
        anna.use("call", 60, occurred_at=at)
    told = {unit: report(anna, "2027-05-05", "2027-06-05", unit=unit) for unit in ("day", "week", "month")}
    assert [len(told[unit]["buckets"]) for unit in told] == [32, 5, 2]
    assert [(b["start"], b["end"], b["charged_micros"] // MINUTE) for b in told["week"]["buckets"]] == [
        ("2027-05-05", "2027-05-09", 5),
        ("2027-05-10", "2027-05-16", 7),
        ("2027-05-17", "2027-05-23", 7),
        ("2027-05-24", "2027-05-30", 7),
        ("2027-05-31", "2027-06-05", 6),
    ]
    assert [(b["start"], b["end"], b["events"]) for b in told["month"]["buckets"]] == [
        ("2027-05-05", "2027-05-31", 27), ("2027-06-01", "2027-06-05", 5),
    ]  # fmt: skip
    for unit in told.values():
        assert sum(b["charged_micros"] for b in unit["buckets"]) == unit["total_micros"] == 32 * MINUTE
        assert sum(row["charged_micros"] for row in unit["rows"]) == unit["total_micros"]


@pytest.mark.parametrize("unit", ["day", "week", "month"])
def test_a_clock_change_loses_and_doubles_nothing(anna: Person, unit: str) -> None:
    """H1: a call each half hour around the night of 28 March 2027 in Berlin, whose day has 23 hours."""
    zone = ZoneInfo("Europe/Berlin")
    begin = datetime(2027, 3, 27, tzinfo=zone).astimezone(UTC)
    for half_hours in range(4 * 48):
        anna.use("call", 60, occurred_at=begin + timedelta(minutes=30 * half_hours))
    told = report(anna, "2027-03-27", "2027-03-29", unit=unit, time_zone=zone.key)
    assert told["total_events"] == 48 + 46 + 48
    assert sum(b["charged_micros"] for b in told["buckets"]) == told["total_micros"] == 142 * MINUTE
    if unit == "day":
        assert [b["events"] for b in told["buckets"]] == [48, 46, 48]


def test_the_period_before_lies_under_it_day_by_day(anna: Person) -> None:
    """G1: a week against the one before; the days of both stand in the same place."""
    for day, seconds in ((1, 60), (3, 120), (8, 60), (9, 60)):
        anna.use("call", seconds, occurred_at=datetime(2027, 6, day, 12, tzinfo=UTC))
    told = report(anna, "2027-06-08", "2027-06-14")
    assert (told["before_from"], told["before_to"]) == ("2027-06-01", "2027-06-07")
    assert [b["before_micros"] // MINUTE for b in told["buckets"]] == [1, 0, 2, 0, 0, 0, 0]
    assert [b["charged_micros"] // MINUTE for b in told["buckets"]] == [1, 1, 0, 0, 0, 0, 0]
    assert (told["before_micros"], told["change_percent"]) == (3 * MINUTE, -33.3)
    assert (
        sum(b["before_micros"] for b in report(anna, "2027-06-08", "2027-06-14", unit="month")["buckets"])
        == 3 * MINUTE
    )


def test_operations_with_their_quantities_and_one_of_them_alone(anna: Person, catalog: Call) -> None:
    """H1: seconds, tokens and counts are not mixed; an operation that was only used before is still compared."""
    catalog("ai_services")
    at = datetime(2027, 6, 10, 12, tzinfo=UTC)
    anna.use("voice_call", 90, occurred_at=at)
    anna.use("gpt_3_5", 1500, occurred_at=at)
    anna.use("sms", 1, occurred_at=at - timedelta(days=3))
    told = report(anna, "2027-06-10", "2027-06-12")
    assert [(o["operation"], o["measure"], o["quantity"], o["charged_micros"], o["before_micros"]) for o in told["operations"]] == [
        ("gpt_3_5", "tokens", 1500, micros("3"), 0),
        ("voice_call", "seconds", 90, micros("2"), 0),
        ("sms", "count", 0, 0, micros("1")),
    ]  # fmt: skip
    alone = report(anna, "2027-06-10", "2027-06-12", operation="voice_call")
    assert (alone["total_micros"], len(alone["rows"])) == (micros("2"), 3)


def test_nothing_used_is_zeros_and_no_comparison(anna: Person) -> None:
    told = report(anna, "2027-06-01", "2027-06-03")
    assert [b["charged_micros"] for b in told["buckets"]] == [0, 0, 0]
    assert (told["operations"], told["rows"], told["change_percent"]) == ([], [], None)


def test_what_is_wrong_is_said(anna: Person, holder: Callable[..., Person]) -> None:
    for wrong in (
        {"unit": "year"}, {"unit": "hour"}, {"operation": "teleport"}, {"time_zone": "Mars/Olympus"},
    ):  # fmt: skip
        assert refused(lambda wrong=wrong: report(anna, "2027-06-01", "2027-06-03", **wrong)).code in (
            "invalid_request", "not_found",
        )  # fmt: skip
    assert refused(lambda: report(anna, "2027-06-03", "2027-06-01")).code == "invalid_request"
    assert refused(lambda: report(anna, "2020-06-03", "2027-06-01")).code == "invalid_request"
    assert refused(lambda: report(holder(), "2027-06-01", "2027-06-02", account_id=anna.account_id)).code in (
        "not_allowed", "not_found",
    )  # fmt: skip
