"""An account holder in Chromium: sign in, buy on the hosted page, come back, have a call charged, sign out."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import OpenTab
from tests.e2e.screens import (
    CHALLENGED_CARD,
    DECLINED_CARD,
    GOOD_CARD,
    drawn,
    enter_card,
    heading,
    sign_in,
    visit,
)
from tests.program import Program

pytestmark = pytest.mark.browser
CANCEL = "Cancel and go back"


def available(app: Program) -> str:
    with app.api() as api:
        return str(api.get("balance").json()["available"])


def sidebar_balance(page: Page) -> str:
    return page.get_by_test_id("stSidebar").locator(".pc-balance b").inner_text()


def buy(page: Page, app: Program, button: str = "Buy for $10.00") -> None:
    """From the buy page to the hosted payment page."""
    visit(page, app, "buy", "Buy credits")
    page.get_by_role("button", name=button, exact=True).click()
    expect(page.get_by_role("heading", name="Pay with card")).to_be_visible()


@pytest.fixture
def holder(open_tab: OpenTab) -> Page:
    """A tab of somebody who is signed in as the holder."""
    return open_tab("holder")


def test_from_sign_in_to_a_call_in_the_log(open_tab: OpenTab, app: Program) -> None:
    page = open_tab()
    # The first request of the fresh server is a stranger's, for an administrator's page.
    page.goto(f"{app.url}/accounts")
    expect(heading(page, "Sign in")).to_be_visible()
    assert page.url == f"{app.url}/auth/sign-in?next=%2Faccounts"

    page.get_by_label("Email").fill("holder@demo.test")
    page.get_by_label("Password").fill("guessed")
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("alert")).to_have_text("Email or password is incorrect.")
    expect(page.get_by_label("Email")).to_have_value("holder@demo.test")

    sign_in(page, app, "holder")
    drawn(page, heading(page, "Overview"), "Welcome.")
    assert sidebar_balance(page) == "0.00"

    page.get_by_test_id("stSidebar").get_by_role("button", name="Buy credits").click()
    drawn(page, heading(page, "Buy credits"))
    page.get_by_role("button", name="Buy for $10.00", exact=True).click()
    expect(page.get_by_text("Test mode - no card is charged")).to_be_visible()
    enter_card(page, GOOD_CARD)

    drawn(page, "Payment received.", "New balance")
    assert page.url.startswith(f"{app.url}/checkout_return?session_id=cs_test_")
    expect(page.locator(".pc-facts")).to_contain_text("New balance10.00 credits")
    assert sidebar_balance(page) == available(app) == "10.00"

    with app.api() as api:
        call = {"to": "+15550100", "started_at": "2026-11-20T10:00:00Z", "ended_at": "2026-11-20T10:01:30Z"}
        charged = api.post("calls", json=call)
        assert charged.json()["charged"] == "0.30", charged.text
    page.get_by_role("link", name="To the overview").click()
    drawn(page, heading(page, "Overview"))
    assert sidebar_balance(page) == "9.70"
    page.get_by_role("link", name="Call log").first.click()
    drawn(page, heading(page, "Call log"))
    newest = page.locator("canvas tbody tr").first  # what the painted table holds for screen readers
    for words in ("+15550100", "Completed", "01:30", "02:00", "0.3"):
        expect(newest).to_contain_text(words)


def test_sign_out_ends_every_tab(holder: Page, app: Program) -> None:
    visit(holder, app, "overview", "Overview")
    other = holder.context.new_page()
    visit(other, app, "transactions", "Transactions")

    holder.get_by_role("button", name="Demo Holder").click()
    holder.get_by_role("button", name="Sign out").click()
    expect(heading(holder, "Sign in")).to_be_visible()

    # The other tab still has its socket: its next click must lead to the form as well.
    other.get_by_text("90 days").click()
    expect(heading(other, "Sign in")).to_be_visible()
    expect(other.get_by_label("Password")).to_be_visible()
    other.goto(f"{app.url}/overview")
    expect(other.get_by_label("Password")).to_be_visible()


def test_a_declined_card_buys_nothing_and_a_good_one_may_follow(holder: Page, app: Program) -> None:
    before = float(available(app))
    buy(holder, app)
    enter_card(holder, DECLINED_CARD)
    expect(holder.get_by_role("alert")).to_have_text("Your card was declined.")
    assert float(available(app)) == before
    enter_card(holder, GOOD_CARD)
    drawn(holder, "Payment received.")
    assert float(sidebar_balance(holder)) == float(available(app)) == before + 10


@pytest.mark.parametrize(
    ("answer", "bought"),
    [("Complete authentication", 10), ("Fail authentication", 0)],
    ids=["passed", "failed"],
)
def test_three_d_secure(holder: Page, app: Program, answer: str, bought: int) -> None:
    before = float(available(app))
    buy(holder, app)
    enter_card(holder, CHALLENGED_CARD)
    holder.get_by_role("button", name=answer).click()
    if bought:
        drawn(holder, "Payment received.")
    else:
        expect(holder.get_by_role("alert")).to_contain_text("authenticat")
    assert float(available(app)) == before + bought


def test_canceling_leads_back_to_the_packages_and_charges_nothing(holder: Page, app: Program) -> None:
    before = available(app)
    buy(holder, app)
    holder.get_by_role("link", name=CANCEL).click()
    drawn(holder, heading(holder, "Buy credits"), "Payment canceled.")
    assert holder.url.startswith(f"{app.url}/buy?canceled=")
    assert sidebar_balance(holder) == available(app) == before


def test_the_return_page_credits_once_however_often_it_is_opened(holder: Page, app: Program) -> None:
    before = float(available(app))
    buy(holder, app)
    payment = holder.url
    enter_card(holder, GOOD_CARD)
    drawn(holder, "Payment received.")
    for _ in range(2):
        holder.reload()
        drawn(holder, "Payment received.")
    again = holder.context.new_page()
    again.goto(holder.url)
    drawn(again, "Payment received.")
    again.goto(payment)
    expect(again.get_by_text("Nothing more is to be paid here.")).to_be_visible()
    assert float(available(app)) == before + 10


def test_a_double_click_buys_once(holder: Page, app: Program) -> None:
    visit(holder, app, "buy", "Buy credits")
    with app.api() as api:
        known = len(api.get("transactions").json()["items"])
    holder.get_by_role("button", name="Buy for $5.00", exact=True).dblclick()
    expect(holder.get_by_role("heading", name="Pay with card")).to_be_visible()
    enter_card(holder, GOOD_CARD)
    drawn(holder, "Payment received.")
    with app.api() as api:
        assert len(api.get("transactions").json()["items"]) == known + 1


def test_an_amount_of_ones_own(holder: Page, app: Program) -> None:
    before = float(available(app))
    visit(holder, app, "buy", "Buy credits")
    holder.get_by_label("Amount in USD").fill("37")
    holder.get_by_label("Amount in USD").press("Enter")
    drawn(holder, "You get", "37.00 credits")
    holder.get_by_role("button", name="Buy for $37.00").click()
    expect(holder.get_by_role("button", name=re.compile(r"^Pay \$37\.00"))).to_be_visible()
    enter_card(holder, GOOD_CARD)
    drawn(holder, "Payment received.")
    assert float(sidebar_balance(holder)) == float(available(app)) == before + 37


def test_the_session_survives_a_refresh_and_a_new_tab(holder: Page, app: Program) -> None:
    visit(holder, app, "overview", "Overview")
    holder.reload()
    drawn(holder, heading(holder, "Overview"))
    visit(holder.context.new_page(), app, "calls", "Call log")
