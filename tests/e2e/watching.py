"""What a page does behind its looks: what it asks for, what it complains about, whom it shuts out."""

from __future__ import annotations

from functools import cache
from typing import Literal
from urllib.parse import urlsplit

from playwright.sync_api import ConsoleMessage, Page, Response

from tests.e2e.screens import PAGES, Screen, picture, settled
from tests.node_tools import install

# Streamlit's front end does not know where its server is mounted. At /buy it asks below /buy/ first and then at the
# root; only a script of our own in its index.html could tell it. Nothing else may fail.
PROBES = frozenset(f"/{page}/_stcore/{what}" for page in PAGES for what in ("health", "host-config"))

# Streamlit's own markup, which no option or style of ours changes.
NOT_OURS = [  # a rule, and the element it is not asked in
    ["list", "[data-testid=stSidebarNavItems]"],  # the menu's sections are <div>s inside its <ul>
    ["listitem", "[data-testid=stSidebarNavItems]"],
    ["aria-dialog-name", "[data-testid=stToast]"],  # a passing message is a dialog without a name
]
OF_COLOR = (
    "color-contrast",
    "link-in-text-block",
)  # what another theme may change; the markup stays the same
# An open dialog locks the page by `overflow: hidden` on <html>, and axe-core then takes all of it for invisible.
_AXE = """async ([notOurs, rules]) => {
  const ours = (rule, node) => !notOurs.some(([known, place]) => known === rule && node.element.closest(place));
  document.documentElement.style.overflow = "visible";
  const { violations } = await axe.run(document, {
    resultTypes: ["violations"], elementRef: true, ...(rules.length ? { runOnly: rules } : {}) });
  return violations.flatMap(({ id, impact, help, nodes }) => ["serious", "critical"].includes(impact)
    ? nodes.filter((node) => ours(id, node)).map((node) => `${id} (${help}): ${node.html} ${node.failureSummary}`)
    : []);
}"""


class Watch:
    """Listens to a tab from its start; `complaints` are sentences about what should not have happened."""

    def __init__(self, page: Page) -> None:
        self.complaints: list[str] = []
        self._page = page
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(f"script error: {error}"))
        page.on("request", lambda request: self._address(request.url))
        page.on("websocket", lambda socket: self._address(socket.url))
        page.on("response", self._response)

    def faults(self, screen: Screen, name: str, *, expected: str = "") -> list[str]:
        """What is wrong with the page as it stands, in light and dark, and pictures of it under `looks/<name>`.

        `expected` marks the complaint that belongs to the page, such as the 401 of a wrong password.
        """
        found = [said for said in self.complaints if not expected or expected not in said]
        themes: list[Literal["light", "dark"]] = ["light", "dark"]
        for theme in themes:
            self._page.emulate_media(color_scheme=theme)
            settled(self._page)
            rules = OF_COLOR if theme == "dark" else ()
            found += [f"{theme}: {barrier}" for barrier in barriers(self._page, rules)]
            picture(self._page, screen, f"looks/{name}-{screen.name}-{theme}")
        return found + too_wide(self._page)

    def _console(self, message: ConsoleMessage) -> None:
        address = urlsplit(message.location.get("url", "")).path
        if message.type == "error" and address not in PROBES:
            self.complaints.append(f"console: {message.text} ({address})")

    def _address(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1":
            self.complaints.append(f"asked another machine: {url}")

    def _response(self, response: Response) -> None:
        if response.status >= 400 and urlsplit(response.url).path not in PROBES:
            self.complaints.append(f"{response.status}: {response.request.method} {response.url}")


def barriers(page: Page, rules: tuple[str, ...] = ()) -> list[str]:
    """Serious and critical violations that axe-core finds on the page as it stands: of these rules, or of any."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(_axe_source())
    found: list[str] = page.evaluate(_AXE, [NOT_OURS, list(rules)])
    return found


def too_wide(page: Page) -> list[str]:
    """Elements that make the page scroll sideways."""
    wide: list[str] = page.evaluate(
        """() => [document.documentElement, ...document.querySelectorAll("[data-testid=stMain]")]
          .filter((element) => element.scrollWidth > element.clientWidth)
          .map((element) => `${element.tagName} is ${element.scrollWidth} wide on ${element.clientWidth}`)"""
    )
    return wide


@cache
def _axe_source() -> str:
    return (install() / "axe-core" / "axe.min.js").read_text("utf-8")
