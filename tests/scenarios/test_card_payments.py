"""Paying at once with a saved card, over HTTP (A4, A7, A3, B6): what each answer of the bank becomes, whoever looks, however often
somebody presses; one press never charges twice, and nobody pays with another one's card.
"""

from __future__ import annotations

import threading
from typing import Any

import httpx
import pytest

from credits_core import card_payments, saved_cards
from credits_core.errors import NotFound
from credits_core.stripe_shapes import CheckoutOptions
from tests.scenarios.conftest import CARD, Buyer, World, micros, new_key

ASKS, DECLINES, NO_FUNDS = "4000002760003184", "4000000000000341", "4000000000009995"
SHOP = "https://shop.test"


def save_card(buyer: Buyer, number: str = CARD) -> str:
    """A saved card that behaves like this test card from now on; answers its id."""
    world = buyer.world
    page = saved_cards.start_saving(world, buyer.identity, SHOP)
    world.control(f"sessions/{page.session_id}/pay", card=CARD)
    saved = saved_cards.finish_saving(world, buyer.identity, page.session_id).payment_method_id
    assert saved is not None
    if number != CARD:
        world.control(f"payment_methods/{saved}/act-as", card=number)
    return saved


def body(card: str, **more: Any) -> dict[str, Any]:
    """What is sent to buy 500 credits for $20 at once."""
    return {
        "package": "small", "flow": "payment_intent", "payment_method_id": card, "confirm": True,
        "idempotency_key": new_key(),
    } | more  # fmt: skip


def paid(world: World) -> list[int]:
    """The amounts that were really charged."""
    return [charge["amount"] for charge in world.at_stripe("charge") if charge["paid"]]


def confirm(world: World, buyer: Buyer, answer: dict[str, Any], outcome: str = "complete") -> str:
    """The owner follows the link and answers the bank; where that leads back to."""
    payment = answer["payment_intent_id"]
    assert answer["payment"]["confirm_url"].endswith(f"/auth/confirm-payment?payment={payment}")
    asked = card_payments.confirmation_url(world, buyer.identity, payment, SHOP, new_key(), call_id=7)
    back = world.client.post(asked, data={"outcome": outcome}).headers["location"]
    assert back.startswith(f"{SHOP}/checkout_return?session_id={payment}&call=7")
    return str(payment)


def test_a_good_card_is_charged_and_credited_at_once(world: World, anna: Buyer) -> None:
    sent = body(save_card(anna), price_cents=2000)
    done = anna.post("purchase", sent)
    assert (done["status"], done["payment"]["state"], done["credits"]) == ("credited", "succeeded", "500.00")
    assert (done["payment"]["confirm_url"], done["flow"]) == (None, "payment_intent")
    assert done["receipt_url"] and anna.available == micros("500") and paid(world) == [2000]
    (intent,) = [each for each in world.at_stripe("payment_intent") if each["amount"] == 2000]
    assert intent["metadata"]["purchase_id"] == done["purchase_id"] and intent["customer"]


def test_return_webhook_poll_and_the_same_key_again_credit_nothing_more(world: World, anna: Buyer) -> None:
    """A3: in whatever order and however often."""
    world.listen("manual")
    sent = body(save_card(anna))
    done = anna.post("purchase", sent)
    world.control("webhooks/duplicate", times=2)
    world.control("webhooks/shuffle", seed=4)
    world.control("webhooks/deliver")
    assert anna.get("success", session_id=done["session_id"])["status"] == "credited"
    world.poll()
    again = anna.post("purchase", sent)
    assert (again["replayed"], again["purchase_id"]) == (True, done["purchase_id"])
    assert (again["payment"], anna.available, paid(world)) == (done["payment"], micros("500"), [2000])


def test_a_code_and_a_volume_step_are_honoured(world: World, anna: Buyer) -> None:
    """A12, A14: the card is charged what the quote says."""
    world.load("recruitment")
    admin = world.person("admin")
    code = {"code": "TENOFF", "name": "Ten off", "kind": "discount_percent", "amount": "10"}
    admin.post("admin/campaigns", code)
    card = save_card(anna)
    done = anna.post("purchase", body(card, package="professional", promo_code="tenoff", price_cents=4050))
    assert (done["price_cents"], anna.available, paid(world)) == (4050, micros("550"), [4050])
    problem = anna.post("purchase", body(card, package="professional", promo_code="TENOFF"), expect=409)
    assert problem["error"]["message"] == "You have used this code already." and paid(world) == [4050]


