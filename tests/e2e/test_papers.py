"""Files in the browser (G7, A6, A7): the menu of exports, the statement as a PDF, and Stripe's page for cards and back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.core.pdf_text import text_of
from tests.core.sheets import read_xlsx
from tests.e2e.conftest import OpenTab
from tests.e2e.screens import PHONE, drawn, heading, visit
from tests.program import Program

pytestmark = pytest.mark.browser
CALLS = 30  # more than a page shows


@pytest.fixture(scope="module", autouse=True)
def history(app: Program) -> Iterator[None]:
    """A holder who was given 20 credits and made thirty calls of a minute."""
    with app.api("admin@demo.test") as admin:
        given = {"account": "holder@demo.test", "amount": "20", "reason": "for a test"}
        assert admin.post("admin/adjust", json=given).status_code == 200
    with app.api() as holder:
        events = [{"operation": "call", "quantity": 60, "idempotency_key": f"call-{n}"} for n in range(CALLS)]
        assert holder.post("use/batch", json={"events": events}).status_code == 200
    yield


def downloaded(page: Page, file: str) -> tuple[str, bytes]:
    """Choose a file of the open menu (or a link); answers its name and what is in it."""
    with page.expect_download() as started:
        page.get_by_role("link", name=file).click()
    path = started.value.path()
    assert path is not None
    return started.value.suggested_filename, Path(path).read_bytes()


@pytest.mark.parametrize("screen", [None, PHONE], ids=["desktop", "phone"])
def test_the_whole_result_as_a_spreadsheet(open_tab: OpenTab, app: Program, screen: object) -> None:
    """G7: all rows of the filter and not the page alone; the page goes on working."""
    page = open_tab("holder", screen) if screen else open_tab("holder")  # type: ignore[arg-type]
    visit(page, app, "transactions?kind=Use", "Transactions")
    page.get_by_role("button", name="Export").click()
    name, file = downloaded(page, "XLSX")
    assert name.startswith("transactions-2") and name.endswith(".xlsx")
    (rows,) = read_xlsx(file).values()
    amount = rows[0].index("amount_credits")
    assert [row[amount] for row in rows[1:]] == [-0.15] * CALLS
    assert rows[0][1] == "created_at (Europe/Berlin)"
    page.keyboard.press("Escape")
    page.get_by_text("7 days").first.click()
    drawn(page, heading(page, "Transactions"))


def test_the_statement_as_a_pdf(open_tab: OpenTab, app: Program) -> None:
    page = open_tab("holder")
    visit(page, app, "statements", "Statements")
    drawn(page, "What moved the balance")
    name, file = downloaded(page, "Download PDF")
    assert name.startswith("statement-account-") and name.endswith(".pdf")
    text = text_of(file)
    for words in ("holder@demo.test", "Adjusted 1 +20.00", "Used: Call 30 −4.50", "Closing balance 15.50"):
        assert words in text


def test_cards_and_invoices_and_back(open_tab: OpenTab, app: Program) -> None:
    """A7: one button there, one link back, still signed in."""
    page = open_tab("holder")
    visit(page, app, "statements", "Statements")
    page.get_by_role("button", name="Manage cards and invoices").click()
    page.wait_for_url("**/sim/portal/**")
    page.get_by_role("link", name="Back").or_(page.locator(f'a[href="{app.url}/statements"]')).first.click()
    drawn(page, heading(page, "Statements"))
    expect(page.get_by_role("button", name="Demo Holder")).to_be_visible()


def test_a_file_after_the_session_ended_is_the_sign_in_form(open_tab: OpenTab, app: Program) -> None:
    page = open_tab("holder")
    visit(page, app, "transactions", "Transactions")
    page.get_by_role("button", name="Export").click()
    page.context.clear_cookies()
    page.get_by_role("link", name="CSV").click()
    expect(heading(page, "Sign in")).to_be_visible()
