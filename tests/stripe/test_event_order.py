"""Events of a payment's later life, lost, repeated and in any order: what is read at Stripe afterwards decides (K3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from credits_core.stripe_gateway import StripeGateway
from tests.stripe.conftest import CANCEL, SECRET, SUCCESS, Receiver, purchase

Control = Callable[..., Any]
LATER_LIFE = ("charge.refunded", "refund.", "charge.dispute.", "charge.refund.")


@pytest.fixture
def troubled(gateway: StripeGateway, control: Control, receiver: Receiver) -> list[str]:
    """Two payments: one refunded twice (once in vain), one disputed and won. Answers their PaymentIntents."""
    control("webhooks", url=receiver.url, secret=SECRET, mode="manual")
    intents = []
    for number, card in enumerate(["4000000000005126", "4242424242424242"]):
        row = purchase(purchase_id=f"p-{number}")
        session_id = gateway.create_checkout_session(row, SUCCESS, CANCEL).session_id
        control(f"sessions/{session_id}/pay", card=card)
        intents.append(str(gateway.retrieve(session_id).payment_intent_id))
    gateway.money.create_refund(intents[0], 300, {"refund_id": "r-1"}, "refund-r-1")
    control("clock", advance_seconds=61)
    control(f"payment_methods/{_method(control)}/act-as", card="4242424242424242")
    gateway.money.create_refund(intents[0], 200, {"refund_id": "r-2"}, "refund-r-2")
    opened = control(f"charges/{gateway.money.charge_of(intents[1])}/dispute")
    control(f"disputes/{opened['id']}/win")
    return intents


def _method(control: Control) -> str:
    (failed,) = [event for event in control("events")["data"] if event["type"] == "refund.failed"]
    charge = failed["data"]["object"]["charge"]
    (paid,) = [
        event["data"]["object"]["payment_method"] for event in control("events")["data"]
        if event["type"] == "charge.succeeded" and event["data"]["object"]["id"] == charge
    ]  # fmt: skip
    return str(paid)


@pytest.mark.parametrize("seed", range(3))
def test_whatever_arrives_the_totals_are_stripes(
    gateway: StripeGateway, control: Control, receiver: Receiver, troubled: list[str], seed: int
) -> None:
    control("webhooks/drop", type=("refund.created", "charge.dispute.closed", "charge.refunded")[seed])
    control("webhooks/duplicate", type="refund.failed", times=2)
    control("webhooks/shuffle", seed=seed)
    control("webhooks/deliver")
    about: dict[str, list[Any]] = {intent: [] for intent in troubled}
    for body, signature in receiver.calls:
        event = gateway.construct_event(body, signature)
        if event.type.startswith(LATER_LIFE):
            assert event.payment_intent_id is not None
            about[event.payment_intent_id].append(gateway.money.totals_of_charge(event.payment_intent_id))
    for intent, (refunded, dispute, statuses) in zip(
        troubled, [(200, "none", {"r-1": "failed", "r-2": "succeeded"}), (0, "won", {})], strict=True
    ):
        assert about[intent]
        assert len({totals.net_cents for totals in about[intent]}) == 1
        totals = about[intent][0]
        assert (totals.refunded_cents, totals.dispute) == (refunded, dispute)
        assert {one["refund_id"]: one["status"] for one in totals.as_sql()["refunds"]} == statuses


def test_an_event_names_what_it_is_about(
    gateway: StripeGateway, control: Control, receiver: Receiver
) -> None:
    control("webhooks", url=receiver.url, secret=SECRET, mode="manual")
    customer = gateway.cards.create_customer(7, None, "customer-7")
    gateway.catalog.create_product("plan", "Plan", {})
    price = gateway.subscriptions.create_price("plan", "usd", 1000, "month", "plan", {})
    page = gateway.subscriptions.create_session(
        customer, price, {"subscription_id": "s-1"}, SUCCESS, CANCEL, "sub-1"
    )
    control(f"sessions/{page.session_id}/pay", card="4242424242424242")
    made = gateway.subscriptions.of_session(page.session_id)
    assert made is not None
    control("webhooks/deliver")
    events = {event.type: event for event in (gateway.construct_event(*call) for call in receiver.calls)}
    for kind in ("invoice.paid", "customer.subscription.created", "checkout.session.completed"):
        found = events[kind]
        assert (found.subscription_id, found.customer_id) == (made.subscription_id, customer), kind
    assert events["customer.created"].customer_id == customer
    assert (
        events["payment_intent.succeeded"].payment_intent_id == events["charge.succeeded"].payment_intent_id
    )
    assert events["product.created"].payment_intent_id is None
    assert events["product.created"].subscription_id is None
