"""A statement as a PDF: one or more A4 pages, by fpdf2 with the Inter fonts beside this file.

The fonts have Latin, Greek and Cyrillic letters. Other scripts are written in Latin letters, roughly (`latin.py`); a name of which
nothing can be written so (Chinese characters say no sound) is left out: e-mail and account number stay.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from fpdf import FPDF
from fpdf.enums import TableBordersLayout
from fpdf.fonts import FontFace

from credits_core import currencies, latin
from credits_core.statements import label
from credits_core.units import format_credits

FONTS = Path(__file__).parent / "fonts"
INK, QUIET, LINE, BLUE = (15, 23, 42), (71, 85, 105), (226, 232, 240), (37, 99, 235)
TEST_MODE = "Test mode: no card was charged."
_SIZE, _SMALL = 9.5, 8.0
_LONGEST = 90  # letters of a name

logging.getLogger("fontTools").setLevel(logging.ERROR)  # tells at length which tables it leaves out


class _Paper(FPDF):
    """A4 with our fonts and a footer."""

    def __init__(self, footer: str) -> None:
        super().__init__(format="A4")
        self._footer = footer
        for family, ending in (("Inter", ""), ("Extended", "-ext"), ("Wide", "-wide")):
            self.add_font(family, "", FONTS / f"Inter-Regular{ending}.ttf")
            self.add_font(family, "B", FONTS / f"Inter-SemiBold{ending}.ttf")
        self.set_fallback_fonts(["Extended", "Wide"], exact_match=False)
        self._known = {code for font in self.fonts.values() for code in getattr(font, "cmap", {})}
        self.set_margin(18)
        self.set_auto_page_break(True, margin=20)
        self.add_page()

    def readable(self, text: str) -> str:
        shown = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
        return latin.readable(shown, self._known)

    def footer(self) -> None:
        self.set_y(-14)
        self.ink(QUIET, _SMALL)
        self.cell(0, 5, f"{self._footer} · page {self.page_no()} of {{nb}}", align="C")

    def ink(self, color: tuple[int, int, int], size: float, style: str = "") -> None:
        self.set_font("Inter", style, size)
        self.set_text_color(*color)

    def line_of_text(self, text: str, color: tuple[int, int, int], size: float, style: str = "") -> None:
        self.ink(color, size, style)
        self.cell(0, size * 0.5, self.readable(text), new_x="LMARGIN", new_y="NEXT")


def pdf(statement: Mapping[str, Any]) -> bytes:
    """The file for an answer of `statements.statement`."""
    month = dt.date.fromisoformat(f"{statement['month']}-01")
    title = f"Statement {month:%B %Y}"
    paper = _Paper(f"Account {statement['account_id']} · {title}")
    paper.set_title(title)
    paper.set_lang("en")
    paper.set_creation_date(dt.datetime.fromisoformat(statement["as_of"]))
    _head(paper, statement, title)
    _balance(paper, statement)
    _purchases(paper, statement)
    return bytes(paper.output())


def file_name(statement: Mapping[str, Any]) -> str:
    """`statement-account-17-2026-11.pdf`"""
    return f"statement-account-{statement['account_id']}-{statement['month']}.pdf"


def _head(paper: _Paper, statement: Mapping[str, Any], title: str) -> None:
    zone = ZoneInfo(statement["time_zone"])
    paper.set_fill_color(*BLUE)
    paper.rect(18, 18, 12, 1.6, style="F")
    paper.set_fill_color(255)
    paper.ln(5)
    paper.line_of_text("Prepaid Credits", QUIET, _SIZE)
    paper.ln(1)
    paper.line_of_text(title, INK, 20, "B")
    paper.ln(4)
    if any(letter.isalnum() for letter in paper.readable(statement["name"] or "")):
        paper.line_of_text(statement["name"], INK, _SIZE, "B")
    if statement["email"]:
        paper.line_of_text(statement["email"], QUIET, _SIZE)
    paper.line_of_text(f"Account {statement['account_id']}", QUIET, _SIZE)
    so_far = f"up to {_moment(statement['as_of'], zone)}; the month is not over"
    span = "the whole month" if statement["complete"] else so_far
    paper.line_of_text(f"Times are those of {zone.key}; {span}.", QUIET, _SMALL)
    if any(not purchase["livemode"] for purchase in statement["purchases"]):
        paper.line_of_text(TEST_MODE, QUIET, _SMALL)
    paper.ln(5)


def _balance(paper: _Paper, statement: Mapping[str, Any]) -> None:
    rows = [("Opening balance", "", _credits(statement["opening_micros"]))]
    rows += [
        (label(moved), f"{moved['count']:,}", _credits(moved["amount_micros"], signed=True))
        for moved in statement["movements"]
    ]
    rows.append(("Closing balance", "", _credits(statement["closing_micros"])))
    paper.line_of_text("Credits", INK, 12, "B")
    paper.ln(2)
    _table(paper, ("", "Number", "Credits"), rows, (100, 30, 44), bold=(0, len(rows) - 1))


def _purchases(paper: _Paper, statement: Mapping[str, Any]) -> None:
    if not statement["payments"]:
        return
    zone = ZoneInfo(statement["time_zone"])
    paper.ln(8)
    paper.line_of_text("Payments", INK, 12, "B")
    paper.ln(2)
    rows, links = [], []
    for bought in statement["purchases"]:
        code = bought["currency"]
        rows.append(
            (
                _moment(bought["credited_at"], zone),
                bought["package_name"],
                *(_money(bought[f"{name}_cents"], code) for name in ("list_price", "discount", "tax")),
                _money(bought["paid_cents"], code),
            )
        )
        links.append(bought["invoice_url"] or bought["receipt_url"])
    for paid in statement["payments"]:
        names = ("list_price", "discount", "tax", "total")
        sums = [_money(paid[f"{name}_cents"], paid["currency"]) for name in names]
        rows.append(("", f"{paid['purchases']:,} payments in {paid['currency'].upper()}", *sums))
        if paid["refunded_cents"]:
            back = _money(-paid["refunded_cents"], paid["currency"])
            rows.append(("", f"Refunded in {paid['currency'].upper()}", "", "", "", back))
    heading = ("Date", "Purchase", "Price", "Discount", "Tax", "Paid")
    summed = range(len(statement["purchases"]), len(rows))
    _table(paper, heading, rows, (34, 52, 22, 22, 20, 24), left=2, bold=tuple(summed), links=links)


def _table(
    paper: _Paper,
    heading: Sequence[str],
    rows: Sequence[Sequence[str]],
    widths: Sequence[int],
    *,
    left: int = 1,
    bold: Sequence[int] = (),
    links: Sequence[str | None] = (),
) -> None:
    """Rows under a heading; the first `left` columns are text, the others figures. A link goes under a row's second cell."""
    paper.ink(INK, _SIZE)
    paper.set_draw_color(*LINE)
    strong, linked = FontFace(emphasis="BOLD"), FontFace(color=BLUE)
    with paper.table(
        borders_layout=TableBordersLayout.HORIZONTAL_LINES,
        headings_style=FontFace(emphasis="BOLD", color=QUIET, size_pt=_SMALL),
        line_height=6,
        col_widths=tuple(widths),
        text_align=tuple("LEFT" if place < left else "RIGHT" for place in range(len(heading))),
    ) as table:
        table.row(heading)
        for number, row in enumerate(rows):
            link = links[number] if number < len(links) else None
            drawn = table.row()
            for place, text in enumerate(row):
                style = strong if number in bold else linked if link and place == 1 else None
                drawn.cell(paper.readable(text), style=style, link=link if place == 1 else None)


def _credits(micros: int, *, signed: bool = False) -> str:
    whole, _, fraction = format_credits(abs(micros)).partition(".")
    sign = "−" if micros < 0 else "+" if signed and micros else ""
    return f"{sign}{int(whole):,}.{fraction}"


def _money(cents: int, currency: str) -> str:
    return currencies.format_money(cents, currency)


def _moment(text: str, zone: ZoneInfo) -> str:
    return f"{dt.datetime.fromisoformat(text).astimezone(zone):%Y-%m-%d %H:%M}"
