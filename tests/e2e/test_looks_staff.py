"""Every page of finance and admins as people see it: desktop and phone, light and dark."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.e2e.addresses import Addresses
from tests.e2e.conftest import OpenTab
from tests.e2e.looks import Look, bars_in_the_dark, open_first
from tests.e2e.screens import DESKTOP, PAGES, PHONE, Screen, drawn, heading
from tests.e2e.test_looks_holder import LOOKS as LOOKS_OF_HOLDERS
from tests.program import Program

pytestmark = pytest.mark.browser
DEMO = True  # pages look right when there is something on them
ADJUSTING = "account=1&adjust=0123456789abcdef0123456789abcdef"


def adjust(page: Page) -> None:
    page.get_by_label("Amount in credits").fill("2.5")
    page.get_by_label("Reason").fill("Calls that were cut off")
    page.get_by_label("Reason").press("Enter")
    drawn(page, page.get_by_role("button", name="Confirm +2.50 credits"), "Available afterwards")


def reconciled(page: Page) -> None:
    """The daily run begins seconds after the program; until then the page says that nothing was compared."""
    for _ in range(60):
        drawn(page, heading(page, "Runs"))
        if page.get_by_text("How it adds up in USD").is_visible():
            return
        page.reload()


def draft_package(page: Page) -> None:
    """The popular package gets a bonus, in the draft."""
    page.get_by_label("Bonus").fill("1.5")
    page.get_by_role("button", name="Put into the draft").click()
    drawn(page, page.get_by_role("button", name="Ask for the release"))


def adjust_much(page: Page) -> None:
    page.get_by_label("Amount in credits").fill("12000")
    page.get_by_label("Reason").fill("Credits of the old contract")
    page.get_by_label("Reason").press("Enter")
    drawn(page, page.get_by_role("button", name="Ask for approval of +12,000.00 credits"))


def keep_for(page: Page) -> None:
    """A super admin opens how long things are kept."""
    page.get_by_role("button", name="Change").click()
    drawn(page, page.get_by_role("button", name="Change how long"))


def new_campaign(page: Page) -> None:
    page.get_by_role("button", name="New campaign").click()
    for label, text in (("Code", "spring"), ("Name", "Spring offer"), ("Per cent", "12.5")):
        field = page.get_by_role("dialog").get_by_label(label, exact=True)
        field.fill(text)
        field.press("Enter")
    drawn(page, page.get_by_role("button", name="Create SPRING"))


def roll_out(page: Page) -> None:
    drawn(page, page.get_by_role("slider"))
    page.get_by_role("slider").press("ArrowLeft")
    drawn(page, page.get_by_role("button", name="Roll out to"))


LOOKS = [
    Look("refused", "holder", "accounts", "You may not see this page."),
    Look("finance", "finance", "finance", "Heaviest users"),
    Look("reconciliation", "finance", "reconciliation", "How it adds up in USD", reconciled),
    Look("reconciliation_ask", "finance", "reconciliation?compare=0123456789abcdef0123456789abcdef", "Nothing is changed"),
    Look("revenue", "finance", "revenue", "Who buys again"),
    Look("margins", "finance", "margins", "Margin by operation"),
    Look("catalog", "admin", "catalog", "Earlier drafts"),
    Look("catalog_package", "admin", "catalog?part=Packages", "Earlier drafts", draft_package),
    Look("accounts", "admin", "accounts", "Everybody with credits."),
    Look("account", "admin", "accounts?account=5", "Bought in all"),
    Look("account_grants", "admin", "accounts?account=5&part=Grants", "Bought in all"),
    Look("account_calls", "admin", "accounts?account=5&part=Calls", "Bought in all"),
    Look("account_purchases", "admin", "accounts?account=5&part=Purchases", "Bought in all"),
    Look("system", "admin", "system", "Last checks"),
    Look("system_kept", "super", "system", "Kept for", keep_for),
    Look("system_job", "admin", "system?job=poll", "Run now"),
    Look("webhook_inbox", "admin", "webhook_inbox", "Webhook inbox"),
    Look("adjusting", "admin", f"accounts?{ADJUSTING}", "Adjust credits", adjust),
    Look("payments", "admin", "payments?period=All+time", "Every payment of everybody."),
    Look("payments_review", "admin", "payments?list=Review+queue", "1 in review", needs="<review>"),
    Look("payments_none", "admin", "payments?q=nobody", "No payment matches"),
    Look("payment", "admin", "payments?payment=<payment>", "What happened"),
    Look("payment_refund", "admin", f"payments?payment=<payment>&refund={'1' * 32}", "Most that can be refunded"),
    Look("payment_in_review", "admin", "payments?payment=<review>", "Paid, but not matching"),
    Look("payment_deciding", "admin", f"payments?payment=<review>&review={'1' * 32}", "Credits added"),
    Look("approvals", "super", "approvals", "Credits of the old contract", needs="<approval>"),
    Look("approvals_deciding", "super", "approvals?decide=<approval>", "Available afterwards"),
    Look("approvals_none", "admin", "approvals", "Nothing waits for you"),
    Look("approvals_limits", "super", "approvals?view=Limits", "Change a limit"),
    Look("adjusting_much", "admin", f"accounts?{ADJUSTING}", "another administrator has to approve", adjust_much),
    Look("campaigns", "admin", "campaigns", "Codes for buyers and invitations"),
    Look("campaign", "admin", "campaigns", "Switched off, the code is unknown", open_first),
    Look("campaign_new", "admin", "campaigns", "SPRING: 12.5% more credits", new_campaign),
    Look("campaigns_none", "admin", "campaigns?q=nothing", "No campaign matches"),
    Look("referrals", "admin", "campaigns?part=Referrals", "Export"),
    Look("referral", "admin", "campaigns?part=Referrals", "Rewards", open_first),
    Look("referral_terms", "admin", "campaigns?part=Referral terms", "Put these terms in force"),
    Look("flags", "admin", "flags", "New flag"),
    Look("flag", "admin", "flags?flag=invitations", "Would reach", roll_out),
    Look("audit", "admin", "audit?period=All time", "Audit trail"),
    Look("audit_row", "admin", "audit?period=All time", "As it is stored", open_first),
    Look("audit_none", "admin", "audit?q=nothing+like+this", "Nothing matches"),
    Look("api_docs", "", "api/docs", "Prepaid Credits", plain=True),
]  # fmt: skip


@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=lambda screen: screen.name)
@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.name)
def test_looks(look: Look, screen: Screen, open_tab: OpenTab, addresses: Addresses) -> None:
    assert not look.take(open_tab, screen, addresses)


@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=lambda screen: screen.name)
def test_charts_opened_in_the_dark(open_tab: OpenTab, app: Program, screen: Screen) -> None:
    bars_in_the_dark(open_tab("finance", screen), screen, f"{app.url}/finance")


def test_every_page_is_looked_at() -> None:
    assert {look.address.partition("?")[0] for look in LOOKS_OF_HOLDERS + LOOKS} >= PAGES