@pytest.mark.parametrize(
    ("number", "why"),
    [(DECLINES, "Your card was declined."), (NO_FUNDS, "Your card has insufficient funds.")],
)
def test_a_declined_card_says_why_and_the_next_try_is_another_purchase(
    world: World, anna: Buyer, number: str, why: str
) -> None:
    world.listen("manual")
    bad, good = save_card(anna, number), save_card(anna)
    sent = body(bad)
    for _ in range(2):  # the same key asks the bank once
        done = anna.post("purchase", sent)
        assert (done["status"], done["payment"]["state"]) == ("failed", "declined")
        assert done["payment"]["message"] == f"{why} Nothing was charged."
    assert len([each for each in world.at_stripe("charge") if not each["paid"]]) == 1
    world.control("webhooks/deliver")
    world.poll()
    assert anna.available == 0 and paid(world) == []
    (intent,) = [each for each in world.at_stripe("payment_intent") if each["amount"] == 2000]
    assert intent["status"] == "canceled"  # nobody can pay it later, beside another purchase
    assert anna.get("alerts")["items"] == []  # it failed before their eyes
    other = anna.post("purchase", body(good))
    assert (other["payment"]["state"], anna.available, paid(world)) == ("succeeded", micros("500"), [2000])


@pytest.mark.parametrize("channel", ["return page", "webhook", "poll", "same key"])
def test_a_card_that_asks_its_owner_is_credited_once_it_is_confirmed(
    world: World, anna: Buyer, channel: str
) -> None:
    """3-D Secure: nothing is charged before, and whoever looks first credits it."""
    world.listen("manual")
    sent = body(save_card(anna, ASKS))
    asked = anna.post("purchase", sent)
    assert (asked["status"], asked["payment"]["state"]) == ("open", "requires_action")
    assert anna.post("purchase", sent)["payment"] == asked["payment"] and paid(world) == []
    payment = confirm(world, anna, asked)
    if channel == "return page":
        anna.get("success", session_id=payment)
    elif channel == "webhook":
        world.control("webhooks/deliver")
    elif channel == "poll":
        world.poll()
    else:
        assert anna.post("purchase", sent)["payment"]["state"] == "succeeded"
    assert (anna.available, paid(world)) == (micros("500"), [2000])
    # A link that is followed once more leads to the return page.
    done = card_payments.confirmation_url(world, anna.identity, payment, SHOP, new_key())
    assert done == f"{SHOP}/checkout_return?session_id={payment}"
    with pytest.raises(NotFound):
        card_payments.confirmation_url(world, world.person().identity, payment, SHOP, new_key())


def test_a_confirmation_that_fails_charges_nothing(world: World, anna: Buyer) -> None:
    sent = body(save_card(anna, ASKS))
    confirm(world, anna, anna.post("purchase", sent), "fail")
    world.poll()
    done = anna.post("purchase", sent)
    assert done["payment"]["state"] == "declined" and "unable to authenticate" in done["payment"]["message"]
    assert anna.available == 0 and paid(world) == []


def test_a_payment_that_waits_is_canceled_before_another_one(world: World, anna: Buyer) -> None:
    """What the owner turns away from cannot be confirmed in a forgotten tab afterwards."""
    sent = body(save_card(anna, ASKS))
    asked = anna.post("purchase", sent)
    url = card_payments.confirmation_url(world, anna.identity, asked["session_id"], SHOP, new_key())
    ended = card_payments.cancel(world, anna.identity, sent["idempotency_key"])
    assert ended is not None and ended["status"] == "expired"
    world.client.post(url, data={"outcome": "complete"})
    world.poll()
    assert anna.post("purchase", sent)["payment"]["state"] == "canceled"
    assert anna.available == 0 and paid(world) == []
    # One that is paid stays paid, and nobody ends another one's.
    good = body(save_card(anna))
    anna.post("purchase", good)
    kept = card_payments.cancel(world, anna.identity, good["idempotency_key"])
    assert kept is not None and kept["status"] == "credited"
    assert card_payments.cancel(world, world.person().identity, good["idempotency_key"]) is None


