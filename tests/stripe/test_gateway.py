"""The gateway against the simulator over real HTTP: A2, A4, A15, K4."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from credits_core.errors import ConfigError, IdempotencyKeyReused, InvalidRequest, NotFound, StripeUnavailable
from credits_core.stripe_gateway import StripeGateway
from credits_core.stripe_sim import API_KEY, Simulator
from tests.stripe.conftest import CANCEL, SUCCESS, purchase


def test_a_session_carries_the_purchase_and_its_price(gateway: StripeGateway) -> None:  # A2
    state = gateway.create_checkout_session(purchase(), SUCCESS, CANCEL)
    assert state.session_id.startswith("cs_test_")
    assert (state.amount_subtotal, state.amount_total, state.currency) == (1000, 1000, "usd")
    assert (state.status, state.payment_status, state.mode, state.livemode) == (
        "open",
        "unpaid",
        "payment",
        False,
    )
    assert state.purchase_id == purchase()["purchase_id"]
    assert state.url is not None
    assert state.expires is not None


def test_what_sql_gets_is_the_contract(gateway: StripeGateway) -> None:
    state = gateway.create_checkout_session(purchase(), SUCCESS, CANCEL)
    assert set(state.as_sql()) == {
        "session_id", "purchase_id", "status", "payment_status", "mode", "currency", "amount_subtotal",
        "amount_total", "amount_tax", "amount_discount", "price_id", "payment_intent_id", "customer_id",
        "receipt_url", "invoice_url", "invoice_pdf_url", "terms_url", "failure", "livemode", "card_fingerprint",
    }  # fmt: skip


def test_a_paid_session_is_read_back_with_its_receipt(
    gateway: StripeGateway, control: Callable[..., Any]
) -> None:
    session_id = gateway.create_checkout_session(purchase(), SUCCESS, CANCEL).session_id
    control(f"sessions/{session_id}/pay", card="4242424242424242")
    paid = gateway.retrieve(session_id)
    assert (paid.status, paid.payment_status) == ("complete", "paid")
    assert paid.payment_intent_id is not None
    assert paid.price_id is not None
    assert gateway.session_of_intent(paid.payment_intent_id) == session_id
    assert paid.receipt_url is not None
    assert "$10.00" in httpx.get(paid.receipt_url).text


def test_the_same_purchase_gets_the_same_session(gateway: StripeGateway) -> None:
    first = gateway.create_checkout_session(purchase(), SUCCESS, CANCEL)
    assert gateway.create_checkout_session(purchase(), SUCCESS, CANCEL) == first
    with pytest.raises(IdempotencyKeyReused):
        gateway.create_checkout_session(purchase(), SUCCESS, "https://other.test/buy")
    found = gateway.find(purchase()["purchase_id"], "checkout", first.created)
    assert found is not None
    assert found.session_id == first.session_id
    assert gateway.find("another", "checkout", first.created) is None
    assert gateway.find(purchase()["purchase_id"], "checkout", first.created + 1) is None


def test_find_walks_all_pages(simulator: Simulator) -> None:
    gateway = StripeGateway.for_simulator(simulator, "http://127.0.0.1:1/sim")
    first = gateway.create_payment_intent(purchase(flow="payment_intent", purchase_id="first"))
    for number in range(101):
        gateway.create_payment_intent(purchase(flow="payment_intent", purchase_id=f"later-{number}"))
    found = gateway.find("first", "payment_intent", first.created)
    assert found is not None
    assert found.session_id == first.session_id


def test_an_answer_lost_on_its_way_is_got_by_asking_again(
    gateway: StripeGateway, control: Callable[..., Any]
) -> None:
    control("fail-next", kind="lost")
    state = gateway.create_checkout_session(
        purchase(), SUCCESS, CANCEL
    )  # the library repeats it with the key
    found = gateway.find(purchase()["purchase_id"], "checkout", state.created)
    assert found is not None
    assert found.session_id == state.session_id


@pytest.mark.parametrize("kind", ["500", "429"])
def test_a_short_trouble_is_waited_out(
    gateway: StripeGateway, control: Callable[..., Any], kind: str
) -> None:
    control("fail-next", kind=kind, count=2)
    assert gateway.create_checkout_session(purchase(), SUCCESS, CANCEL).status == "open"


@pytest.mark.parametrize("kind", ["500", "429"])
def test_a_long_trouble_is_a_sentence(gateway: StripeGateway, control: Callable[..., Any], kind: str) -> None:
    control("fail-next", kind=kind, count=20)
    with pytest.raises(StripeUnavailable, match="Nothing was charged"):
        gateway.create_checkout_session(purchase(), SUCCESS, CANCEL)


def test_silence_ends_with_a_sentence(base: str, control: Callable[..., Any]) -> None:
    hasty = StripeGateway(API_KEY, base_url=base, timeout=0.2)
    control("fail-next", kind="timeout", count=3, seconds=1)
    with pytest.raises(StripeUnavailable):
        hasty.create_checkout_session(purchase(), SUCCESS, CANCEL)
    assert (
        hasty.create_checkout_session(purchase(), SUCCESS, CANCEL).status == "open"
    )  # the very same, by its key
    hasty.close()


def test_nobody_answers(base: str) -> None:
    with pytest.raises(StripeUnavailable):
        StripeGateway(API_KEY, base_url="http://127.0.0.1:9/sim").retrieve("cs_test_1")


def test_unknown_objects_are_not_found(gateway: StripeGateway) -> None:
    for object_id in ("cs_test_nothing", "pi_nothing"):
        with pytest.raises(NotFound, match="Stripe does not know"):
            gateway.retrieve(object_id)


def test_a_refusal_says_why(gateway: StripeGateway) -> None:
    with pytest.raises(InvalidRequest, match=r"Amount must be at least \$0.50"):
        gateway.create_checkout_session(purchase(price_cents=10), SUCCESS, CANCEL)
    with pytest.raises(NotFound):
        gateway.create_checkout_session(purchase(stripe_price_id="price_nothing"), SUCCESS, CANCEL)


@pytest.mark.parametrize(("currency", "amount"), [("usd", 1000), ("jpy", 1000), ("kwd", 10000)])
def test_amounts_are_minor_units_of_their_currency(  # A15
    gateway: StripeGateway, control: Callable[..., Any], currency: str, amount: int
) -> None:
    made = gateway.create_checkout_session(purchase(currency=currency, price_cents=amount), SUCCESS, CANCEL)
    control(f"sessions/{made.session_id}/pay", card="4242424242424242")
    paid = gateway.retrieve(made.session_id)
    assert (paid.amount_total, paid.currency) == (amount, currency)


def test_currencies_we_do_not_know_are_refused(gateway: StripeGateway) -> None:  # A15
    with pytest.raises(InvalidRequest, match="Invalid currency"):
        gateway.create_checkout_session(purchase(currency="xyz"), SUCCESS, CANCEL)


def test_payment_intent_from_secret_to_paid(
    gateway: StripeGateway, control: Callable[..., Any]
) -> None:  # A4
    made = gateway.create_payment_intent(purchase(flow="payment_intent"))
    assert made.client_secret is not None
    assert made.client_secret.startswith(f"{made.session_id}_secret_")
    assert made.client_secret not in repr(made)
    assert gateway.create_payment_intent(purchase(flow="payment_intent")) == made
    control(f"payment_intents/{made.session_id}/pay", expect=402, card="4000000000000002")
    assert gateway.retrieve(made.session_id).status == "open"
    control(f"payment_intents/{made.session_id}/pay", card="4242424242424242")
    paid = gateway.retrieve(made.session_id)
    assert (paid.status, paid.payment_status, paid.amount_subtotal) == ("complete", "paid", 1000)
    gateway.cancel_payment_intent(made.session_id)  # too late, and no error
    assert gateway.retrieve(made.session_id).payment_status == "paid"


def test_payment_intent_canceled(gateway: StripeGateway) -> None:  # A4
    made = gateway.create_payment_intent(purchase(flow="payment_intent"))
    gateway.cancel_payment_intent(made.session_id)
    assert gateway.retrieve(made.session_id).status == "expired"


def test_an_expired_session_cannot_be_paid(gateway: StripeGateway, control: Callable[..., Any]) -> None:
    made = gateway.create_checkout_session(purchase(), SUCCESS, CANCEL)
    gateway.expire_session(made.session_id)
    gateway.expire_session(made.session_id)
    assert gateway.retrieve(made.session_id).status == "expired"
    control(f"sessions/{made.session_id}/pay", expect=400, card="4242424242424242")


def test_in_process_and_http_are_the_same_simulator(simulator: Simulator, base: str) -> None:
    inside = StripeGateway.for_simulator(simulator, base)
    made = inside.create_checkout_session(purchase(), SUCCESS, CANCEL)
    assert made.url == f"{base}/pay/{made.session_id}"
    outside = StripeGateway(API_KEY, base_url=base)
    assert outside.retrieve(made.session_id) == inside.retrieve(made.session_id)
    simulator.fail_next("timeout", 3, 1.0, "")
    with pytest.raises(StripeUnavailable):
        inside.retrieve(made.session_id)
    outside.close()


def test_keys_go_only_where_they_belong() -> None:  # K4, A15
    for key, url in (("sk_live_abc", "http://127.0.0.1:1/sim"), ("sk_test_abc", "http://127.0.0.1:1/sim"),
                     (API_KEY, None)):  # fmt: skip
        with pytest.raises(ConfigError) as caught:
            StripeGateway(key, base_url=url)
        assert key not in str(caught.value)
    assert StripeGateway("sk_live_abc").livemode is True
    assert StripeGateway("rk_live_abc").livemode is True
    assert StripeGateway("sk_test_abc").livemode is False


def test_keys_are_in_no_repr_log_or_message(  # K4
    base: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "whsec_very_secret_indeed"
    wrong = StripeGateway("sk_sim_wrong!key_very_secret_indeed", base_url=base, webhook_secret=secret)
    with pytest.raises(StripeUnavailable, match="administrator") as caught:
        wrong.retrieve("cs_test_1")
    texts = (repr(wrong), str(caught.value), str(caught.value.detail), caplog.text)
    assert not [text for text in texts if "very_secret" in text]
    wrong.close()
