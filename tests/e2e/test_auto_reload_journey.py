"""Auto-reload in Chromium (A10, A7): save a card on the hosted page, agree, spend below the threshold; the work that runs in the
app buys. Then the bank wants a payment confirmed: a pause with a link, the owner confirms it and resumes."""

from __future__ import annotations

import re
import time
from typing import Any, Literal

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import OpenTab
from tests.e2e.screens import DESKTOP, GOOD_CARD, PHONE, Screen, drawn, heading, picture, visit
from tests.e2e.watching import Watch
from tests.program import Program

pytestmark = pytest.mark.browser
ASKS = "4000002760003184"  # its bank wants each payment confirmed
WAIT_SECONDS = 60  # the app looks every ten seconds


def fill(page: Page, label: str, text: str) -> None:
    page.get_by_label(label).fill(text)
    page.get_by_label(label).press("Enter")


def save_card_while_filling_in(page: Page) -> None:
    """The entries are there again after the way to Stripe's page."""
    fill(page, "Reload when the balance is below", "5")
    fill(page, "Buy up to", "25")
    fill(page, "At most a day", "60")
    fill(page, "At most a month", "120")
    drawn(page, "With these limits:")
    page.wait_for_url(re.compile("month=120"))
    page.get_by_role("button", name="Save a card", exact=True).last.click()
    page.get_by_label("Card number").fill(GOOD_CARD)
    page.get_by_label("Expiry").fill("12 / 34")
    page.get_by_label("CVC").fill("123")
    page.get_by_role("button", name="Save card").click()
    drawn(page, heading(page, "Auto-reload"), "expires 12/2034", "The card is saved.")
    expect(page.get_by_label("At most a month")).to_have_value("120")


def agree(page: Page) -> None:
    switch_on = page.get_by_role("button", name="Agree and switch on")
    expect(switch_on).to_be_disabled()
    page.get_by_text("I agree to these words with the limits above").click()
    expect(switch_on).to_be_enabled()
    switch_on.click()
    drawn(page, "Agreed. Auto-reload is on.", page.get_by_role("button", name="Switch off"), "In use")


def spend_below(api: httpx.Client) -> None:
    """Calls until fewer than five credits are left."""
    while float(api.get("balance").json()["available"]) >= 5:
        assert api.post("use", json={"operation": "call", "quantity": 600}).status_code == 200


def worked(api: httpx.Client, attempts: int) -> dict[str, Any]:
    """The state once the app has done its work: so many attempts, none under way."""
    until = time.monotonic() + WAIT_SECONDS
    while True:
        state: dict[str, Any] = api.get("auto-reload").json()
        if len(state["attempts"]) == attempts and state["attempts"][0]["status"] != "in_flight":
            return state
        assert time.monotonic() < until, state
        time.sleep(0.5)


@pytest.mark.parametrize(
    ("who", "screen", "theme"),
    [("holder", DESKTOP, "light"), ("finance", PHONE, "dark")],
    ids=["desktop-light", "phone-dark"],
)
def test_from_the_first_card_to_a_payment_that_the_bank_wants_confirmed(
    open_tab: OpenTab, app: Program, who: str, screen: Screen, theme: Literal["light", "dark"]
) -> None:
    page = open_tab(who, screen)
    watch = Watch(page)
    page.emulate_media(color_scheme=theme)

    def keep(name: str) -> None:
        picture(page, screen, f"journeys/auto-reload-{name}-{screen.name}-{theme}")

    with app.api(f"{who}@demo.test") as api, app.api("admin@demo.test") as admin:
        given = {"account": f"{who}@demo.test", "amount": "6.00", "reason": "To begin with"}
        assert admin.post("admin/adjust", json=given).status_code == 200
        visit(page, app, "auto_reload", "Auto-reload")
        drawn(page, "Nothing happens by itself", "No card is saved")
        save_card_while_filling_in(page)
        keep("1-before-agreeing")
        agree(page)
        drawn(page, "The balance is 6.00. When it falls below 5.00, $20.00 is charged")

        spend_below(api)
        state = worked(api, 1)
        assert (state["attempts"][0]["status"], state["available_micros"]) == ("succeeded", 25_000_000)
        visit(page, app, "auto_reload", "Auto-reload")
        drawn(page, "The balance is 25.00.", "Paid", "The card was charged and the credits were added.")
        keep("2-bought")

        method = f"{app.url}/sim/control/payment_methods/{state['payment_method_id']}/act-as"
        assert httpx.post(method, json={"card": ASKS}, timeout=30).status_code == 200
        spend_below(api)
        assert worked(api, 2)["state"] == "paused"
        visit(page, app, "auto_reload", "Auto-reload")
        drawn(page, "Auto-reload is paused.", "Needs your confirmation")
        keep("3-paused")
        page.get_by_role("link", name="Confirm the payment").click()
        page.get_by_role("button", name="Complete authentication").click()
        drawn(page, "Payment received.")
        keep("4-confirmed")

        visit(page, app, "auto_reload", "Auto-reload")
        drawn(page, "The payment is settled", "It was paid afterwards, and the credits were added.")
        page.get_by_role("button", name="Resume", exact=True).click()
        dialog = page.get_by_role("dialog")
        drawn(page, dialog.get_by_text("The balance is 25.00."))
        dialog.get_by_role("button", name="Resume").click()
        drawn(page, "Auto-reload goes on.", "When it falls below 5.00")
        keep("5-resumed")
        after = api.get("auto-reload").json()
        assert (after["state"], len(after["attempts"]), after["pay_url"]) == ("on", 2, None)
        assert float(api.get("balance").json()["available"]) == 25
    assert watch.complaints == []
