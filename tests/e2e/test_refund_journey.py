"""A refund with approval in Chromium (A8, I2): one administrator asks, another approves, the holder sees the money go back."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Literal

import pytest
from playwright.sync_api import Page, expect

from tests.e2e import desk
from tests.e2e.conftest import OpenTab
from tests.e2e.screens import DESKTOP, PHONE, Screen, drawn, heading, picture, visit
from tests.e2e.watching import Watch
from tests.program import Program

pytestmark = pytest.mark.browser
REASON = "Half of the work is canceled"
Theme = Literal["light", "dark"]


@pytest.fixture(scope="module", autouse=True)
def lower_limit(app: Program) -> Iterator[None]:
    """From $40 on a second person decides, so that half of a $100 package waits."""
    with app.api("super@demo.test") as boss:
        limit = {"kind": "refund", "amount": 4000, "reason": "decided together"}
        assert boss.post("admin/approvals/limits", json=limit).status_code == 200
    yield


@pytest.mark.parametrize(
    ("screen", "theme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop-light", "phone-dark"]
)
def test_half_of_a_payment_goes_back_after_a_second_person_approved(
    open_tab: OpenTab, app: Program, screen: Screen, theme: Theme
) -> None:
    bought = desk.bought(app, "usd_100")
    before = balance(app)
    watches = []

    def tab(who: str) -> Page:
        page = open_tab(who, screen)
        page.emulate_media(color_scheme=theme)
        watches.append(Watch(page))
        return page

    def keep(page: Page, step: str) -> None:
        picture(page, screen, f"journeys/refund-{step}-{screen.name}-{theme}")

    admin = tab("admin")
    ask(admin, app, bought, keep)
    assert balance(app) == before, "nothing moves before a second person has approved"

    visit(admin, app, "approvals", "Approvals")
    drawn(admin, "Nothing waits for you")
    visit(admin, app, "approvals?view=Yours", "Approvals")
    drawn(admin, admin.get_by_role("button", name="Take it back"))
    expect(admin.get_by_role("button", name="Decide", exact=True)).to_have_count(0)

    boss = tab("super")
    approve(boss, app, keep)
    assert balance(app) == before - 50

    visit(boss, app, f"payments?payment={bought['purchase_id']}", "$100.00 by Demo Holder")
    drawn(boss, "Refund approved", "Refund succeeded", "Partly refunded")
    keep(boss, "3-payment")

    holder = tab("holder")
    visit(holder, app, "transactions", "Transactions")
    first = holder.locator("canvas tbody tr").first
    expect(first).to_contain_text(REASON)
    expect(first).to_contain_text("-50")
    keep(holder, "4-holder")
    assert [said for watch in watches for said in watch.complaints] == []


def ask(page: Page, app: Program, bought: dict[str, Any], keep: Any) -> None:
    """By amount: the preview tells credits and the limit; the button asks for approval."""
    visit(page, app, f"payments?payment={bought['purchase_id']}", "$100.00 by Demo Holder")
    page.get_by_role("button", name="Refund", exact=True).click()
    dialog = page.get_by_role("dialog")
    drawn(page, dialog.get_by_text("All that is left"))
    dialog.get_by_text("By amount").click()
    dialog.get_by_label("Amount in USD").fill("50")
    dialog.get_by_label("Amount in USD").press("Enter")
    drawn(page, "another administrator has to approve")
    dialog.get_by_label("Reason").fill(REASON)
    dialog.get_by_label("Reason").press("Enter")
    expect(dialog.locator(".pc-facts")).to_contain_text("Money back$50.00Credits taken50.00")
    button = dialog.get_by_role("button", name="Ask for approval of $50.00")
    expect(button).to_be_enabled()
    keep(page, "1-asked")
    button.click()
    drawn(page, "waits for another administrator")
    expect(dialog).to_have_count(0)


def approve(page: Page, app: Program, keep: Any) -> None:
    visit(page, app, "approvals", "Approvals")
    drawn(page, "Refund $50.00 to Demo Holder", "1 request waits for you") if not _phone(page) else drawn(
        page, "Refund $50.00 to Demo Holder"
    )
    keep(page, "2-approvals")
    page.get_by_role("button", name="Decide", exact=True).click()
    dialog = page.get_by_role("dialog")
    drawn(page, dialog.get_by_role("button", name="Approve"))
    dialog.get_by_label("Reason").fill("Agreed on the phone")
    dialog.get_by_label("Reason").press("Enter")
    dialog.get_by_role("button", name="Approve").click()
    drawn(page, "Nothing waits for you")
    expect(dialog).to_have_count(0)


def _phone(page: Page) -> bool:
    """Whether the menu is closed at first."""
    size = page.viewport_size
    return size is not None and size["width"] < 500


def balance(app: Program) -> Decimal:
    with app.api() as api:
        return Decimal(api.get("balance").json()["available"])


def test_two_administrators_who_press_together_refund_once(open_tab: OpenTab, app: Program) -> None:
    """A8: both have the same approval open; one goes through, the other reads why not."""
    bought = desk.bought(app, "usd_100")
    before = balance(app)
    with app.api("admin@demo.test") as admin:
        body = {"purchase_id": bought["purchase_id"], "amount_cents": 6000, "reason": REASON}
        asked = admin.post("admin/refunds", json=body).json()
    page = open_tab("super")
    visit(page, app, f"approvals?decide={asked['refund_id']}", "Approvals")
    drawn(page, page.get_by_role("dialog").get_by_role("button", name="Approve"))
    with app.api("super@demo.test") as boss:
        assert boss.post(f"admin/approvals/{asked['refund_id']}/approve").status_code == 200
    page.get_by_role("dialog").get_by_role("button", name="Approve").click()
    drawn(page, "already.")
    assert balance(app) == before - 60
    assert heading(page, "Approvals").count() == 1
