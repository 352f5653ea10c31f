"""The plan page (A11, G1): nothing yet, subscribed, changes with what is paid now, past due, ended, and odd addresses."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from credits_core import catalog, subscribing, subscriptions
from credits_core.db.port import SERVICE, Identity
from credits_core.runtime import Runtime
from credits_core.stripe_sim import control, control_money

from .conftest import Browser, texts

BASE = "http://127.0.0.1:8501"
PAGE = "account/plan.py"
CARD, FUNDS, LOST = "4242424242424242", "4000000000009995", "4000000000009987"
MONTH = 31 * 86_400 + 3_700


@pytest.fixture
def holder(browser: Browser, make_user: Callable[..., Identity]) -> Identity:
    person = make_user("holder@example.test", name="Holder")
    browser.sign_in(person)
    return person


@pytest.fixture
def sim(runtime: Runtime) -> Any:
    assert runtime.stripe.simulator is not None
    return runtime.stripe.simulator


@pytest.fixture
def begin(runtime: Runtime) -> Callable[..., str]:
    """`begin(person, "monthly_20")`: on Stripe's page; answers its session."""

    def act(person: Identity, plan: str = "monthly_20") -> str:
        begun = subscribing.subscribe(
            runtime, person, plan=plan, base_url=BASE, idempotency_key=f"begin-{plan}"
        )
        return str(begun["session_id"])

    return act


@pytest.fixture
def subscribe(runtime: Runtime, sim: Any, begin: Callable[..., str]) -> Callable[..., str]:
    """`subscribe(person)`: paid; answers the session that the return page is asked with."""

    def act(person: Identity, plan: str = "monthly_20") -> str:
        session = begin(person, plan)
        control_money.pay_session(sim, f"{BASE}/sim", {"card": CARD}, session)
        subscriptions.arrive(runtime, person, session)
        return session

    return act


def act_as(sim: Any, card: str) -> None:
    method = sim.store.find("subscription", {})[0]["default_payment_method"]
    control_money.act_as(sim, f"{BASE}/sim", {"card": card}, method)


def later(sim: Any, runtime: Runtime, owner_sql: Callable[..., Any]) -> None:
    """A month goes by, and the poll has looked; the clock goes back, or nobody would be signed in any more."""
    now = (
        "create or replace function credits._now() returns timestamptz language sql volatile set search_path = ''"
        " as $$ select clock_timestamp() + interval '{} seconds' $$"
    )
    owner_sql(now.format(MONTH))
    control.clock(sim, f"{BASE}/sim", {"advance_seconds": MONTH})
    owner_sql("update credits.subscriptions set polled_at = null")
    subscriptions.poll(runtime.db, runtime.stripe)
    owner_sql(now.format(0))


def confirm(tab: AppTest) -> Any:
    """The button that agrees, in the dialog."""
    (found,) = [button for button in tab.button if str(button.key).startswith("plan_confirm")]
    return found


def labels(tab: AppTest) -> list[str]:
    return [button.label for button in tab.button]


def test_nobody_is_subscribed_at_first(browser: Browser, holder: Identity) -> None:
    """The plans with price, credits, roll-over and price per credit; a form of each leads to Stripe's page."""
    tab = browser.open(PAGE)
    page = texts(tab)
    assert "Choose a plan" in page
    forms = [html.body for html in tab.html if 'action="/auth/subscribe"' in html.body]
    assert ["Subscribe for $20.00" in forms[0], "Subscribe for $50.00" in forms[1], len(forms)] == [
        True,
        True,
        2,
    ]
    assert "<dt>Credits each month</dt><dd>22.00</dd>" in page
    assert "<dt>Roll-over</dt><dd>up to 22.00 stay</dd>" in page
    assert "<dt>Per credit</dt>" in page
    assert "What happens next" not in page
    keys = {form.split('name="idempotency_key" value="')[1].split('"')[0] for form in forms}
    assert len(keys) == 2


def test_without_plans_it_says_what_to_do(
    browser: Browser, holder: Identity, service: Callable[..., Any]
) -> None:
    service("load_catalog", catalog=catalog.read("voice") | {"subscriptions": []})
    tab = browser.open(PAGE)
    assert "No plans are offered right now" in texts(tab)
    assert any(link.label == "Buy credits" for link in tab.page_link)


