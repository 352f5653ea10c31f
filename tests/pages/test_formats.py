"""Amounts, money and times as people read them; charts and files of the same numbers (G4, A15)."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest
import streamlit as st

from credits_core.exports import harmless
from pages.common import charts
from pages.common.formats import Viewer, duration
from pages.common.widgets import plain, status_label

ENGLISH = Viewer(ZoneInfo("Europe/Berlin"))
GERMAN = Viewer(ZoneInfo("Europe/Berlin"), "de")
FRENCH = Viewer(ZoneInfo("Asia/Kathmandu"), "fr")


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (0, "0.00"),
        (10_000_000, "10.00"),
        (225_000, "0.225"),
        (-1, "-0.000001"),
        (41_286_000_000, "41,286.00"),
        (-1_234_500_000, "-1,234.50"),
    ],
)
def test_credits(micros: int, text: str) -> None:
    assert ENGLISH.credits(micros) == text


def test_credits_with_a_sign_and_in_other_languages() -> None:
    assert ENGLISH.credits(2_000_000, signed=True) == "+2.00"
    assert ENGLISH.credits(0, signed=True) == "0.00"
    assert GERMAN.credits(1_234_500_000) == "1.234,50"
    assert FRENCH.credits(1_234_500_000) == "1\u202f234,50"


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (1050, "usd", "$10.50"),
        (500, "jpy", "¥500"),
        (1234, "kwd", "1.234 KWD"),
        (-1050, "usd", "-$10.50"),
        (100_000_000, "eur", "€1,000,000.00"),
    ],
)
def test_money_in_minor_units(amount: int, currency: str, text: str) -> None:
    assert ENGLISH.money(amount, currency) == text


@pytest.mark.parametrize(
    ("amount", "currency", "german", "japanese"),
    [
        (1050, "usd", "10,50\xa0$", "$10.50"),
        (-123_450, "eur", "-1.234,50\xa0€", "-€1,234.50"),
        (500_000, "jpy", "500.000\xa0¥", "¥500,000"),
        (1234, "kwd", "1,234 KWD", "1.234 KWD"),
    ],
)
def test_money_in_other_languages(amount: int, currency: str, german: str, japanese: str) -> None:
    """A15: the sign stands where the language puts it; a currency without decimals has none anywhere."""
    assert GERMAN.money(amount, currency) == german
    assert Viewer(ZoneInfo("Asia/Tokyo"), "ja").money(amount, currency) == japanese


def test_shares_and_changes_in_other_languages() -> None:
    """A15: the point of a percentage is the viewer's, its sign stands in front (st.metric reads it there)."""
    assert (GERMAN.percent(64.84), ENGLISH.percent(64.84)) == ("64,8%", "64.8%")
    assert (GERMAN.percent(-18.6, signed=True), GERMAN.percent(7, signed=True)) == ("-18,6%", "+7,0%")


def test_unit_prices_in_other_languages() -> None:
    assert GERMAN.unit_price("8.1818", "usd") == "0,081818\xa0$"
    assert Viewer(ZoneInfo("Asia/Tokyo"), "ja").unit_price("2.5000", "jpy") == "¥2.5"


@pytest.mark.parametrize(
    ("amount", "measure", "text"),
    [
        (90, "seconds", "01:30"),
        (1500, "tokens", "1.500 tokens"),
        (2_500_000, "bytes", "2,5 MB"),
        (7, "count", "7"),
    ],
)
def test_quantities_in_their_measure(amount: float, measure: str, text: str) -> None:
    assert GERMAN.quantity(amount, measure) == text


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        ("100.0000", "usd", "$1.00"),
        ("5.0000", "usd", "$0.05"),
        ("8.1818", "usd", "$0.081818"),
        ("2.5000", "jpy", "¥2.5"),
    ],
)
def test_unit_prices_have_the_decimals_they_need(minor: str, currency: str, text: str) -> None:
    assert ENGLISH.unit_price(minor, currency) == text


def test_figures_at_a_glance_never_show_more_than_there_is() -> None:
    assert ENGLISH.about(3_099_999) == "3.09"
    assert ENGLISH.about(1_234) == "0.0012"
    assert ENGLISH.about(0) == "0.00"


def test_times_are_in_the_viewers_zone() -> None:
    assert ENGLISH.clock("2026-11-20T15:42:00.000000Z") == "16:42 CET"
    assert ENGLISH.time("2020-07-01T23:30:00Z") == "Jul 2, 2020, 01:30"
    assert FRENCH.time("2020-07-01T23:30:00Z") == "2 juil. 2020, 05:15"
    assert ENGLISH.time(None) == "–"
    assert ENGLISH.day("2026-11-05") == "Nov 5"


@pytest.mark.parametrize(("seconds", "text"), [(None, "–"), (0, "00:00"), (393, "06:33"), (3723, "1:02:03")])
def test_durations(seconds: int | None, text: str) -> None:
    assert duration(seconds) == text


def test_codes_as_labels() -> None:
    assert status_label("credited") == "Paid"
    assert status_label("no_answer") == "No answer"


def test_markdown_of_people_stays_text() -> None:
    assert plain("[a](b) *c* $1$ :red[x]") == r"\[a\](b) \*c\* \$1\$ \:red\[x\]"


@pytest.mark.parametrize("dark", [False, True])
def test_charts_take_the_colours_of_the_theme(dark: bool) -> None:
    theme = "theme.dark" if dark else "theme.light"
    colors = st.get_option(f"{theme}.chartCategoricalColors")
    assert len(colors) == 10  # with fewer, Plotly ignores all of them
    figure = charts.stacked_days(
        ["2026-11-01", "2026-11-02"], {"Call": [1.0, 2.0], "SMS": [0.0, 1.0]}, dark=dark
    )
    assert [bar.marker.color for bar in figure.data] == list(colors[:2])
    assert figure.layout.barmode == "stack"
    assert figure.layout.paper_bgcolor == "rgba(0,0,0,0)"
    assert figure.layout.yaxis.gridcolor == st.get_option(f"{theme}.borderColor")
    assert figure.layout.font.family == "Inter, sans-serif"
    ranked = charts.ranked_bars(["Call"], [2.0], ["2.00"], dark=dark)
    assert ranked.data[0].marker.color == colors[0]


def test_series_have_a_value_for_every_day() -> None:
    rows = [
        {"name": name, "charged_micros": amount}
        for name, amount in (("Call", 1_000_000), ("SMS", 0), ("Call", 0), ("SMS", 500_000))
    ]
    usage = {"operations": [{"name": "Call"}, {"name": "SMS"}], "rows": rows}
    assert charts.usage_series(usage) == {"Call": [1.0, 0.0], "SMS": [0.0, 0.5]}


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("=1+1", "'=1+1"),
        ("@cmd", "'@cmd"),
        ("+15550100", "+15550100"),
        ("-0.60", "-0.60"),
        ("-x", "'-x"),
        ("plain", "plain"),
    ],
)
def test_csv_cells_run_nothing_in_a_spreadsheet(value: str, written: str) -> None:
    assert harmless(value) == written


def test_counted_things_agree_with_their_number() -> None:
    viewer = Viewer(ZoneInfo("UTC"))
    assert [viewer.many(number, "charge") for number in (0, 1, 1200)] == [
        "0 charges",
        "1 charge",
        "1,200 charges",
    ]
