"""A page in a state, and what is asked of each: no error in the console, nothing asked of another machine, nothing to scroll
sideways, no serious or critical barrier found by axe-core. Pictures of all go to `test-artifacts/looks`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from playwright.sync_api import Page, expect

from tests.e2e.addresses import Addresses
from tests.e2e.conftest import OpenTab
from tests.e2e.screens import Screen, choose_row, drawn, picture, settled
from tests.e2e.watching import Watch


@dataclass(frozen=True)
class Look:
    """A page in a state: who opens which address, what it has to show, and what is done there first."""

    name: str
    who: str
    address: str
    shows: str
    act: Callable[[Page], None] = lambda page: None
    plain: bool = False  # not Streamlit's: complete as soon as it is loaded
    expected: str = ""  # the one complaint that belongs to it
    needs: str = ""  # what its address does not name, but has to be there

    def take(self, open_tab: OpenTab, screen: Screen, addresses: Addresses) -> list[str]:
        """Open it, do what is to be done there, and answer what is wrong with it."""
        addresses.fill(self.needs)
        page = open_tab(self.who, screen)
        watch = Watch(page)
        page.goto(addresses.fill(self.address))
        self.act(page)
        expect(page.get_by_text(self.shows).first).to_be_visible()
        if not self.plain:
            drawn(page)
        return watch.faults(screen, self.name, expected=self.expected)


def open_first(page: Page) -> None:
    choose_row(page, 0)
    drawn(page, page.get_by_role("dialog"))


def bars_in_the_dark(page: Page, screen: Screen, url: str) -> None:
    """A page opened in the dark, not switched to it later: its charts have the colors of the dark."""
    page.emulate_media(color_scheme="dark")
    page.goto(url)
    bars = page.locator(
        ".js-plotly-plot .bars path:visible"
    ).first  # a day without sales has a bar of no height
    drawn(page, bars)
    expect(bars).to_have_css("fill", "rgb(91, 141, 239)")
    settled(page)
    picture(page, screen, f"looks/{url.rpartition('/')[2]}-{screen.name}-opened-dark")
