"""Payments that end later than their page (A3, A4): bank debits that take days and PaymentIntents, told of by webhook, poll or
return page, in any order. A purchase says where it is: processing while the bank has it, failed with the bank's reason at once,
credited once whenever the money comes.
"""

from __future__ import annotations

from typing import Any

import pytest

from credits_core import checkout, fulfillment
from credits_core.db.port import SERVICE
from tests.scenarios.conftest import CARD, Buyer, World, micros, new_key

BANK, BANK_FAILS, DECLINED = "000123456789", "000222222227", "4000000000000002"
DAYS = 3 * 86_400 + 1
NO_FUNDS = "The customer's account has insufficient funds to cover this payment."


def status(buyer: Buyer, bought: dict[str, Any]) -> tuple[str, str | None]:
    """Where the purchase is as stored, and why it failed; asks nobody."""
    found = buyer.world.db.call("purchase", buyer.identity, purchase_id=bought["purchase_id"])
    return found["status"], found["failure_reason"]


def intent(buyer: Buyer) -> dict[str, Any]:
    """A purchase by PaymentIntent."""
    return checkout.start_checkout(
        buyer.world, buyer.identity, package="small", base_url="https://shop.test", flow="payment_intent",
        idempotency_key=new_key(),
    )  # fmt: skip


def pay(world: World, bought: dict[str, Any], card: str) -> None:
    kind = "payment_intents" if bought["session_id"].startswith("pi_") else "sessions"
    world.control(f"{kind}/{bought['session_id']}/pay", expect=402 if card == DECLINED else 200, card=card)


def hear(world: World, buyer: Buyer, bought: dict[str, Any], channel: str) -> None:
    """Somebody looks: Stripe's events arrive, the poll asks, or the person comes back to the return page."""
    if channel == "webhook":
        world.control("webhooks/deliver")
    elif channel == "poll":
        world.owner_sql("update credits.purchases set polled_at = null")
        world.poll()
    else:
        fulfillment.fulfill(world, buyer.identity, bought["session_id"])


@pytest.mark.parametrize("channel", ["webhook", "poll", "return page"])
@pytest.mark.parametrize("account", [BANK, BANK_FAILS])
def test_a_debit_is_processing_until_the_bank_answers(
    world: World, anna: Buyer, account: str, channel: str
) -> None:
    """Completed and unpaid, then async_payment_succeeded or async_payment_failed."""
    world.listen("manual")
    bought = anna.start()
    pay(world, bought, account)
    hear(world, anna, bought, channel)
    assert (status(anna, bought), anna.available) == (("processing", None), 0)
    assert anna.get("success", session_id=bought["session_id"])["status"] == "processing"
    world.control("clock", advance_seconds=DAYS)
    hear(world, anna, bought, channel)
    if account == BANK:
        assert (status(anna, bought), anna.available) == (("credited", None), micros("500"))
    else:
        assert (status(anna, bought), anna.available) == (("failed", NO_FUNDS), 0)
        page = anna.get("success", session_id=bought["session_id"])
        assert (page["status"], page["failure_reason"]) == ("failed", NO_FUNDS)
        (told,) = anna.get("alerts")["items"]
        assert (told["kind"], told["detail"]["reason"]) == ("payment_failed", NO_FUNDS)
    # It is over: the poll has nothing to ask, and late news changes nothing.
    before = status(anna, bought)
    assert world.poll()["checked"] == 0
    world.control("webhooks/duplicate")
    world.control("webhooks/shuffle", seed=1)
    world.control("webhooks/deliver")
    assert status(anna, bought) == before


@pytest.mark.parametrize("given_up", ["expired", "failed"])
def test_what_was_given_up_and_is_paid_late_is_credited(world: World, anna: Buyer, given_up: str) -> None:
    """Expired (or failed) with us, then the debit succeeds: Stripe's state wins."""
    world.listen("manual")
    bought = anna.start()
    pay(world, bought, BANK)
    world.db.call(
        "fail_purchase", SERVICE, purchase_id=bought["purchase_id"], status=given_up, reason="Given up."
    )
    assert status(anna, bought) == (given_up, "Given up.")
    world.control("clock", advance_seconds=DAYS)
    world.control("webhooks/deliver", type="checkout.session.async_payment_succeeded")
    assert (status(anna, bought), anna.available) == (("credited", None), micros("500"))


