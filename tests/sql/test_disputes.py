"""Disputes and refunds made at Stripe (A9): totals are read again, only the difference is written, debts are recovered first."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from credits_core import errors
from credits_core.units import parse_credits as micros
from tests.sql.conftest import Call, Person, Rows, new_key, refused


@pytest.fixture
def anna(holder: Callable[..., Person], catalog: Call) -> Person:
    catalog("metered_plan")
    return holder()


@pytest.fixture
def converge(service: Call) -> Callable[..., Any]:
    def totals(bought: dict[str, Any], *, refunds: list[Any] = (), disputes: list[Any] = ()) -> Any:  # type: ignore[assignment]
        return service(
            "converge_purchase",
            purchase_id=bought["purchase_id"],
            totals={"refunds": list(refunds), "disputes": list(disputes)},
        )

    return totals


def dispute(status: str, amount_cents: int = 2000, name: str = "dp_1") -> dict[str, Any]:
    return {"id": name, "amount_cents": amount_cents, "status": status, "reason": "fraudulent"}


def made_at_stripe(name: str, amount_cents: int, status: str = "succeeded") -> dict[str, Any]:
    return {"id": name, "amount_cents": amount_cents, "status": status, "refund_id": None}


def test_a_dispute_after_spending_leaves_a_debt_that_the_next_purchase_pays_first(
    anna: Person, buy: Call, converge: Call
) -> None:
    bought = buy(anna, "small")
    anna.use("api_request", 400)
    converge(bought, disputes=[dispute("needs_response")])
    balance = anna.balance
    assert (balance["available_micros"], balance["debt_micros"]) == (-micros("400"), micros("400"))
    assert isinstance(refused(lambda: anna.use("api_request", 1)), errors.InsufficientCredits)
    buy(anna, "small")
    assert (anna.available, anna.balance["debt_micros"]) == (micros("100"), 0)


def test_a_won_dispute_gives_the_very_grants_back(
    anna: Person, buy: Call, converge: Call, grants: Call
) -> None:
    bought = buy(anna, "small")
    anna.use("api_request", 400)
    before = [(g["id"], g["remaining_micros"]) for g in grants(anna)]
    converge(bought, disputes=[dispute("needs_response")])
    later = buy(anna, "small")
    converge(bought, disputes=[dispute("won")])
    after = {g["id"]: (g["remaining_micros"], g["purchase_id"]) for g in grants(anna)}
    assert [(i, after[i][0]) for i, _ in before] == before
    assert [left for left, purchase in after.values() if purchase == later["purchase_id"]] == [micros("500")]
    assert anna.available == micros("600")


def test_warnings_take_nothing_and_a_lost_dispute_stays_taken(
    anna: Person, buy: Call, converge: Call
) -> None:
    bought = buy(anna, "small")
    converge(bought, disputes=[dispute("warning_needs_response")])
    assert anna.available == micros("500")
    for status in ("needs_response", "under_review", "lost", "lost"):
        converge(bought, disputes=[dispute(status)])
        assert anna.available == 0


def test_what_is_disputed_is_not_refunded_too(anna: Person, buy: Call, converge: Call, service: Call) -> None:
    bought = buy(anna, "small")
    converge(bought, disputes=[dispute("under_review")])
    no = refused(
        lambda: service(
            "request_refund", purchase_id=bought["purchase_id"], reason="and this", idempotency_key="k"
        )
    )
    assert isinstance(no, errors.Conflict)
    assert "disputed" in no.message


def test_a_refund_made_in_stripes_dashboard_is_forced(anna: Person, buy: Call, converge: Call) -> None:
    bought = buy(anna, "small")
    anna.use("api_request", 450)
    converge(bought, refunds=[made_at_stripe("re_1", 1000)])
    assert anna.balance["debt_micros"] == micros("200")
    converge(bought, refunds=[made_at_stripe("re_1", 1000)])
    assert anna.balance["debt_micros"] == micros("200")
    converge(bought, refunds=[made_at_stripe("re_1", 1000, "failed")])
    assert (anna.available, anna.balance["debt_micros"]) == (micros("50"), 0)


@pytest.mark.parametrize("seed", range(8))
def test_any_order_and_number_ends_where_stripe_is(
    seed: int, anna: Person, buy: Call, converge: Call, owner_sql: Callable[..., Rows]
) -> None:
    """Deliveries in any order are looks at the same totals: the last one decides, every reversal is exact. What the bank has
    decided is not undone by an older look."""
    chance = random.Random(seed)
    bought = buy(anna, "small")
    anna.use("api_request", chance.randint(0, 500), new_key())
    spent = micros("500") - anna.available
    status = "needs_response"
    for _ in range(12):
        look = chance.choice(["needs_response", "under_review", "won", "lost", "warning_closed"])
        decided = status in ("won", "lost") and look not in ("won", "lost")
        status = status if decided else look
        for _ in range(chance.randint(1, 3)):
            converge(bought, disputes=[dispute(look)], refunds=[made_at_stripe("re_1", 400)])
    taken = micros("500") if status in ("needs_response", "under_review", "lost") else micros("100")
    assert anna.available == micros("500") - spent - taken
    (row,) = owner_sql("select count(*) as n from credits.refunds")
    assert row["n"] == 1


def test_a_look_from_before_the_bank_decided_changes_nothing(anna: Person, buy: Call, converge: Call) -> None:
    """A9: the totals were read before the dispute was won and arrive after it: the credits stay where they are."""
    bought = buy(anna, "small")
    for status in ("needs_response", "won", "under_review", "needs_response"):
        converge(bought, disputes=[dispute(status)])
    assert anna.available == micros("500")


def test_a_dispute_that_was_prevented_does_not_bar_refunds(
    anna: Person, buy: Call, converge: Call, service: Call
) -> None:
    """A8: Stripe calls a dispute prevented when it never became one."""
    bought = buy(anna, "small")
    converge(bought, disputes=[dispute("prevented")])
    assert anna.available == micros("500")
    assert service("refund_preview", purchase_id=bought["purchase_id"])["allowed"] is True
