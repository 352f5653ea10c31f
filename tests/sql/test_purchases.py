"""Buying: the price is ours (A2), every paid session is credited once whoever looks and how often (A3), no mixing (A15)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from credits_core import errors
from credits_core.units import parse_credits as micros
from tests.sql.conftest import Call, Clock, Person, Rows, new_key, paid, refused

Purchase = dict[str, Any]


@pytest.fixture
def checkout(service: Call) -> Callable[..., Purchase]:
    """`checkout(anna, "usd_10")`: a purchase whose session is open and not paid yet."""

    def open_session(somebody: Person, package: str = "usd_10", **more: object) -> Purchase:
        made = somebody.call(
            "create_purchase", **{"idempotency_key": new_key(), "livemode": False, "package": package} | more
        )
        opened = service("open_purchase", purchase_id=made["purchase_id"], session_id=new_key("cs_test"))
        return dict(opened)

    return open_session


def unpaid(purchase: Purchase, status: str = "open") -> Purchase:
    return paid(purchase, status=status, payment_status="unpaid")


def test_the_price_comes_from_our_own_row(
    holder: Callable[..., Person], service: Call, catalog: Call, owner_sql: Callable[..., Rows]
) -> None:
    """A2: price, credits, bonus, currency and Stripe price are the package's; the row is there before Stripe is called."""
    catalog("recruitment")
    anna = holder()
    names = {"catalog": "recruitment", "package": "professional"}
    service("set_stripe_price", **names, product_id="prod_1", price_id="price_test", livemode=False)
    service("set_stripe_price", **names, product_id="prod_1", price_id="price_live", livemode=True)
    made = anna.call("create_purchase", idempotency_key="k1", livemode=False, package="professional")
    expected = {
        "status": "created",
        "price_cents": 4500,
        "currency": "usd",
        "credits_micros": micros("500"),
        "bonus_micros": micros("50"),
        "stripe_price_id": "price_test",
        "session_id": None,
    }
    assert {name: made[name] for name in expected} == expected
    (row,) = owner_sql("select id, status from credits.purchases")
    assert (str(row["id"]), row["status"]) == (made["purchase_id"], "created")


def test_a_purchase_is_created_once_per_key(holder: Callable[..., Person]) -> None:
    """B6, A15: a second click is the same purchase; the key for anything else, or for live mode, is refused."""
    anna = holder()
    request = {"idempotency_key": "k1", "livemode": False, "package": "usd_10", "flow": "checkout"}
    first = anna.call("create_purchase", **request)
    assert anna.call("create_purchase", **request) == first | {"replayed": True}
    for other in ({"package": "usd_20"}, {"flow": "payment_intent"}, {"livemode": True}):
        refusal = refused(lambda other=other: anna.call("create_purchase", **request | other))
        assert (other, type(refusal)) == (other, errors.IdempotencyKeyReused)
    amounts = {"idempotency_key": "k2", "livemode": False}
    anna.call("create_purchase", amount_cents=700, **amounts)
    other_amount = refused(lambda: anna.call("create_purchase", amount_cents=701, **amounts))
    assert isinstance(other_amount, errors.IdempotencyKeyReused)
    assert len(anna.call("purchases")["items"]) == 2


def test_what_cannot_be_bought_is_refused(holder: Callable[..., Person]) -> None:
    """A1, A2: unknown package, both or neither of package and amount, unknown flow, somebody else's account."""
    anna, ben = holder(), holder()
    request = {"idempotency_key": "k1", "livemode": False}
    for wrong, error in [
        ({"package": "usd_7"}, errors.NotFound),
        ({"package": "starter"}, errors.NotFound),  # of a catalog that is not active
        ({}, errors.InvalidRequest),
        ({"package": "usd_5", "amount_cents": 500}, errors.InvalidRequest),
        ({"package": "usd_5", "flow": "cash"}, errors.InvalidRequest),
        ({"package": "usd_5", "idempotency_key": ""}, errors.InvalidRequest),
        ({"package": "usd_5", "account_id": ben.account_id}, errors.NotAllowed),
    ]:
        refusal = refused(lambda wrong=wrong: anna.call("create_purchase", **request | wrong))
        assert (wrong, type(refusal)) == (wrong, error)
    assert anna.call("purchases")["items"] == ben.call("purchases")["items"] == []


