"""Staff in Chromium: an administrator adjusts an account, finance reads the figures, nobody opens another's pages."""

from __future__ import annotations

from decimal import Decimal

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import OpenTab
from tests.e2e.screens import choose_row, drawn, heading, sign_in, visit
from tests.program import Program

pytestmark = pytest.mark.browser
REASON = "Two calls were cut off"


@pytest.fixture(scope="module", autouse=True)
def history(app: Program) -> None:
    """The holder has bought 20 credits and made a call."""
    with app.api() as api:
        app.pay(session := api.post("checkout", json={"package": "usd_20"}).json()["session_id"])
        assert api.get("success", params={"session_id": session}).json()["status"] == "credited"
        use = {"operation": "call", "quantity": 90, "idempotency_key": "call-1"}
        assert api.post("use", json=use).status_code == 200


def balance(app: Program) -> Decimal:
    with app.api() as api:
        return Decimal(api.get("balance").json()["available"])


def enter(page: Page, amount: str, reason: str = REASON) -> None:
    page.get_by_label("Amount in credits").fill(amount)
    page.get_by_label("Reason").fill(reason)
    page.get_by_label("Reason").press("Enter")


def test_an_administrator_finds_an_account_and_adjusts_it(open_tab: OpenTab, app: Program) -> None:
    page = open_tab()
    sign_in(page, app, "admin")
    drawn(page, heading(page, "Accounts"))  # where an administrator's work begins
    page.get_by_label("Search", exact=True).fill("holder@")
    page.get_by_label("Search", exact=True).press("Enter")
    rows = page.locator("canvas tbody tr")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("Demo Holder")
    choose_row(page, 0)
    drawn(page, heading(page, "Demo Holder"), "19.70")

    page.get_by_role("button", name="Adjust credits").click()
    enter(page, "2.5")
    preview = page.get_by_role("dialog").locator(".pc-facts")
    expect(preview).to_contain_text("Available now19.70Change+2.50Available afterwards22.20")
    assert balance(app) == Decimal("19.70"), "a preview changes nothing"
    page.get_by_role("button", name="Confirm +2.50 credits").click()
    drawn(page, "+2.50 credits for Demo Holder: 22.20 available.")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator("canvas tbody tr").first).to_contain_text(REASON)
    assert balance(app) == Decimal("22.20")

    # The holder reads the reason.
    holder = open_tab("holder")
    visit(holder, app, "transactions", "Transactions")
    expect(holder.locator("canvas tbody tr").first).to_contain_text(REASON)
    choose_row(holder, 0)
    drawn(holder, holder.get_by_role("dialog").get_by_text(REASON))


def test_an_adjustment_needs_a_reason_and_credits_to_take(open_tab: OpenTab, app: Program) -> None:
    page, before = open_tab("admin"), balance(app)
    visit(page, app, "accounts?account=1", "Demo Holder")
    page.get_by_role("button", name="Adjust credits").click()
    enter(page, "1", reason=" ")
    drawn(page, "Write a reason to go on.")
    expect(page.get_by_role("button", name="Confirm +1.00 credits")).to_be_disabled()
    page.get_by_role("dialog").get_by_text("Remove credits").first.click()
    enter(page, "1000")
    expect(page.get_by_role("button", name="Confirm -1,000.00 credits")).to_be_disabled()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_be_visible()
    enter(page, "a lot")
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("a lot")
    assert balance(app) == before


def test_a_double_click_adjusts_once(open_tab: OpenTab, app: Program) -> None:
    page, before = open_tab("admin"), balance(app)
    visit(page, app, "accounts?account=1", "Demo Holder")
    page.get_by_role("button", name="Adjust credits").click()
    enter(page, "1")
    page.get_by_role("button", name="Confirm +1.00 credits").dblclick()
    drawn(page, "+1.00 credits for Demo Holder")
    assert balance(app) == before + 1


def test_finance_reads_sales_and_usage_and_changes_nothing(open_tab: OpenTab, app: Program) -> None:
    page = open_tab()
    sign_in(page, app, "finance")
    drawn(page, heading(page, "Sales and usage"), "Sales in USD", "$20.00", "0.30", "Heaviest users")
    expect(page.locator("canvas tbody tr").last).to_contain_text("Demo Holder")
    expect(page.get_by_role("link", name="Accounts")).to_have_count(0)
    refused(page, app, "accounts")


@pytest.mark.parametrize("address", ["accounts", "accounts?account=3", "finance"])
def test_a_holder_is_refused(open_tab: OpenTab, app: Program, address: str) -> None:
    refused(open_tab("holder"), app, address)


def refused(page: Page, app: Program, address: str) -> None:
    visit(page, app, address, "Not for your role")
    drawn(page, "You may not see this page.")
    for something in ("stDataFrame", "stMetric", "stPlotlyChart"):
        expect(page.get_by_test_id(something)).to_have_count(0)
    expect(page.get_by_test_id("stSidebar").get_by_role("link", name="Overview")).to_be_visible()
