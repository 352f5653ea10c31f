"""How dates are written in the viewer's language: patterns and names of Unicode CLDR, in dates.json.

`node tests/node/dates.mjs` writes that file, and a test compares the two, so that no words are made up here. Times are of 24 hours
for everybody. Cells of tables and axes of charts are formatted by the browser, whose names of months are English: there, other
languages get figures (`20.11.`).
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_PART = re.compile(r"\{(\w+)\}|([^{}]+)")
# Where English puts the month first; elsewhere it is written the British way.
_MONTH_FIRST = frozenset(("", "US", "CA", "PH", "PR", "GU", "VI", "AS", "UM", "MH", "MP"))
_MOMENT = {"d": "D", "dd": "DD", "m": "M", "mm": "MM", "month": "MMM", "y": "YYYY", "HH": "HH", "MM": "mm"}
_D3 = {"d": "%-d", "dd": "%d", "m": "%-m", "mm": "%m", "month": "%b", "y": "%Y"}


@dataclass(frozen=True)
class Dates:
    """The dates of one language."""

    data: Mapping[str, Any]
    english: bool

    def day(self, day: dt.date) -> str:
        """`Nov 20`, `20. Nov.`, `11月20日`"""
        return self._text("day", day, "months")

    def date(self, day: dt.date) -> str:
        """`Nov 20, 2026`"""
        return self._text("day_year", day, "months")

    def time(self, moment: dt.datetime, *, with_year: bool) -> str:
        """`Nov 20, 16:41`, `Nov 20, 2025, 16:41`"""
        return self._text("time_year" if with_year else "time", moment, "months")

    def clock(self, moment: dt.datetime) -> str:
        """`16:41`, `16.41`"""
        return self._text("clock", moment, "months")

    def month(self, day: dt.date) -> str:
        """`Nov`, `11月`: the month alone."""
        return str(self.data["month"][day.month - 1])

    def month_of_year(self, day: dt.date, *, short: bool = False) -> str:
        """`November 2026`, or `Nov 2026`"""
        if short:
            return self._text("month_short_year", day, "short_names")
        return self._text("month_year", day, "names")

    def cells(self, *, time: bool = False, year: bool = False, seconds: bool = False) -> str:
        """The format of a table's column, as Streamlit takes it: `MMM D, HH:mm`, `D.M., HH:mm`."""
        pattern = self._browser("time" if time else "day_year" if year else "day")
        if seconds:
            pattern = pattern.replace("{MM}", f"{{MM}}{self.data['clock'][4]}{{SS}}")
        return _formatted(pattern, lambda part: {**_MOMENT, "SS": "ss"}[part], _as_moment)

    def axis(self, *, weekday: bool = False) -> str:
        """The format of a chart's days, as Plotly takes it: `%b %-d`; the day of the week for English alone."""
        day = _formatted(self._browser("day"), _D3.__getitem__, str)
        return f"%a {day}" if weekday and self.english else day

    def month_axis(self, *, year: bool) -> str:
        """The format of a chart's months: `%b %Y`, or `%b` alone; figures always say the year."""
        if self.english:
            return "%b %Y" if year else "%b"
        return _formatted(self.data["figures_month"], _D3.__getitem__, str)

    def _browser(self, name: str) -> str:
        figures = {"day": "figures", "day_year": "figures_year", "time": "figures_time"}
        return str(self.data[name if self.english else figures[name]])

    def _text(self, pattern: str, moment: dt.date, names: str) -> str:
        parts = {"d": f"{moment.day}", "dd": f"{moment:%d}", "m": f"{moment.month}", "mm": f"{moment:%m}"}
        parts |= {"y": f"{moment.year}", "HH": f"{moment:%H}", "MM": f"{moment:%M}"}
        parts["month"] = str(self.data[names][moment.month - 1])
        return _formatted(str(self.data[pattern]), parts.__getitem__, str)


@cache
def of(language: str, region: str = "") -> Dates:
    """The dates of a viewer's language; English for one that is not known."""
    known = _known()
    english = language == "en" or language not in known
    if english:
        return Dates(known["en-US" if language != "en" or region in _MONTH_FIRST else "en-GB"], True)
    return Dates(known.get(f"{language}-{region}", known[language]), False)


@cache
def _known() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(__file__).with_name("dates.json").read_text("utf-8"))
    return found


def _formatted(pattern: str, part: Callable[[str], str], literal: Callable[[str], str]) -> str:
    return "".join(part(found[1]) if found[1] else literal(found[2]) for found in _PART.finditer(pattern))


def _as_moment(text: str) -> str:
    """Words between the parts, kept from being taken for parts."""
    return re.sub(r"[^\W\d_]+", lambda found: f"[{found[0]}]", text)