def test_a_paid_purchase_is_credited_with_its_bonus(
    holder: Callable[..., Person], catalog: Call, checkout: Call, service: Call, ledger: Call, grants: Call
) -> None:
    """A3, B3: the paid credits at their cost, the bonus as promotional credits that cost nothing."""
    catalog("recruitment")
    anna = holder()
    purchase = checkout(anna, "business")
    answer = service("fulfill_purchase", session=paid(purchase, receipt_url="https://pay.stripe.test/r/1"))
    assert (answer["status"], answer["newly_credited"]) == ("credited", True)
    assert answer["available_micros"] == anna.available == micros("1150")
    assert [(row["kind"], row["amount_micros"]) for row in ledger(anna)] == [
        ("purchase", micros("1000")),
        ("bonus", micros("150")),
    ]
    assert answer["transaction_id"] == f"{anna.account_id}-1"
    assert answer["receipt_url"] == "https://pay.stripe.test/r/1"
    assert [(grant["source"], grant["is_promotional"], grant["cost_cents"]) for grant in grants(anna)] == [
        ("purchase", False, 8000),
        ("bonus", True, 0),
    ]
    assert anna.balance["total_purchased_micros"] == micros("1150")


def test_looks_at_stripe_may_come_in_any_order_and_number(
    holder: Callable[..., Person], checkout: Call, service: Call
) -> None:
    """A3: open, complete without money, paid, expired; every order ends credited once, if it was ever paid."""
    anna = holder()
    looks: dict[str, Callable[[Purchase], Purchase]] = {
        "open": unpaid,
        "processing": lambda purchase: unpaid(purchase, "complete"),
        "paid": paid,
        "expired": lambda purchase: unpaid(purchase, "expired"),
    }
    for count, order in enumerate(itertools.permutations(looks), start=1):
        purchase = checkout(anna)
        for look in order * 2:
            answer = service("fulfill_purchase", session=looks[look](purchase))
        assert (order, answer["status"]) == (order, "credited")
        assert anna.available == count * micros("10.00")


def test_until_it_is_paid_nothing_is_credited(
    holder: Callable[..., Person], checkout: Call, service: Call
) -> None:
    """A3: each state of the session is the state of the purchase."""
    anna = holder()
    purchase = checkout(anna)
    for status, expected in [
        ("open", "open"),
        ("complete", "processing"),
        ("expired", "expired"),
        ("open", "open"),
    ]:
        answer = service("fulfill_purchase", session=unpaid(purchase, status))
        assert (answer["status"], answer["newly_credited"]) == (expected, False)
    assert anna.available == 0


MISMATCHES: list[tuple[dict[str, Any], str]] = [
    ({"amount_subtotal": 999}, "amount"),
    ({"amount_subtotal": 100_000}, "amount"),
    ({"amount_subtotal": None}, "amount"),
    ({"currency": "jpy"}, "currency"),
    ({"currency": None}, "currency"),
    ({"mode": "subscription"}, "one-time payment"),
    ({"livemode": True}, "Test and live"),
    ({"livemode": None}, "Test and live"),
    ({"price_id": "price_of_something_else"}, "price"),
    ({"session_id": "cs_test_of_somebody_else"}, "Another Stripe session"),
    ({"payment_status": "no_payment_required"}, "nothing was to be paid"),
]


def test_a_paid_session_that_does_not_match_goes_to_review(
    holder: Callable[..., Person], checkout: Call, service: Call, ledger: Call
) -> None:
    """A3, A15: amount, currency, mode, test or live, price, session: each is looked at by a person, none is credited."""
    service(
        "set_stripe_price",
        **{
            "catalog": "voice",
            "package": "usd_10",
            "product_id": "p",
            "price_id": "price_1",
            "livemode": False,
        },
    )
    anna = holder()
    for change, reason in MISMATCHES:
        purchase = checkout(anna)
        for session in (paid(purchase, **change), paid(purchase, **change), unpaid(purchase)):
            answer = service("fulfill_purchase", session=session)
            assert (change, answer["status"], answer["newly_credited"]) == (change, "review", False)
            assert reason in answer["review_reason"]
    assert anna.available == 0
    assert ledger(anna) == []
    assert len(anna.call("purchases", status="review")["items"]) == len(MISMATCHES)


def test_what_was_given_up_is_credited_when_it_turns_out_paid(
    clock: Clock, holder: Callable[..., Person], checkout: Call, service: Call
) -> None:
    """A3: Stripe's state wins over ours; and a credit is never undone by giving up."""
    anna = holder()
    for status in ("expired", "failed"):
        purchase = checkout(anna)
        service(
            "fail_purchase", purchase_id=purchase["purchase_id"], status=status, reason="not paid in time"
        )
        clock.advance(days=1)
        assert service("fulfill_purchase", session=paid(purchase))["status"] == "credited"
        late = service("fail_purchase", purchase_id=purchase["purchase_id"], status=status)
        assert late["status"] == "credited"
    assert anna.available == micros("20.00")


