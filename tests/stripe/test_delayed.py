"""Debits that take days, discounts and tax on the payment page: A4, A6, A12."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from credits_core.errors import InvalidRequest
from credits_core.stripe_gateway import StripeGateway
from tests.stripe.conftest import CANCEL, SUCCESS, purchase, web

Control = Callable[..., Any]
BANK, BANK_FAILS, VISA = "000123456789", "000222222227", "4242424242424242"


def session_events(control: Control) -> list[str]:
    kinds = [event["type"] for event in control("events")["data"]]
    return [kind.removeprefix("checkout.session.") for kind in kinds if kind.startswith("checkout.session.")]


@pytest.mark.parametrize(("account", "paid"), [(BANK, True), (BANK_FAILS, False)])
def test_a_debit_ends_after_days(
    gateway: StripeGateway, control: Control, account: str, paid: bool
) -> None:  # A4
    made = gateway.create_checkout_session(purchase(), SUCCESS, CANCEL)
    control(f"sessions/{made.session_id}/pay", card=account)
    waiting = gateway.retrieve(made.session_id)
    assert (waiting.status, waiting.payment_status, waiting.failed) == ("complete", "unpaid", False)
    assert waiting.payment_intent_id is not None
    assert gateway.retrieve(waiting.payment_intent_id).payment_status == "unpaid"
    assert session_events(control) == ["completed"]
    control("clock", advance_seconds=3 * 86_400 + 1)
    ended = gateway.retrieve(made.session_id)
    assert (ended.payment_status, ended.failed) == ("paid" if paid else "unpaid", not paid)
    assert bool(ended.failure) is not paid
    assert bool(ended.receipt_url) is paid
    assert session_events(control) == ["completed", f"async_payment_{'succeeded' if paid else 'failed'}"]
    if paid:
        totals = gateway.money.totals_of_charge(str(ended.payment_intent_id))
        assert (totals.paid, totals.net_cents) == (True, 1000 - 59)


@pytest.mark.parametrize("outcome", ["succeed", "fail"])
def test_the_bank_can_answer_now(gateway: StripeGateway, control: Control, outcome: str) -> None:
    made = gateway.create_checkout_session(purchase(), SUCCESS, CANCEL)
    control(f"sessions/{made.session_id}/pay", card=BANK)
    intent = gateway.retrieve(made.session_id).payment_intent_id
    for _ in range(2):
        control(f"payment_intents/{intent}/settle", outcome=outcome)
    control("clock", advance_seconds=3 * 86_400 + 1)  # the account's own answer comes too late
    assert gateway.retrieve(made.session_id).failed is (outcome == "fail")
    assert len(session_events(control)) == 2
    control(f"payment_intents/{intent}/settle", expect=400, outcome="perhaps")


def test_the_page_offers_the_bank(gateway: StripeGateway) -> None:
    made = gateway.create_checkout_session(purchase(), SUCCESS, CANCEL)
    assert "Pay by bank (takes days)" in web.get(str(made.url)).text
    done = web.post(str(made.url), data={"method": "bank"})
    assert (done.status_code, done.headers["location"]) == (
        303, SUCCESS.replace("{CHECKOUT_SESSION_ID}", made.session_id),
    )  # fmt: skip
    assert gateway.retrieve(made.session_id).payment_status == "unpaid"


def test_an_intent_can_be_paid_by_bank(gateway: StripeGateway, control: Control) -> None:
    made = gateway.create_payment_intent(purchase(flow="payment_intent"))
    control(f"payment_intents/{made.session_id}/pay", card=BANK_FAILS)
    assert gateway.retrieve(made.session_id).status == "complete"
    control("clock", advance_seconds=3 * 86_400 + 1)
    failed = gateway.retrieve(made.session_id)
    assert (failed.status, failed.payment_status) == ("open", "unpaid")  # another card may still pay it
    assert failed.failure


# discounts


@pytest.fixture
def coupon(gateway: StripeGateway) -> Callable[..., str]:
    def act(**what: Any) -> str:
        return str(gateway.call(lambda v1: v1.coupons.create(what)).id)

    return act


def code(gateway: StripeGateway, coupon: str, text: str, **more: Any) -> str:
    params: Any = {"promotion": {"type": "coupon", "coupon": coupon}, "code": text, **more}
    return str(gateway.call(lambda v1: v1.promotion_codes.create(params)).id)


@pytest.mark.parametrize(
    ("what", "off"), [({"percent_off": 12.5}, 125), ({"amount_off": 300, "currency": "usd"}, 300)]
)
def test_a_discount_is_taken_off(  # A12
    gateway: StripeGateway, control: Control, coupon: Callable[..., str], what: dict[str, Any], off: int
) -> None:
    row = purchase(stripe_coupon_id=coupon(**what))
    made = gateway.create_checkout_session(row, SUCCESS, CANCEL)
    assert (made.amount_subtotal, made.amount_discount, made.amount_total) == (1000, off, 1000 - off)
    assert "Discount" in web.get(str(made.url)).text
    control(f"sessions/{made.session_id}/pay", card=VISA)
    paid = gateway.retrieve(made.session_id)
    assert (paid.amount_discount, paid.payment_status) == (off, "paid")
    assert gateway.money.totals_of_charge(str(paid.payment_intent_id)).amount_cents == 1000 - off


def test_nothing_is_to_be_paid(gateway: StripeGateway, control: Control, coupon: Callable[..., str]) -> None:
    row = purchase(stripe_coupon_id=coupon(amount_off=5000, currency="usd"))
    made = gateway.create_checkout_session(row, SUCCESS, CANCEL)
    control(f"sessions/{made.session_id}/pay", card=VISA)
    done = gateway.retrieve(made.session_id)
    assert (done.status, done.payment_status, done.amount_total) == ("complete", "no_payment_required", 0)
    assert done.payment_intent_id is None


def test_codes_have_their_limits(
    gateway: StripeGateway, control: Control, coupon: Callable[..., str]
) -> None:
    ten = coupon(percent_off=10)
    once = code(gateway, ten, "ONCE", max_redemptions=1)
    made = gateway.create_checkout_session(purchase(stripe_promotion_code_id=once), SUCCESS, CANCEL)
    control(f"sessions/{made.session_id}/pay", card=VISA)
    other = purchase(purchase_id="another", stripe_promotion_code_id=once)
    with pytest.raises(InvalidRequest, match="cannot be redeemed"):
        gateway.create_checkout_session(other, SUCCESS, CANCEL)
    large = code(
        gateway, ten, "LARGE", restrictions={"minimum_amount": 5000, "minimum_amount_currency": "usd"}
    )
    theirs = code(gateway, ten, "THEIRS", customer=gateway.cards.create_customer(8, None, "customer-8"))
    soon = code(gateway, ten, "SOON", expires_at=made.created + 3600)
    control("clock", advance_seconds=3601)
    for wrong in (large, theirs, soon):
        with pytest.raises(InvalidRequest, match="cannot be redeemed"):
            gateway.create_checkout_session(other | {"stripe_promotion_code_id": wrong}, SUCCESS, CANCEL)
    with pytest.raises(InvalidRequest, match="already exists"):
        code(gateway, ten, "once")


def test_a_code_is_typed_on_the_page(gateway: StripeGateway, coupon: Callable[..., str]) -> None:
    code(gateway, coupon(percent_off=10), "AUTUMN")
    params: Any = {
        "mode": "payment", "success_url": SUCCESS, "allow_promotion_codes": True,
        "line_items": [{"quantity": 2, "price_data": {
            "currency": "usd", "unit_amount": 500, "product_data": {"name": "Credits"}}}],
    }  # fmt: skip
    url = str(gateway.call(lambda v1: v1.checkout.sessions.create(params)).url)
    wrong = web.post(url, data={"method": "code", "promotion_code": "WINTER"})
    assert (wrong.status_code, "This code is invalid." in wrong.text) == (422, True)
    right = web.post(url, data={"method": "code", "promotion_code": " autumn "})
    assert (right.status_code, "$9.00" in right.text) == (200, True)
    assert web.post(url, data={"number": VISA, "expiry": "12/34", "cvc": "123"}).status_code == 303
    assert gateway.retrieve(url.rpartition("/")[2]).amount_discount == 100


# tax


@pytest.mark.parametrize(("inclusive", "total", "tax"), [(False, 1190, 190), (True, 1000, 160)])
def test_automatic_tax(  # A6
    gateway: StripeGateway, control: Control, inclusive: bool, total: int, tax: int
) -> None:
    control("tax", basis_points=1900, inclusive=inclusive)
    made = gateway.create_checkout_session(purchase(automatic_tax=True), SUCCESS, CANCEL)
    assert (made.amount_subtotal, made.amount_tax, made.amount_total) == (1000, tax, total)
    control(f"sessions/{made.session_id}/pay", card=VISA)
    assert gateway.retrieve(made.session_id).amount_tax == tax
    without = gateway.create_checkout_session(purchase(purchase_id="another"), SUCCESS, CANCEL)
    assert (without.amount_tax, without.amount_total) == (0, 1000)
