"""Monthly recurring revenue (H6): from the history of the subscriptions, as it was at the end of each month."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tests.sql.conftest import Call, Clock, Person
from tests.sql.test_subscriptions import Subscription, plans, subscribe, wish  # noqa: F401  fixtures

MOVES = ("new_cents", "expansion_cents", "contraction_cents", "churn_cents")


def figures(service: Call, **more: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = service("recurring_revenue", livemode=False, **more)["rows"]
    return rows


def test_what_moved_it_adds_up(
    clock: Clock,
    subscribe: Callable[..., Subscription],  # noqa: F811
    holder: Callable[..., Person],
    service: Call,
) -> None:
    """January: Anna and Ben at $20, Carla at $50. February: Anna goes up to $50, Carla down to $5, Ben ends."""
    anna, ben, carla = (subscribe(holder(), plan) for plan in ("team", "team", "large"))
    assert [(row["month"], row["mrr_cents"], row["subscriptions"]) for row in figures(service)] == [
        ("2027-01-01", 9000, 3)
    ]
    ben.status = "canceled"
    clock.set(ben.ends)
    ben.sync(ended_at=int(ben.ends.timestamp()), cancel_at_period_end=True)
    clock.set(datetime(2027, 2, 10, tzinfo=UTC))
    anna.upgrade("large")
    carla.renew(plan="mini")
    january, february = figures(service)
    assert [january[move] for move in MOVES] == [9000, 0, 0, 0]
    assert [february[move] for move in MOVES] == [0, 3000, -4500, -2000]
    for before, month in [({"mrr_cents": 0}, january), (january, february)]:
        assert month["mrr_cents"] == before["mrr_cents"] + sum(month[move] for move in MOVES)
    assert (february["mrr_cents"], february["subscriptions"]) == (5500, 2)


def test_a_page_nobody_paid_on_is_worth_nothing(
    wish: Callable[..., Subscription],  # noqa: F811
    holder: Callable[..., Person],
    service: Call,
) -> None:
    wish(holder(), "team")
    assert [row["mrr_cents"] for row in figures(service)] in ([], [0])
    assert service("recurring_revenue", livemode=True)["rows"] == []
