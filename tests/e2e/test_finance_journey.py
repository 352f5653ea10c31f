"""Finance in Chromium (H1, G7): find who used most this month, and take the month along as a spreadsheet that adds up."""

from __future__ import annotations

import io
import zipfile
from collections import defaultdict
from decimal import Decimal
from typing import Literal
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import OpenTab
from tests.e2e.screens import DESKTOP, PHONE, Screen, drawn, heading, picture, visit
from tests.e2e.watching import Watch
from tests.program import Program

pytestmark = pytest.mark.browser
DEMO = True
SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def rows_of(book: bytes) -> list[dict[str, str]]:
    """The first sheet of an XLSX file, each row by the titles of its columns. Read by hand: nothing of ours wrote the reader."""
    with zipfile.ZipFile(io.BytesIO(book)) as parts:
        sheet = ElementTree.fromstring(parts.read("xl/worksheets/sheet1.xml"))
        shared = []
        if "xl/sharedStrings.xml" in parts.namelist():
            strings = ElementTree.fromstring(parts.read("xl/sharedStrings.xml"))
            shared = ["".join(one.itertext()) for one in strings]

    def text(cell: ElementTree.Element) -> str:
        found = "".join(cell.itertext())
        return shared[int(found)] if cell.get("t") == "s" else found

    lines = [[text(cell) for cell in row] for row in sheet.iter(f"{SHEET}row")]
    return [dict(zip(lines[0], line, strict=False)) for line in lines[1:]]


def export_of_accounts(page: Page) -> bytes:
    """Press Export beside the heaviest users and choose the spreadsheet."""
    menus = page.get_by_role("button", name="Export")
    menus.last.click()
    link = page.get_by_role("link", name="XLSX")
    expect(link).to_be_visible()
    with page.expect_download() as download:
        link.click()
    return download.value.path().read_bytes()


@pytest.mark.parametrize(
    ("screen", "theme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop-light", "phone-dark"]
)
def test_the_heaviest_user_of_the_month_and_the_month_as_a_spreadsheet(
    open_tab: OpenTab, app: Program, screen: Screen, theme: Literal["light", "dark"]
) -> None:
    page = open_tab("finance", screen)
    watch = Watch(page)
    page.emulate_media(color_scheme=theme)
    visit(page, app, "finance", "Sales and usage")
    page.get_by_text("This month", exact=True).click()
    page.wait_for_url("**/finance?period=This+month")
    drawn(page, heading(page, "Sales and usage"), "Heaviest users")
    first = (
        page.locator("canvas tbody tr").filter(has_text="Demo Holder").first
    )  # by far the busiest of the demo
    expect(first).to_be_attached()
    picture(page, screen, f"journeys/finance-{screen.name}-{theme}")

    rows = rows_of(export_of_accounts(page))
    used: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        used[row["name"]] += Decimal(row["charged_credits"])
    with app.api("finance@demo.test") as api:
        today = page.evaluate("new Date().toLocaleDateString('sv', {timeZone: 'Europe/Berlin'})")
        month = {"from": f"{today[:8]}01", "to": today, "time_zone": "Europe/Berlin"}
        overview = api.get("admin/analytics", params=month).json()
    assert sum(used.values()) == Decimal(overview["usage"]["total"])
    assert {one["name"]: Decimal(one["charged"]) for one in overview["top_accounts"]}.items() <= used.items()
    assert max(used, key=lambda name: used[name]) == overview["top_accounts"][0]["name"]
    assert not watch.complaints
