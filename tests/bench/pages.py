"""How fast the pages are on a business of some size: `python -m tests.bench.pages` (see --help).

Makes 1,000,000 usage events and 100,000 transactions of one account by the real functions (kept in --data-dir for the next time),
starts the program on them, and opens every page in Chromium as people do: once to load the front end, then `--turns` times from its
address to painted (ready), and a filter on it from the press to painted (rerun). Answers medians in milliseconds and ends
with 1 when a page misses its bound: 1,500 ms ready, 300 ms for a rerun.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from credits_core.config import Settings
from credits_core.runtime import make_runtime
from tests.bench import history
from tests.e2e.conftest import ARGUMENTS
from tests.e2e.screens import DRAWN, PAGES, PAINTED, sign_in_quickly
from tests.program import Program

READY_MS, RERUN_MS = 1_500, 300
NAMES = {"account": "holder", "finance": "finance", "admin": "admin"}


@dataclass
class Measured:
    """Milliseconds of one page: from its address to drawn, and from a press on it to drawn (None: nothing to press)."""

    page: str
    ready: list[float]
    rerun: list[float]


def made(folder: Path, events: int, of_one: int, accounts: int) -> None:
    """The business, unless an earlier run has made it."""
    runtime = make_runtime(Settings(data_dir=folder, catalog="ai_services", demo=False))
    try:
        assert runtime.server is not None
        with history.connect(runtime.server.owner_dsn()) as owner:
            known = owner.execute("select count(*) from credits.profiles").fetchone()
        if known is not None and known[0] < accounts:
            print(f"Making {events:,} usage events of {accounts:,} accounts …", flush=True)
            history.make(runtime.server.owner_dsn(), events=events, of_one=of_one, accounts=accounts)
    finally:
        runtime.close()


# Streamlit says so when a script begins; a quick one has ended again before anybody asks, and its messages may come so close
# together that the browser never shows that it began: then their silence tells. The browser's own clock counts, from the moment
# of the press, so that what a test does between two steps is not the page's time.
LISTEN = """
  const Plain = WebSocket;
  window.WebSocket = class extends Plain {
    constructor(...given) {
      super(...given);
      this.addEventListener("message", () => { window.heardAt = performance.now(); });
    }
  };"""
WATCH = """() => {
  window.hasRun = window.pressedAt = false;
  window.watching?.disconnect();
  window.watching = new MutationObserver(() => { window.hasRun = true; });
  window.watching.observe(document.body, { subtree: true, attributes: true, attributeFilter: ["data-test-script-state"] });
  addEventListener("pointerdown", () => { window.pressedAt = performance.now(); }, { capture: true, once: true });
}"""
HAS_RUN = "window.pressedAt && (window.hasRun || (heardAt > pressedAt && performance.now() > heardAt + 100))"


def painted(page: Page, *, after_press: bool = False) -> float:
    """Wait until the page is; milliseconds since its address was opened, or since the press."""
    took: float = page.wait_for_function(
        f"""(afterPress) => {{{PAINTED}
          const done = (!afterPress || ({HAS_RUN})) && document.querySelector("{DRAWN}")
            && document.querySelector("[data-testid=stMain] h1") && !document.querySelector("[data-stale=true]") && painted();
          return done && performance.now() - (afterPress ? window.pressedAt : 0);
        }}""",
        arg=after_press,
    ).json_value()
    return took


def press(page: Page) -> Callable[[], object] | None:
    """What is pressed for a rerun: another choice of the page's first row of choices."""
    choices = page.get_by_test_id("stMain").get_by_test_id("stButtonGroup").first
    if not choices.count():
        return None
    buttons = choices.get_by_role("radio")
    other = next(
        (n for n in range(buttons.count()) if buttons.nth(n).get_attribute("aria-checked") != "true"), None
    )
    return None if other is None else buttons.nth(other).click


def measure(browser: Browser, app: Program, who: str, name: str, turns: int) -> Measured:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, timezone_id="Europe/Berlin")
    sign_in_quickly(context, app, who)
    context.add_init_script(LISTEN)
    page = context.new_page()
    found = Measured(name, [], [])
    for turn in range(turns + 1):
        page.goto(f"{app.url}/{name}")
        ready, rerun = painted(page), None
        if action := press(page):
            page.evaluate(WATCH)
            action()
            rerun = painted(page, after_press=True)
        if turn:  # the first one loads the front end's files
            found.ready.append(ready)
            found.rerun += [rerun] if rerun is not None else []
    context.close()
    return found


def machine() -> str:
    """What the figures were taken on: the same tree is twice as slow where neighbours have the processors."""
    start = time.perf_counter()
    sum(number * number for number in range(5_000_000))
    return (
        f"{os.cpu_count()} processors, a loop of 5,000,000 in {(time.perf_counter() - start) * 1_000:.0f} ms"
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.pages", description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=Path("data-bench"))
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--of-one", type=int, default=100_000, help="of them, transactions of one account")
    parser.add_argument("--accounts", type=int, default=2_000)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=[], help="pages, by the last part of their address")
    asked = parser.parse_args(arguments)
    asked.data_dir.mkdir(parents=True, exist_ok=True)
    made(asked.data_dir, asked.events, asked.of_one, asked.accounts)
    app = Program(asked.data_dir, CATALOG="ai_services")
    missed = 0
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
            print(f"Before: {machine()}")
            print(f"{'page':28} {'ready ms':>9} {'rerun ms':>9}")
            for folder, who in NAMES.items():
                for name in sorted(PAGES & {file.stem for file in Path("pages", folder).glob("*.py")}):
                    if asked.only and name not in asked.only:
                        continue
                    found = measure(browser, app, who, name, asked.turns)
                    ready, rerun = statistics.median(found.ready), statistics.median(found.rerun or [0])
                    late = ready > READY_MS or rerun > RERUN_MS
                    missed += late
                    shown = f"{rerun:9.0f}" if found.rerun else f"{'–':>9}"
                    print(
                        f"{who + '/' + name:28} {ready:9.0f} {shown}{'  too slow' if late else ''}",
                        flush=True,
                    )
            browser.close()
            print(f"After: {machine()}")
    finally:
        app.close()
    return min(missed, 1)


if __name__ == "__main__":
    sys.exit(main())
