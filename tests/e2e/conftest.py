"""Chromium in front of the real program. Each file of tests has a fresh install; what a failed test saw is kept."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.e2e.addresses import Addresses
from tests.e2e.screens import ARTIFACTS, DESKTOP, Screen, sign_in_quickly
from tests.program import Program

NO_BROWSER = (
    "The browser tests need Chromium and found no program `chromium` on the PATH. "
    "Install it (Debian, Ubuntu: apt-get install chromium) and run the tests again."
)
# The browser itself is to ask nobody for anything: what leaves the machine then comes from a page.
ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
# A new tab starts as a new visitor's: Streamlit remembers an opened sidebar, for one.
FORGET = "if (!sessionStorage.length) { localStorage.clear(); sessionStorage.setItem('started', 'yes'); }"
OpenTab = Callable[..., Page]

expect.set_options(timeout=30_000)  # as Playwright waits for everything else; a busy machine may need it


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    program = shutil.which("chromium")
    assert program, NO_BROWSER
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Program]:
    """A fresh install for this file: without demo data (four people, nothing bought or used) unless it says `DEMO`."""
    program = Program(tmp_path_factory.mktemp("data"), demo=getattr(request.module, "DEMO", False))
    yield program
    program.close()


@pytest.fixture(scope="module")
def addresses(app: Program) -> Iterator[Addresses]:
    filling = Addresses(app)
    yield filling
    filling.close()


@pytest.fixture(scope="module")
def browsers(chromium: Browser) -> Iterator[Callable[[Screen, str], BrowserContext]]:
    """The browser of a screen and a person, kept for all tests of a file.

    It has the front end's files from its first page on, which halves the work of every other page.
    """
    known: dict[tuple[Screen, str], BrowserContext] = {}

    def browser(screen: Screen, who: str) -> BrowserContext:
        if (screen, who) not in known:
            known[screen, who] = chromium.new_context(**screen.options())
        return known[screen, who]

    yield browser
    for context in known.values():
        context.close()


@pytest.fixture
def open_tab(
    browsers: Callable[[Screen, str], BrowserContext], app: Program, request: pytest.FixtureRequest
) -> Iterator[OpenTab]:
    """`open_tab("finance", PHONE)`: a tab of somebody who has just signed in, or of a stranger (`""`)."""
    contexts: list[BrowserContext] = []

    def opened(who: str = "", screen: Screen = DESKTOP) -> Page:
        contexts.append(browsers(screen, who))
        contexts[-1].clear_cookies()
        if who:
            sign_in_quickly(contexts[-1], app, who)
        page = contexts[-1].new_page()
        page.add_init_script(FORGET)
        return page

    yield opened
    pages = [page for context in contexts for page in context.pages]
    if getattr(request.node, "failed", False):
        _keep_what_was_seen(request.node.name, pages)
    for page in pages:
        page.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    report = yield
    if report.failed:
        item.failed = True  # type: ignore[attr-defined]
    return report


def _keep_what_was_seen(test: str, pages: list[Page]) -> None:
    folder = ARTIFACTS / "failed"
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^\w-]+", "_", test)
    for number, page in enumerate(pages):
        page.screenshot(path=folder / f"{name}-{number}.png", full_page=True)