@pytest.mark.parametrize("seed", range(8))
def test_the_events_of_an_intent_in_any_order(world: World, anna: Buyer, seed: int) -> None:
    """A4: declined, on its way, bounced, then paid with a card. Whatever arrives in whatever order: credited once."""
    world.listen("manual")
    bought = intent(anna)
    pay(world, bought, DECLINED)
    pay(world, bought, BANK_FAILS)
    world.control("clock", advance_seconds=DAYS)
    assert len(world.at_stripe("charge")) == 2
    world.control("webhooks/shuffle", seed=seed)
    world.control("webhooks/deliver", limit=3)
    pay(world, bought, CARD)
    world.control("webhooks/duplicate", limit=4)
    world.control("webhooks/shuffle", seed=seed + 100)
    while world.control("webhooks/deliver", limit=20)["data"]:
        assert status(anna, bought)[0] in ("open", "failed", "credited")
    assert (status(anna, bought), anna.available) == (("credited", None), micros("500"))
    assert len(anna.get("history", type="purchases")["items"]) == 1


def test_an_intent_says_each_state(world: World, anna: Buyer) -> None:
    """A4: payment_failed, processing, canceled; each with its reason, and the decline of before forgotten."""
    world.listen("manual")
    bought = intent(anna)
    pay(world, bought, DECLINED)
    world.control("webhooks/deliver")
    assert status(anna, bought) == ("failed", "Your card was declined.")
    pay(world, bought, BANK_FAILS)
    world.control("webhooks/deliver")
    assert status(anna, bought) == ("processing", None)
    world.control("clock", advance_seconds=DAYS)
    world.control("webhooks/deliver")
    assert status(anna, bought) == ("failed", NO_FUNDS)
    cancel(world, bought, "requested_by_customer")
    world.control("webhooks/deliver")
    assert status(anna, bought) == ("failed", NO_FUNDS)
    assert anna.available == 0


@pytest.mark.parametrize(
    ("reason", "ends"),
    [
        ("requested_by_customer", ("failed", "The payment was canceled (requested by customer).")),
        (None, ("failed", "The payment was canceled.")),
        ("abandoned", ("expired", None)),
    ],
)
def test_a_canceled_intent(
    world: World, anna: Buyer, reason: str | None, ends: tuple[str, str | None]
) -> None:
    bought = intent(anna)
    cancel(world, bought, reason)
    hear(world, anna, bought, "poll")
    assert status(anna, bought) == ends
    assert world.poll()["checked"] == 0


def test_a_declined_intent_that_is_paid_unseen_is_found(world: World, anna: Buyer) -> None:
    """No webhook and nobody on the return page: a failed intent can still be paid, so the poll goes on asking until the
    intent is closed after a day."""
    paid, left = intent(anna), intent(anna)
    for bought in (paid, left):
        pay(world, bought, DECLINED)
    hear(world, anna, paid, "poll")
    assert [status(anna, bought)[0] for bought in (paid, left)] == ["failed"] * 2
    pay(world, paid, CARD)
    hear(world, anna, paid, "poll")
    assert [status(anna, bought)[0] for bought in (paid, left)] == ["credited", "failed"]
    world.owner_sql("update credits.purchases set created_at = created_at - interval '25 hours'")
    hear(world, anna, left, "poll")
    assert status(anna, left) == ("failed", "Your card was declined.")
    assert world.at_stripe("payment_intent", id=left["session_id"])[0]["status"] == "canceled"
    world.owner_sql("update credits.purchases set polled_at = null")
    assert world.poll()["checked"] == 0
    assert anna.available == micros("500")


def cancel(world: World, bought: dict[str, Any], reason: str | None) -> None:
    """As somebody does in Stripe's dashboard."""
    params: Any = {"cancellation_reason": reason} if reason else {}
    world.stripe.call(lambda v1: v1.payment_intents.cancel(bought["session_id"], params))
