"""Every page of account holders, and those before signing in, as people see them: desktop and phone, light and dark."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.addresses import Addresses
from tests.e2e.conftest import OpenTab
from tests.e2e.looks import Look, bars_in_the_dark
from tests.e2e.screens import (
    CHALLENGED_CARD,
    DECLINED_CARD,
    DESKTOP,
    PHONE,
    Screen,
    choose_row,
    drawn,
    enter_card,
    heading,
)
from tests.program import Program

pytestmark = pytest.mark.browser
DEMO = True  # pages look right when there is something on them


def wrong_password(page: Page) -> None:
    page.get_by_label("Email").fill("holder@demo.test")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in", exact=True).click()


def explain_first(page: Page) -> None:
    choose_row(page, 0)
    drawn(page, page.get_by_role("dialog").get_by_text("Balance after"))


def open_person(page: Page) -> None:
    drawn(page, heading(page, "Overview"))
    if (
        menu := page.get_by_test_id("stExpandSidebarButton")
    ).is_visible():  # on a phone it is closed at first
        menu.click()
    page.get_by_role("button", name="Demo Holder").click()


def open_forecast(page: Page) -> None:
    drawn(page, heading(page, "Overview"))
    page.get_by_role("button", name="How good is this?").click()


def make_key(page: Page) -> None:
    page.get_by_role("button", name="New key").click()
    page.get_by_label("Name").fill("Phone system")
    page.get_by_label("Name").press("Enter")
    button = page.get_by_role("button", name="Make key")
    expect(button).to_be_enabled()
    button.click()


def tick_key(page: Page) -> None:
    drawn(page, "Tick a key")
    choose_row(page, 0)
    drawn(page, page.get_by_role("button", name="Revoke"))


def start_demo(page: Page) -> None:
    drawn(page, heading(page, "Live calls"))
    if page.get_by_role("button", name="Start a demo call").is_visible():
        page.get_by_role("button", name="Start a demo call").click()


def add_webhook(page: Page) -> None:
    """One that is there already is shown; another one is made and its secret put away."""
    drawn(page, page.get_by_role("button", name="Add webhook"))
    if page.get_by_text("Nothing is connected yet").is_visible():
        page.get_by_role("button", name="Add webhook").click()
        page.get_by_label("Name").fill("Our dialer")
        page.get_by_role("textbox", name="Address of your system").fill("https://8.8.8.8/credits")
        page.get_by_role("button", name="Connect").click()
        page.get_by_role("button", name="I have stored it").click()
    drawn(page, page.get_by_text("Our dialer").first)


def open_delivery(page: Page) -> None:
    page.get_by_role("button", name="Refresh").wait_for()
    if page.get_by_text("No messages match").is_visible():
        return
    choose_row(page, 0)
    drawn(page, page.get_by_role("dialog").get_by_text("Message id"))


def enter_unknown_code(page: Page) -> None:
    drawn(page, page.get_by_role("button", name="Enter the code"))
    page.get_by_role("button", name="Enter the code").click()


def ask_the_bank(page: Page) -> None:
    """Pay with a card whose bank asks; on the second screen it was asked already."""
    drawn(page, page.get_by_role("dialog"))
    pay = page.get_by_role("dialog").get_by_role("button", name="Pay $10.00")
    expect(pay.or_(page.get_by_role("link", name="Confirm with your bank")).first).to_be_visible()
    if pay.is_visible():
        pay.click()


LOOKS = [
    Look("sign_in", "", "auth/sign-in", "Demo people", plain=True),
    Look("sign_in_wrong", "", "auth/sign-in", "Email or password is incorrect.", wrong_password, plain=True,
         expected="401"),
    Look("nothing_here", "", "auth/nothing", "Nothing here", plain=True, expected="404"),
    Look("overview", "holder", "overview", "Recent purchases"),
    Look("person", "holder", "overview", "Sign out", open_person),
    Look("buy", "holder", "buy?amount=25", "You get"),
    Look("buy_at_once", "finance", f"buy?pay={'a' * 32}&what=usd_10", "You pay", needs="<reloading>"),
    Look("buy_with_card", "finance", "buy?amount=25", "your saved Visa", needs="<reloading>"),
    Look("pay_confirm", "admin", f"buy?pay={'b' * 32}&what=usd_10", "Confirm with your bank", ask_the_bank, needs="<paused>"),
    Look("pay_declined", "super", "<declined>", "Choose another way"),
    Look("pay_unknown", "super", "<unknown>", "Ask Stripe again"),
    Look("pay_undecided", "super", "<undecided>", "A payment is not decided yet"),
    Look("payment_declined", "holder", "<checkout>", "Your card was declined.",
         lambda page: enter_card(page, DECLINED_CARD), plain=True),
    Look("payment_challenge", "holder", "<checkout>", "3-D Secure test page",
         lambda page: enter_card(page, CHALLENGED_CARD), plain=True),
    Look("purchase_credited", "holder", "checkout_return?session_id=<paid>", "New balance"),
    Look("purchase_open", "holder", "checkout_return?session_id=<open>", "Continue to payment"),
    Look("purchase_processing", "holder", "checkout_return?session_id=<processing>", "Payment is being confirmed"),
    Look("purchase_failed", "holder", "checkout_return?session_id=<failed>", "insufficient funds"),
    Look("purchase_none", "holder", "checkout_return", "No purchase to show"),
    Look("receipt", "holder", "<receipt>", "Amount paid", plain=True),
    Look("calls", "holder", "calls", "Export"),
    Look("files", "holder", "calls", "For analysis, exact decimals",
         lambda page: page.get_by_role("button", name="Export").click()),
    Look("live_none", "holder", "live_call", "No call is running"),
    Look("usage", "holder", "usage", "By day and operation"),
    Look("usage_weeks", "holder", "usage?unit=Week&period=90+days", "By week and operation"),
    Look("usage_none", "holder", "usage?period=Custom&dates=2020-01-01", "Nothing used in these days"),
    Look("caps", "holder", "usage?caps=account", "Save caps"),
    Look("forecast", "holder", "overview", "holds 8 times in 10", open_forecast),
    Look("keys_none", "holder", "api_keys", "No API keys yet"),
    Look("key_made", "holder", "api_keys", "Try it", make_key),
    Look("keys", "holder", "api_keys", "Revoke", tick_key),
    Look("live_call", "holder", "live_call", "What pays", start_demo),
    Look("overview_live", "holder", "overview", "in progress"),
    Look("live_ending", "holder", "live_call?end=ask", "End the call"),
    Look("calls_none", "holder", "calls?number=99999999", "No calls match"),
    Look("transactions", "holder", "transactions", "Export"),
    Look("explained", "holder", "transactions?kind=Use", "Why this amount", explain_first),
    Look("auto_reload_off", "holder", "auto_reload", "Nothing happens by itself"),
    Look("auto_reload_on", "finance", "<reloading>", "In use"),
    Look("auto_reload_refused_terms", "finance", "<reloading>?below=30&up_to=25", "The target must be above"),
    Look("auto_reload_paused", "admin", "<paused>", "Confirm the payment"),
    Look("auto_reload_resuming", "admin", "<paused>?confirm=resume", "nothing is paid twice"),
    Look("notices", "holder", "notifications", "Mark all as read"),
    Look("notice_emails", "holder", "notifications?part=E-mail", "Low balance"),
    Look("connections", "holder", "notifications?part=Connections", "Add webhook", add_webhook),
    Look("connecting", "holder", f"notifications?part=Connections&channel=webhook&add={'0123456789abcdef' * 2}", "What is sent"),
    Look("deliveries", "holder", "notifications?part=Deliveries", "Refresh", open_delivery),
    Look("statements", "holder", "statements", "What moved the balance"),
    Look("statements_quiet", "super", "statements", "Nothing happened in this month"),
    Look("plan_none", "holder", "plan", "Choose a plan"),
    Look("plan_subscribed", "finance", "<subscribed>", "What happens next"),
    Look("plan_begun", "finance", "<back>", "You are subscribed to"),
    Look("plan_upgrade", "finance", f"<subscribed>?wish={32 * '0'}&do=change&to=monthly_50", "is charged now"),
    Look("plan_cancel", "finance", f"<subscribed>?wish={32 * '0'}&do=cancel", "nothing is paid back"),
    Look("plan_ending", "admin", "<ending>", "Keep my plan"),
    Look("invite", "holder", "invite", "Who joined"),
    Look("invite_code", "super", "invite?code=ABCDEFGH", "This invitation code is not known", enter_unknown_code),
    Look("invited", "", "auth/sign-in?ref=ABCDEFGH", "the code ABCDEFGH is entered for you", plain=True),
]  # fmt: skip


@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=lambda screen: screen.name)
@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.name)
def test_looks(look: Look, screen: Screen, open_tab: OpenTab, addresses: Addresses) -> None:
    assert not look.take(open_tab, screen, addresses)


@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=lambda screen: screen.name)
def test_charts_opened_in_the_dark(open_tab: OpenTab, app: Program, screen: Screen) -> None:
    bars_in_the_dark(open_tab("holder", screen), screen, f"{app.url}/overview")
