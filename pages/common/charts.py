"""Charts with one theme for light and dark. Every chart stands beside a table or an export of the same numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from pages.common import session
from pages.common.dates import Dates
from pages.common.formats import plotted, plotted_money

_CONFIG = {"displayModeBar": False, "responsive": True}
# Wide enough for the usual labels and a legend: where plotly finds that they do not fit it draws the chart a second time.
_MARGIN = {"l": 44, "r": 8, "t": 12, "b": 26}
_WITH_LEGEND = _MARGIN | {"b": 54}
MOST_SERIES = (
    5  # colours a reader tells apart, and a legend of one line; the fifth colour is gray, for the rest
)
BAR_HEIGHT = 46  # pixels for one horizontal bar with its gap


@dataclass(frozen=True)
class Palette:
    """Colours of one theme; the series are `chartCategoricalColors` of `.streamlit/config.toml`."""

    series: tuple[str, ...]
    text: str
    grid: str


def palette(dark: bool) -> Palette:
    theme = "theme.dark" if dark else "theme.light"
    series = st.get_option(f"{theme}.chartCategoricalColors") or ("#2563EB",)
    return Palette(
        tuple(series), st.get_option(f"{theme}.grayTextColor"), st.get_option(f"{theme}.borderColor")
    )


def usage_series(usage: Mapping[str, Any]) -> dict[str, list[float]]:
    """Bars of a `day_operation` analysis by operation, the largest operation first, one value for each day."""
    bars: dict[str, list[float]] = {row["name"]: [] for row in usage["operations"]}
    for row in usage["rows"]:
        bars[row["name"]].append(plotted(row["charged_micros"]))
    return bars


def sales_series(sales: Mapping[str, Any], currency: str) -> dict[str, list[float]]:
    """Bars of the sales in one currency by package, the largest package first, one value for each day."""
    bars: dict[str, list[float]] = {
        row["name"]: [] for row in sales["packages"] if row["currency"] == currency
    }
    for row in sales["rows"]:
        if row["currency"] == currency:
            bars[row["name"]].append(plotted_money(row["total_cents"], currency))
    return bars


def _readable(series: Mapping[str, Sequence[float]]) -> Mapping[str, Sequence[float]]:
    """The largest series by name and the rest as one; `series` come with the largest first."""
    if len(series) <= MOST_SERIES:
        return series
    named = dict(list(series.items())[: MOST_SERIES - 1])
    rest = [values for name, values in series.items() if name not in named]
    return {**named, f"{len(rest)} others": [sum(point) for point in zip(*rest, strict=True)]}


def _layout(colors: Palette, height: int, margin: Mapping[str, int] = _MARGIN) -> dict[str, Any]:
    return {
        "height": height,
        "margin": margin,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "Inter, sans-serif", "size": 12, "color": colors.text},
        "hoverlabel": {"font": {"family": "Inter, sans-serif", "size": 12}},
        "dragmode": False,
        "bargap": 0.32,
    }


def _figure(data: Sequence[Mapping[str, Any]], layout: Mapping[str, Any], **more: Any) -> go.Figure:
    """In one piece: plotly checks every later update anew, which takes longer than the rest of a page."""
    return go.Figure({"data": data, "layout": {**layout, **more}})


def stacked_days(
    days: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    dark: bool,
    unit: str = "",
    height: int = 300,
) -> go.Figure:
    """One bar a day, stacked by series, the largest first. `days` are ISO dates, one for every day of the range."""
    colors, series = palette(dark), _readable(series)
    bars = [
        {
            "type": "bar", "x": list(days), "y": list(values), "name": name,
            "marker": {"color": colors.series[place % len(colors.series)], "line": {"width": 0}},
            "hovertemplate": f"%{{y:,.2f}}{unit} {name}<extra></extra>",
        }
        for place, (name, values) in enumerate(series.items())
    ]  # fmt: skip
    axis = {
        "fixedrange": True,
        "automargin": True,
        "ticklabelstandoff": 6,
        "tickfont": {"color": colors.text},
    }
    return _figure(
        bars,
        _layout(colors, height, _WITH_LEGEND if len(series) > 1 else _MARGIN),
        barmode="stack",
        hovermode="x unified",
        showlegend=len(series) > 1,
        legend={"orientation": "h", "y": -0.16, "x": 0.5, "xanchor": "center", "itemclick": "toggle"},
        xaxis=axis
        | {
            "type": "date",
            "showgrid": False,
            "tickformat": "%b %-d",
            "nticks": 6,
            "hoverformat": "%a %b %-d",
        },
        yaxis=axis
        | {
            "gridcolor": colors.grid,
            "zeroline": False,
            "nticks": 5,
            "tickformat": ",~g",
            "rangemode": "tozero",
        },
    )


def months(
    starts: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    dark: bool,
    unit: str = "",
    height: int = 280,
) -> go.Figure:
    """One group of bars a month. `starts` are the first days of months, as ISO dates."""
    figure = stacked_days(starts, series, dark=dark, unit=unit, height=height)
    figure.update_layout(barmode="group")
    figure.update_xaxes(
        tickformat="%b %Y" if len(starts) < 8 else "%b", hoverformat="%B %Y", dtick="M1", nticks=0
    )
    return figure


def grid(
    rows: Sequence[str], columns: Sequence[str], percents: Mapping[tuple[str, int], float], *, dark: bool
) -> go.Figure:
    """A heat map of shares: a row for each of `rows`, the first on top; cells that are not known stay empty."""
    colors = palette(dark)
    values = [[percents.get((row, column)) for column in range(len(columns))] for row in rows]
    cells = {
        "type": "heatmap", "x": list(columns), "y": list(rows), "z": values, "zmin": 0, "zmax": 100, "xgap": 3, "ygap": 3,
        "text": [["" if value is None else f"{value:.0f}%" for value in row] for row in values], "texttemplate": "%{text}",
        "textfont": {"color": colors.text}, "hoverinfo": "skip", "showscale": False,
        "colorscale": [[0, "rgba(37,99,235,0.08)"], [1, "rgba(37,99,235,0.55)"]],
    }  # fmt: skip
    axis = {
        "type": "category",
        "showgrid": False,
        "fixedrange": True,
        "ticks": "",
        "tickfont": {"color": colors.text},
    }
    return _figure(
        [cells],
        _layout(colors, 36 * len(rows) + 40, {"l": 76, "r": 8, "t": 32, "b": 4}),
        xaxis=axis | {"side": "top"},
        yaxis=axis | {"autorange": "reversed", "automargin": True, "ticksuffix": "  "},
    )


def line_before(figure: go.Figure, days: Sequence[str], values: Sequence[float], *, dark: bool) -> go.Figure:
    """Lays the sums of the period before over bars of days: a dotted line in the colour of the text."""
    figure.add_scatter(
        x=list(days),
        y=list(values),
        name="The period before",
        mode="lines" if len(days) > 1 else "markers",
        line={"color": palette(dark).text, "width": 1.6, "dash": "dot"},
        hovertemplate="%{y:,.2f} the period before<extra></extra>",
    )
    figure.update_layout(showlegend=True, margin=_WITH_LEGEND)
    return figure


def range_left(
    days: Sequence[str],
    expected: Sequence[float],
    least: Sequence[float],
    most: Sequence[float],
    *,
    dark: bool,
    height: int = 220,
) -> go.Figure:
    """What is expected to be left on days to come, within a band from the least to the most."""
    colors = palette(dark)
    band = {
        "type": "scatter",
        "x": list(days),
        "mode": "lines",
        "hoverinfo": "skip",
        "showlegend": False,
        "line": {"width": 0},
    }
    line = band | {
        "y": list(expected), "line": {"color": colors.series[0], "width": 2}, "hoverinfo": None,
        "hovertemplate": "%{y:,.2f} left<extra></extra>",
    }  # fmt: skip
    axis = {"fixedrange": True, "automargin": True, "tickfont": {"color": colors.text}}
    return _figure(
        [
            band | {"y": list(most)},
            band | {"y": list(least), "fill": "tonexty", "fillcolor": "rgba(59,130,246,0.18)"},
            line,
        ],
        _layout(colors, height),
        hovermode="x unified",
        xaxis=axis
        | {
            "type": "date",
            "showgrid": False,
            "tickformat": "%b %-d",
            "nticks": 5,
            "hoverformat": "%a %b %-d",
        },
        yaxis=axis
        | {
            "gridcolor": colors.grid,
            "zeroline": False,
            "nticks": 4,
            "tickformat": ",~g",
            "rangemode": "tozero",
        },
    )


def ranked_bars(
    labels: Sequence[str], values: Sequence[float], texts: Sequence[str], *, dark: bool
) -> go.Figure:
    """Horizontal bars, the first label on top, each with its value as text."""
    colors = palette(dark)
    bars = {
        "type": "bar", "x": list(values), "y": list(labels), "orientation": "h", "width": 0.55, "hoverinfo": "skip",
        "text": list(texts), "textposition": "outside", "cliponaxis": False, "textfont": {"color": colors.text},
        "marker": {"color": colors.series[0], "line": {"width": 0}},
    }  # fmt: skip
    return _figure(
        [bars],
        _layout(colors, BAR_HEIGHT * len(labels) + 16, {"l": 4, "r": 8, "t": 8, "b": 4}),
        xaxis={"visible": False, "fixedrange": True, "range": [0, max([*values, 0]) * 1.3 or 1]},
        yaxis={
            "autorange": "reversed", "showgrid": False, "fixedrange": True, "ticksuffix": "  ", "automargin": True,
            "tickfont": {"color": colors.text},
        },
    )  # fmt: skip


def _date_axis(axis: go.layout.XAxis, written: Dates) -> None:
    """Days or months of an axis as the viewer's language writes them."""
    if axis.type != "date":
        return
    if axis.dtick == "M1":
        axis.tickformat = written.month_axis(year=axis.tickformat == "%b %Y")
        if not written.english:
            axis.hoverformat = written.month_axis(year=True)
    else:
        axis.tickformat, axis.hoverformat = written.axis(), written.axis(weekday=True)


def draw(figure: go.Figure, *, alt: str, key: str) -> None:
    """`alt` says what the chart shows, for people who do not see it."""
    viewer = session.viewer()
    group, point = viewer.separators
    figure.update_layout(separators=point + group)
    figure.for_each_xaxis(lambda axis: _date_axis(axis, viewer.dates))
    st.plotly_chart(figure, theme=None, config=_CONFIG, key=key, alt=alt)
