"""Charts and sparklines as they are drawn: every number is in them, and no more series than a reader tells apart (G5)."""

from __future__ import annotations

import re
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from pages.common import charts, sparklines

DAYS = ["2026-11-01", "2026-11-02"]


def drawn(values: list[float], kind: sparklines.Kind) -> list[ElementTree.Element]:
    """The shapes of the drawing that masks the box."""
    found = re.search(r"url\('data:image/svg\+xml,([^']+)'\)", sparklines.markup(values, kind, "blue"))
    assert found is not None
    return list(ElementTree.fromstring(unquote(found[1])))


def heights(text: str) -> list[float]:
    return [float(point.split(",")[1]) for point in text.split()]


def test_the_largest_series_are_named_and_the_rest_is_one_with_the_same_sum() -> None:
    series = {f"Operation {n}": [100.0 / n, 10.0 / n] for n in range(1, 9)}
    figure = charts.stacked_days(DAYS, series, dark=False)
    assert [bars.name for bars in figure.data] == [f"Operation {n}" for n in range(1, 5)] + ["4 others"]
    assert [sum(day) for day in zip(*(bars.y for bars in figure.data), strict=True)] == pytest.approx(
        [sum(day) for day in zip(*series.values(), strict=True)]
    )
    assert len({bars.marker.color for bars in figure.data}) == charts.MOST_SERIES


def test_as_many_series_as_there_are_colours_keep_their_names() -> None:
    series = {f"Operation {n}": [1.0, 2.0] for n in range(charts.MOST_SERIES)}
    assert [bars.name for bars in charts.stacked_days(DAYS, series, dark=True).data] == list(series)


def test_bars_stand_on_zero_and_days_without_any_have_none() -> None:
    low, high = drawn([1.0, 0.0, 4.0], "bar")
    assert float(high.attrib["height"]) == sparklines.HEIGHT == 4 * float(low.attrib["height"])
    assert float(high.attrib["y"]) == 0
    assert float(low.attrib["x"]) < sparklines.WIDTH / 3 < 2 * sparklines.WIDTH / 3 < float(high.attrib["x"])


def test_a_bar_of_very_little_is_still_seen() -> None:
    assert [float(bar.attrib["height"]) for bar in drawn([0.001, 1_000.0], "bar")] == [1, sparklines.HEIGHT]


@pytest.mark.parametrize("values", [[3.0], [3.0, 3.0, 3.0]])
def test_what_never_changes_is_a_level_line(values: list[float]) -> None:
    (line,) = drawn(values, "line")
    assert set(heights(line.attrib["points"])) == {sparklines.HEIGHT / 2}


def test_a_line_goes_from_the_least_to_the_most() -> None:
    area, line = drawn([-5.0, 0.0, 5.0], "area")
    assert heights(line.attrib["points"]) == [sparklines.HEIGHT - 1, sparklines.HEIGHT / 2, 1]
    assert heights(area.attrib["points"])[0] == heights(area.attrib["points"])[-1] == sparklines.HEIGHT


@pytest.mark.parametrize(
    ("delta", "color", "tone"),
    [
        ("+3%", "normal", "green"),
        ("-3%", "normal", "red"),
        ("+3%", "inverse", "red"),
        ("-3%", "inverse", "green"),
        ("-3%", "blue", "blue"),
        ("+3%", "off", "gray"),
        (None, "blue", "gray"),
    ],
)
def test_a_sparkline_has_the_colour_of_the_change_beside_it(delta: str | None, color: str, tone: str) -> None:
    assert sparklines.tone(delta, color) == tone
