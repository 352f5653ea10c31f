"""Saved cards, and charging them, while nobody is there or with their owner: A7, A10."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from credits_core.errors import IdempotencyKeyReused, InvalidRequest, NotFound, StripeUnavailable
from credits_core.stripe_gateway import StripeGateway
from credits_core.stripe_sim import API_KEY, Simulator
from credits_core.stripe_states import ChargeState
from tests.stripe.conftest import CANCEL, SUCCESS, purchase, web

VISA = "4242424242424242"
DECLINES_LATER = "4000000000000341"
ALWAYS_ASKS = "4000002760003184"
ASKS_UNLESS_SAVED = "4000002500003155"
REFERENCE = {"purchase_id": "p-1", "account_id": "7", "flow": "auto_reload"}


@pytest.fixture
def customer(gateway: StripeGateway) -> str:
    return gateway.cards.create_customer(7, "holder@demo.test", "customer-7")


@pytest.fixture
def save(gateway: StripeGateway, control: Callable[..., Any], customer: str) -> Callable[[str], str]:
    """`save(number)`: a card saved on the hosted page; answers its id."""

    def act(number: str, key: str = "setup-1") -> str:
        page = gateway.cards.setup_session(customer, 7, "usd", SUCCESS, CANCEL, key)
        control(f"sessions/{page.session_id}/pay", card=number)
        saved = gateway.cards.setup_state(page.session_id).payment_method_id
        assert saved is not None
        return saved

    return act


def charge(
    gateway: StripeGateway, customer: str, card: str, key: str = "charge-1", **more: Any
) -> ChargeState:
    given = {"amount_cents": 2000, "currency": "usd", "metadata": REFERENCE} | more
    return gateway.cards.charge_off_session(customer, card, key=key, **given)


def test_the_same_account_gets_the_same_customer(
    gateway: StripeGateway, simulator: Simulator, customer: str
) -> None:
    assert gateway.cards.create_customer(7, "holder@demo.test", "customer-7") == customer
    (found,) = simulator.store.find("customer", {})
    assert (found["metadata"], found["email"]) == ({"account_id": "7"}, "holder@demo.test")
    assert gateway.cards.saved_cards(customer) == []
    with pytest.raises(NotFound):
        gateway.cards.saved_cards("cus_nobody")


def test_a_card_is_saved_without_a_charge(
    gateway: StripeGateway, simulator: Simulator, customer: str, save: Callable[[str], str]
) -> None:
    page = gateway.cards.setup_session(customer, 7, "usd", SUCCESS, CANCEL, "setup-1")
    assert (page.status, page.payment_method_id) == ("open", None)
    assert gateway.cards.setup_session(customer, 7, "usd", SUCCESS, CANCEL, "setup-1") == page
    shown = web.get(str(page.url)).text
    assert "nothing is charged now" in shown
    assert "Save card" in shown
    card = save(VISA)
    done = gateway.cards.setup_state(page.session_id)
    assert (done.status, done.customer_id, done.account_id) == ("complete", customer, "7")
    (found,) = gateway.cards.saved_cards(customer)
    assert (found.payment_method_id, found.brand, found.last4) == (card, "visa", "4242")
    assert simulator.store.find("charge", {}) == []
    with pytest.raises(InvalidRequest, match="for paying"):
        gateway.cards.setup_state(gateway.create_checkout_session(purchase(), SUCCESS, CANCEL).session_id)


@pytest.mark.parametrize("outcome", ["complete", "fail"])
def test_saving_may_ask_for_3d_secure(gateway: StripeGateway, customer: str, outcome: str) -> None:
    page = gateway.cards.setup_session(customer, 7, "usd", SUCCESS, CANCEL, "setup-1")
    form = {"number": ASKS_UNLESS_SAVED, "expiry": "12 / 34", "cvc": "123"}
    asked = web.post(str(page.url), data=form).headers["location"]
    assert "may be saved" in web.get(asked).text
    answered = web.post(asked, data={"outcome": outcome}).headers["location"]
    saved = gateway.cards.saved_cards(customer)
    if outcome == "complete":
        assert answered.startswith("https://shop.test/checkout_return")
        assert charge(gateway, customer, saved[0].payment_method_id).status == "succeeded"
    else:
        assert saved == []
        assert "authentication failed" in web.get(answered).text


def test_a_card_that_is_declined_is_not_saved(
    gateway: StripeGateway, control: Callable[..., Any], customer: str
) -> None:
    page = gateway.cards.setup_session(customer, 7, "usd", SUCCESS, CANCEL, "setup-1")
    error = control(f"sessions/{page.session_id}/pay", expect=402, card="4000000000000002")["error"]
    assert error["setup_intent"]["last_setup_error"]["code"] == "card_declined"
    assert gateway.cards.saved_cards(customer) == []
    assert gateway.cards.setup_state(page.session_id).status == "open"


def test_a_purchase_can_save_its_card(
    gateway: StripeGateway, control: Callable[..., Any], customer: str
) -> None:
    made = gateway.create_checkout_session(purchase(customer_id=customer, save_card=True), SUCCESS, CANCEL)
    assert made.customer_id == customer
    control(f"sessions/{made.session_id}/pay", card=VISA)
    (card,) = gateway.cards.saved_cards(customer)
    assert charge(gateway, customer, card.payment_method_id).status == "succeeded"


def test_a_purchase_that_does_not_ask_saves_nothing(
    gateway: StripeGateway, control: Callable[..., Any], customer: str
) -> None:
    made = gateway.create_checkout_session(purchase(customer_id=customer), SUCCESS, CANCEL)
    control(f"sessions/{made.session_id}/pay", card=VISA)
    assert gateway.cards.saved_cards(customer) == []


def test_a_saved_card_is_charged_once_per_key(  # A10
    gateway: StripeGateway, simulator: Simulator, customer: str, save: Callable[[str], str]
) -> None:
    card = save(VISA)
    first = charge(gateway, customer, card)
    assert (first.status, first.amount_cents, first.purchase_id, first.hard) == (
        "succeeded",
        2000,
        "p-1",
        False,
    )
    assert first.receipt_url is not None
    assert charge(gateway, customer, card) == first
    with pytest.raises(IdempotencyKeyReused):
        charge(gateway, customer, card, amount_cents=2001)
    assert len(simulator.store.find("charge", {})) == 1
    found = gateway.find("p-1", "auto_reload", 0)  # a purchase whose answer was lost is found like any other
    assert found is not None
    assert found.session_id == first.payment_intent_id
    assert gateway.retrieve(found.session_id).payment_status == "paid"


@pytest.mark.parametrize(
    ("number", "code", "hard"),
    [("4000000000000002", "generic_decline", False), ("4000000000009995", "insufficient_funds", False),
     ("4000000000009987", "lost_card", True), ("4000000000009979", "stolen_card", True),
     ("4000000000000069", None, True)],
)  # fmt: skip
def test_a_decline_is_a_state(  # A10
    gateway: StripeGateway, control: Callable[..., Any], customer: str, save: Callable[[str], str], number: str,
    code: str | None, hard: bool,
) -> None:  # fmt: skip
    card = save(VISA)
    control(f"payment_methods/{card}/act-as", card=number)
    state = charge(gateway, customer, card)
    assert (state.status, state.decline_code, state.hard) == ("declined", code, hard)
    assert state.message
    assert state.payment_intent_id is not None
    assert charge(gateway, customer, card) == state  # the same attempt, not a second one
    assert gateway.cards.charge_state(state.payment_intent_id).status == "declined"
    control(f"payment_methods/{card}/act-as", card=VISA)
    assert charge(gateway, customer, card, "charge-2").status == "succeeded"


def test_a_card_that_attaches_may_be_declined_later(
    gateway: StripeGateway, customer: str, save: Callable[[str], str]
) -> None:
    state = charge(gateway, customer, save(DECLINES_LATER))
    assert (state.status, state.code) == ("declined", "card_declined")


@pytest.mark.parametrize("outcome", ["complete", "fail"])
def test_a_card_that_needs_its_owner_waits_for_them(  # A10
    gateway: StripeGateway, simulator: Simulator, customer: str, save: Callable[[str], str], outcome: str
) -> None:
    card = save(ALWAYS_ASKS)
    state = charge(gateway, customer, card)
    assert (state.status, state.decline_code, state.hard) == (
        "requires_action",
        "authentication_required",
        False,
    )
    assert state.payment_intent_id is not None
    assert state.client_secret not in repr(state)
    asked = gateway.cards.authenticate(
        state.payment_intent_id, card, "https://shop.test/back?x=1", "charge-1-again"
    )
    assert (asked.status, asked.payment_intent_id) == ("requires_action", state.payment_intent_id)
    assert "$20.00" in web.get(str(asked.url)).text
    back = web.post(str(asked.url), data={"outcome": outcome}).headers["location"]
    assert back.startswith("https://shop.test/back?x=1&payment_intent=pi_")
    done = gateway.cards.charge_state(state.payment_intent_id)
    assert done.status == ("succeeded" if outcome == "complete" else "declined")
    paid = [found for found in simulator.store.find("charge", {}) if found["paid"]]
    assert len(paid) == (outcome == "complete")


def test_a_card_that_is_gone_is_a_state(
    gateway: StripeGateway, customer: str, save: Callable[[str], str]
) -> None:
    card = save(VISA)
    gateway.cards.forget(card)
    gateway.cards.forget(card)
    assert gateway.cards.saved_cards(customer) == []
    for missing in (card, "pm_nothing"):
        state = charge(gateway, customer, missing, f"charge-{missing}")
        assert (state.status, state.code, state.hard) == ("declined", "payment_method_gone", True)
    other = gateway.cards.create_customer(8, None, "customer-8")
    assert charge(gateway, other, save(VISA, "setup-2"), "theirs").code == "payment_method_gone"


def test_below_the_smallest_charge_is_refused(
    gateway: StripeGateway, customer: str, save: Callable[[str], str]
) -> None:
    with pytest.raises(InvalidRequest, match=r"at least \$0.50"):
        charge(gateway, customer, save(VISA), amount_cents=10)


@pytest.mark.parametrize("kind", ["500", "429", "lost", "timeout"])
def test_an_outage_is_no_decline_and_no_second_charge(  # A10
    gateway: StripeGateway,
    simulator: Simulator,
    base: str,
    customer: str,
    save: Callable[[str], str],
    kind: str,
) -> None:
    card = save(VISA)
    hasty = StripeGateway(API_KEY, base_url=base, timeout=0.2, sleep=lambda _seconds: None)
    simulator.fail_next(kind, 20, 0.5, "payment_intents")
    with pytest.raises(StripeUnavailable):
        charge(hasty, customer, card)
    simulator.store.set_setting("fail_next", None)
    assert charge(gateway, customer, card).status == "succeeded"
    assert len([found for found in simulator.store.find("charge", {}) if found["paid"]]) == 1
    hasty.close()


def test_a_call_ends_within_its_time(base: str, simulator: Simulator) -> None:
    waited: list[float] = []
    slow = StripeGateway(API_KEY, base_url=base, sleep=waited.append, clock=lambda: 12.0 * len(waited))
    simulator.fail_next("429", 20, 0, "")
    with pytest.raises(StripeUnavailable, match="too much to do"):
        slow.retrieve("cs_test_1")
    assert len(waited) == 2  # the third pause would end after the time is over
    slow.close()


def test_the_default_card_comes_first(
    gateway: StripeGateway, customer: str, save: Callable[..., str]
) -> None:
    first, second = save(VISA), save("5555555555554444", "setup-2")
    assert [card.is_default for card in gateway.cards.saved_cards(customer)] == [False, False]
    gateway.cards.use_by_default(customer, first)
    found = gateway.cards.saved_cards(customer)
    assert [(card.payment_method_id, card.is_default) for card in found] == [(first, True), (second, False)]
    with pytest.raises(NotFound, match="must be attached"):
        gateway.cards.use_by_default(gateway.cards.create_customer(8, None, "customer-8"), first)


def test_the_portal_looks_after_cards(  # A7
    gateway: StripeGateway, control: Callable[..., Any], customer: str, save: Callable[..., str]
) -> None:
    first, second = save(VISA), save("5555555555554444", "setup-2")
    url = gateway.cards.portal(customer, "https://shop.test/settings")
    page = web.get(url)
    assert "Visa ending in 4242" in page.text
    assert "https://shop.test/settings" in page.text
    assert not re.search(r"<script|style=|onclick", page.text)
    assert web.post(url, data={"action": "default", "object": first}).status_code == 303
    assert web.post(url, data={"action": "remove", "object": second}).status_code == 303
    assert [card.payment_method_id for card in gateway.cards.saved_cards(customer)] == [first]
    assert "(default)" in web.get(url).text
    for wrong in ({"action": "remove", "object": "pm_other"}, {"action": "melt", "object": first}):
        assert web.post(url, data=wrong).status_code in (400, 404)
    control("clock", advance_seconds=3601)
    assert web.get(url).status_code == 404  # the address was good for a visit, not for ever


def test_nobody_reaches_anothers_card_through_the_portal(
    gateway: StripeGateway, customer: str, save: Callable[[str], str]
) -> None:
    card = save(VISA)
    other = gateway.cards.portal(gateway.cards.create_customer(8, None, "customer-8"), "https://shop.test/")
    assert web.post(other, data={"action": "remove", "object": card}).status_code == 404
    assert len(gateway.cards.saved_cards(customer)) == 1


def paid_here(card: str) -> dict[str, Any]:
    return purchase(flow="payment_intent", payment_method_id=card)


def test_a_card_is_charged_with_its_owner_there_once_for_a_purchase(  # A7
    gateway: StripeGateway, simulator: Simulator, customer: str, save: Callable[[str], str]
) -> None:
    row = paid_here(save(VISA))
    first = gateway.cards.charge_on_session(customer, row, "https://shop.test/terms")
    assert (first.status, first.amount_cents, first.purchase_id) == ("succeeded", 1000, row["purchase_id"])
    assert gateway.cards.charge_on_session(customer, row, "https://shop.test/terms") == first
    (intent,) = simulator.store.find("payment_intent", {})
    assert (intent["customer"], intent["receipt_email"]) == (customer, "holder@demo.test")
    found = gateway.retrieve(intent["id"])
    assert (found.payment_status, found.terms_url) == ("paid", "https://shop.test/terms")
    with pytest.raises(IdempotencyKeyReused):
        gateway.cards.charge_on_session(customer, row)


def test_an_owner_who_is_there_can_be_asked_by_the_bank(
    gateway: StripeGateway,
    simulator: Simulator,
    control: Callable[..., Any],
    customer: str,
    save: Callable[[str], str],
) -> None:
    """Without an address to return to only Stripe.js could ask; a confirmation with one leads to the bank's page and back."""
    card = save(VISA)
    control(f"payment_methods/{card}/act-as", card=ALWAYS_ASKS)
    asked = gateway.cards.charge_on_session(customer, paid_here(card))
    assert (asked.status, asked.url) == ("requires_action", None)
    (intent,) = simulator.store.find("payment_intent", {})
    assert intent["next_action"]["type"] == "use_stripe_sdk"
    again = gateway.cards.authenticate(intent["id"], card, "https://shop.test/back", "confirm-1")
    assert again.url is not None and again.payment_intent_id == intent["id"]
    back = web.post(again.url, data={"outcome": "complete"}).headers["location"]
    assert back.startswith("https://shop.test/back?payment_intent=")
    assert gateway.cards.charge_state(intent["id"]).status == "succeeded"


def test_a_card_is_somebodys_own(gateway: StripeGateway, customer: str, save: Callable[..., str]) -> None:
    card, gone = save(VISA), save(VISA, key="setup-2")
    assert gateway.cards.saved_card(customer, card).last4 == "4242"
    other = gateway.cards.create_customer(8, "other@demo.test", "customer-8")
    gateway.cards.forget(gone)
    for whose, which in ((other, card), (None, card), (customer, gone), (customer, "pm_card_visa")):
        with pytest.raises(NotFound, match="no such saved card of yours"):
            gateway.cards.saved_card(whose, which)