def test_back_from_stripe_it_is_credited_and_says_so(
    browser: Browser, holder: Identity, sim: Any, begin: Callable[..., str], database: Any
) -> None:
    session = begin(holder)
    open_tab = browser.open(PAGE, session_id=session)
    assert "Not paid yet" in texts(open_tab)
    assert any("/sim/pay/" in html.body for html in open_tab.html)
    control_money.pay_session(sim, f"{BASE}/sim", {"card": CARD}, session)
    for _ in range(2):
        page = texts(browser.open(PAGE, session_id=session))
        assert "You are subscribed to Monthly 20." in page
        assert "22.00 credits are on your account" in page
    assert database.call("balance", holder)["available_micros"] == 22_000_000


def test_the_present_plan_and_what_comes_next(
    browser: Browser, holder: Identity, subscribe: Callable[..., str], database: Any
) -> None:
    subscribe(holder)
    database.call("use", holder, operation="call", quantity=600, idempotency_key="call")
    tab = browser.open(PAGE)
    page = texts(tab)
    assert "<b>$20.00</b> <span>a month</span>" in page
    assert "<dt>Left of them now</dt><dd>20.50</dd>" in page
    assert "your card is charged" in page
    assert "20.50 of what is left stay" in page
    assert "/auth/portal" in page
    assert ["Upgrade" in labels(tab), "Cancel plan" in labels(tab)] == [True, True]
    (payments,) = tab.dataframe
    assert list(payments.value["Amount"]) == ["$20.00"]


def test_an_upgrade_says_what_is_paid_now(
    browser: Browser, holder: Identity, sim: Any, subscribe: Callable[..., str], database: Any
) -> None:
    """First the price, then the click; a second click of the same dialog is the same wish."""
    subscribe(holder)
    tab = browser.open(PAGE).button(key="to_monthly_50").click().run()
    assert "$50.00 is charged now" in texts(tab).replace("\\", "")
    assert len(sim.store.find("charge", {})) == 1
    confirm(tab).click().run()
    assert not tab.exception
    assert [charge["amount"] for charge in sim.store.find("charge", {})] == [5000, 2000]
    assert "You are on Monthly 50 now" in tab.toast[0].value
    assert database.call("balance", holder)["available_micros"] == 79_500_000


def test_a_price_that_changed_meanwhile_is_shown_before_it_is_paid(
    browser: Browser,
    holder: Identity,
    sim: Any,
    subscribe: Callable[..., str],
    owner_sql: Callable[..., Any],
) -> None:
    """A click on what was seen never agrees to another price."""
    subscribe(holder)
    tab = browser.open(PAGE).button(key="to_monthly_50").click().run()
    owner_sql("update credits.subscription_plans set price_cents = 6000 where code = 'monthly_50'")
    confirm(tab).click().run()
    assert len(sim.store.find("charge", {})) == 1
    assert "$60.00 is charged now" in texts(tab).replace("\\", "")


def test_a_declined_upgrade_is_a_sentence_and_can_be_tried_again(
    browser: Browser, holder: Identity, sim: Any, subscribe: Callable[..., str]
) -> None:
    subscribe(holder)
    act_as(sim, LOST)
    tab = browser.open(PAGE).button(key="to_monthly_50").click().run()
    first = tab.query_params["wish"]
    confirm(tab).click().run()
    assert "nothing was charged" in tab.error[0].value
    assert tab.query_params["wish"] != first
    act_as(sim, CARD)
    confirm(tab).click().run()
    assert "You are on Monthly 50 now" in tab.toast[0].value


def test_a_downgrade_waits_and_can_be_taken_back(
    browser: Browser, holder: Identity, subscribe: Callable[..., str]
) -> None:
    subscribe(holder, "monthly_50")
    tab = browser.open(PAGE).button(key="to_monthly_20").click().run()
    assert "Nothing is paid now" in texts(tab)
    confirm(tab).click().run()
    page = texts(tab)
    assert "Your plan becomes Monthly 20" in page
    tab.button(key="to_monthly_50").click().run()
    confirm(tab).click().run()
    assert "Your plan becomes" not in texts(tab)


