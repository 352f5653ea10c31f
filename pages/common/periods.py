"""Ranges of days in the viewer's zone, chosen on the page and kept in the URL."""

from __future__ import annotations

import datetime as dt

import streamlit as st

from pages.common.formats import Viewer

Days = tuple[dt.date | None, dt.date | None]
PERIODS = {"7d": 7, "30d": 30, "90d": 90}
LABELS = {
    "7d": "7 days",
    "30d": "30 days",
    "90d": "90 days",
    "month": "This month",
    "last": "Last month",
    "all": "All time",
    "custom": "Custom",
}
MONTHS = ("month", "last")  # for finance, whose books close by months


def last_days(viewer: Viewer, days: int) -> tuple[dt.date, dt.date]:
    """The last `days` calendar days, today included: first and last."""
    today = viewer.today()
    return today - dt.timedelta(days=days - 1), today


def this_month(viewer: Viewer) -> tuple[dt.date, dt.date]:
    """From the first of the month to today."""
    return viewer.today().replace(day=1), viewer.today()


def last_month(viewer: Viewer) -> tuple[dt.date, dt.date]:
    """The first and the last day of the month before this one."""
    end = viewer.today().replace(day=1) - dt.timedelta(days=1)
    return end.replace(day=1), end


def choose(
    viewer: Viewer, *, default: str, with_all: bool, with_months: bool = False, key: str = "period"
) -> tuple[dt.date | None, dt.date | None]:
    """First and last day chosen by the person; None for a side without a limit."""
    left_out = ([] if with_all else ["all"]) + ([] if with_months else list(MONTHS))
    options = [code for code in LABELS if code not in left_out]
    code = (
        st.segmented_control(
            "Period",
            options,
            default=default,
            required=True,
            key=key,
            format_func=LABELS.get,
            label_visibility="collapsed",
            bind="query-params",
        )
        or default
    )
    if code == "all":
        return None, None
    if code in MONTHS:
        return this_month(viewer) if code == "month" else last_month(viewer)
    if code != "custom":
        return last_days(viewer, PERIODS[code])
    chosen = st.date_input(
        "Dates",
        value=last_days(viewer, 30),
        max_value=viewer.today(),
        key="dates",
        label_visibility="collapsed",
        bind="query-params",
        width=230,
    )
    days = chosen if isinstance(chosen, tuple) else (chosen,)
    return (days[0], days[-1]) if days else last_days(viewer, 30)


def moments(
    viewer: Viewer, first: dt.date | None, last: dt.date | None
) -> tuple[dt.datetime | None, dt.datetime | None]:
    """The moments a range of days begins and ends (exclusive) in the viewer's zone."""
    begin = dt.datetime.combine(first, dt.time(), viewer.zone) if first else None
    end = dt.datetime.combine(last + dt.timedelta(days=1), dt.time(), viewer.zone) if last else None
    return begin, end
