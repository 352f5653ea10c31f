"""Refunds (A8): at most what is left of the purchase at its cost, the bonus in proportion, a second person above a limit (I2)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from credits_core import errors
from credits_core.units import parse_credits as micros
from tests.sql.conftest import Call, Clock, Person, Rows, new_key, refused


@pytest.fixture
def anna(holder: Callable[..., Person], catalog: Call) -> Person:
    catalog("metered_plan")  # 500 credits for $20, 10,000 for $250
    return holder()


@pytest.fixture
def refund(service: Call) -> Callable[..., Any]:
    def request(bought: dict[str, Any], **terms: object) -> Any:
        more = {"reason": "asked for it", "idempotency_key": new_key("refund")} | terms
        return service("request_refund", purchase_id=bought["purchase_id"], **more)

    return request


@pytest.fixture
def settle(service: Call) -> Callable[..., Any]:
    """Send what is approved and answer for Stripe."""

    def run(status: str = "succeeded") -> list[Any]:
        items = service("claim_refunds")["items"]
        return [
            service(
                "record_refund", refund_id=one["refund_id"], stripe_refund_id=new_key("re"), status=status
            )
            for one in items
        ]

    return run


def test_a_part_takes_its_credits_and_the_rest_is_capped(
    anna: Person, buy: Call, refund: Call, settle: Call, service: Call
) -> None:
    """500 credits for $20, 125 spent: $5 takes 125; of the other $15 only $10 are left, and the preview says why."""
    bought = buy(anna, "small")
    anna.use("api_request", 125)
    first = refund(bought, amount_cents=500)
    assert (first["credits_micros"], first["status"]) == (micros("125"), "approved")
    assert anna.available == micros("250")  # gone before Stripe is asked: nobody spends them meanwhile
    assert [r["status"] for r in settle()] == ["succeeded"]
    preview = service("refund_preview", purchase_id=bought["purchase_id"], amount_cents=1500)
    assert (preview["allowed"], preview["max_cents"]) == (False, 1000)
    assert "spent" in preview["reason"]
    no = refused(lambda: refund(bought, amount_cents=1500))
    assert isinstance(no, errors.InsufficientCredits)
    assert no.detail == {"max_cents": 1000, "amount_cents": 1500}
    assert refund(bought)["amount_cents"] == 1000  # all that is left
    assert anna.available == 0
    assert isinstance(refused(lambda: refund(bought, amount_cents=1)), errors.Conflict)


def test_by_credits_and_with_the_bonus_in_proportion(
    holder: Callable[..., Person], catalog: Call, buy: Call, refund: Call, service: Call
) -> None:
    """500 + 50 bonus for $45: 100 credits are $9 and take 10 of the bonus; a spent bonus shows as a shortfall."""
    catalog("recruitment")
    anna = holder()
    bought = buy(anna, "professional")
    preview = service("refund_preview", purchase_id=bought["purchase_id"], credits_micros=micros("100"))
    assert (preview["amount_cents"], preview["bonus_micros"]) == (900, micros("10"))
    anna.use("message", 450)  # 45 credits: promotional first
    preview = service("refund_preview", purchase_id=bought["purchase_id"])
    assert preview["amount_cents"] == 4500
    assert (preview["bonus_micros"], preview["bonus_short_micros"]) == (micros("5"), micros("45"))
    refund(bought)
    assert anna.available == 0


def test_a_refund_that_stripe_refuses_gives_the_very_credits_back_once(
    anna: Person, buy: Call, refund: Call, settle: Call, service: Call, grants: Call
) -> None:
    bought = buy(anna, "small")
    before = grants(anna)
    asked = refund(bought, amount_cents=500)
    (failed,) = settle("failed")
    assert failed["status"] == "failed"
    assert grants(anna) == before
    for _ in range(2):
        service("record_refund", refund_id=asked["refund_id"], stripe_refund_id="re_x", status="failed")
    assert anna.available == micros("500")


def test_above_the_limit_a_second_administrator_decides(
    anna: Person, person: Callable[..., Person], buy: Call, settle: Call
) -> None:
    """I2: nothing moves until another person approves; nobody approves the own request; what is left is worked out again."""
    bought = buy(anna, "maximum")
    first, second = person("admin"), person("admin")
    asked = first.call(
        "request_refund",
        purchase_id=bought["purchase_id"],
        amount_cents=25000,
        reason="wrong plan",
        idempotency_key="r",
    )
    assert asked["status"] == "requested"
    assert anna.available == micros("10000")
    assert settle() == []
    no = refused(lambda: first.call("decide_refund", refund_id=asked["refund_id"], approve=True))
    assert isinstance(no, errors.NotAllowed)
    anna.use("api_request", 1)
    no = refused(lambda: second.call("decide_refund", refund_id=asked["refund_id"], approve=True))
    assert isinstance(no, errors.InsufficientCredits)
    done = second.call("decide_refund", refund_id=asked["refund_id"], approve=False, reason="already in use")
    assert done["status"] == "rejected"
    no = refused(lambda: second.call("decide_refund", refund_id=asked["refund_id"], approve=True))
    assert isinstance(no, errors.Conflict)


def test_many_small_refunds_do_not_lead_around_the_second_administrator(
    anna: Person, person: Callable[..., Person], buy: Call, clock: Clock
) -> None:
    """I2, A8: what one administrator gives back to one account within a day adds up, whichever purchases it is of."""
    admin, other = person("admin"), person("admin")
    bought = [buy(anna, "power")["purchase_id"] for _ in range(2)]  # 5,000 credits for $150

    def ask(who: Person, purchase: int, amount_cents: int) -> Any:
        preview = who.call("refund_preview", purchase_id=bought[purchase], amount_cents=amount_cents)
        asked = who.call(
            "request_refund", purchase_id=bought[purchase], reason="in parts", amount_cents=amount_cents,
            idempotency_key=new_key("part"),
        )  # fmt: skip
        assert preview["needs_approval"] is (asked["status"] == "requested")
        return asked

    assert ask(admin, 0, 6000)["status"] == "approved"
    assert ask(admin, 1, 3999)["status"] == "approved"
    waits = ask(admin, 1, 1)
    assert waits["status"] == "requested"
    assert ask(other, 1, 6000)["status"] == "approved"  # each for themselves
    assert other.call("decide_refund", refund_id=waits["refund_id"], approve=True)["status"] == "approved"
    clock.advance(hours=25)
    assert ask(admin, 0, 5000)["status"] == "approved"


def test_the_same_key_is_one_refund_and_two_at_once_take_no_more_than_there_is(
    anna: Person, buy: Call, refund: Call
) -> None:
    bought = buy(anna, "small")
    one = refund(bought, amount_cents=500, idempotency_key="same")
    two = refund(bought, amount_cents=500, idempotency_key="same")
    assert (one["refund_id"], two["replayed"]) == (two["refund_id"], True)
    no = refused(lambda: refund(bought, amount_cents=600, idempotency_key="same"))
    assert isinstance(no, errors.IdempotencyKeyReused)

    def attempt(_: int) -> bool:
        try:
            return bool(refund(bought, amount_cents=1000))
        except errors.CreditsError:
            return False

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(attempt, range(4))) == 1
    assert anna.available == micros("125")


def test_who_may_not(
    anna: Person, person: Callable[..., Person], buy: Call, owner_sql: Callable[..., Rows]
) -> None:
    bought = buy(anna, "small")
    for somebody in (anna, person("finance")):
        no = refused(
            lambda somebody=somebody: somebody.call(  # type: ignore[misc]
                "request_refund", purchase_id=bought["purchase_id"], reason="me", idempotency_key="k"
            )
        )
        assert isinstance(no, errors.NotAllowed)
    assert owner_sql("select * from credits.refunds") == []