def test_a_crash_between_two_steps_loses_nothing(
    clock: Clock, holder: Callable[..., Person], service: Call
) -> None:
    """A3: after the row, before its session is known; after the payment, before anybody looked: the poll finds both."""
    anna = holder()
    made = anna.call("create_purchase", idempotency_key="k1", livemode=False, package="usd_5")
    assert [item["purchase_id"] for item in service("purchases_to_poll")["items"]] == [made["purchase_id"]]
    # Stripe has a session for it, which only Stripe knows: found by the reference it carries
    credited = service("fulfill_purchase", session=paid(made | {"session_id": "cs_test_lost"}))
    assert (credited["status"], credited["session_id"]) == ("credited", "cs_test_lost")
    assert anna.call("purchase_status", session_id="cs_test_lost")["status"] == "credited"
    assert service("purchases_to_poll")["items"] == []
    assert anna.available == micros("5.00")


def test_the_poll_asks_about_each_waiting_purchase_in_turn(
    clock: Clock, holder: Callable[..., Person], checkout: Call, service: Call
) -> None:
    """A3: longest unasked first, so that abandoned ones hide nothing; old enough; none that is over."""
    anna = holder()
    waiting = []
    for _ in range(3):
        waiting.append(checkout(anna)["purchase_id"])
        clock.advance(minutes=1)
    over = checkout(anna)
    service("fail_purchase", purchase_id=over["purchase_id"], status="expired")

    def poll(**more: int) -> list[str]:
        return [item["purchase_id"] for item in service("purchases_to_poll", **more)["items"]]

    for _ in range(2):
        assert poll(limit=1, min_age_seconds=90) == waiting[:1]
        assert poll(limit=1, min_age_seconds=90) == waiting[1:2]
        assert poll(limit=1) == waiting[2:]
        assert poll() == []  # all were asked about just now
        clock.advance(minutes=1)


def test_a_foreign_session_is_nobodys_business(
    holder: Callable[..., Person], person: Callable[..., Person], checkout: Call, service: Call
) -> None:
    """A3, K1: unknown, literal or somebody else's: the same answer; the owner and staff see it."""
    anna, ben, finance = holder(), holder(), person("finance")
    session = checkout(anna)["session_id"]
    for somebody, wanted in [
        (ben, session),
        (anna, "{CHECKOUT_SESSION_ID}"),
        (anna, ""),
        (ben, "cs_test_none"),
    ]:
        refusal = refused(lambda s=somebody, w=wanted: s.call("purchase_status", session_id=w))
        assert (type(refusal), refusal.message) == (
            errors.NotFound,
            "No purchase of yours belongs to this session; start again from the buy page.",
        )
    for somebody in (anna, finance):
        assert somebody.call("purchase_status", session_id=session)["status"] == "open"
    stranger = {"session_id": "cs_test_none", "status": "complete", "payment_status": "paid"}
    assert isinstance(refused(lambda: service("fulfill_purchase", session=stranger)), errors.NotFound)


def test_a_payment_intent_credits_like_a_session(holder: Callable[..., Person], service: Call) -> None:
    """A4: found by the intent when there is no session; once."""
    anna = holder()
    made = anna.call(
        "create_purchase", idempotency_key="k1", livemode=False, package="usd_20", flow="payment_intent"
    )
    opened = service(
        "open_purchase", purchase_id=made["purchase_id"], payment_intent_id="pi_1", client_secret="s"
    )
    look = paid(opened, session_id=None, purchase_id=None, payment_intent_id="pi_1")
    answers = [service("fulfill_purchase", session=look) for _ in range(3)]
    assert [answer["newly_credited"] for answer in answers] == [True, False, False]
    assert anna.available == micros("20.00")


def test_one_session_belongs_to_one_purchase(
    holder: Callable[..., Person], checkout: Call, service: Call
) -> None:
    """A3: a second purchase cannot take over a session that pays for another."""
    anna = holder()
    first = checkout(anna)
    second = anna.call("create_purchase", idempotency_key=new_key(), livemode=False, package="usd_10")
    steal = {"purchase_id": second["purchase_id"], "session_id": first["session_id"]}
    assert isinstance(refused(lambda: service("open_purchase", **steal)), errors.InvalidRequest)
    service("fulfill_purchase", session=paid(first))
    service("fulfill_purchase", session=paid(first, purchase_id=second["purchase_id"]))
    assert anna.available == micros("10.00")


def test_purchases_are_listed_newest_first_page_by_page(
    clock: Clock, holder: Callable[..., Person], checkout: Call
) -> None:
    """A1: by key, each once, also when two have the same moment."""
    anna = holder()
    made = []
    for n in range(5):
        made.append(checkout(anna)["purchase_id"])
        clock.set(clock.now + timedelta(seconds=n % 2))
    listed: list[str] = []
    cursor = None
    while True:
        page = anna.call("purchases", limit=2, cursor=cursor)
        listed += [item["purchase_id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sorted(listed) == sorted(made)
    assert listed[0] == made[-1]
