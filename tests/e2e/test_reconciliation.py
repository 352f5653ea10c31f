"""Finance compares our books with Stripe's in the browser and settles a difference; the alert about it ends by itself (H5, F5)."""

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import expect

from credits_core.stripe_sim import API_KEY
from pages.common.tables import ROW_HEIGHT
from tests.e2e.conftest import OpenTab
from tests.e2e.screens import DESKTOP, PHONE, drawn, picture, settled, visit
from tests.e2e.watching import Watch
from tests.program import Program

pytestmark = pytest.mark.browser


@pytest.fixture
def mixed_up(app: Program) -> str:
    """A credited purchase whose charge Stripe now calls a live one; answers the charge."""
    with app.api() as api:
        session_id = api.post("checkout", json={"package": "usd_10"}).json()["session_id"]
        app.pay(session_id)
        assert api.get("success", params={"session_id": session_id}).json()["status"] == "credited"
    with httpx.Client(
        base_url=f"{app.url}/sim/", headers={"Authorization": f"Bearer {API_KEY}"}, timeout=30
    ) as stripe:
        charge: str = stripe.get("v1/charges").json()["data"][0]["id"]
        assert stripe.post(f"control/charge/{charge}/alter", json={"livemode": True}).status_code == 200
    return charge


def test_compare_read_accept(open_tab: OpenTab, app: Program, mixed_up: str) -> None:
    finance = open_tab("finance")
    watch = Watch(finance)
    visit(finance, app, "reconciliation", "Reconciliation")
    finance.get_by_role("button", name="Compare now").click()
    finance.get_by_role("dialog").get_by_role("button", name="Compare", exact=True).click()
    drawn(finance, "Select a difference to read what it means")
    admin = open_tab("admin")
    visit(admin, app, "system?job=operations", "System")
    admin.get_by_role("button", name="Run now").click()
    drawn(admin, "Differences between our books and Stripe's: 1.")
    picture(admin, DESKTOP, "looks/system_alert-desktop-light")
    settled(finance)
    finance.get_by_test_id("stDataFrame").first.click(position={"x": 18, "y": ROW_HEIGHT + 16})
    dialog = finance.get_by_role("dialog")
    drawn(
        finance,
        dialog.get_by_text("Test payments must never give real credits"),
        dialog.get_by_text(mixed_up),
    )
    picture(finance, DESKTOP, "looks/difference-desktop-light")
    dialog.get_by_label("Why it is all right as it is").fill("Altered for a test")
    dialog.get_by_label("Why it is all right as it is").press("Enter")
    dialog.get_by_role("button", name="Accept with this reason").click()
    drawn(finance, "Accepted. It comes back if it changes.", "0 differences")
    visit(admin, app, "system?job=operations", "System")
    admin.get_by_role("button", name="Run now").click()
    drawn(admin, "Nothing needs you", "Resolved lately (1)")
    phone = open_tab("finance", PHONE)
    visit(phone, app, "reconciliation?status=Accepted&difference=1", "Reconciliation")
    drawn(phone, "Altered for a test")
    picture(phone, PHONE, "looks/difference-phone-light")
    expect(phone.get_by_role("button", name="Accept with this reason")).to_have_count(0)
    assert not watch.faults(DESKTOP, "difference")
