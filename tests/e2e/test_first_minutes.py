"""The first minutes on an empty install: every page says what to do next, and nothing looks broken for lack of data."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import OpenTab
from tests.e2e.screens import DESKTOP, PHONE, Screen, drawn, heading, visit
from tests.e2e.watching import Watch
from tests.program import Program

pytestmark = pytest.mark.browser
SCREENS = pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=lambda screen: screen.name)


@SCREENS
def test_one_click_signs_in_and_the_overview_leads_to_buying(
    open_tab: OpenTab, app: Program, screen: Screen
) -> None:
    page = open_tab(screen=screen)
    watch = Watch(page)
    page.goto(app.url)
    page.get_by_role("button", name="holder@demo.test").click()
    drawn(page, "Welcome.", "Nothing spent in these days", "No calls yet", "No purchases yet")
    assert not watch.faults(screen, "empty_overview")
    page.get_by_test_id("stMain").get_by_role("link", name="Buy credits").first.click()
    drawn(page, heading(page, "Buy credits"))
    expect(page.get_by_role("button", name="Buy for $5.00")).to_be_visible()


@SCREENS
@pytest.mark.parametrize(
    ("who", "address", "title", "next_step"),
    [
        ("holder", "calls", "Call log", "New calls appear here by themselves."),
        ("holder", "transactions", "Transactions", "New accounts start by buying credits."),
        ("finance", "finance", "Sales and usage", "Choose a longer period; purchases count"),
        ("admin", "accounts?q=nobody", "Accounts", "Search by a part of the name or e-mail"),
        ("admin", "accounts?account=1", "Demo Holder", "Purchases, uses and adjustments of this account"),
    ],
    ids=["calls", "transactions", "finance", "accounts", "account"],
)
def test_an_empty_page_says_what_comes_next(
    open_tab: OpenTab, app: Program, screen: Screen, who: str, address: str, title: str, next_step: str
) -> None:
    page = open_tab(who, screen)
    watch = Watch(page)
    visit(page, app, address, title)
    drawn(page, next_step)
    assert not watch.faults(screen, f"empty_{title.lower().replace(' ', '_')}")
