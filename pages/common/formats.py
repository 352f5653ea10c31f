"""Amounts, money, times and counts as people read them; the only place where micros and cents become text.

Text written here follows the viewer's language and time zone. Cells of tables are formatted by the browser.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from zoneinfo import ZoneInfo

from credits_core import currencies
from credits_core.units import MICROS_PER_CREDIT, format_credits
from pages.common import dates

# Thousands and decimal separators by language; everybody else reads 1,234.56.
_SEPARATORS = {
    **dict.fromkeys(("de", "es", "it", "nl", "pt", "da", "id", "tr", "el"), (".", ",")),
    **dict.fromkeys(
        ("fr", "nb", "no", "sv", "fi", "pl", "cs", "sk", "uk", "ru", "bg", "hu"), ("\u202f", ",")
    ),
}

# Languages that write a currency's sign behind the amount: 10,50 €.
_SIGN_BEHIND = frozenset("de es it fr nb no sv fi da pl cs sk uk ru bg hu el".split())
_SIGNED = re.compile(r"(-?)([^\d\s-]+)([\d.,]+)")


@dataclass(frozen=True)
class Viewer:
    """How the person at the other end reads numbers and times."""

    zone: ZoneInfo
    language: str = "en"
    dark: bool = False
    phone: bool = False
    region: str = ""

    @property
    def dates(self) -> dates.Dates:
        """How dates are written in the viewer's language."""
        return dates.of(self.language, self.region)

    @property
    def zone_name(self) -> str:
        return self.zone.key

    def number(self, text: str) -> str:
        """A decimal text with separators of the viewer: `-1234.5` -> `-1,234.5`."""
        sign, digits = ("-", text[1:]) if text.startswith("-") else ("", text)
        whole, _, fraction = digits.partition(".")
        return self._separated(f"{sign}{int(whole):,}" + (f".{fraction}" if fraction else ""))

    def credits(self, micros: int, *, signed: bool = False) -> str:
        """Credits with 2 decimals, more only if needed; `signed` puts a plus before what comes in."""
        plus = "+" if signed and micros > 0 else ""
        return plus + self.number(format_credits(micros))

    def about(self, micros: int) -> str:
        """A sum, average or estimate at a glance: 2 decimals (4 below a hundredth), never more than there is."""
        exact = Decimal(micros) / MICROS_PER_CREDIT
        step = Decimal("0.0001") if micros and abs(exact) < Decimal("0.01") else Decimal("0.01")
        return self._separated(f"{exact.quantize(step, ROUND_DOWN):,f}")

    def money(self, minor_units: int, currency: str) -> str:
        """A price from its smallest unit: `(1050, "usd")` -> `$10.50`, `(500, "jpy")` -> `¥500`."""
        return self._money(currencies.format_money(minor_units, currency))

    def unit_price(self, minor_units: str, currency: str) -> str:
        """A price of one thing, decimal text in the smallest unit: `("4.5455", "usd")` -> `$0.045455`."""
        places = currencies.decimals(currency)
        exact = Decimal(minor_units).scaleb(-places).normalize()
        digits = max(places, -int(exact.as_tuple().exponent))
        pattern = currencies.format_money(0, currency)  # where the currency's sign stands
        return self._money(pattern.replace(f"{0:.{places}f}", f"{exact:,.{digits}f}"))

    def count(self, number: int) -> str:
        return self.number(str(number))

    def quantity(self, amount: float, measure: str) -> str:
        """What was measured, as people say it: time for seconds, MB for bytes, else a number with its word."""
        if measure == "seconds":
            return duration(amount)
        if measure == "bytes":
            return f"{self._separated(f'{amount / 1_000_000:,.1f}')} MB"
        number = self.number(f"{Decimal(str(amount)).normalize():f}")
        return f"{number} tokens" if measure == "tokens" else number

    def percent(self, share: float, *, signed: bool = False) -> str:
        """`64.8%`, or `+18.6%` for a change."""
        return self._separated(f"{share:+,.1f}%" if signed else f"{share:,.1f}%")

    def many(self, number: int, what: str) -> str:
        """`1 charge`, `1,200 charges`."""
        return f"{self.count(number)} {what}{'' if number == 1 else 's'}"

    def moment(self, text: str | None) -> dt.datetime | None:
        """An ISO 8601 time of the database in the viewer's zone."""
        return dt.datetime.fromisoformat(text).astimezone(self.zone) if text else None

    def time(self, text: str | None) -> str:
        """`Nov 20, 16:41` in the viewer's zone, with the year when it is another one than now."""
        moment = self.moment(text)
        if moment is None:
            return "–"
        return self.dates.time(moment, with_year=moment.year != dt.datetime.now(self.zone).year)

    def clock(self, text: str) -> str:
        """`16:42 CET`: the time of day and its zone."""
        moment = self.moment(text)
        return f"{self.dates.clock(moment)} {moment:%Z}" if moment else "–"

    def day(self, text: str) -> str:
        """`Nov 20` of a calendar day such as `2026-11-20`; days have no zone."""
        return self.dates.day(dt.date.fromisoformat(text[:10]))

    def month(self, text: str) -> str:
        """`Nov` of a calendar day."""
        return self.dates.month(dt.date.fromisoformat(text[:10]))

    def month_of_year(self, text: str, *, short: bool = False) -> str:
        """`November 2026`, or `Nov 2026`, of a calendar day or a month such as `2026-11`."""
        return self.dates.month_of_year(dt.date.fromisoformat(f"{text[:7]}-01"), short=short)

    def today(self) -> dt.date:
        return dt.datetime.now(self.zone).date()

    @property
    def separators(self) -> tuple[str, str]:
        """What the viewer's language puts between thousands and before decimals."""
        return _SEPARATORS.get(self.language, (",", "."))

    def _money(self, text: str) -> str:
        """English money as the viewer's language writes it: `-$1,234.50` -> `-1.234,50 $`."""
        if self.language in _SIGN_BEHIND and (found := _SIGNED.fullmatch(text)):
            text = f"{found[1]}{found[3]}\N{NO-BREAK SPACE}{found[2]}"
        return self._separated(text)

    def _separated(self, text: str) -> str:
        """English digits with the separators of the viewer's language."""
        group, point = self.separators
        return text.translate({ord(","): group, ord("."): point})


def plotted(amount: int, unit: int = MICROS_PER_CREDIT) -> float:
    """An amount as a length on a chart or a cell the browser formats: never for a decision or a sum."""
    return amount / unit


def plotted_money(minor_units: int, currency: str) -> float:
    """Like `plotted`, for a price in its smallest unit."""
    return plotted(minor_units, 10 ** currencies.decimals(currency))


def duration(seconds: float | None) -> str:
    """`06:33`, or `1:02:03` from an hour on; `–` while it is not known."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"


def decimal_text(value: object) -> str:
    """A number of the database without needless zeros: `10.0` -> `10`, `12.50` -> `12.5`."""
    return f"{Decimal(str(value)).normalize():f}"


def words(code: str) -> str:
    """A code as a label: `debt_recovery` -> `Debt recovery`."""
    return code.replace("_", " ").capitalize()