@pytest.mark.parametrize("kind", ["lost", "500", "429", "timeout"])
def test_an_answer_that_does_not_come_is_unknown_and_never_charged_twice(
    world: World, anna: Buyer, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stripe took the money and the answer is lost, or never heard of it: the same key goes on, and money is taken once."""
    sent = body(save_card(anna))
    monkeypatch.setattr(world.stripe._http, "_timeout", 0.5)
    world.control("fail-next", kind=kind, count=20, seconds=0.7, path="payment_intents")
    unknown = anna.post("purchase", sent)
    assert (unknown["status"], unknown["payment"]["state"]) == ("created", "unknown")
    assert "not known whether the card was charged" in unknown["payment"]["message"]
    (waiting,) = card_payments.payments(world.db, anna.identity)["items"]
    assert waiting["purchase_id"] == unknown["purchase_id"] and anna.available == 0
    world.control("fail-next", kind="500", count=0)
    done = anna.post("purchase", sent)
    assert (done["payment"]["state"], anna.available, paid(world)) == ("succeeded", micros("500"), [2000])
    assert card_payments.payments(world.db, anna.identity)["items"] == []


@pytest.mark.parametrize("key_is_known", [True, False])
def test_the_poll_finds_out_and_a_late_press_looks_before_it_charges(
    world: World, anna: Buyer, key_is_known: bool
) -> None:
    """Money was taken, the answer was lost, everybody left. Later Stripe has even forgotten the key."""
    sent = body(save_card(anna))
    world.control("fail-next", kind="lost", count=20, path="payment_intents")
    assert anna.post("purchase", sent)["payment"]["state"] == "unknown"
    world.control("fail-next", kind="500", count=0)
    world.owner_sql(
        "update credits.purchases set created_at = created_at - interval '100 seconds', polled_at = null"
    )
    if key_is_known:
        assert world.poll()["credited"] == 1
    else:
        with world.simulator.store.transaction():
            world.simulator.store.db.execute("delete from idempotency")
    assert anna.post("purchase", sent)["payment"]["state"] == "succeeded"
    assert (anna.available, paid(world)) == (micros("500"), [2000])


def test_what_stripe_never_heard_of_is_given_up_and_nothing_is_charged_later(
    world: World, anna: Buyer
) -> None:
    sent = body(save_card(anna))
    world.control("fail-next", kind="500", count=20, path="payment_intents")
    assert anna.post("purchase", sent)["payment"]["state"] == "unknown"
    world.control("fail-next", kind="500", count=0)
    world.owner_sql(
        "update credits.purchases set created_at = created_at - interval '11 minutes', polled_at = null"
    )
    world.poll()
    assert anna.post("purchase", sent)["payment"]["state"] == "canceled"
    assert anna.available == 0 and paid(world) == []


@pytest.mark.parametrize("number", [CARD, DECLINES, ASKS])
def test_two_presses_at_once_are_one_charge(world: World, anna: Buyer, number: str) -> None:
    sent = body(save_card(anna, number))
    answers: list[dict[str, Any]] = []
    start = threading.Barrier(4)

    def press() -> None:
        start.wait()
        headers = {"Authorization": f"Bearer {anna.token}"}
        with httpx.Client(timeout=30) as own:
            answer = own.post(f"{world.url}/api/credits/purchase", json=sent, headers=headers)
        assert answer.status_code == 200, answer.text
        answers.append(answer.json())

    threads = [threading.Thread(target=press) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({answer["purchase_id"] for answer in answers}) == 1 and len(answers) == 4
    assert len([each for each in world.at_stripe("payment_intent") if each["amount"] == 2000]) == 1
    assert paid(world) == ([2000] if number == CARD else [])
    assert anna.available == (micros("500") if number == CARD else 0)
    assert len(anna.get("history", type="purchases")["items"]) == 1


def test_a_key_is_for_one_payment(world: World, anna: Buyer) -> None:
    """B6: another card, package or flow with the same key is refused, and charges nothing."""
    card, other = save_card(anna), save_card(anna)
    sent = body(card)
    anna.post("purchase", sent)
    page = {"package": "small", "flow": "payment_intent", "idempotency_key": sent["idempotency_key"]}
    for changed in (sent | {"payment_method_id": other}, sent | {"package": "starter"}, page):
        assert anna.post("purchase", changed, expect=409)["error"]["code"] == "idempotency_key_reused"
    assert paid(world) == [2000]


def test_nobody_pays_with_a_card_that_is_not_theirs(world: World, anna: Buyer) -> None:
    """Another person's card, one that was removed, Stripe's test names; not staff or a program for somebody either."""
    anna_card = save_card(anna)
    ben, admin = world.person(), world.person("admin")
    save_card(ben)
    gone = save_card(ben)
    saved_cards.remove(world, ben.identity, gone)
    for card in (anna_card, gone, "pm_card_visa", "pm_unknown", "cus_1"):
        assert ben.post("purchase", body(card), expect=404)["error"]["code"] == "not_found"
    # somebody without any card, too
    assert world.person().post("purchase", body(anna_card), expect=404)["error"]["code"] == "not_found"
    for_anna = body(anna_card, account=anna.account_id)
    assert ben.post("purchase", for_anna, expect=403)["error"]["code"] == "not_allowed"
    assert "owner" in admin.post("purchase", for_anna, expect=403)["error"]["message"]
    assert paid(world) == [] and world.owner_sql("select from credits.purchases") == []


@pytest.mark.parametrize("scopes", [["read", "use", "hold"], ["purchase"], ["read", "purchase"]])
def test_a_program_never_charges_a_saved_card(world: World, anna: Buyer, scopes: list[str]) -> None:
    """J3, A10: not with any key of the owner's: what a lost key may cost has the caps of auto-reload, or a person who pays."""
    card = save_card(anna)
    made = anna.post("api-keys", {"name": "Dialer", "scopes": scopes})
    program = Buyer(world, anna.identity, anna.account_id, made["key"])
    refused = program.post("purchase", body(card), expect=403)["error"]
    if "purchase" in scopes:
        assert "signed in" in refused["message"]
        assert program.post("purchase", {"package": "small"})["url"]
    else:
        assert refused["detail"] == {"scope": "purchase"}
    assert paid(world) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"confirm": False},
        {"confirm": "yes"},
        {"flow": "checkout"},
        {"payment_method_id": None},
        {"payment_method_id": ""},
        {"payment_method_id": "pm_1 or pm_2"},
        {"payment_method_id": "p" * 256},
        {"price_cents": 0},
        {"price_cents": "2000"},
        {"package": None},
        {"amount_cents": 1},
    ],
)
def test_requests_that_make_no_sense_charge_nothing(
    world: World, anna: Buyer, changes: dict[str, Any]
) -> None:
    sent = {name: value for name, value in (body(save_card(anna)) | changes).items() if value is not None}
    assert anna.post("purchase", sent, expect=422)["error"]["code"] == "invalid_request"
    assert paid(world) == [] and world.owner_sql("select from credits.purchases") == []


