"""Promotional codes (A12) and volume steps (A14): the price stays ours, limits hold under concurrency, nothing is given twice."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from credits_core import errors
from credits_core.units import parse_credits as micros
from tests.sql.conftest import Call, Clock, Person, new_key, paid, refused


@pytest.fixture
def campaign(service: Call) -> Call:
    def make(code: str, kind: str, amount: object, **more: object) -> Any:
        return service("create_campaign", code=code, name=code, kind=kind, amount=amount, **more)

    return make


@pytest.fixture
def buy_with(service: Call) -> Call:
    """Buy with a code: what is recorded; `pay=False` leaves it open."""

    def run(somebody: Person, code: str | None, package: str = "usd_10", pay: bool = True) -> Any:
        made = somebody.call(
            "create_purchase", idempotency_key=new_key(), livemode=False, package=package, promo_code=code
        )
        opened = service("open_purchase", purchase_id=made["purchase_id"], session_id=new_key("cs_test"))
        return service("fulfill_purchase", session=paid(opened)) if pay else opened

    return run


@pytest.mark.parametrize(
    ("kind", "amount", "price_cents", "credits"),
    [
        ("bonus_percent", 20, 1000, "12"),
        ("bonus_credits", "2.5", 1000, "12.5"),
        ("discount_percent", 25, 750, "10"),
        ("discount_cents", 199, 801, "10"),
    ],
)
def test_what_a_code_does(
    kind: str, amount: object, price_cents: int, credits: str, holder: Callable[..., Person], campaign: Call, buy_with: Call,
    grants: Call,
) -> None:  # fmt: skip
    anna = holder()
    campaign("WELCOME", kind, amount)
    quote = anna.call("purchase_quote", package="usd_10", promo_code=" welcome ")
    assert (quote["price_cents"], quote["list_price_cents"]) == (price_cents, 1000)
    bought = buy_with(anna, "welcome")
    assert (bought["status"], bought["price_cents"]) == ("credited", price_cents)
    assert anna.available == micros(credits)
    assert sum(grant["cost_cents"] for grant in grants(anna)) == price_cents
    bonus = [grant["source"] for grant in grants(anna) if grant["is_promotional"]]
    assert bonus == (["promotion"] if kind.startswith("bonus") else [])


def test_a_code_counts_once_it_is_paid_and_is_free_again_when_the_checkout_ends(
    holder: Callable[..., Person], campaign: Call, buy_with: Call, service: Call
) -> None:
    anna = holder()
    campaign("ONCE", "bonus_percent", 10)
    waiting = buy_with(anna, "ONCE", pay=False)
    assert isinstance(refused(lambda: buy_with(anna, "ONCE")), errors.Conflict)
    service("fail_purchase", purchase_id=waiting["purchase_id"], status="expired")
    assert buy_with(anna, "ONCE")["status"] == "credited"
    # The first page was paid after all: the money came, so its credits come too, with the bonus it showed.
    assert service("fulfill_purchase", session=paid(waiting))["status"] == "credited"
    (row,) = service("campaigns")["items"]
    assert (row["redeemed"], row["reserved"]) == (2, 0)
    assert isinstance(refused(lambda: buy_with(anna, "ONCE")), errors.Conflict)


def test_limits_hold_for_many_at_once(holder: Callable[..., Person], campaign: Call, buy_with: Call) -> None:
    people = [holder() for _ in range(8)]
    campaign("FIVE", "bonus_percent", 10, max_redemptions=5)

    def attempt(somebody: Person) -> bool:
        try:
            return bool(buy_with(somebody, "FIVE")["newly_credited"])
        except errors.Conflict:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, people)) == 5


def test_there_is_one_first_purchase(
    holder: Callable[..., Person], campaign: Call, buy_with: Call, service: Call
) -> None:
    """A12: two codes for a first purchase are not both used by opening two payment pages before paying, nor at the same moment."""
    campaign("HELLO", "discount_percent", 50, first_purchase_only=True, max_per_account=5)
    campaign("WELCOME", "bonus_percent", 50, first_purchase_only=True)
    for people in ([holder()] * 2, [holder()] * 2):
        codes = iter(["HELLO", "WELCOME"])

        def attempt(somebody: Person) -> bool:
            try:
                return bool(buy_with(somebody, next(codes), pay=False))  # noqa: B023
            except errors.Conflict:
                return False

        with ThreadPoolExecutor(2) as pool:
            assert sum(pool.map(attempt, people)) == 1
    anna = holder()
    first = buy_with(anna, "HELLO", pay=False)
    assert isinstance(refused(lambda: buy_with(anna, "HELLO")), errors.Conflict)
    service("fail_purchase", purchase_id=first["purchase_id"], status="expired")
    assert buy_with(anna, "WELCOME")["status"] == "credited"


def test_a_quote_does_not_count_ones_own_open_page(
    holder: Callable[..., Person], campaign: Call, buy_with: Call
) -> None:
    """A12: who came back from the payment page without paying still sees the price with the code."""
    anna, ben = holder(), holder()
    campaign("ONE", "discount_percent", 50, max_redemptions=1)
    held = buy_with(anna, "ONE", pay=False)
    assert anna.call("purchase_quote", package="usd_10", promo_code="ONE")["price_cents"] == 500
    assert isinstance(
        refused(lambda: ben.call("purchase_quote", package="usd_10", promo_code="ONE")), errors.Conflict
    )
    no = refused(lambda: buy_with(anna, "ONE"))
    assert no.detail == {"pending": held["purchase_id"]}
    assert refused(lambda: buy_with(ben, "ONE")).detail == {}


def test_who_when_and_for_what(
    holder: Callable[..., Person], campaign: Call, buy_with: Call, clock: Clock, service: Call
) -> None:
    anna, ben = holder(), holder()
    campaign("ANNA", "bonus_percent", 10, account_id=anna.account_id)
    campaign("FIRST", "bonus_percent", 10, first_purchase_only=True, max_per_account=9)
    campaign("BIG", "bonus_percent", 10, packages=["usd_100"])
    campaign("SOON", "bonus_percent", 10, starts_at="2027-01-05T00:00:00Z", ends_at="2027-01-06T00:00:00Z")
    campaign("HUGE", "discount_percent", 99)
    assert isinstance(
        refused(lambda: buy_with(ben, "ANNA")), errors.NotFound
    )  # nothing is told of other people's codes
    assert isinstance(refused(lambda: buy_with(ben, "NOSUCH")), errors.NotFound)
    assert buy_with(ben, "FIRST")["status"] == "credited"
    for code in ("FIRST", "BIG", "SOON", "HUGE"):
        assert isinstance(refused(lambda code=code: buy_with(ben, code)), errors.Conflict)  # type: ignore[misc]
    clock.advance(days=1)
    assert buy_with(ben, "SOON")["status"] == "credited"
    clock.advance(days=1)
    assert isinstance(refused(lambda: buy_with(anna, "SOON")), errors.Conflict)
    service("switch_campaign", code="anna", on=False)
    assert isinstance(refused(lambda: buy_with(anna, "ANNA")), errors.NotFound)


def test_the_same_key_with_another_code_is_another_request(
    holder: Callable[..., Person], campaign: Call
) -> None:
    anna = holder()
    campaign("A10", "bonus_percent", 10)
    one = {"idempotency_key": "k", "livemode": False, "package": "usd_10"}
    first = anna.call("create_purchase", **one, promo_code="a10")
    again = anna.call("create_purchase", **one, promo_code="A10")
    assert (again["purchase_id"], again["replayed"]) == (first["purchase_id"], True)
    assert isinstance(refused(lambda: anna.call("create_purchase", **one)), errors.IdempotencyKeyReused)


def test_campaigns_are_for_administrators(person: Callable[..., Person], campaign: Call) -> None:
    terms = {"code": "X10", "name": "x", "kind": "bonus_percent", "amount": 10}
    for role in ("holder", "finance"):
        assert isinstance(
            refused(lambda role=role: person(role).call("create_campaign", **terms)), errors.NotAllowed
        )  # type: ignore[misc]
    admin = person("admin")
    admin.call("create_campaign", **terms)
    assert isinstance(refused(lambda: admin.call("create_campaign", **terms)), errors.Conflict)
    for wrong in ({"amount": 101}, {"amount": 0}, {"code": "a b"}, {"kind": "gift"}):
        bad = terms | {"code": "Y10"} | wrong
        assert isinstance(
            refused(lambda bad=bad: admin.call("create_campaign", **bad)), errors.InvalidRequest
        )  # type: ignore[misc]


def test_volume_steps_give_a_bonus_on_custom_amounts(holder: Callable[..., Person], service: Call) -> None:
    """A14: from $50 on 5 %, from $100 on 10 %: the highest step that the amount reaches."""
    steps = [{"min_cents": 5000, "bonus_percent": 5}, {"min_cents": 10000, "bonus_percent": 10}]
    custom = {"min_cents": 500, "max_cents": 100000, "micros_per_cent": 10000, "volume_steps": steps}
    shop = {
        "code": "steps",
        "name": "Steps",
        "currency": "usd",
        "custom": custom,
        "packages": [],
        "operations": [],
    }
    service("load_catalog", catalog=shop)
    anna = holder()
    bonuses = [
        anna.call("purchase_quote", amount_cents=cents)["bonus_micros"]
        for cents in (4999, 5000, 9999, 10000, 20000)
    ]
    assert bonuses == [0, micros("2.5"), 4_999_500, micros("10"), micros("20")]
