"""Paying at once with a saved card on the pages (A7, A4, D4): price and credits first, a button that names the money, one charge
however often it is pressed, and each answer of the bank as a sentence with the way on."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from credits_core import saved_cards
from credits_core.db.port import Identity
from credits_core.runtime import Runtime
from credits_core.stripe_shapes import CheckoutOptions
from credits_core.stripe_sim import control_money
from credits_core.units import parse_credits as micros

from .conftest import Browser, texts

BUY, LIVE = "account/buy.py", "account/live_call.py"
SIM = "http://127.0.0.1:8501/sim"
CARD, OTHER, DECLINES, ASKS = (
    "4242424242424242", "5555555555554444", "4000000000000341", "4000002760003184",
)  # fmt: skip
KEY = "0123456789abcdef" * 2


class Owner:
    """A holder at the pages, with their cards and what Stripe has."""

    def __init__(self, browser: Browser, runtime: Runtime, person: Identity) -> None:
        self.browser, self.runtime, self.person = browser, runtime, person
        assert runtime.stripe.simulator is not None
        self.simulator = runtime.stripe.simulator
        browser.sign_in(person)

    def open(self, page: str = BUY, **query: str) -> AppTest:
        tab = self.browser.open(page, **query)
        assert not tab.exception
        return tab

    def save_card(self, number: str = CARD, acts_as: str = "") -> str:
        page = saved_cards.start_saving(self.runtime, self.person, "http://127.0.0.1:8501")
        control_money.pay_session(self.simulator, SIM, {"card": number}, page.session_id)
        saved = str(saved_cards.finish_saving(self.runtime, self.person, page.session_id).payment_method_id)
        if acts_as:
            control_money.act_as(self.simulator, SIM, {"card": acts_as}, saved)
        return saved

    @property
    def charged(self) -> list[int]:
        return [each["amount"] for each in self.simulator.store.find("charge", {}) if each["paid"]]

    @property
    def available(self) -> int:
        return int(self.runtime.db.call("balance", self.person)["available_micros"])


@pytest.fixture
def owner(browser: Browser, runtime: Runtime, make_user: Callable[..., Identity]) -> Owner:
    return Owner(browser, runtime, make_user())


def said(tab: AppTest) -> str:
    """All texts as people read them, without the marks that keep Markdown out."""
    return texts(tab).replace("\\", "").replace("\u00a0", " ")


def label(button: Any) -> str:
    return str(button.label).replace("\\", "").replace("\u00a0", " ")


def press(tab: AppTest, name: str) -> AppTest:
    """Press the button with this label (as it is read)."""
    (found,) = [each for each in tab.button if label(each) == name]
    found.click().run()
    assert not tab.exception
    return tab


def forms(tab: AppTest) -> list[str]:
    return [html.body for html in tab.html if 'action="/auth/checkout"' in html.body]


def test_without_a_card_everything_goes_over_the_payment_page(owner: Owner) -> None:
    tab = owner.open()
    assert len(forms(tab)) == 5 and "Stripe's page and come back here" in said(tab)
    assert not [each for each in tab.button if label(each).startswith("Buy for")]
    (save,) = [html.body for html in tab.html if 'action="/auth/save-card"' in html.body]
    assert 'name="next" value="/buy"' in save
    # An address that somebody made up opens nothing that charges.
    tab = owner.open(pay=KEY, what="usd_10")
    assert not [each for each in tab.button if label(each).startswith("Pay")]


def test_a_package_is_paid_at_once_after_a_button_that_names_the_money(owner: Owner) -> None:
    owner.save_card()
    tab = owner.open()
    assert "your saved Visa •••• 4242" in said(tab) and not forms(tab)
    press(tab, "Buy for $10.00")
    assert "<dt>Credits</dt><dd>10.00</dd>" in texts(tab) and "<dt>You pay</dt><dd>$10.00</dd>" in texts(tab)
    assert owner.charged == []
    press(tab, "Pay $10.00 with Visa •••• 4242")
    assert (owner.charged, owner.available) == ([1000], micros("10"))
    done = "$10.00 paid with Visa •••• 4242: 10.00 credits added."
    assert done in said(tab) and done in tab.toast[0].value.replace("\\", "").replace("\u00a0", " ")
    assert "pay" not in tab.query_params and "<span>Available</span><b>10.00</b>" in texts(tab)
    tab.run()
    assert done not in said(tab) and owner.charged == [1000]


def test_a_click_that_a_restarted_server_gets_again_pays_once(owner: Owner) -> None:
    """The key is in the address: a tab that starts anew with it finds the payment, and charges nothing."""
    owner.save_card()
    for _ in range(2):
        tab = owner.open(pay=KEY, what="usd_10")
        if pay := [each for each in tab.button if label(each).startswith("Pay $10.00")]:
            pay[0].click().run()
        assert "10.00 credits added" in said(tab)
    assert (owner.charged, owner.available) == ([1000], micros("10"))


def test_an_amount_with_a_volume_step_and_a_code(owner: Owner, service: Callable[..., Any]) -> None:
    """A12, A14: what the dialog shows is what is charged and credited."""
    service("create_campaign", code="TENOFF", name="Ten off", kind="discount_percent", amount="10")
    owner.save_card()
    tab = owner.open(amount="40")
    press(tab, "Buy for $40.00")
    tab.text_input[-1].set_value("tenoff").run()
    assert "<dt>Without the code</dt><dd>$40.00</dd>" in texts(tab)
    press(tab, "Pay $36.00 with Visa •••• 4242")
    assert owner.charged == [3600] and owner.available >= micros("40")


@pytest.mark.parametrize("has_card", [False, True])
def test_the_code_of_the_page_counts_for_an_amount_too(
    owner: Owner, service: Callable[..., Any], has_card: bool
) -> None:
    """A12: seen before anything is pressed, and taken along here and to the payment page."""
    service("create_campaign", code="TENOFF", name="Ten off", kind="discount_percent", amount="10")
    if has_card:
        owner.save_card()
    tab = owner.open(amount="40", code="tenoff")
    assert "<dt>Without the code</dt><dd>$40.00</dd><dt>You pay</dt><dd>$36.00</dd>" in texts(tab)
    if has_card:
        press(tab, "Buy for $36.00")
        press(tab, "Pay $36.00 with Visa •••• 4242")
        assert owner.charged == [3600]
    else:
        form = forms(tab)[-1]
        assert 'name="amount_cents" value="4000"' in form and 'name="promo_code" value="TENOFF"' in form


def test_a_code_that_is_none_is_a_sentence_and_nothing_can_be_paid(owner: Owner) -> None:
    owner.save_card()
    tab = owner.open(pay=KEY, what="usd_10", promo="NOPE")
    assert "This code is not known" in said(tab)
    assert not [each for each in tab.button if label(each).startswith("Pay")]


@pytest.mark.parametrize("what", ["", "nope", "amount-1", "amount-x", "<script>", "x" * 65])
def test_what_nobody_sells_cannot_be_paid(owner: Owner, what: str) -> None:
    owner.save_card()
    tab = owner.open(pay=KEY, what=what)
    assert not [each for each in tab.button if label(each).startswith("Pay")] and owner.charged == []


def test_one_of_several_cards_is_chosen(owner: Owner) -> None:
    first, second = owner.save_card(OTHER), owner.save_card(CARD)
    tab = owner.open(pay=KEY, what="usd_5")
    for card, name in ((first, "Mastercard •••• 4444"), (second, "Visa •••• 4242")):
        tab.selectbox(key="pay_card").set_value(card).run()
        assert [each for each in tab.button if label(each) == f"Pay $5.00 with {name}"]


def test_a_declined_card_says_why_and_leaves_the_other_ways(owner: Owner) -> None:
    owner.save_card(acts_as=DECLINES)
    tab = owner.open()
    press(tab, "Buy for $10.00")
    press(tab, "Pay $10.00 with Visa •••• 4242")
    assert "Your card was declined.** Nothing was charged." in said(tab) and owner.charged == []
    (form,) = forms(tab)
    assert 'name="package" value="usd_10"' in form and "Enter another card for $10.00" in form
    before = tab.query_params["pay"]
    press(tab, "Try again, or another saved card")
    assert tab.query_params["pay"] != before  # another intention, with a charge of its own
    assert [each for each in tab.button if label(each).startswith("Pay $10.00")]


def test_a_card_that_asks_its_owner_leads_to_the_bank_and_can_be_canceled(owner: Owner) -> None:
    owner.save_card(acts_as=ASKS)
    tab = owner.open(pay=KEY, what="usd_10")
    press(tab, "Pay $10.00 with Visa •••• 4242")
    assert "Your bank wants you to confirm $10.00 with Visa •••• 4242." in said(tab)
    (link,) = re.findall(r'href="(/auth/confirm-payment[^"]*)"', texts(tab))
    assert re.fullmatch(r"/auth/confirm-payment\?payment=pi_\w+", link)
    # Another tab knows of it, without the key.
    elsewhere = owner.open()
    assert "A payment is not decided yet: $10.00 with Visa •••• 4242" in said(elsewhere).replace("*", "")
    press(elsewhere, "See this payment")
    assert "Your bank wants you to confirm" in said(elsewhere)
    # On the return page it is no page left open, but a question of the bank.
    back = owner.open("account/checkout_return.py", session_id=link.rpartition("=")[2])
    assert "Your bank wants you to confirm this payment" in said(back) and link in texts(back)
    press(tab, "Cancel this payment")
    assert "This payment was given up." in said(tab) and owner.charged == []
    assert "not decided yet" not in said(owner.open())


@pytest.fixture
def silence(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """`silence(True)`: Stripe takes the money and its answer is lost; `silence(False)`: it answers again."""
    monkeypatch.setattr("stripe.HTTPClient._sleep_time_seconds", lambda _self, _retries: 0)

    def switch(silent: bool) -> None:
        owner.simulator.fail_next("lost", 50 if silent else 0, 0, "payment_intents")
        if not silent:
            owner.simulator.store.set_setting("fail_next", None)

    return switch


def test_an_answer_that_is_lost_is_not_known_yet_and_asked_for_again(
    owner: Owner, silence: Callable[[bool], None]
) -> None:
    """Money was taken: the page says what it does not know, offers no second way to pay, and goes on with the same charge."""
    owner.save_card()
    silence(True)
    tab = owner.open(pay=KEY, what="usd_10")
    press(tab, "Pay $10.00 with Visa •••• 4242")
    assert "not known whether the card was charged" in said(tab) and not forms(tab)
    press(tab, "Ask Stripe again")
    assert "not known whether the card was charged" in said(tab)
    assert (owner.charged, owner.available) == ([1000], 0)
    assert "A payment is not decided yet" in said(owner.open())
    silence(False)
    press(tab, "Ask Stripe again")
    assert "10.00 credits added" in said(tab) and (owner.charged, owner.available) == ([1000], micros("10"))
    assert "not decided yet" not in said(owner.open())


def test_while_stripe_is_away_nothing_is_recorded_before_the_card_is_known(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner.save_card()
    tab = owner.open(pay=KEY, what="usd_10")
    monkeypatch.setattr("stripe.HTTPClient._sleep_time_seconds", lambda _self, _retries: 0)
    owner.simulator.fail_next("500", 50, 0, "")
    press(tab, "Pay $10.00 with Visa •••• 4242")
    assert "Nothing was charged by this request" in said(tab)
    assert not owner.open().exception  # the page is there, and sells over the payment page
    owner.simulator.store.set_setting("fail_next", None)
    press(tab, "Pay $10.00 with Visa •••• 4242")
    assert owner.charged == [1000]


def test_terms_are_accepted_before(owner: Owner) -> None:
    """A6."""
    owner.save_card()
    owner.runtime.stripe.options = CheckoutOptions(terms_url="https://shop.test/terms")
    tab = owner.open(pay=KEY, what="usd_10")
    assert next(each for each in tab.button if label(each).startswith("Pay $10.00")).disabled
    tab.checkbox(key="pay_terms").check().run()
    press(tab, "Pay $10.00 with Visa •••• 4242")
    (bought,) = owner.runtime.db.call("purchases", owner.person)["items"]
    assert (bought["status"], bought["terms_url"]) == ("credited", "https://shop.test/terms")


def test_where_each_payment_needs_its_page_no_card_is_charged(owner: Owner) -> None:
    owner.save_card()
    owner.runtime.stripe.options = CheckoutOptions(automatic_tax=True)
    tab = owner.open()
    assert len(forms(tab)) == 5 and not [html for html in tab.html if "save-card" in html.body]


def test_a_running_call_is_topped_up_without_leaving_it(
    owner: Owner, service: Callable[..., Any], account_of: Callable[[Identity], int]
) -> None:
    """D4: the same call has more talk time; nothing leads away from it."""
    owner.save_card()
    service(
        "adjust", account_id=account_of(owner.person), amount_micros=300_000, reason="For a call",
        idempotency_key="give",
    )  # fmt: skip
    call = owner.runtime.db.call(
        "start_call", owner.person, operation="call", idempotency_key="c", to="+15550100"
    )
    tab = owner.open(LIVE)
    assert not forms(tab) and "The call goes on while you pay, and you stay here." in said(tab)
    press(tab, "Add 5.00 for $5.00")
    assert "<dt>You pay</dt><dd>$5.00</dd>" in texts(tab)
    (other,) = forms(tab)
    assert f'name="call" value="{call["call_id"]}"' in other
    press(tab, "Pay $5.00 with Visa •••• 4242")
    assert "5.00 credits added; the call goes on" in tab.toast[0].value
    left = {metric.label: metric.value for metric in tab.metric}["Talk time left"]
    assert left[:2] in ("34", "35") and owner.charged == [500]
    assert [title.value for title in tab.title] == ["Live calls"]


def test_a_top_up_that_the_bank_asks_about_leads_back_to_the_call(
    owner: Owner, service: Callable[..., Any], account_of: Callable[[Identity], int]
) -> None:
    owner.save_card(acts_as=ASKS)
    service(
        "adjust", account_id=account_of(owner.person), amount_micros=300_000, reason="For a call",
        idempotency_key="give",
    )  # fmt: skip
    call = owner.runtime.db.call(
        "start_call", owner.person, operation="call", idempotency_key="c", to="+15550100"
    )
    tab = owner.open(LIVE, pay=KEY, what="usd_5")
    press(tab, "Pay $5.00 with Visa •••• 4242")
    assert "The call goes on meanwhile" in said(tab)
    assert re.search(rf'href="/auth/confirm-payment\?payment=pi_\w+&amp;call={call["call_id"]}"', texts(tab))


def test_a_call_that_ends_before_its_top_up_leaves_the_payment_in_sight(
    owner: Owner, service: Callable[..., Any], account_of: Callable[[Identity], int]
) -> None:
    owner.save_card(acts_as=ASKS)
    service(
        "adjust", account_id=account_of(owner.person), amount_micros=300_000, reason="For a call",
        idempotency_key="give",
    )  # fmt: skip
    call = owner.runtime.db.call("start_call", owner.person, operation="call", idempotency_key="c")
    tab = owner.open(LIVE, pay=KEY, what="usd_5")
    press(tab, "Pay $5.00 with Visa •••• 4242")
    owner.runtime.db.call("end_call", owner.person, call_id=call["call_id"])
    tab.run()
    assert "This call is over." in said(tab) and "Your bank wants you to confirm" in said(tab)
    assert "A payment is not decided yet" in said(owner.open(LIVE, call=str(call["call_id"]))).replace(
        "*", ""
    )


def test_a_price_that_changed_meanwhile_is_shown_before_it_is_paid(
    owner: Owner, owner_sql: Callable[..., Any]
) -> None:
    owner.save_card()
    tab = owner.open(pay=KEY, what="usd_10")
    owner_sql("update credits.packages set price_cents = 1200 where code = 'usd_10'")
    press(tab, "Pay $10.00 with Visa •••• 4242")
    assert owner.charged == []
    press(tab, "Pay $12.00 with Visa •••• 4242")
    assert owner.charged == [1200]


def test_a_second_payment_warns_of_the_one_that_is_not_decided(owner: Owner) -> None:
    owner.save_card(acts_as=ASKS)
    press(owner.open(pay=KEY, what="usd_10"), "Pay $10.00 with Visa •••• 4242")
    tab = owner.open()
    press(tab, "Buy for $5.00")
    assert "Another payment is not decided yet." in said(tab)


def test_somebody_elses_payment_is_not_shown(
    owner: Owner, browser: Browser, make_user: Callable[..., Identity]
) -> None:
    owner.save_card(acts_as=ASKS)
    tab = owner.open(pay=KEY, what="usd_10")
    press(tab, "Pay $10.00 with Visa •••• 4242")
    browser.sign_in(make_user())
    tab = browser.open(BUY, pay=KEY, what="usd_10")
    assert "Your bank" not in said(tab) and not [
        each for each in tab.button if label(each).startswith("Pay $")
    ]
