"""Dates as people of several languages write them (G4): texts of pages, columns of tables, axes of charts."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from credits_core.db.port import Identity
from pages.common import dates
from pages.common.formats import Viewer
from tests import node_tools

from .conftest import Browser, texts

DAY = dt.date(2026, 3, 5)
MOMENT = "2024-11-20T15:41:09Z"


def viewer(locale: str) -> Viewer:
    language, _, region = locale.partition("-")
    return Viewer(ZoneInfo("Europe/Berlin"), language, region=region)


def test_the_words_are_those_of_unicode() -> None:
    """Nobody makes up a month: the file is what Node's CLDR data says."""
    program = [str(node_tools.node()), str(node_tools.FOLDER / "dates.mjs")]
    made = subprocess.run(program, check=True, capture_output=True, text=True, encoding="utf-8").stdout
    kept = Path(dates.__file__).with_name("dates.json").read_text("utf-8")
    assert json.loads(kept) == json.loads(made)


@pytest.mark.parametrize(
    ("locale", "day", "month", "month_of_year", "short", "time", "clock"),
    [
        ("en-US", "Mar 5", "Mar", "March 2026", "Mar 2026", "Nov 20, 2024, 16:41", "16:41 CET"),
        ("en-GB", "5 Mar", "Mar", "March 2026", "Mar 2026", "20 Nov 2024, 16:41", "16:41 CET"),
        ("de", "5. März", "Mär", "März 2026", "März 2026", "20. Nov. 2024, 16:41", "16:41 CET"),
        ("fr", "5 mars", "mars", "mars 2026", "mars 2026", "20 nov. 2024, 16:41", "16:41 CET"),
        ("ja", "3月5日", "3月", "2026年3月", "2026年3月", "2024年11月20日 16:41", "16:41 CET"),
        ("da-DK", "5. mar.", "mar.", "marts 2026", "mar. 2026", "20. nov. 2024, 16.41", "16.41 CET"),
        ("de-AT", "5. März", "Mär", "März 2026", "März 2026", "20. Nov. 2024, 16:41", "16:41 CET"),
        ("eo", "Mar 5", "Mar", "March 2026", "Mar 2026", "Nov 20, 2024, 16:41", "16:41 CET"),
    ],
)
def test_texts(
    locale: str, day: str, month: str, month_of_year: str, short: str, time: str, clock: str
) -> None:
    reader = viewer(locale)
    iso = DAY.isoformat()
    assert (reader.day(iso), reader.month(iso), reader.month_of_year("2026-03")) == (
        day,
        month,
        month_of_year,
    )
    assert reader.month_of_year(iso, short=True) == short
    assert (reader.time(MOMENT), reader.clock(MOMENT), reader.time(None)) == (time, clock, "–")
    now = dt.datetime.now(dt.UTC).isoformat()
    assert str(dt.datetime.now(reader.zone).year) not in reader.time(now)


@pytest.mark.parametrize(
    ("locale", "cells", "seconds", "whole", "axis", "hover", "months"),
    [
        ("en-US", "MMM D, HH:mm", "MMM D, HH:mm:ss", "MMM D, YYYY", "%b %-d", "%a %b %-d", "%b"),
        ("en-GB", "D MMM, HH:mm", "D MMM, HH:mm:ss", "D MMM YYYY", "%-d %b", "%a %-d %b", "%b"),
        ("de", "D.M., HH:mm", "D.M., HH:mm:ss", "D.M.YYYY", "%-d.%-m.", "%-d.%-m.", "%-m/%Y"),
        ("fr", "DD/MM HH:mm", "DD/MM HH:mm:ss", "DD/MM/YYYY", "%d/%m", "%d/%m", "%m/%Y"),
        ("ja", "M/D HH:mm", "M/D HH:mm:ss", "YYYY/M/D", "%-m/%-d", "%-m/%-d", "%Y/%-m"),
        ("fi", "D.M. [klo] HH.mm", "D.M. [klo] HH.mm.ss", "D.M.YYYY", "%-d.%-m.", "%-d.%-m.", "%-m.%Y"),
    ],
)
def test_what_the_browser_writes(
    locale: str, cells: str, seconds: str, whole: str, axis: str, hover: str, months: str
) -> None:
    """Its months are English, so other languages get figures in their own order."""
    written = viewer(locale).dates
    assert (written.cells(time=True), written.cells(time=True, seconds=True)) == (cells, seconds)
    assert (written.cells(year=True), written.axis(), written.axis(weekday=True)) == (whole, axis, hover)
    assert written.month_axis(year=False) == months


@pytest.mark.parametrize(
    "language", sorted(json.loads(Path(dates.__file__).with_name("dates.json").read_text("utf-8")))
)
def test_every_language_writes_every_day_of_a_year(language: str) -> None:
    """Nothing is left of a pattern, and no two days of a year look the same."""
    reader = viewer(language)
    days = [dt.date(2026, 1, 1) + dt.timedelta(days=number) for number in range(365)]
    for write in (reader.dates.day, reader.dates.date):
        shown = [write(day) for day in days]
        assert len(set(shown)) == 365 and not any("{" in text for text in shown)
    months = {reader.month_of_year(day.isoformat()) for day in days}
    assert len(months) == 12 and all("2026" in month for month in months)


@pytest.mark.parametrize("locale", ["en-US", "en-GB", "de-DE", "fr-CA", "ja-JP"])
def test_a_page_follows_its_viewer(
    browser: Browser, make_user: Callable[..., Identity], owner_sql: Callable[..., object], locale: str
) -> None:
    """Months of statements are named in the viewer's language; the address names them in nobody's, so a link serves everybody."""
    browser.sign_in(make_user())
    owner_sql("update credits.accounts set created_at = created_at - interval '70 days'")
    tab = browser.open("account/statements.py", locale=locale)
    assert not tab.exception
    newest, second, third = list(tab.selectbox[0].options)[:3]
    reader, today = viewer(locale), dt.datetime.now(dt.UTC).date()
    assert newest == reader.month_of_year(today.isoformat())
    for label in (third, second):  # one after the other: neither choice is lost
        tab.selectbox[0].select(label).run()
        chosen = tab.selectbox[0].value
        assert tab.query_params["month"] in (chosen, [chosen]) and f"month={chosen}" in texts(tab)
        assert reader.month_of_year(chosen) == label
    shared = browser.open("account/statements.py", locale="de", month=tab.selectbox[0].value)
    assert shared.selectbox[0].value == tab.selectbox[0].value


def test_columns_of_a_page_follow_its_viewer(
    browser: Browser, make_user: Callable[..., Identity], buy: Callable[..., object]
) -> None:
    """Cells are written by the browser, as the column says."""
    person = make_user()
    buy(person, "usd_10")
    browser.sign_in(person)
    for locale, pattern in (("en-US", "MMM D, HH:mm"), ("en-GB", "D MMM, HH:mm"), ("de", "D.M., HH:mm")):
        tab = browser.open("account/transactions.py", locale=locale)
        assert f'"format": "{pattern}"' in tab.dataframe[0].proto.columns
