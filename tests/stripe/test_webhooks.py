"""Webhooks: signed as Stripe signs, and refused in every other case (K3, A15)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from credits_core.errors import NotFound, WebhookRejected
from credits_core.stripe_gateway import StripeGateway
from credits_core.stripe_sim import API_KEY
from credits_core.stripe_sim.webhooks import signature
from tests.stripe.conftest import CANCEL, SECRET, SUCCESS, Receiver, purchase

EVENT: dict[str, Any] = {
    "id": "evt_1", "object": "event", "type": "checkout.session.completed", "livemode": False, "created": 1,
    "data": {"object": {"id": "cs_test_1", "object": "checkout.session"}},
}  # fmt: skip


def body_of(**changes: Any) -> bytes:
    return json.dumps(EVENT | changes).encode()


@pytest.fixture
def paid(gateway: StripeGateway, control: Callable[..., Any], receiver: Receiver) -> str:
    """A session paid while the endpoint was configured; nothing is sent yet."""
    control("webhooks", url=receiver.url, secret=SECRET, mode="manual")
    session_id = gateway.create_checkout_session(purchase(), SUCCESS, CANCEL).session_id
    control(f"sessions/{session_id}/pay", card="4242424242424242")
    return session_id


def test_a_delivered_event_is_accepted(
    gateway: StripeGateway, control: Callable[..., Any], receiver: Receiver, paid: str
) -> None:
    sent = control("webhooks/deliver", type="checkout.session.completed")["data"]
    assert [delivery["status"] for delivery in sent] == ["delivered"]
    event = gateway.construct_event(*receiver.calls[0])
    assert (event.type, event.object_id, event.livemode) == ("checkout.session.completed", paid, False)
    assert event.payload["data"]["object"]["payment_status"] == "paid"


def test_the_background_delivers_by_itself(
    gateway: StripeGateway, control: Callable[..., Any], receiver: Receiver, paid: str
) -> None:
    control("webhooks", url=receiver.url, secret=SECRET, mode="auto")
    kinds = set()
    while "checkout.session.completed" not in kinds:
        assert receiver.arrived.acquire(timeout=20)
        kinds = {gateway.construct_event(*call).type for call in receiver.calls}


def test_deliveries_can_be_dropped_repeated_delayed_and_mixed(
    control: Callable[..., Any], receiver: Receiver, paid: str
) -> None:
    names = [event["id"] for event in control("events")["data"]]
    control("webhooks/drop", type="product.created")
    control("webhooks/delay", type="price.created", seconds=60)
    control("webhooks/duplicate", type="checkout.session.completed", times=2)
    mixed = [row["event"] for row in control("webhooks/shuffle", seed=7)["data"]]
    assert sorted(set(mixed)) == sorted(set(names) - set(names[:1]))
    sent = [row["type"] for row in control("webhooks/deliver")["data"]]
    assert sent.count("checkout.session.completed") == 3
    assert "product.created" not in sent
    assert "price.created" not in sent
    control("clock", advance_seconds=61)
    assert [row["type"] for row in control("webhooks/deliver")["data"]] == ["price.created"]


def test_a_receiver_in_trouble_gets_it_again(
    control: Callable[..., Any], receiver: Receiver, paid: str
) -> None:
    receiver.status = 500
    control("webhooks", url=receiver.url, secret=SECRET, mode="auto")
    assert receiver.arrived.acquire(timeout=20)
    first = receiver.calls[0][0]
    receiver.status = 200
    while [body for body, _ in receiver.calls].count(first) < 2:
        control("clock", advance_seconds=400)
        assert receiver.arrived.acquire(timeout=20)


@pytest.mark.parametrize(
    "header",
    [None, "", "nonsense", "t=,v1=", "t=1", "t=x,v1=y", f"t={10**400},v1=ab", "v1=ü", "t=1,v0=abc", "\x00"],
)
def test_unsigned_bodies_are_rejected(gateway: StripeGateway, header: str | None) -> None:
    with pytest.raises(WebhookRejected):
        gateway.construct_event(body_of(), header)


def test_a_genuine_signature_is_accepted_once_more_within_its_time(gateway: StripeGateway) -> None:
    body = body_of()
    assert gateway.construct_event(body, signature(body, SECRET)).event_id == "evt_1"


@pytest.mark.parametrize("case", ["tampered", "reserialised", "old", "other secret", "other scheme"])
def test_bodies_that_are_not_as_they_were_sent_are_rejected(gateway: StripeGateway, case: str) -> None:
    body = body_of()
    header = signature(body, SECRET)
    if case == "tampered":
        body = body.replace(b"cs_test_1", b"cs_test_2")
    elif case == "reserialised":
        body = json.dumps(json.loads(body), indent=1).encode()
    elif case == "old":
        header = signature(body, SECRET, int(time.time()) - 301)
    elif case == "other secret":
        header = signature(body, "whsec_other")
    else:
        header = header.replace("v1=", "v0=")
    with pytest.raises(WebhookRejected) as caught:
        gateway.construct_event(body, header)
    assert SECRET not in str(caught.value)


def test_the_other_mode_is_rejected(gateway: StripeGateway) -> None:  # A15
    body = body_of(livemode=True)
    with pytest.raises(WebhookRejected, match="live mode"):
        gateway.construct_event(body, signature(body, SECRET))
    live = StripeGateway("sk_live_x", webhook_secret=SECRET)
    with pytest.raises(WebhookRejected, match="test mode"):
        live.construct_event(body_of(), signature(body_of(), SECRET))


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"7", b'"text"', b"{", b"{}", b'{"object": "v2.core.event"}', b"\xff\xfe",
     body_of(data=None), body_of(data={}), body_of(data={"object": None}), body_of(data={"object": "text"})],
)  # fmt: skip
def test_signed_nonsense_is_rejected(gateway: StripeGateway, body: bytes) -> None:
    with pytest.raises(WebhookRejected):
        gateway.construct_event(body, signature(body, SECRET))


def test_without_a_secret_webhooks_are_off(base: str) -> None:
    deaf = StripeGateway(API_KEY, base_url=base)
    with pytest.raises(NotFound, match="STRIPE_WEBHOOK_SECRET"):
        deaf.construct_event(body_of(), signature(body_of(), SECRET))