def test_cancel_and_keep(browser: Browser, holder: Identity, subscribe: Callable[..., str]) -> None:
    subscribe(holder)
    tab = browser.open(PAGE).button(key="cancel").click().run()
    assert "nothing is paid back" in texts(tab)
    confirm(tab).click().run()
    assert "ends on" in tab.warning[0].value
    assert "Cancel plan" not in labels(tab)
    tab.button(key="keep").click().run()
    confirm(tab).click().run()
    assert not tab.warning
    assert "Cancel plan" in labels(tab)


def test_past_due_shows_the_way_to_pay(
    browser: Browser, holder: Identity, sim: Any, subscribe: Callable[..., str], runtime: Runtime,
    owner_sql: Callable[..., Any],
) -> None:  # fmt: skip
    subscribe(holder)
    act_as(sim, FUNDS)
    later(sim, runtime, owner_sql)
    tab = browser.open(PAGE)
    assert "did not go through" in tab.error[0].value
    assert any("/sim/invoices/" in html.body and "Pay $20.00" in html.body for html in tab.html)
    assert "Upgrade" not in labels(tab)


def test_an_ended_plan_says_why_and_offers_the_others(
    browser: Browser, holder: Identity, sim: Any, subscribe: Callable[..., str], runtime: Runtime,
    owner_sql: Callable[..., Any],
) -> None:  # fmt: skip
    subscribe(holder)
    subscriptions.change(runtime, holder, "cancel", idempotency_key="c")
    later(sim, runtime, owner_sql)
    tab = browser.open(PAGE)
    assert "ended on" in tab.info[0].value
    assert "Subscribe for $20.00" in texts(tab)


def test_plans_with_allowances_say_what_is_included(
    browser: Browser, holder: Identity, service: Callable[..., Any]
) -> None:
    service("load_catalog", catalog=catalog.read("metered_plan"))
    page = texts(browser.open(PAGE))
    assert "<dt>API request included</dt><dd>5,000 a month</dd>" in page
    assert "<dt>Roll-over</dt><dd>none</dd>" in page
    assert "Per credit" not in page


@pytest.mark.parametrize(
    "query",
    [
        {"wish": "x", "do": "cancel"},
        {"wish": "0" * 32, "do": "explode"},
        {"wish": "0" * 32, "do": "change", "to": "gold"},
        {"wish": "0" * 32, "do": "change", "to": "monthly_20"},
        {"wish": "0" * 32, "do": "keep"},
    ],
)
def test_a_made_up_address_opens_nothing(
    browser: Browser, holder: Identity, subscribe: Callable[..., str], query: dict[str, str]
) -> None:
    subscribe(holder)
    tab = browser.open(PAGE, **query)
    assert not tab.exception
    assert not [button for button in tab.button if str(button.key).startswith("plan_confirm")]


@pytest.mark.parametrize("session", ["x", "cs_test_nothing", "{CHECKOUT_SESSION_ID}"])
def test_a_session_of_nobody_is_a_sentence(browser: Browser, holder: Identity, session: str) -> None:
    tab = browser.open(PAGE, session_id=session)
    assert tab.error
    assert "Choose a plan" in texts(tab)


def test_a_session_of_somebody_else_shows_nothing(
    browser: Browser, holder: Identity, make_user: Callable[..., Identity], begin: Callable[..., str]
) -> None:
    session = begin(make_user())
    tab = browser.open(PAGE, session_id=session)
    assert "not yours" in tab.error[0].value


def test_stripe_out_of_reach_is_a_sentence(
    browser: Browser,
    holder: Identity,
    subscribe: Callable[..., str],
    sim: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The page itself needs no Stripe; a change says that nothing was charged."""
    subscribe(holder)
    tab = browser.open(PAGE).button(key="to_monthly_50").click().run()
    sim.fail_next("500", 50, 0, "")
    monkeypatch.setattr("stripe.HTTPClient._sleep_time_seconds", lambda _self, _retries: 0)
    confirm(tab).click().run()
    assert "try again in a minute" in tab.error[0].value


def test_in_live_mode_the_test_subscription_is_not_shown(
    browser: Browser, holder: Identity, subscribe: Callable[..., str], runtime: Runtime
) -> None:
    """A15: test and live are never mixed."""
    subscribe(holder)
    live = runtime.db.call("subscription", SERVICE, account_id=1, livemode=True)
    assert live["subscription"] is None
    assert dataclasses.is_dataclass(runtime)
