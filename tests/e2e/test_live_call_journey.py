"""A call runs low, the page warns, its owner tops up, the call goes on longer and ends at the right cost (D4, D5).

Over the payment page, and with a saved card without leaving the call (A7), also when the bank asks first.

On a desktop in the light and a phone in the dark; pictures go to `test-artifacts/journeys`.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Literal

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import OpenTab
from tests.e2e.screens import DESKTOP, GOOD_CARD, PHONE, Screen, drawn, enter_card, heading, picture, visit
from tests.e2e.watching import Watch, barriers, too_wide
from tests.program import Program

pytestmark = pytest.mark.browser
PRICE = 0.15  # a minute, each begun one
ASKS = "4000002760003184"  # its bank wants each payment confirmed


def talk_time(page: Page) -> int:
    """Seconds of talk time left, as the page says."""
    text = (
        page.get_by_test_id("stMetric")
        .filter(has_text="Talk time left")
        .get_by_test_id("stMetricValue")
        .inner_text()
    )
    seconds = 0
    for part in text.split(":"):
        seconds = 60 * seconds + int(part)
    return seconds


def running_call(program: httpx.Client, app: Program, minutes: int) -> int:
    """A call that an outside program carries: it began 125 seconds ago, on an account that covers so many minutes."""
    available = float(program.get("balance").json()["available"])
    with app.api("admin@demo.test") as admin:
        account = program.get("balance").json()["account_id"]
        wanted = round(minutes * PRICE - available, 2)
        adjusted = admin.post(
            "admin/adjust",
            json={
                "account": account,
                "amount": f"{wanted:.2f}",
                "reason": "For a call",
                "idempotency_key": f"a-{account}-{wanted}",
            },
        )
        assert adjusted.status_code == 200, adjusted.text
    began = (datetime.now(UTC) - timedelta(seconds=125)).isoformat()
    started = program.post("calls", json={"to": "+15550142", "started_at": began})
    assert started.status_code in (200, 201), started.text
    return int(started.json()["call_id"])


@pytest.mark.parametrize(
    ("screen", "theme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop-light", "phone-dark"]
)
def test_a_call_that_runs_low_is_topped_up_and_goes_on(
    open_tab: OpenTab, app: Program, screen: Screen, theme: Literal["light", "dark"]
) -> None:
    page = open_tab("holder", screen)
    page.emulate_media(color_scheme=theme)
    watch = Watch(page)

    def keep(step: str) -> None:
        assert not barriers(page)
        assert not too_wide(page)
        picture(page, screen, f"journeys/live_call-{step}-{screen.name}-{theme}")

    with app.api() as program:
        call_id = running_call(program, app, minutes=4)
        visit(page, app, "live_call", "Live calls")
        drawn(page, "of talk time are left", "+15550142")
        before = talk_time(page)
        assert 0 < before <= 115
        keep("low")

        # The page counts down by itself, and asks nobody for it but the database.
        expect(page.get_by_test_id("stMetric").filter(has_text="Talk time left")).not_to_contain_text(
            f"{before // 60:02d}:{before % 60:02d}"
        )
        page.get_by_role("button", name="Add 5.00 for $5.00").click()
        expect(page.get_by_role("heading", name="Pay with card")).to_be_visible()
        enter_card(page, GOOD_CARD)

        # Back at the same call, with more time and no warning.
        drawn(page, heading(page, "Live calls"), page.get_by_text("Talk time left"))
        assert page.url.startswith(f"{app.url}/live_call?call={call_id}")
        expect(page.get_by_text("of talk time are left")).to_have_count(0)
        assert talk_time(page) > 30 * 60
        assert program.post(f"calls/{call_id}/heartbeat", json={}).json()["status"] == "ok"
        keep("topped_up")

        page.get_by_role("button", name="End call").click()
        page.get_by_role("dialog").get_by_role("button", name="End the call").click()
        drawn(page, "This call is over.")
        keep("over")

        call = program.get(f"calls/{call_id}").json()
        minutes = math.ceil(float(call["duration_seconds"]) / 60)
        assert minutes >= 3
        assert float(call["charged"]) == pytest.approx(minutes * PRICE)
        expect(page.locator(".pc-facts")).to_contain_text(re.compile(rf"Cost{minutes * PRICE:.2f} credits"))
        left = 4 * PRICE + 5 - minutes * PRICE
        assert float(program.get("balance").json()["available"]) == pytest.approx(left)
        # whoever carries the call hears that it is over
        assert program.post(f"calls/{call_id}/heartbeat", json={}).json()["status"] == "ended"
    assert not watch.complaints


def save_card(program: httpx.Client, app: Program) -> str:
    """A saved card of this person, the only one; answers its id."""
    if not program.get("cards").json()["items"]:
        session = program.post("cards").json()["session_id"]
        app.pay(session)
    (card,) = program.get("cards").json()["items"]
    return str(card["payment_method_id"])


@pytest.mark.parametrize(
    ("screen", "theme", "asks"),
    [(DESKTOP, "light", False), (PHONE, "dark", True)],
    ids=["desktop-light", "phone-dark-bank-asks"],
)
def test_a_call_is_topped_up_with_a_saved_card_and_not_left(
    open_tab: OpenTab, app: Program, screen: Screen, theme: Literal["light", "dark"], asks: bool
) -> None:
    page = open_tab("finance", screen)
    page.emulate_media(color_scheme=theme)
    watch = Watch(page)

    def keep(step: str) -> None:
        assert not barriers(page)
        assert not too_wide(page)
        picture(page, screen, f"journeys/live_call-{step}-{screen.name}-{theme}")

    with app.api("finance@demo.test") as program:
        card = save_card(program, app)
        if asks:
            behaves = f"{app.url}/sim/control/payment_methods/{card}/act-as"
            assert httpx.post(behaves, json={"card": ASKS}, timeout=30).status_code == 200
        call_id = running_call(program, app, minutes=4)
        visit(page, app, "live_call", "Live calls")
        drawn(page, "of talk time are left", "you stay here")
        page.get_by_role("button", name="Add 5.00 for $5.00").click()
        dialog = page.get_by_role("dialog")
        drawn(page, dialog.get_by_text("You pay"))
        keep("pay")
        before = float(program.get("balance").json()["available"])
        known = len(program.get("history", params={"type": "purchases"}).json()["items"])
        pay = dialog.get_by_role("button", name=re.compile(r"Pay \$5.00 with Visa"))
        pay.dblclick()
        if asks:
            drawn(page, dialog.get_by_text("Your bank wants you to confirm"))
            keep("bank_asks")
            assert program.post(f"calls/{call_id}/heartbeat", json={}).json()["status"] in ("ok", "low")
            dialog.get_by_role("link", name="Confirm with your bank").click()
            page.get_by_role("button", name="Complete authentication").click()
        drawn(page, heading(page, "Live calls"), page.get_by_text("Talk time left"), "5.00 credits added")
        assert page.url.startswith(f"{app.url}/live_call?call={call_id}")
        expect(page.get_by_text("of talk time are left")).to_have_count(0)
        expect(dialog).to_have_count(0)
        assert talk_time(page) > 30 * 60
        assert program.post(f"calls/{call_id}/heartbeat", json={}).json()["status"] == "ok"
        keep("paid_here")
        assert float(program.get("balance").json()["available"]) == pytest.approx(before + 5, abs=2 * PRICE)
        bought = program.get("history", params={"type": "purchases"}).json()["items"]
        assert [each["status"] for each in bought] == ["credited"] * (known + 1)
        assert program.post(f"calls/{call_id}/end", json={}).status_code == 200
    assert not watch.complaints
