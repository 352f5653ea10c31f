"""From choosing a package to credits on the account, with the real database and the simulator behind HTTP."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from credits_core import checkout, fulfillment
from credits_core.db.port import Database, Identity
from credits_core.errors import (
    Conflict,
    IdempotencyKeyReused,
    InvalidRequest,
    NotFound,
    StripeUnavailable,
    WebhookRejected,
)
from credits_core.stripe_gateway import StripeGateway
from credits_core.stripe_sim import Simulator
from credits_core.stripe_sim.webhooks import body_of, signature
from tests.stripe.conftest import SECRET

BASE = "https://shop.test"
CARD = "4242424242424242"


@dataclass
class Shop:
    """The parts buying needs, a person who buys, and what a test looks at."""

    db: Database
    stripe: StripeGateway
    person: Identity
    control: Callable[..., Any]
    simulator: Simulator

    def buy(self, **what: Any) -> dict[str, Any]:
        given = {"package": "usd_10", "base_url": BASE} | what
        return checkout.start_checkout(self, self.person, **given)

    def pay(self, purchase: dict[str, Any], card: str = CARD) -> None:
        self.control(f"sessions/{purchase['session_id']}/pay", card=card)

    def poll(self) -> dict[str, int]:
        return fulfillment.poll(self.db, self.stripe)

    def look(self, purchase: dict[str, Any]) -> dict[str, Any]:
        return fulfillment.fulfill(self, self.person, purchase["session_id"])

    def balance(self) -> int:
        return self.db.call("balance", self.person)["available_micros"]

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.control("events")["data"] if event["type"] == kind]

    def hook(self, event: dict[str, Any]) -> str:
        body = body_of(event)
        return fulfillment.receive_webhook(self, body, signature(body, SECRET))["outcome"]


@pytest.fixture
def shop(
    database: Database, gateway: StripeGateway, make_user: Callable[..., Identity], control: Callable[..., Any],
    simulator: Simulator,
) -> Shop:  # fmt: skip
    return Shop(database, gateway, make_user(), control, simulator)


def test_the_row_is_ours_and_the_price_is_the_rows(shop: Shop) -> None:  # A1, A2
    bought = shop.buy()
    assert (bought["status"], bought["price_cents"], bought["credits_micros"]) == ("open", 1000, 10_000_000)
    assert bought["url"].endswith(bought["session_id"])
    session = shop.simulator.store.get("checkout.session", bought["session_id"])
    assert session is not None
    assert session["success_url"] == f"{BASE}/checkout_return?session_id={{CHECKOUT_SESSION_ID}}"
    assert session["cancel_url"] == f"{BASE}/buy?canceled={bought['purchase_id']}"
    assert session["metadata"]["purchase_id"] == session["client_reference_id"] == bought["purchase_id"]
    assert session["metadata"]["account_id"] == str(bought["account_id"])
    assert session["adaptive_pricing"] == {"enabled": False}


def test_a_custom_amount_within_its_bounds(shop: Shop) -> None:  # A1
    bought = shop.buy(package=None, amount_cents=2500)
    shop.pay(bought)
    assert shop.look(bought)["status"] == "credited"
    assert shop.balance() == 25_000_000
    for amount in (1, 10**9):
        with pytest.raises(InvalidRequest):
            shop.buy(package=None, amount_cents=amount)


def test_every_way_and_any_number_of_times_credits_once(shop: Shop) -> None:  # A3
    bought = shop.buy()
    shop.pay(bought)
    (completed,) = shop.events("checkout.session.completed")
    (succeeded,) = shop.events("payment_intent.succeeded")
    looks = [shop.look(bought) for _ in range(3)]
    assert [look["status"] for look in looks] == ["credited"] * 3
    assert [look["newly_credited"] for look in looks] == [True, False, False]
    assert [shop.hook(completed), shop.hook(completed), shop.hook(succeeded)] == [
        "processed",
        "duplicate",
        "processed",
    ]
    assert shop.poll()["credited"] == 0
    assert shop.balance() == 10_000_000
    assert looks[0]["receipt_url"]


def test_any_order_credits_once(shop: Shop) -> None:  # A3
    for number, order in enumerate(
        itertools.permutations(["return", "completed", "succeeded", "poll"]), start=1
    ):
        bought = shop.buy()
        shop.pay(bought)
        completed, succeeded = (
            shop.events("checkout.session.completed")[-1],
            shop.events("payment_intent.succeeded")[-1],
        )
        assert completed["data"]["object"]["id"] == bought["session_id"]
        ways: dict[str, Callable[[], object]] = {
            "return": partial(shop.look, bought), "completed": partial(shop.hook, completed),
            "succeeded": partial(shop.hook, succeeded), "poll": shop.poll,
        }  # fmt: skip
        for way in order:
            ways[way]()
            assert shop.balance() == number * 10_000_000, order


def test_all_ways_at_once_credit_once(shop: Shop) -> None:  # A3
    bought = shop.buy()
    shop.pay(bought)
    (completed,) = shop.events("checkout.session.completed")
    with ThreadPoolExecutor(8) as pool:
        tries = [pool.submit(way) for _ in range(4) for way in
                 (lambda: shop.look(bought), lambda: shop.hook(completed), shop.poll)]  # fmt: skip
        for attempt in tries:
            attempt.result()
    assert shop.balance() == 10_000_000


def test_a_crash_between_payment_and_return(shop: Shop) -> None:  # A3
    shop.pay(shop.buy())
    assert shop.poll() == {"checked": 1, "credited": 1, "ended": 0, "failed": 0}
    assert shop.poll()["checked"] == 0
    assert shop.balance() == 10_000_000


def test_many_abandoned_checkouts_never_hide_a_paid_one(shop: Shop) -> None:  # A3
    for _ in range(6):
        shop.buy()
    paid = shop.buy()
    shop.pay(paid)
    credited = 0
    for _ in range(4):  # each poll takes two at a time, those longest unasked first
        credited += fulfillment.poll(shop.db, shop.stripe, limit=2)["credited"]
    assert credited == 1
    assert shop.balance() == 10_000_000


def test_a_crash_between_stripes_answer_and_our_record(  # A3
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(checkout, "record_opened", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            shop.buy(idempotency_key="k")
    again = shop.buy(idempotency_key="k")
    assert again["status"] == "open"
    assert len(shop.simulator.store.find("checkout.session", {})) == 1
    assert shop.buy(idempotency_key="k")["url"] == again["url"]
    # The same after a move: Stripe refuses the key with other addresses, and the session is found.
    with monkeypatch.context() as broken:
        broken.setattr(checkout, "record_opened", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            shop.buy(idempotency_key="moved")
    assert shop.buy(idempotency_key="moved", base_url="https://new.test")["status"] == "open"
    assert len(shop.simulator.store.find("checkout.session", {})) == 2


def test_the_poll_finds_a_lost_session_and_gives_up_what_never_was(  # A3
    shop: Shop, monkeypatch: pytest.MonkeyPatch, owner_sql: Callable[..., Any]
) -> None:
    monkeypatch.setattr(checkout, "record_opened", lambda *_: {})
    shop.buy(idempotency_key="lost")
    monkeypatch.undo()
    shop.control("fail-next", kind="500", count=3)
    with pytest.raises(StripeUnavailable):
        shop.buy(idempotency_key="never")
    (session,) = shop.simulator.store.find("checkout.session", {})
    shop.control(f"sessions/{session['id']}/pay", card=CARD)
    assert shop.poll()["credited"] == 0  # too young: the first call may still be under way
    owner_sql(
        "update credits.purchases set created_at = created_at - interval '700 seconds',"
        " polled_at = polled_at - interval '700 seconds'"
    )
    assert shop.poll() == {"checked": 2, "credited": 1, "ended": 1, "failed": 0}
    assert shop.balance() == 10_000_000


def test_stripe_down_is_a_sentence_and_the_key_still_good(shop: Shop) -> None:
    shop.control("fail-next", kind="500", count=3)
    with pytest.raises(StripeUnavailable, match="try again"):
        shop.buy(idempotency_key="k")
    assert shop.buy(idempotency_key="k")["status"] == "open"
    with pytest.raises(IdempotencyKeyReused):
        shop.buy(idempotency_key="k", package="usd_20")


@pytest.mark.parametrize(
    "change",
    [{"amount_subtotal": 1, "amount_total": 1}, {"currency": "eur"}, {"mode": "setup"}, {"livemode": True},
     {"payment_status": "no_payment_required"}],
)  # fmt: skip
def test_paid_but_not_matching_goes_to_review(shop: Shop, change: dict[str, Any]) -> None:  # A3, A15
    bought = shop.buy()
    shop.pay(bought)
    shop.control(f"sessions/{bought['session_id']}/alter", **change)
    for _ in range(2):
        look = shop.look(bought)
        assert look["status"] == "review"
        assert look["review_reason"]
        shop.poll()
    assert shop.balance() == 0


@pytest.mark.parametrize(
    "session_id", ["", "{CHECKOUT_SESSION_ID}", "nonsense", "cs_test_ x", "pi", "../cs_1", "x" * 999]
)
def test_what_is_no_session_id_says_what_to_do(shop: Shop, session_id: str) -> None:
    with pytest.raises(InvalidRequest, match=r"cs_|payment page"):
        fulfillment.fulfill(shop, shop.person, session_id)


def test_sessions_of_others_are_not_found(shop: Shop, make_user: Callable[..., Identity]) -> None:
    bought = shop.buy()
    shop.pay(bought)
    with pytest.raises(NotFound):
        fulfillment.fulfill(shop, make_user(), bought["session_id"])
    with pytest.raises(NotFound):
        fulfillment.fulfill(shop, shop.person, "cs_test_unknown")
    assert shop.balance() == 0


def test_a_decline_changes_nothing_and_a_second_card_pays(shop: Shop) -> None:
    bought = shop.buy()
    shop.control(f"sessions/{bought['session_id']}/pay", expect=402, card="4000000000000002")
    assert shop.hook(shop.events("payment_intent.payment_failed")[0]) == "processed"
    assert shop.look(bought)["status"] == "open"
    shop.pay(bought)
    assert shop.look(bought)["status"] == "credited"


def test_an_expired_session_ends_the_purchase(shop: Shop) -> None:
    bought = shop.buy()
    shop.control(f"sessions/{bought['session_id']}/expire")
    assert shop.hook(shop.events("checkout.session.expired")[0]) == "processed"
    assert shop.look(bought)["status"] == "expired"
    assert shop.poll()["checked"] == 0


def test_payment_intent_flow(shop: Shop) -> None:  # A4
    bought = shop.buy(flow="payment_intent")
    assert bought["client_secret"]
    assert bought["url"] is None
    intent = bought["session_id"]
    shop.control(f"payment_intents/{intent}/pay", expect=402, card="4000000000000002")
    assert shop.hook(shop.events("payment_intent.payment_failed")[0]) == "processed"
    assert shop.look(bought)["status"] == "failed"  # until another card pays it
    shop.control(f"payment_intents/{intent}/pay", card=CARD)
    assert shop.hook(shop.events("payment_intent.succeeded")[0]) == "processed"
    assert shop.look(bought)["status"] == "credited"
    assert shop.poll()["checked"] == 0
    assert shop.balance() == 10_000_000


def test_payment_intent_canceled_or_forgotten(shop: Shop, owner_sql: Callable[..., Any]) -> None:  # A4
    first, second = shop.buy(flow="payment_intent"), shop.buy(flow="payment_intent")
    shop.stripe.cancel_payment_intent(first["session_id"])
    assert shop.hook(shop.events("payment_intent.canceled")[0]) == "processed"
    assert shop.look(first)["status"] == "expired"
    owner_sql("update credits.purchases set created_at = created_at - interval '25 hours'")
    assert shop.poll()["ended"] == 1
    assert shop.look(second)["status"] == "expired"


def test_events_of_others_and_other_kinds_are_kept_and_ignored(
    shop: Shop, owner_sql: Callable[..., Any]
) -> None:
    foreign = shop.stripe._client.v1.payment_intents.create(
        {"amount": 900, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True})  # fmt: skip
    (created,) = shop.events("payment_intent.created")
    (succeeded,) = shop.events("payment_intent.succeeded")
    assert succeeded["data"]["object"]["id"] == foreign.id
    assert [shop.hook(created), shop.hook(succeeded)] == ["ignored", "ignored"]
    gone = succeeded | {"id": "evt_gone", "data": {"object": {"id": "pi_gone", "object": "payment_intent"}}}
    assert shop.hook(gone) == "ignored"
    rows = owner_sql("select outcome from credits.stripe_events")
    assert [row["outcome"] for row in rows] == ["ignored"] * 3


def test_an_event_that_could_not_be_worked_on_is_taken_again(
    shop: Shop, owner_sql: Callable[..., Any]
) -> None:
    bought = shop.buy()
    shop.pay(bought)
    (completed,) = shop.events("checkout.session.completed")
    shop.control("fail-next", kind="500", count=3)
    with pytest.raises(StripeUnavailable):
        shop.hook(completed)
    assert owner_sql("select outcome from credits.stripe_events") == [{"outcome": "failed"}]
    assert shop.hook(completed) == "processed"
    assert shop.balance() == 10_000_000


def test_what_an_event_says_is_not_believed(shop: Shop) -> None:  # K3
    bought = shop.buy()
    session = shop.simulator.store.get("checkout.session", bought["session_id"])
    forged = {"id": "evt_1", "object": "event", "type": "checkout.session.completed", "livemode": False,
              "data": {"object": {**(session or {}), "status": "complete", "payment_status": "paid"}}}  # fmt: skip
    assert shop.hook(forged) == "processed"
    assert shop.look(bought)["status"] == "open"
    assert shop.balance() == 0
    body = json.dumps(forged).encode()
    with pytest.raises(WebhookRejected):
        fulfillment.receive_webhook(shop, body, None)


def test_one_purchase_that_fails_stops_no_other(shop: Shop) -> None:
    lost, good = shop.buy(), shop.buy()
    shop.pay(good)
    shop.simulator.store.db.execute("delete from objects where id = ?", (lost["session_id"],))
    assert shop.poll() == {"checked": 2, "credited": 1, "ended": 0, "failed": 1}


def test_a_stale_synced_price_is_never_paid(
    shop: Shop, service: Callable[..., Any], owner_sql: Callable[..., Any]
) -> None:
    price = shop.stripe._client.v1.prices.create(
        {"currency": "usd", "unit_amount": 900, "product_data": {"name": "old"}})  # fmt: skip
    service(
        "set_stripe_price",
        catalog="voice",
        package="usd_10",
        product_id="p",
        price_id=price.id,
        livemode=False,
    )
    with pytest.raises(Conflict, match="stripe-sync"):
        shop.buy()
    assert owner_sql("select status from credits.purchases") == [{"status": "failed"}]
    (session,) = shop.simulator.store.find("checkout.session", {})
    assert session["status"] == "expired"
    service(
        "set_stripe_price",
        catalog="voice",
        package="usd_10",
        product_id="p",
        price_id="price_x",
        livemode=False,
    )
    with pytest.raises(InvalidRequest, match="stripe-sync"):
        shop.buy()
