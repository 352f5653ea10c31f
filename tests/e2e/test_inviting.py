"""Invitations and campaigns in Chromium: from a link to the reward, and a code that is switched off by a click."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from credits_core.auth.providers import DEMO_PASSWORD
from tests.e2e.conftest import OpenTab
from tests.e2e.screens import choose_row, drawn, heading, visit
from tests.program import Program

pytestmark = pytest.mark.browser
TERMS = {"on": True, "referrer": "5.00", "referee": "3.00", "min_purchase_cents": 1000, "open_days": 30}


def test_a_link_is_followed_and_both_sides_are_rewarded(open_tab: OpenTab, app: Program) -> None:
    """A13: the code waits through the sign-in; the first purchase brings both rewards."""
    with app.api("admin@demo.test") as admin:
        assert admin.post("admin/referral-program", json=TERMS).status_code == 200
    with app.api() as holder:
        code = holder.get("referral").json()["code"]
    page = open_tab()
    page.goto(f"{app.url}/r/{code}")
    expect(page.get_by_text(f"the code {code} is entered for you")).to_be_visible()
    page.get_by_label("Email").fill("finance@demo.test")
    page.get_by_label("Password").fill(DEMO_PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    drawn(page, heading(page, "Invite"), "You get 3.00 credits after your first purchase")
    with app.api("finance@demo.test") as invited:
        app.pay(session := invited.post("checkout", json={"package": "usd_10"}).json()["session_id"])
        assert invited.get("success", params={"session_id": session}).json()["available"] == "13.00"
    page.reload()
    drawn(page, "You got 3.00 credits for your first purchase.")
    inviting = open_tab("holder")
    visit(inviting, app, "invite", "Invite")
    expect(inviting.locator("canvas tbody tr")).to_contain_text("f•••@demo.test")
    expect(inviting.get_by_test_id("stMetric").filter(has_text="Credits earned")).to_contain_text("5.00")


def test_a_campaign_is_switched_off_in_its_dialog(open_tab: OpenTab, app: Program) -> None:
    """I3: and the code is unknown at once."""
    terms = {"code": "WELCOME20", "name": "Welcome", "kind": "discount_percent", "amount": 20}
    with app.api("admin@demo.test") as admin:
        assert admin.post("admin/campaigns", json=terms).status_code == 200
    page = open_tab("admin")
    visit(page, app, "campaigns", "Campaigns")
    choose_row(page, 0)
    page.get_by_role("dialog").get_by_role("button", name="Switch WELCOME20 off").click()
    drawn(page, "WELCOME20 is switched off.")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator("canvas tbody tr")).to_contain_text("Off")
    with app.api() as holder:
        assert holder.post("quote", json={"package": "usd_10", "promo_code": "WELCOME20"}).status_code == 404
