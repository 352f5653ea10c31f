"""Overview of an account holder: what is there, where it goes, how long it lasts."""

from __future__ import annotations

import streamlit as st

from credits_core import analytics, api_keys, calls, purchases
from pages.common import (
    alerts_card,
    balance,
    charts,
    exports,
    forecast_card,
    limits_card,
    live,
    session,
    tables,
    widgets,
)
from pages.common.formats import Viewer, plotted, words
from pages.common.periods import last_days

session.guard(session.EVERYBODY)

LIVE_SECONDS = 5
SPANS = {"7d": 7, "14d": 14, "30d": 30}


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
            first, last = last_days(viewer, SPANS[span])
            exports.menu("usage", viewer, days=(first, last), key="usage_export")
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
        toolbar().markdown(f":gray[{viewer.about(usage['total_micros'])}]")
        ranked = [row for row in usage["operations"] if row["charged_micros"]]
        if not ranked:
            widgets.empty("No use yet", "Each operation you use gets a bar.")
        else:
            charts.draw(
                charts.ranked_bars(
                    [row["name"] for row in ranked],
                    [plotted(row["charged_micros"]) for row in ranked],
                    [viewer.about(row["charged_micros"]) for row in ranked],
                    dark=viewer.dark,
                ),
                key="by_operation",
                alt="Credits spent by operation, the largest first",
            )


@st.fragment(run_every=LIVE_SECONDS)
@widgets.errors_as_sentences
def live_now() -> None:
    """What runs now. When nothing runs any more the page is drawn once more, without this."""
    person, viewer = session.guard(session.EVERYBODY), session.viewer()
    seen = calls.live_calls(session.database(), person.identity)
    if not seen["items"]:
        st.rerun()
    with widgets.card("Live calls") as toolbar:
        with toolbar():
            st.badge(
                f"{viewer.count(seen['running'])} in progress", icon=":material/graphic_eq:", color="green"
            )
            st.page_link(
                "account/live_call.py", label="Watch", icon=":material/chevron_right:", icon_position="right"
            )
        live.table(seen["items"], viewer, key="live_now")
        st.caption(
            f"{viewer.credits(seen['held_micros'])} credits held · {viewer.credits(seen['available_micros'])} available"
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
            .time("Date", "created_at", day_alone=True)
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
balance.tiles(overview, viewer)
balance.banner(overview, viewer)
alerts_card.card(person, viewer)
limits_card.toast_after()
if calls.live_calls(session.database(), person.identity)["running"]:
    live_now()
spend()
left, right = st.columns([1, 1])
with left:
    forecast_card.card(person, viewer)
with right:
    limits_card.card(person, viewer, api_keys.api_keys(session.database(), person.identity)["items"])
left, right = st.columns([1, 1])
with left:
    recent_calls(viewer)
with right:
    recent_purchases(viewer)
