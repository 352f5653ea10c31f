"""Subscriptions and invoices on a clock that jumps: A11."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from credits_core.errors import InvalidRequest, NotFound, StripeUnavailable
from credits_core.stripe_gateway import StripeGateway
from credits_core.stripe_sim.subscriptions import period_end
from credits_core.stripe_states import ChargeState, InvoiceState, SubscriptionState
from tests.stripe.conftest import CANCEL, SUCCESS, web

Control = Callable[..., Any]
VISA = "4242424242424242"
DAY = 86_400
MONTH = 31 * DAY + 3_601  # a month at most, and the hour after which its invoice is paid
REFERENCE = {"subscription_id": "s-1", "account_id": "7"}


@pytest.fixture
def customer(gateway: StripeGateway) -> str:
    return gateway.cards.create_customer(7, "holder@demo.test", "customer-7")


@pytest.fixture
def plan(gateway: StripeGateway) -> Callable[[str, int], str]:
    """`plan(code, cents)`: a monthly price."""

    def act(code: str, cents: int) -> str:
        gateway.catalog.create_product(f"plan_{code}", code, {"type": "plan"})
        return gateway.subscriptions.create_price(
            f"plan_{code}", "usd", cents, "month", f"plan_{code}", {"plan": code}
        )

    return act


@pytest.fixture
def subscribe(
    gateway: StripeGateway, control: Control, customer: str, plan: Callable[[str, int], str]
) -> Callable[..., SubscriptionState]:
    """`subscribe()`: a running subscription of $10 a month."""

    def act(card: str = VISA) -> SubscriptionState:
        page = gateway.subscriptions.create_session(
            customer, plan("small", 1000), REFERENCE, SUCCESS, CANCEL, "sub-1"
        )
        control(f"sessions/{page.session_id}/pay", card=card)
        made = gateway.subscriptions.of_session(page.session_id)
        assert made is not None
        return made

    return act


def latest(gateway: StripeGateway, subscription_id: str) -> InvoiceState:
    invoice_id = gateway.subscriptions.subscription(subscription_id).latest_invoice_id
    assert invoice_id is not None
    return gateway.subscriptions.invoice(invoice_id)


def kinds(control: Control, *beginnings: str) -> list[str]:
    return [event["type"] for event in control("events")["data"] if event["type"].startswith(beginnings)]


def test_subscribing_on_the_page(  # A11
    gateway: StripeGateway, customer: str, plan: Callable[[str, int], str]
) -> None:
    price = plan("small", 1000)
    page = gateway.subscriptions.create_session(customer, price, REFERENCE, SUCCESS, CANCEL, "sub-1")
    assert gateway.subscriptions.create_session(customer, price, REFERENCE, SUCCESS, CANCEL, "sub-1") == page
    assert gateway.subscriptions.of_session(page.session_id) is None
    assert "Subscribe for $10.00" in web.get(str(page.url)).text
    declined = web.post(str(page.url), data={"number": "4000000000000002", "expiry": "12/34", "cvc": "123"})
    assert "Your card was declined." in declined.text
    assert web.post(str(page.url), data={"number": VISA, "expiry": "12/34", "cvc": "123"}).status_code == 303
    made = gateway.subscriptions.of_session(page.session_id)
    assert made is not None
    assert (made.status, made.price_id, made.unit_amount_cents, made.metadata) == (
        "active",
        price,
        1000,
        REFERENCE,
    )
    assert made.payment_method_id == gateway.cards.saved_cards(customer)[0].payment_method_id
    assert gateway.subscriptions.of_customer(customer) == [made]
    state = gateway.retrieve(page.session_id)
    assert (state.mode, state.payment_status, state.purchase_id) == ("subscription", "paid", "s-1")


def test_the_first_invoice_is_paid_and_known(
    gateway: StripeGateway, subscribe: Callable[..., SubscriptionState]
) -> None:
    made = subscribe()
    invoice = latest(gateway, made.subscription_id)
    assert (invoice.status, invoice.billing_reason, invoice.amount_paid_cents) == (
        "paid",
        "subscription_create",
        1000,
    )
    assert (invoice.period_start, invoice.period_end) == (made.current_period_start, made.current_period_end)
    assert (invoice.subscription_id, invoice.price_id, invoice.metadata) == (
        made.subscription_id, made.price_id, REFERENCE,
    )  # fmt: skip
    assert invoice.payment_intent_id is not None
    assert gateway.subscriptions.invoice_of_payment(invoice.payment_intent_id) == invoice.invoice_id
    assert gateway.subscriptions.invoice_of_payment("pi_nothing") is None
    assert gateway.money.totals_of_charge(str(invoice.charge_id)).amount_cents == 1000
    assert invoice.receipt_url is not None
    assert "$10.00" in web.get(str(invoice.url)).text


def test_it_renews_with_the_clock(
    gateway: StripeGateway, control: Control, subscribe: Callable[..., SubscriptionState]
) -> None:
    made = subscribe()
    control("clock", advance_seconds=3 * MONTH)
    now = gateway.subscriptions.subscription(made.subscription_id)
    invoices = list(gateway.subscriptions.invoices(0))
    assert [invoice.billing_reason for invoice in invoices] == ["subscription_cycle"] * 3 + [
        "subscription_create"
    ]
    assert {invoice.status for invoice in invoices} == {"paid"}
    starts = [invoice.period_start for invoice in invoices][::-1]
    assert starts[0] == made.current_period_start
    assert [invoice.period_end for invoice in invoices][::-1] == [*starts[1:], now.current_period_end]
    assert len({invoice.payment_intent_id for invoice in map(_full(gateway), invoices)}) == 4
    assert kinds(control, "invoice.paid") == ["invoice.paid"] * 4
    assert list(gateway.subscriptions.invoices(invoices[0].created + 1)) == []


def _full(gateway: StripeGateway) -> Callable[[InvoiceState], InvoiceState]:
    return lambda invoice: gateway.subscriptions.invoice(invoice.invoice_id)


def test_an_invoice_is_a_draft_for_an_hour(
    gateway: StripeGateway, control: Control, subscribe: Callable[..., SubscriptionState]
) -> None:
    made = subscribe()
    control("clock", advance_seconds=made.current_period_end - made.created + 10)
    assert latest(gateway, made.subscription_id).status == "draft"
    control("clock", advance_seconds=3_600)
    assert latest(gateway, made.subscription_id).status == "paid"
    assert kinds(control, "invoice.")[-4:] == [
        "invoice.created", "invoice.finalized", "invoice.paid", "invoice.payment_succeeded",
    ]  # fmt: skip


def test_a_renewal_that_fails_is_tried_again_and_then_ends(
    gateway: StripeGateway, control: Control, subscribe: Callable[..., SubscriptionState]
) -> None:
    made = subscribe()
    control(f"payment_methods/{made.payment_method_id}/act-as", card="4000000000009995")
    control("clock", advance_seconds=MONTH)
    invoice = latest(gateway, made.subscription_id)
    assert (invoice.status, invoice.attempt_count, invoice.next_attempt is not None) == ("open", 1, True)
    assert gateway.subscriptions.subscription(made.subscription_id).status == "past_due"
    control("clock", advance_seconds=20 * DAY)
    invoice = latest(gateway, made.subscription_id)
    assert (invoice.status, invoice.attempt_count, invoice.next_attempt) == ("open", 4, None)
    ended = gateway.subscriptions.subscription(made.subscription_id)
    assert (ended.status, ended.ended_at is not None) == ("canceled", True)
    assert kinds(control, "invoice.payment_failed") == ["invoice.payment_failed"] * 4


def test_a_failed_renewal_is_paid_in_time(
    gateway: StripeGateway, control: Control, customer: str, subscribe: Callable[..., SubscriptionState]
) -> None:
    made = subscribe()
    card = str(made.payment_method_id)
    control(f"payment_methods/{card}/act-as", card="4000000000009995")
    control("clock", advance_seconds=MONTH)
    invoice = latest(gateway, made.subscription_id)
    state = gateway.subscriptions.pay_invoice(invoice.invoice_id, card, "pay-1")
    assert isinstance(state, ChargeState)
    assert (state.status, state.decline_code) == ("declined", "insufficient_funds")
    assert latest(gateway, made.subscription_id).attempt_count == 1  # by hand: it does not count
    control(f"payment_methods/{card}/act-as", card=VISA)
    paid = gateway.subscriptions.pay_invoice(invoice.invoice_id, card, "pay-2")
    assert isinstance(paid, InvoiceState)
    assert paid.status == "paid"
    assert gateway.subscriptions.subscription(made.subscription_id).status == "active"
    with pytest.raises(InvalidRequest, match="already paid"):
        gateway.subscriptions.pay_invoice(invoice.invoice_id, card, "pay-3")
    control("clock", advance_seconds=8 * DAY)
    assert latest(gateway, made.subscription_id).invoice_id == invoice.invoice_id


@pytest.mark.parametrize("number", [VISA, "4000002760003184"])
def test_an_open_invoice_is_paid_on_its_page(
    gateway: StripeGateway, control: Control, subscribe: Callable[..., SubscriptionState], number: str
) -> None:
    made = subscribe()
    control(f"payment_methods/{made.payment_method_id}/act-as", card="4000002760003184")  # needs its owner
    control("clock", advance_seconds=MONTH)
    invoice = latest(gateway, made.subscription_id)
    assert (invoice.status, gateway.cards.charge_state(str(invoice.payment_intent_id)).status) == (
        "open", "requires_action",
    )  # fmt: skip
    form = {"number": number, "expiry": "12/40", "cvc": "123"}
    assert "declined" in web.post(str(invoice.url), data=form | {"number": "4000000000000002"}).text
    answer = web.post(str(invoice.url), data=form).headers["location"]
    if number != VISA:
        answer = web.post(answer, data={"outcome": "complete"}).headers["location"]
    assert answer.startswith(str(invoice.url))
    assert latest(gateway, made.subscription_id).status == "paid"
    assert gateway.subscriptions.subscription(made.subscription_id).status == "active"


def test_a_downgrade_counts_from_the_next_period(
    gateway: StripeGateway,
    control: Control,
    subscribe: Callable[..., SubscriptionState],
    plan: Callable[[str, int], str],
) -> None:
    made, mini = subscribe(), plan("mini", 500)
    changed = gateway.subscriptions.change_price(made.subscription_id, mini, "change-1")
    assert isinstance(changed, SubscriptionState)
    assert (changed.price_id, changed.current_period_end) == (mini, made.current_period_end)
    assert latest(gateway, made.subscription_id).total_cents == 1000
    control("clock", advance_seconds=MONTH)
    assert latest(gateway, made.subscription_id).total_cents == 500


def test_an_upgrade_now_begins_a_period_and_charges_it(
    gateway: StripeGateway,
    control: Control,
    subscribe: Callable[..., SubscriptionState],
    plan: Callable[[str, int], str],
) -> None:
    made, large = subscribe(), plan("large", 5000)
    control("clock", advance_seconds=10 * DAY)
    changed = gateway.subscriptions.change_price(made.subscription_id, large, "change-1", now=True)
    assert isinstance(changed, SubscriptionState)
    assert changed.current_period_start >= made.current_period_start + 10 * DAY
    invoice = latest(gateway, made.subscription_id)
    assert (invoice.status, invoice.total_cents, invoice.billing_reason) == (
        "paid",
        5000,
        "subscription_update",
    )
    control("clock", advance_seconds=made.current_period_end - changed.current_period_start + DAY)
    assert len(list(gateway.subscriptions.invoices(0))) == 2  # the old period's end charges nothing
    assert gateway.subscriptions.change_price(made.subscription_id, large, "change-1", now=True) == changed


def test_an_upgrade_that_is_not_paid_changes_nothing(
    gateway: StripeGateway,
    control: Control,
    subscribe: Callable[..., SubscriptionState],
    plan: Callable[[str, int], str],
) -> None:
    made, large = subscribe(), plan("large", 5000)
    control(f"payment_methods/{made.payment_method_id}/act-as", card="4000000000009987")
    state = gateway.subscriptions.change_price(made.subscription_id, large, "change-1", now=True)
    assert isinstance(state, ChargeState)
    assert (state.status, state.decline_code, state.hard) == ("declined", "lost_card", True)
    assert gateway.subscriptions.subscription(made.subscription_id) == made
    assert len(list(gateway.subscriptions.invoices(0))) == 1


def test_cancel_with_the_period_keep_and_now(
    gateway: StripeGateway, control: Control, subscribe: Callable[..., SubscriptionState]
) -> None:
    subscription_id = subscribe().subscription_id
    assert gateway.subscriptions.cancel(subscription_id, "cancel-1").cancel_at_period_end is True
    assert gateway.subscriptions.keep(subscription_id, "keep-1").cancel_at_period_end is False
    assert gateway.subscriptions.cancel(subscription_id, "cancel-2").status == "active"
    control("clock", advance_seconds=MONTH)
    ended = gateway.subscriptions.subscription(subscription_id)
    assert (ended.status, len(list(gateway.subscriptions.invoices(0)))) == ("canceled", 1)
    assert gateway.subscriptions.cancel(subscription_id, "cancel-3", now=True) == ended
    assert "customer.subscription.deleted" in kinds(control, "customer.subscription")


def test_cancel_now(
    gateway: StripeGateway, control: Control, subscribe: Callable[..., SubscriptionState]
) -> None:
    subscription_id = subscribe().subscription_id
    assert gateway.subscriptions.cancel(subscription_id, "cancel-1", now=True).status == "canceled"
    control("clock", advance_seconds=MONTH)
    assert len(list(gateway.subscriptions.invoices(0))) == 1
    with pytest.raises(InvalidRequest):
        gateway.subscriptions.keep(subscription_id, "keep-1")


def test_the_portal_cancels_and_keeps(
    gateway: StripeGateway, customer: str, subscribe: Callable[..., SubscriptionState]
) -> None:
    made = subscribe()
    url = gateway.cards.portal(customer, "https://shop.test/plan")
    assert "Cancel at the end of the period" in web.get(url).text
    for action, ends in (("cancel", True), ("resume", False)):
        web.post(url, data={"action": action, "object": made.subscription_id})
        found = gateway.subscriptions.subscription(made.subscription_id)
        assert (found.cancel_at_period_end, found.status) == (ends, "active")


def test_another_card_pays_the_next_invoice(
    gateway: StripeGateway, control: Control, customer: str, subscribe: Callable[..., SubscriptionState]
) -> None:
    made = subscribe()
    page = gateway.cards.setup_session(customer, 7, "usd", SUCCESS, CANCEL, "setup-1")
    control(f"sessions/{page.session_id}/pay", card="5555555555554444")
    other = gateway.cards.setup_state(page.session_id).payment_method_id
    assert other is not None
    gateway.subscriptions.use_card(made.subscription_id, other)
    gateway.cards.forget(str(made.payment_method_id))
    control("clock", advance_seconds=MONTH)
    assert latest(gateway, made.subscription_id).status == "paid"
    gateway.cards.forget(other)  # nothing is left to charge
    control("clock", advance_seconds=MONTH)
    assert gateway.subscriptions.subscription(made.subscription_id).status == "past_due"


def test_tax_is_on_the_invoice(
    gateway: StripeGateway, control: Control, customer: str, plan: Callable[[str, int], str]
) -> None:
    control("tax", basis_points=2000)
    page = gateway.subscriptions.create_session(
        customer, plan("small", 1000), REFERENCE, SUCCESS, CANCEL, "sub-1", automatic_tax=True
    )
    assert page.amount_total == 1200
    control(f"sessions/{page.session_id}/pay", card=VISA)
    made = gateway.subscriptions.of_session(page.session_id)
    assert made is not None
    control("clock", advance_seconds=MONTH)
    invoice = latest(gateway, made.subscription_id)
    assert (invoice.subtotal_cents, invoice.tax_cents, invoice.total_cents) == (1000, 200, 1200)


@pytest.mark.parametrize(
    "card", ["pm_card_visa", "pm_card_chargeCustomerFail", "pm_card_authenticationRequired"]
)
def test_created_with_a_saved_card(gateway: StripeGateway, control: Control, customer: str,
                                   plan: Callable[[str, int], str], card: str) -> None:  # fmt: skip
    saved = gateway.call(lambda v1: v1.payment_methods.attach(card, {"customer": customer})).id
    params: Any = {
        "customer": customer,
        "items": [{"price": plan("small", 1000)}],
        "default_payment_method": saved,
    }
    made = gateway.call(lambda v1: v1.subscriptions.create(params))
    assert made.status == ("active" if card == "pm_card_visa" else "incomplete")
    control("clock", advance_seconds=DAY)
    found = gateway.subscriptions.subscription(made.id)
    assert found.status == ("active" if card == "pm_card_visa" else "incomplete_expired")
    assert latest(gateway, made.id).status == ("paid" if card == "pm_card_visa" else "void")


def test_bad_requests_are_refused(
    gateway: StripeGateway,
    customer: str,
    plan: Callable[[str, int], str],
    subscribe: Callable[..., SubscriptionState],
) -> None:
    made = subscribe()
    once = gateway.catalog.create_price("plan_small", "usd", 700, "once", {})
    yearly = gateway.subscriptions.create_price("plan_small", "usd", 9000, "year", "yearly", {})
    for price in (once, yearly, "price_nothing"):
        with pytest.raises((InvalidRequest, NotFound)):
            gateway.subscriptions.change_price(made.subscription_id, price, f"change-{price}")
    with pytest.raises(InvalidRequest, match="recurring price"):
        gateway.subscriptions.create_session(customer, once, REFERENCE, SUCCESS, CANCEL, "sub-2")
    prorated: Any = {"items": [{"id": made.item_id, "price": made.price_id}]}
    with pytest.raises(InvalidRequest, match="proration_behavior none"):
        gateway.call(lambda v1: v1.subscriptions.update(made.subscription_id, prorated))
    for missing in (gateway.subscriptions.subscription, gateway.subscriptions.invoice):
        with pytest.raises(NotFound):
            missing("nothing")


@pytest.mark.parametrize("kind", ["500", "lost"])
def test_an_upgrade_survives_trouble_and_charges_once(
    gateway: StripeGateway, control: Control, subscribe: Callable[..., SubscriptionState],
    plan: Callable[[str, int], str], kind: str,
) -> None:  # fmt: skip
    made, large = subscribe(), plan("large", 5000)
    control("fail-next", kind=kind, count=20, path=f"subscriptions/{made.subscription_id}")
    with pytest.raises(StripeUnavailable):
        gateway.subscriptions.change_price(made.subscription_id, large, "change-1", now=True)
    control("fail-next", kind=kind, count=1, path="nowhere")
    changed = gateway.subscriptions.change_price(made.subscription_id, large, "change-1", now=True)
    assert isinstance(changed, SubscriptionState)
    assert [invoice.total_cents for invoice in gateway.subscriptions.invoices(0)] == [5000, 1000]


def test_months_keep_their_day_or_take_their_last() -> None:
    anchor = int(datetime(2027, 1, 31, 10, tzinfo=UTC).timestamp())
    month = {"interval": "month", "interval_count": 1}
    ends = [datetime.fromtimestamp(period_end(anchor, month, number), UTC) for number in range(14)]
    assert [(end.month, end.day) for end in ends[:4]] == [(1, 31), (2, 28), (3, 31), (4, 30)]
    assert (ends[13].year, ends[13].month, ends[13].day) == (2028, 2, 29)
    week = {"interval": "week", "interval_count": 2}
    assert period_end(anchor, week, 1) - anchor == 14 * DAY
    year = {"interval": "year", "interval_count": 1}
    assert datetime.fromtimestamp(period_end(anchor, year, 1), UTC).year == 2028
