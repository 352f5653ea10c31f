"""Usage: what was used, by day, week or month and by operation, against the period before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from credits_core import analytics, api_keys, catalog
from credits_core.auth.person import Person
from pages.common import charts, exports, limits_card, periods, session, tables, widgets
from pages.common.formats import Viewer, plotted

session.guard(session.EVERYBODY)

MOST_ROWS = 14
UNITS = {"day": "Day", "week": "Week", "month": "Month"}


def filters(person: Person, viewer: Viewer) -> dict[str, Any]:
    """The filters of the URL, as arguments of the report."""
    prices = catalog.pricing(session.database(), person.identity)["operations"]
    names = {price["operation"]: price["name"] for price in prices}
    with st.container(horizontal=True, vertical_alignment="center"):
        operation = st.selectbox(
            "Operation", list(names), index=None, placeholder="Every operation", format_func=names.get, key="operation",
            label_visibility="collapsed", bind="query-params", width=200,
        )  # fmt: skip
        first, last = periods.choose(viewer, default="30d", with_all=False)
        unit = st.segmented_control(
            "By", list(UNITS), default="day", required=True, format_func=UNITS.get, key="unit", label_visibility="collapsed",
            bind="query-params",
        )  # fmt: skip
    return {"first": first, "last": last, "unit": unit or "day", "operation": operation}


def days_text(first: str, last: str, viewer: Viewer) -> str:
    """`Nov 2 – Nov 8`, or the one day."""
    return viewer.day(first) if first == last else f"{viewer.day(first)} – {viewer.day(last)}"


def tiles(found: Mapping[str, Any], viewer: Viewer) -> None:
    days_before = days_text(found["before_from"], found["before_to"], viewer)
    before = "vs before" if viewer.phone else f"vs {days_before}"

    def against(change: float | None) -> tuple[str | None, str]:
        text = widgets.percent_change(change, viewer)
        return text, before if text else f"none {before.removeprefix('vs ')}"

    buckets = found["buckets"]
    with st.grid(3, gap="small", min_column_width=170):
        widgets.tile(
            "Credits used", viewer.credits(found["total_micros"]), *against(found["change_percent"]),
            [plotted(row["charged_micros"]) for row in buckets], "bar", delta_color="blue",
        )  # fmt: skip
        widgets.tile(
            "Uses", viewer.count(found["total_events"]), *against(found["events_change_percent"]),
            [row["events"] for row in buckets], "line", delta_color="blue",
        )  # fmt: skip
        widgets.tile(
            "A day, on average", viewer.about(found["day_average_micros"]), None,
            f"{viewer.about(found['day_average_before_micros'])} {'before' if viewer.phone else 'in the period before'}",
        )  # fmt: skip


def chart(found: Mapping[str, Any], viewer: Viewer) -> None:
    unit = UNITS[found["unit"]].lower()
    starts = [row["start"] for row in found["buckets"]]
    series: dict[str, list[float]] = {row["name"]: [] for row in found["operations"] if row["charged_micros"]}
    for row in found["rows"]:
        if row["name"] in series:
            series[row["name"]].append(plotted(row["charged_micros"]))
    with widgets.card(f"Credits by {unit}") as toolbar:
        toolbar().caption(f"{found['time_zone']} time")
        figure = charts.stacked_days(starts, series, dark=viewer.dark)
        if (
            found["unit"] != "day"
        ):  # a mark under every bar (or every second, third …), not where a calendar has its Sundays
            figure.update_xaxes(tickmode="array", tickvals=starts[:: -(-len(starts) // 6)])
        before = [plotted(row["before_micros"]) for row in found["buckets"]]
        charts.draw(
            charts.line_before(figure, starts, before, dark=viewer.dark),
            key="usage_chart",
            alt=f"Credits by {unit} and operation, with the period before as a line; the table has the same numbers",
        )


def by_operation(found: Mapping[str, Any], viewer: Viewer) -> None:
    rows = found["operations"]
    with widgets.card("By operation", height="stretch"):
        if not rows:
            widgets.empty("No use", "Each operation you use gets a line.")
            return
        (
            tables.Table(rows, viewer)
            .text("Operation", "name")
            .texts(
                "Quantity",
                [viewer.quantity(row["quantity"], row["measure"]) for row in rows],
                alignment="right",
            )
            .count("Uses", "events")
            .cost_bar("Credits", "charged_micros")
            .percent("Share", "share_percent")
            .credits("Before", "before_micros")
            .draw(
                key="by_operation",
                alt="Usage by operation, the largest first",
                wide=("Uses", "Share", "Before"),
            )
        )


def numbers(found: Mapping[str, Any], viewer: Viewer) -> None:
    """The chart's numbers, the newest first; rows where something was used, now or before."""
    rows = [row for row in reversed(found["rows"]) if row["events"] or row["before_micros"]]
    with widgets.card(f"By {UNITS[found['unit']].lower()} and operation") as toolbar:
        toolbar().caption(f"{viewer.credits(found['total_micros'])} in all")
        (
            tables.Table(rows, viewer)
            .texts(UNITS[found["unit"]], [days_text(row["start"], row["end"], viewer) for row in rows])
            .text("Operation", "name")
            .texts(
                "Quantity",
                [viewer.quantity(row["quantity"], row["measure"]) for row in rows],
                alignment="right",
            )
            .count("Uses", "events")
            .credits("Credits", "charged_micros")
            .credits("Before", "before_micros")
            .draw(
                key="usage_table", alt="Usage, the newest first", wide=("Uses", "Before"), most_rows=MOST_ROWS
            )
        )


@widgets.errors_as_sentences
def page(person: Person, viewer: Viewer) -> None:
    chosen = filters(person, viewer)
    asked = {name: chosen[name] for name in ("unit", "operation")}
    found = analytics.usage_report(session.database(), person.identity, **chosen, time_zone=viewer.zone_name)
    with toolbar:
        days = (chosen["first"], chosen["last"])
        exports.menu("usage_report", viewer, days=days, key="export", **asked)
    tiles(found, viewer)
    if not found["operations"]:
        with st.container(border=True):
            widgets.empty(
                "Nothing used in these days",
                "Choose another period or operation. What you use appears here at once.",
            )
    else:
        chart(found, viewer)
    left, right = st.columns([3, 2])
    with left:
        by_operation(found, viewer)
    with right:
        limits_card.card(person, viewer, api_keys.api_keys(session.database(), person.identity)["items"])
    if found["operations"]:
        numbers(found, viewer)


person, viewer = session.guard(session.EVERYBODY), session.viewer()
limits_card.toast_after()
with widgets.page_header("Usage", f"Days of {viewer.zone_name} · figures in credits"):
    toolbar = st.container()
page(person, viewer)
