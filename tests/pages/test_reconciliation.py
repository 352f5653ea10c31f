"""The reconciliation page (H5, G2): totals, differences that are settled in a dialog, runs, and asking for one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from credits_core import checkout, reconcile
from credits_core.db.port import SERVICE, Identity
from credits_core.runtime import Runtime
from credits_core.stripe_sim import control_money
from tests.pages.conftest import Browser, texts

PAGE = "finance/reconciliation.py"
KEY = "0123456789abcdef0123456789abcdef"
Make = Callable[..., Identity]


@pytest.fixture
def pay(runtime: Runtime) -> Callable[[Identity], str]:
    """`pay(person)`: ten dollars that nobody told us of; answers the session."""

    def paid(person: Identity) -> str:
        opened = checkout.start_checkout(
            runtime, person, package="usd_10", base_url="https://shop.test", idempotency_key=str(id(person))
        )
        assert runtime.stripe.simulator is not None
        control_money.pay_session(
            runtime.stripe.simulator,
            "http://127.0.0.1:8501/sim",
            {"card": "4242424242424242"},
            opened["session_id"],
        )
        return str(opened["session_id"])

    return paid


def compare(runtime: Runtime) -> dict[str, Any]:
    now = datetime.now(UTC)
    key = f"test-{now.timestamp()}"
    reconcile.start(runtime.db, SERVICE, now - timedelta(days=2), now, livemode=False, idempotency_key=key)
    done = reconcile.run(runtime.db, runtime.stripe)
    assert done is not None
    return done


def tiles(tab: Any) -> dict[str, str]:
    return {metric.label: metric.value for metric in tab.metric}


def test_before_the_first_run_the_page_says_what_to_do(browser: Browser, make_user: Make) -> None:
    browser.sign_in(make_user(role="finance"))
    tab = browser.open(PAGE)
    assert not tab.exception
    assert "Not compared yet" in texts(tab) and "No runs yet" in texts(tab)
    assert not tab.button(key="compare_open").disabled


def test_0_differences_and_totals_that_add_up(
    browser: Browser, make_user: Make, runtime: Runtime, pay: Callable[[Identity], str]
) -> None:
    from credits_core import fulfillment

    fulfillment.fulfill_session(runtime.db, runtime.stripe, pay(make_user()))
    compare(runtime)
    browser.sign_in(make_user(role="finance"))
    tab = browser.open(PAGE)
    assert "0 differences" in texts(tab)
    shown = tiles(tab)
    assert (shown["Charged in USD"], shown["Stripe's fees"], shown["Net"]) == ("$10.00", "$0.59", "$9.41")
    assert (shown["Paid out"], shown["Still to be paid out"]) == ("$0.00", "$9.41")
    assert "<dt>Difference</dt><dd>$0.00</dd>" in texts(tab)
    (runs,) = (table.value for table in tab.dataframe)
    assert list(runs["Differences"]) == [0]


def test_a_difference_is_listed_with_what_both_say(
    browser: Browser, make_user: Make, runtime: Runtime, pay: Callable[[Identity], str]
) -> None:
    pay(make_user())
    compare(runtime)
    browser.sign_in(make_user(role="finance"))
    tab = browser.open(PAGE)
    listed = tab.dataframe[0].value
    assert list(listed["What"]) == ["Paid, not credited"]
    assert (list(listed["Our books"]), list(listed["Stripe"])) == (["$0.00 (open)"], ["$10.00 (paid)"])
    assert list(listed["Settle by"]) == ["Repair"]
    tab.segmented_control(key="status").set_value("accepted").run()
    assert "Nothing accepted yet" in texts(tab)


@pytest.mark.parametrize(("role", "may"), [("finance", False), ("admin", True)])
def test_administrators_repair_in_the_dialog_and_finance_is_told_to_ask_one(
    browser: Browser, make_user: Make, runtime: Runtime, pay: Callable[[Identity], str], role: str, may: bool
) -> None:
    buyer = make_user()
    pay(buyer)
    compare(runtime)
    browser.sign_in(make_user(role=role))
    tab = browser.open(PAGE, difference="1")
    assert "Repair reads the payment again and credits it once." in texts(tab)
    buttons = [button for button in tab.button if button.key == "difference_repair"]
    assert bool(buttons) is may
    if may:
        buttons[0].click().run()
        assert [toast.value for toast in tab.toast] == ["Repaired from what Stripe says."]
        assert "0 differences" in texts(tab) and "difference" not in tab.query_params
    else:
        assert "An administrator can repair this" in texts(tab)
    assert runtime.db.call("balance", buyer)["available_micros"] == (10_000_000 if may else 0)


def test_finance_accepts_with_a_reason_and_not_without(
    browser: Browser, make_user: Make, runtime: Runtime, pay: Callable[[Identity], str]
) -> None:
    pay(make_user())
    compare(runtime)
    browser.sign_in(make_user(role="finance"))
    tab = browser.open(PAGE, difference="1")
    assert tab.button(key="difference_accept").disabled
    tab.text_input(key="difference_reason").set_value("Paid back in cash").run()
    tab.button(key="difference_accept").click().run()
    assert [toast.value for toast in tab.toast] == ["Accepted. It comes back if it changes."]
    kept = browser.open(PAGE, status="Accepted", difference="1")
    assert "Paid back in cash" in kept.info[0].value
    assert not [button for button in kept.button if button.key == "difference_accept"]


def test_finance_asks_for_a_run_once_and_sees_it_wait(
    browser: Browser, make_user: Make, runtime: Runtime
) -> None:
    browser.sign_in(make_user(role="finance"))
    tab = browser.open(PAGE, compare=KEY)
    tab.button(key="compare_start").click().run()
    assert not tab.exception
    assert "compare" not in tab.query_params
    assert tab.button(key="compare_open").disabled
    (run,) = reconcile.reconciliations(runtime.db, SERVICE)["items"]
    assert (run["status"], run["requested_by"] != "service") == ("waiting", True)
    # A restarted server gets the click again, with the same key in the address: no second run.
    reconcile.run(runtime.db, runtime.stripe)
    again = browser.open(PAGE, compare=KEY)
    again.button(key="compare_start").click().run()
    assert len(reconcile.reconciliations(runtime.db, SERVICE)["items"]) == 1


def test_a_made_up_key_opens_no_dialog(browser: Browser, make_user: Make) -> None:
    browser.sign_in(make_user(role="finance"))
    tab = browser.open(PAGE, compare="anything")
    assert not [button for button in tab.button if button.key == "compare_start"]


def test_a_run_that_failed_is_said(browser: Browser, make_user: Make, runtime: Runtime) -> None:
    now = datetime.now(UTC)
    asked = reconcile.start(
        runtime.db, SERVICE, now - timedelta(days=2), now, livemode=False, idempotency_key="k"
    )
    number = asked["reconciliation_id"]
    runtime.db.call("fail_reconciliation", SERVICE, reconciliation_id=number, error="Stripe was away.")
    browser.sign_in(make_user(role="finance"))
    tab = browser.open(PAGE)
    assert "The last run did not finish\\: Stripe was away." in tab.warning[0].value
