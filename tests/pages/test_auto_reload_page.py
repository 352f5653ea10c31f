"""The auto-reload page (A10, A7): what happens next in a sentence with numbers, terms with a preview, consent, pauses, attempts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from credits_core import auto_reload, saved_cards
from credits_core.db.port import Identity
from credits_core.runtime import Runtime
from credits_core.stripe_sim import control_money
from credits_core.units import parse_credits as micros

from .conftest import Browser, texts

FILE = "account/auto_reload.py"
SIM = "http://127.0.0.1:8501/sim"
CARD, LOST, ASKS = "4242424242424242", "4000000000009987", "4000002760003184"
TERMS = {
    "threshold_micros": micros("5"),
    "target_micros": micros("25"),
    "cap_day_cents": 6000,
    "cap_month_cents": 12_000,
}


class Owner:
    """A holder at the page, with what the bank and the background work do."""

    def __init__(self, browser: Browser, runtime: Runtime, person: Identity, account_id: int) -> None:
        self.browser, self.runtime, self.person, self.account_id = browser, runtime, person, account_id
        browser.sign_in(person)

    def open(self, **query: str) -> AppTest:
        tab = self.browser.open(FILE, **query)
        assert not tab.exception
        return tab

    def save_card(self) -> str:
        page = saved_cards.start_saving(self.runtime, self.person, "http://127.0.0.1:8501")
        assert self.runtime.stripe.simulator is not None
        control_money.pay_session(self.runtime.stripe.simulator, SIM, {"card": CARD}, page.session_id)
        saved = saved_cards.finish_saving(self.runtime, self.person, page.session_id)
        return str(saved.payment_method_id)

    def agree(self, **changes: int) -> None:
        auto_reload.agree(self.runtime, self.person, **TERMS | changes, consent_text=auto_reload.CONSENT_TEXT)

    def bank_says(self, card_id: str, number: str) -> None:
        assert self.runtime.stripe.simulator is not None
        control_money.act_as(self.runtime.stripe.simulator, SIM, {"card": number}, card_id)

    def work(self) -> dict[str, int]:
        return auto_reload.run(self.runtime.db, self.runtime.stripe, "http://127.0.0.1:8501")

    @property
    def state(self) -> dict[str, Any]:
        return auto_reload.state(self.runtime.db, self.person)


@pytest.fixture
def owner(
    browser: Browser,
    runtime: Runtime,
    make_user: Callable[..., Identity],
    account_of: Callable[[Identity], int],
    service: Callable[..., Any],
) -> Owner:
    """With 3.50 credits."""
    person = make_user()
    account_id = account_of(person)
    service(
        "adjust", account_id=account_id, amount_micros=micros("3.5"), reason="Start", idempotency_key="start"
    )
    return Owner(browser, runtime, person, account_id)


def button(tab: AppTest, label: str) -> Any:
    (found,) = [each for each in tab.button if each.label == label]
    return found


def said(tab: AppTest) -> str:
    """All texts as people read them, without the marks that keep Markdown out."""
    return texts(tab).replace("\\", "").replace("\u00a0", " ")


def forms(tab: AppTest) -> str:
    return "".join(str(each.body) for each in tab.html)


def test_without_a_card_the_form_is_kept_on_the_way_to_one(owner: Owner) -> None:
    tab = owner.open(below="7.5", up_to="25")
    assert "No card is saved" in said(tab) and "Nothing happens by itself" in said(tab)
    assert [field.value for field in tab.text_input][:2] == ["7.5", "25"]
    assert "below%3D7.5%26up_to%3D25" in forms(tab) or "below=7.5&amp;up_to=25" in forms(tab)
    assert not [each for each in tab.button if each.label == "Agree and switch on"]
    assert "With these limits" in said(tab)


def test_the_preview_says_the_next_charge_and_consent_is_a_tick(owner: Owner) -> None:
    owner.save_card()
    tab = owner.open(below="5", up_to="25", day="60", month="120", card="saved")
    assert "Visa •••• 4242" in said(tab)
    shown = tab.info[0].value.replace("\\", "").replace("\u00a0", " ")
    assert (
        "The balance of 3.50 is below 5.00: $21.50 is charged to Visa •••• 4242 within a minute for 21.50 credits."
        in shown
    )
    assert auto_reload.CONSENT_TEXT[:40] in said(tab) and "Version 1" in said(tab)
    assert button(tab, "Agree and switch on").disabled
    assert owner.state["state"] == "off"
    tab.checkbox[0].check().run()
    button(tab, "Agree and switch on").click().run()
    assert not tab.exception
    agreed = owner.state
    assert (agreed["state"], agreed["threshold_micros"], agreed["cap_month_cents"]) == (
        "on",
        micros("5"),
        12_000,
    )
    assert agreed["consent"]["text"] == auto_reload.CONSENT_TEXT
    assert owner.work()["charged"] == 1
    tab = owner.open()
    assert "The balance is 25.00. When it falls below 5.00, $20.00 is charged" in said(tab)
    assert "was 3.50 credits, below 5.00" in said(tab) and "the credits were added" in said(tab)
    assert not tab.checkbox[0].value
    assert list(tab.dataframe[0].value["What"]) == ["Agreed"]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"below": "abc"}, "is not an amount of credits"),
        ({"below": "30", "up_to": "25"}, "The target must be above the threshold"),
        ({"below": "5", "up_to": "25", "day": "12"}, "One reload costs $20.00"),
        ({"below": "5", "up_to": "25", "day": "30", "month": "20"}, "at least one day"),
        ({"up_to": "9999999"}, "cannot buy that much"),
        ({"day": "-5"}, "is not an amount in USD"),
        ({"day": "1e99"}, "is not an amount in USD"),
        ({"day": ""}, "is not an amount of money"),
    ],
    ids=str,
)
def test_terms_that_make_no_sense_are_told_before_they_are_sent(
    owner: Owner, query: dict[str, str], says: str
) -> None:
    owner.save_card()
    tab = owner.open(**query)
    assert says in "".join(error.value.replace("\\", "") for error in tab.error)
    tab.checkbox[0].check().run()
    assert button(tab, "Agree and switch on").disabled


def test_a_payment_that_needs_its_owner_pauses_with_a_link(owner: Owner) -> None:
    card = owner.save_card()
    owner.agree()
    owner.bank_says(card, ASKS)
    owner.work()
    tab = owner.open()
    assert "Auto-reload is paused" in tab.warning[0].value
    assert "/auth/confirm-payment?payment=pi_" in forms(tab)
    assert "Needs your confirmation" in said(tab) or "the bank wants the owner" in said(tab)
    button(tab, "Resume").click().run()
    assert "$21.50 is charged" in said(tab)
    tab.button(key="confirm_resume").click().run()
    assert not tab.exception
    assert owner.state["state"] == "on"


def test_a_refused_card_asks_for_another_one(owner: Owner) -> None:
    card = owner.save_card()
    owner.agree()
    owner.bank_says(card, LOST)
    owner.work()
    tab = owner.open()
    assert "Save another card below" in tab.warning[0].value
    assert "Nothing was charged." in said(tab)
    assert "confirm-payment" not in forms(tab)


def test_switching_off_asks_first_and_is_kept(owner: Owner) -> None:
    owner.save_card()
    owner.agree()
    tab = owner.open()
    button(tab, "Switch off").click().run()
    assert owner.state["state"] == "on"
    tab.button(key="confirm_off").click().run()
    assert owner.state["state"] == "off"
    tab = owner.open()
    assert list(tab.dataframe[0].value["What"]) == ["Switched off", "Agreed"]
    assert button(tab, "Remove")


def test_a_card_is_removed_after_asking_but_not_the_one_in_use(owner: Owner) -> None:
    owner.save_card()
    owner.agree()
    assert not [each for each in owner.open().button if each.label == "Remove"]
    auto_reload.switch(owner.runtime, owner.person, "off")
    tab = owner.open()
    button(tab, "Remove").click().run()
    tab.button(key="confirm_remove").click().run()
    assert not tab.exception
    assert saved_cards.saved(owner.runtime, owner.person)[1] == []


def test_when_stripe_does_not_answer_the_rest_of_the_page_is_there(owner: Owner) -> None:
    owner.save_card()
    owner.agree()
    simulator = owner.runtime.stripe.simulator
    assert simulator is not None
    owner.runtime.stripe._sleep = lambda _seconds: None
    simulator.fail_next("500", 50, 0, "customers")
    tab = owner.open()
    assert tab.error and "What happens next" in [each.value for each in tab.subheader]
    assert "$21.50" in said(tab)


def test_the_overview_leads_here_while_the_balance_is_low(owner: Owner, service: Callable[..., Any]) -> None:
    """G4: with auto-reload on, nothing is about to stop."""
    owner.runtime.db.call("use", owner.person, operation="call", quantity=1200, idempotency_key="much")
    tab = owner.browser.open("account/overview.py")
    assert not tab.exception
    assert "Calls stop when credits reach zero." in said(tab)
    owner.save_card()
    owner.agree()
    tab = owner.browser.open("account/overview.py")
    assert "Auto-reload buys more by itself." in said(tab) and "Calls stop" not in said(tab)