def test_a_price_that_is_another_one_now_is_not_charged(world: World, anna: Buyer) -> None:
    card = save_card(anna)
    refused = anna.post("purchase", body(card, price_cents=1500), expect=409)["error"]
    assert "not the one you saw" in refused["message"]
    assert (refused["detail"]["price_cents"], refused["detail"]["credits_micros"]) == (2000, micros("500"))
    assert paid(world) == [] and world.owner_sql("select from credits.purchases") == []


def test_terms_are_accepted_first_and_kept(world: World, anna: Buyer) -> None:
    """A6."""
    card, terms = save_card(anna), "https://shop.test/terms"
    world.stripe.options = CheckoutOptions(terms_url=terms)
    assert anna.post("purchase", body(card), expect=422)["error"]["detail"] == {"terms_url": terms}
    done = anna.post("purchase", body(card, terms_accepted=True))
    assert (done["terms_url"], done["payment"]["state"]) == (terms, "succeeded") and done["terms_accepted_at"]
    assert paid(world) == [2000]


@pytest.mark.parametrize("options", [CheckoutOptions(invoices=True), CheckoutOptions(automatic_tax=True)])
def test_where_a_payment_needs_its_page_a_saved_card_is_refused(
    world: World, anna: Buyer, options: CheckoutOptions
) -> None:
    card = save_card(anna)
    world.stripe.options = options
    assert "payment page" in anna.post("purchase", body(card), expect=409)["error"]["message"]
    assert paid(world) == []


def test_a_refund_takes_it_back_as_of_any_purchase(world: World, anna: Buyer, admin: Buyer) -> None:
    """A8."""
    done = anna.post("purchase", body(save_card(anna)))
    wanted = {"purchase_id": done["purchase_id"], "amount_cents": 500, "reason": "For a test"}
    admin.post("admin/refunds", wanted)
    world.send_refunds()
    world.follow()
    assert anna.available == micros("375")
