"""What the browser tests share: screens, waiting for a page, signing in, paying, and listening to what a page does."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import BrowserContext, Locator, Page, expect

from credits_core.auth.providers import DEMO_PASSWORD
from pages.common.tables import ROW_HEIGHT
from tests.program import ROOT, Program

ARTIFACTS = ROOT / "test-artifacts"
PAGES = frozenset(file.stem for file in (ROOT / "pages").glob("*/*.py") if file.parent.name != "common")
DRAWN = "[data-testid=stApp][data-test-script-state=notRunning]"
GOOD_CARD, DECLINED_CARD, CHALLENGED_CARD = (
    "4242 4242 4242 4242",
    "4000 0000 0000 0002",
    "4000 0025 0000 3155",
)
# Tables, charts and fonts are painted after Streamlit says that its script has run; what a closed expander holds, when it is
# opened. The dear question comes last: it makes the browser lay out the page.
PAINTED = """
  const inside = (place, what) =>
    [...document.querySelectorAll(place)].every((it) => it.querySelector(what) || !it.checkVisibility());
  const painted = () => document.fonts.status === "loaded" && !document.querySelector("[data-testid=stSkeleton]")
    && inside("[data-testid=stDataFrame]", "canvas") && inside("[data-testid=stPlotlyChart]", ".main-svg");"""
_PHONE_AGENT = (
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/140.0.0.0 Mobile Safari/537.36"
)


@dataclass(frozen=True)
class Screen:
    """A device: its name in file names, its width and height in CSS pixels."""

    name: str
    width: int
    height: int
    phone: bool = False

    def options(self) -> dict[str, Any]:
        """Arguments of a browser context for it."""
        shown: dict[str, Any] = {
            "viewport": {"width": self.width, "height": self.height},
            "locale": "en-US",
            "timezone_id": "Europe/Berlin",
        }
        if self.phone:
            shown |= {
                "is_mobile": True,
                "has_touch": True,
                "device_scale_factor": 2,
                "user_agent": _PHONE_AGENT,
            }
        return shown


DESKTOP = Screen("desktop", 1440, 900)
PHONE = Screen("phone", 390, 844, phone=True)


def drawn(page: Page, *contents: str | Locator) -> None:
    """Wait until Streamlit has drawn a page with these texts (or other things) on it."""
    for content in contents:
        expect(page.get_by_text(content).first if isinstance(content, str) else content).to_be_visible()
    page.wait_for_selector(DRAWN)


def heading(page: Page, title: str) -> Locator:
    return page.get_by_role("heading", name=title, exact=True)


def visit(page: Page, app: Program, address: str, title: str) -> None:
    """Open a page by its address and wait for its title."""
    page.goto(f"{app.url}/{address}")
    drawn(page, heading(page, title))


def sign_in(page: Page, app: Program, who: str) -> None:
    """Through the form, as people do; it leads to where this person's work begins."""
    page.goto(app.url)
    page.get_by_label("Email").fill(f"{who}@demo.test")
    page.get_by_label("Password").fill(DEMO_PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()


def sign_in_quickly(context: BrowserContext, app: Program, who: str) -> None:
    """The same form without drawing it, for tests about something else."""
    form = context.request.get(f"{app.url}/auth/sign-in").text()
    token = re.search(r'name="csrf" value="(\w+)"', form)
    assert token
    fields = {
        "email": f"{who}@demo.test",
        "password": DEMO_PASSWORD,
        "csrf": token[1],
        "next": "/auth/style.css",
    }
    assert context.request.post(f"{app.url}/auth/sign-in", form=fields).ok


def enter_card(page: Page, number: str) -> None:
    """Fill in the hosted payment page and press its button."""
    page.get_by_label("Card number").fill(number)
    page.get_by_label("Expiry").fill("12 / 34")
    page.get_by_label("CVC").fill("123")
    page.get_by_role("button", name=re.compile(r"^Pay \$")).click()


def choose_row(page: Page, number: int) -> None:
    """Tick a row of the page's table, the first being 0. Rows are painted, so this goes by their place."""
    settled(page)
    page.get_by_test_id("stDataFrame").click(position={"x": 18, "y": ROW_HEIGHT * (number + 1) + 16})


def settled(page: Page) -> None:
    """Wait until everything is painted and nothing moves."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    page.wait_for_function(
        f"""() => {{{PAINTED}
          return painted() && !document.getAnimations().some((it) => it instanceof CSSTransition && it.playState === "running");
        }}"""
    )


def picture(page: Page, screen: Screen, name: str) -> None:
    """Keep a picture of the whole page, `test-artifacts/<name>.png`. Streamlit scrolls inside, so the window grows."""
    height = page.evaluate(
        "(document.querySelector('[data-testid=stMain]') ?? document.documentElement).scrollHeight"
    )
    page.set_viewport_size({"width": screen.width, "height": max(height, screen.height)})
    settled(page)
    page.screenshot(path=ARTIFACTS / f"{name}.png", full_page=True)
    page.set_viewport_size({"width": screen.width, "height": screen.height})
