"""Figures for finance (H6): money by month, cohorts, the checkout funnel; each compared with what happened by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.sql.conftest import Call, Clock, Person, new_key, refused


@pytest.fixture
def figures(service: Call) -> Callable[..., Any]:
    return lambda function, **more: service(function, livemode=False, **more)


def cells(rows: list[dict[str, Any]], *fields: str) -> list[tuple[Any, ...]]:
    return [tuple(row[field] for field in fields) for row in rows]


@pytest.fixture
def autumn(clock: Clock, holder: Callable[..., Person], buy: Call, service: Call) -> dict[str, Person]:
    """September: Anna $10 and $20, Ben $10. October: Anna $50 (all refunded in November), Carla $10 late on the 31st (UTC).
    November: Ben $100."""
    people = {name: holder() for name in ("anna", "ben", "carla")}
    september, october, november = (datetime(2027, month, 10, 12, tzinfo=UTC) for month in (9, 10, 11))
    clock.set(september)
    buy(people["anna"], "usd_10")
    buy(people["anna"], "usd_20")
    buy(people["ben"], "usd_10")
    clock.set(october)
    big = buy(people["anna"], "usd_50")
    clock.set(datetime(2027, 10, 31, 23, 30, tzinfo=UTC))
    buy(people["carla"], "usd_10")
    clock.set(november)
    buy(people["ben"], "usd_100")
    refund = service(
        "request_refund", purchase_id=big["purchase_id"], reason="asked", idempotency_key=new_key()
    )
    service("claim_refunds")
    service("record_refund", refund_id=refund["refund_id"], stripe_refund_id="re_1", status="succeeded")
    return people


def test_money_by_month(autumn: dict[str, Person], figures: Call) -> None:
    found = figures("revenue_by_month", months=3)["rows"]
    assert cells(found, "month", "sales_cents", "refunds_cents", "net_cents", "buyers", "new_buyers") == [
        ("2027-09-01", 4000, 0, 4000, 2, 2),
        ("2027-10-01", 6000, 0, 6000, 2, 1),
        ("2027-11-01", 10000, 5000, 5000, 1, 0),
    ]
    assert [row["per_buyer_cents"] for row in found] == [2000, 3000, 5000]
    assert {row["currency"] for row in found} == {"usd"}


def test_months_are_the_viewers(autumn: dict[str, Person], figures: Call) -> None:
    """Carla bought on November 1 by the clocks of Tokyo."""
    found = figures("revenue_by_month", months=2, time_zone="Asia/Tokyo")["rows"]
    assert cells(found, "month", "sales_cents", "new_buyers") == [
        ("2027-10-01", 5000, 0),
        ("2027-11-01", 11000, 1),
    ]


def test_cohorts_tell_who_buys_again(autumn: dict[str, Person], figures: Call) -> None:
    found = figures("cohorts")["rows"]
    assert cells(
        found, "cohort", "accounts", "months_later", "buyers", "sales_cents", "retention_percent"
    ) == [
        ("2027-09-01", 2, 0, 2, 4000, 100),
        ("2027-09-01", 2, 1, 1, 5000, 50),
        ("2027-09-01", 2, 2, 1, 10000, 50),
        ("2027-10-01", 1, 0, 1, 1000, 100),
    ]


def test_the_funnel_counts_every_purchase_once(
    clock: Clock, holder: Callable[..., Person], buy: Call, service: Call, figures: Call
) -> None:
    anna = holder()
    for _ in range(3):
        buy(anna, "usd_10")
    begun = [
        service(
            "create_purchase",
            account_id=anna.account_id,
            package="usd_20",
            livemode=False,
            idempotency_key=new_key(),
        )
        for _ in range(4)
    ]
    service("open_purchase", purchase_id=begun[0]["purchase_id"], session_id="cs_test_open")
    service("fail_purchase", purchase_id=begun[1]["purchase_id"], status="expired", reason="Nobody paid.")
    service(
        "fail_purchase", purchase_id=begun[2]["purchase_id"], status="failed", reason="insufficient_funds"
    )
    found = figures("checkout_funnel")
    counted = [found[step] for step in ("waiting", "processing", "expired", "failed", "review", "paid")]
    assert counted == [2, 0, 1, 1, 0, 3]
    assert found["begun"] == sum(counted)
    assert found["paid_percent"] == 42.9
    assert cells(found["packages"], "package", "begun", "paid") == [("usd_20", 4, 0), ("usd_10", 3, 3)]
    assert cells(found["failures"], "reason", "count") == [("Nobody paid.", 1), ("insufficient_funds", 1)]
    clock.advance(days=60)
    assert figures("checkout_funnel")["begun"] == 0


def test_live_and_test_sales_are_never_in_one_answer(autumn: dict[str, Person], service: Call) -> None:
    assert service("revenue_by_month", livemode=True)["rows"] == []
    assert service("cohorts", livemode=True)["rows"] == []
    assert service("checkout_funnel", livemode=True)["begun"] == 0


@pytest.mark.parametrize("function", ["revenue_by_month", "cohorts", "checkout_funnel"])
def test_holders_are_refused(
    function: str, holder: Callable[..., Person], person: Callable[..., Person]
) -> None:
    assert refused(lambda: holder().call(function, livemode=False)).code == "not_allowed"
    assert person("finance").call(function, livemode=False)


@pytest.mark.parametrize("months", [0, 37, -1])
def test_months_have_bounds(months: int, figures: Call) -> None:
    for function in ("revenue_by_month", "cohorts"):
        assert "between 1 and 36" in refused(lambda f=function: figures(f, months=months)).message  # type: ignore[misc]
