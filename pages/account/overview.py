"""Overview of an account holder: what is there, where it goes, how long it lasts."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import streamlit as st

from credits_core import analytics, calls, purchases
from credits_core.auth.person import Person
from pages.common import charts, exports, session, tables, widgets
from pages.common.formats import Viewer, plotted, words
from pages.common.periods import last_days

session.guard(session.EVERYBODY)

USAGE = ("day", "operation", "name", "events", "charged_micros")
SPANS = {"7d": 7, "14d": 14, "30d": 30}
LEVELS = {"new": st.info, "low": st.warning, "empty": st.error, "debt": st.error}


def run_out_text(run_out: dict[str, Any], viewer: Viewer) -> tuple[str, str]:
    """The run-out estimate and, in words, what it rests on."""
    if run_out["reason"] == "unlimited":
        return "Never", "unlimited account, metered only"
    if run_out["reason"] == "empty":
        return "–", "no credits left"
    if run_out["reason"] == "no_use":
        return "–", f"no use in {run_out['basis_days']} days"
    days = run_out["days"]
    shown = f"{viewer.count(days)} {'day' if days == 1 else 'days'}" if days <= 365 else "Over a year"
    return shown, f"at {viewer.about(run_out['daily_micros'])} a day"


def tiles(overview: dict[str, Any], viewer: Viewer) -> None:
    balance, month, days, run_out = (overview[part] for part in ("balance", "month", "days", "run_out"))
    kind, name = ("calls", "call") if overview["has_calls"] else ("events", "use")
    shown, why = run_out_text(run_out, viewer)
    before = f"vs {viewer.month(month['before_from'])}"
    with st.grid(5, gap="small", min_column_width=150):
        widgets.tile(
            "Available credits",
            viewer.credits(balance["available_micros"]),
            viewer.credits(overview["today_micros"], signed=True),
            "today",
            [plotted(day["posted_micros"]) for day in days],
            "area",
            delta_color="blue",
            help=f"What you can spend now. {viewer.credits(balance['held_micros'])} more are held for what is running.",
        )
        widgets.tile(
            "Spent this month",
            viewer.credits(month["spent_micros"]),
            widgets.percent_change(month["spent_change_percent"]),
            before,
            [plotted(day["spent_micros"]) for day in days],
            "bar",
            delta_color="blue",
        )
        widgets.tile(
            f"{kind if kind == 'calls' else 'uses'} this month".capitalize(),
            viewer.count(month[kind]),
            widgets.percent_change(month[f"{kind}_change_percent"]),
            before,
            [day[kind] for day in days],
            "line",
            delta_color="blue",
        )
        widgets.tile(
            f"Avg. cost per {name}",
            viewer.about(month[f"{name}_average_micros"] or 0),
            widgets.percent_change(month[f"{name}_average_change_percent"]),
            before,
            [plotted(day[f"{name}_average_micros"]) for day in days],
            "line",
            delta_color="inverse",
        )
        widgets.tile(
            "Credits last",
            shown,
            "low" if overview["level"] == "low" else None,
            why,
            [plotted(left) for left in run_out["projection_micros"]],
            "line",
            delta_color="red",
            delta_arrow="off",
            help=f"Available credits over the average daily use of the last {run_out['basis_days']} days.",
        )


def banner(overview: dict[str, Any], viewer: Viewer) -> None:
    """Says it before it hurts, with the way out beside it."""
    level = overview["level"]
    if level == "ok":
        return
    text = {
        "new": "**Welcome.** Buy your first credits to make calls and use services.",
        "debt": f"**You owe {viewer.credits(overview['balance']['debt_micros'])} credits.** The next purchase settles it first.",
        "empty": "**There are no credits left.** Calls and services stop until you buy credits.",
        "low": f"**Your credits cover about {run_out_text(overview['run_out'], viewer)[0]}.** Calls stop when credits reach zero.",
    }[level]
    with st.container(key="low_balance", horizontal=True, vertical_alignment="center"):
        LEVELS[level](text, icon=":material/notifications_active:", width="stretch")
        st.page_link("account/buy.py", label="Buy credits", icon=":material/add_card:")


def export(days: int, viewer: Viewer, person: Person) -> Iterable[Mapping[str, Any]]:
    first, last = last_days(viewer, days)
    usage = analytics.usage_analytics(
        session.database(),
        person.identity,
        first=first,
        last=last,
        group_by="day_operation",
        time_zone=viewer.zone_name,
    )
    return usage["rows"]


@st.fragment
@widgets.errors_as_sentences
def spend() -> None:
    """Daily spend and spend by operation for the same span."""
    person, viewer = session.guard(session.EVERYBODY), session.viewer()
    left, right = st.columns([2, 1])
    with left, widgets.card("Daily spend", height="stretch") as toolbar:
        with toolbar():
            span = (
                st.segmented_control(
                    "Days",
                    list(SPANS),
                    default="30d",
                    required=True,
                    format_func=str.upper,
                    key="days",
                    label_visibility="collapsed",
                    bind="query-params",
                )
                or "30d"
            )
            exports.csv_button(
                "CSV",
                "usage.csv",
                USAGE,
                session.later(functools.partial(export, SPANS[span], viewer)),
                key="usage_csv",
            )
        first, last = last_days(viewer, SPANS[span])
        usage = analytics.usage_analytics(
            session.database(),
            person.identity,
            first=first,
            last=last,
            group_by="day_operation",
            time_zone=viewer.zone_name,
        )
        if usage["total_micros"] == 0:
            widgets.empty(
                "Nothing spent in these days", "Calls and other uses appear here as soon as they are charged."
            )
        else:
            charts.draw(
                charts.stacked_days(usage["days"], charts.usage_series(usage), dark=viewer.dark),
                key="daily_spend",
                alt=f"Credits spent a day, {viewer.credits(usage['total_micros'])} in {SPANS[span]} days",
            )
    with right, widgets.card("Spend by operation", height="stretch") as toolbar:
        toolbar().markdown(f":gray[{viewer.credits(usage['total_micros'])}]")
        ranked = [row for row in usage["operations"] if row["charged_micros"]]
        if not ranked:
            widgets.empty("No use yet", "Each operation you use gets a bar.")
        else:
            charts.draw(
                charts.ranked_bars(
                    [row["name"] for row in ranked],
                    [plotted(row["charged_micros"]) for row in ranked],
                    [viewer.credits(row["charged_micros"]) for row in ranked],
                    dark=viewer.dark,
                ),
                key="by_operation",
                alt="Credits spent by operation, the largest first",
            )


@widgets.errors_as_sentences
def recent_purchases(viewer: Viewer) -> None:
    with widgets.card("Recent purchases", height="stretch") as toolbar:
        toolbar().page_link(
            "account/buy.py", label="Buy credits", icon=":material/chevron_right:", icon_position="right"
        )
        rows = purchases.purchases(session.database(), person.identity, limit=5)["items"]
        if not rows:
            widgets.empty("No purchases yet", "Buy a package and it appears here with its receipt.")
            return
        (
            tables.Table(rows, viewer)
            .time("Date", "created_at", pattern="MMM D")
            .text("Package", "package_name")
            .money("Paid", "price_cents")
            .credits("Credits", "credits_micros")
            .pill("Status", "status")
            .draw(key="recent_purchases", alt="Your last purchases", wide=("Credits",))
        )


@widgets.errors_as_sentences
def recent_calls(viewer: Viewer) -> None:
    with widgets.card("Recent calls", height="stretch") as toolbar:
        toolbar().page_link(
            "account/calls.py", label="Call log", icon=":material/chevron_right:", icon_position="right"
        )
        rows = calls.calls(session.database(), person.identity, limit=5)["items"]
        if not rows:
            widgets.empty("No calls yet", "Calls made with your credits appear here with duration and cost.")
            return
        (
            tables.Table(rows, viewer)
            .time("Started", "started_at")
            .text("To", "to")
            .pill("Status", "status")
            .duration("Duration", "duration_seconds")
            .credits("Cost", "charged_micros")
            .draw(key="recent_calls", alt="Your last calls", wide=("To", "Duration"))
        )


person, viewer = session.guard(session.EVERYBODY), session.viewer()
overview = analytics.account_overview(
    session.database(), person.identity, days=30, time_zone=viewer.zone_name
)
with widgets.page_header(
    "Overview",
    f"{person.name or words(person.role)} · figures in credits · updated {viewer.clock(overview['as_of'])}",
):
    st.page_link("account/transactions.py", label="Transactions", icon=":material/receipt_long:")
    if st.button("Buy credits", type="primary", icon=":material/add_card:"):
        st.switch_page("account/buy.py")
tiles(overview, viewer)
banner(overview, viewer)
spend()
left, right = st.columns([1, 1])
with left:
    recent_calls(viewer)
with right:
    recent_purchases(viewer)
