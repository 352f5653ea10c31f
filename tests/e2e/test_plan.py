"""A plan in Chromium (A11): subscribed on Stripe's page, upgraded, a renewal that fails and is paid, canceled and kept."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import OpenTab
from tests.e2e.screens import DESKTOP, GOOD_CARD, PHONE, drawn, heading, visit
from tests.e2e.watching import Watch
from tests.program import Program

pytestmark = pytest.mark.browser
NO_FUNDS = "4000000000009995"
MONTH = 31 * 86_400 + 3_700


def control(app: Program, path: str, **body: Any) -> None:
    answer = httpx.post(f"{app.url}/sim/control/{path}", json=body, timeout=60)
    assert answer.status_code == 200, answer.text


def fill_card(page: Page, button: str) -> None:
    page.get_by_label("Card number").fill(GOOD_CARD)
    page.get_by_label("Expiry").fill("12 / 40")
    page.get_by_label("CVC").fill("123")
    page.get_by_role("button", name=re.compile(button)).click()


def test_the_life_of_a_plan(open_tab: OpenTab, app: Program) -> None:
    page = open_tab("holder")
    visit(page, app, "plan", "Plan")
    page.get_by_role("button", name="Subscribe for $20.00").click()
    fill_card(page, r"^(Pay|Subscribe)")
    drawn(page, "You are subscribed to Monthly 20.", heading(page, "What happens next"))
    back = page.url
    expect(page.get_by_test_id("stSidebar").locator(".pc-balance b")).to_have_text("22.00")

    visit(page, app, "plan", "Plan")
    page.get_by_role("button", name="Upgrade").click()
    drawn(page, "$50.00 is charged now")
    page.get_by_role("button", name="Pay $50.00 now").click()
    drawn(page, "You are on Monthly 50 now.", heading(page, "Monthly 50"))
    with app.api() as api:
        assert api.get("balance").json()["available"] == "79.50"
        (card,) = api.get("cards").json()["items"]

    control(app, f"payment_methods/{card['payment_method_id']}/act-as", card=NO_FUNDS)
    control(app, "clock", advance_seconds=MONTH)
    page.goto(back)  # asks Stripe
    drawn(page, page.get_by_text("did not go through"))
    for screen in (DESKTOP, PHONE):
        other = open_tab("holder", screen)
        watch = Watch(other)
        visit(other, app, "plan", "Plan")
        drawn(other, other.get_by_role("link", name="Pay $50.00"))
        assert not watch.faults(screen, "plan_past_due")

    page.get_by_role("link", name="Pay $50.00").click()
    fill_card(page, "^Pay this invoice")
    expect(page.get_by_role("button", name="Pay this invoice")).to_be_hidden()
    page.goto(back)
    drawn(page, heading(page, "Monthly 50"), "Active")
    with app.api() as api:
        assert [row["status"] for row in api.get("subscription").json()["payments"]] == ["credited"] * 3

    page.get_by_role("button", name="Cancel plan").click()
    page.get_by_role("button", name=re.compile("^End on")).click()
    drawn(page, page.get_by_role("button", name="Keep my plan"))
    page.get_by_role("button", name="Keep my plan").click()
    page.get_by_role("dialog").get_by_role("button", name="Keep my plan").click()
    drawn(page, page.get_by_role("button", name="Cancel plan"))
