"""Sales and usage of everybody, by day in the viewer's zone."""

from __future__ import annotations

from typing import Any

import streamlit as st

from credits_core import analytics
from credits_core.auth.person import Person
from credits_core.runtime import get_runtime
from pages.common import charts, exports, periods, session, shell, tables, widgets
from pages.common.formats import Viewer, plotted, plotted_money

session.guard(session.FINANCE)


def figures(person: Person) -> dict[str, Any]:
    return analytics.finance_overview(
        session.database(),
        person.identity,
        livemode=get_runtime().settings.stripe_live,
        first=first,
        last=last,
        time_zone=viewer.zone_name,
    )


def against(change: float | None) -> tuple[str | None, str]:
    """A change in percent, and what it is compared with."""
    shown = widgets.percent_change(change, viewer)
    return shown, "vs before" if shown else "none before"


def tiles(overview: dict[str, Any], viewer: Viewer) -> None:
    usage = overview["usage"]
    with st.grid("auto", gap="small", min_column_width=170):
        if not overview["sales"]["currencies"]:
            widgets.tile("Sales", "–", None, "no purchases")
        for money in overview["sales"]["currencies"]:
            _sales_tiles(money, viewer)
        widgets.tile(
            "Credits used",
            viewer.about(usage["total_micros"]),
            *against(usage["change_percent"]),
            [plotted(day) for day in usage["day_micros"]],
            "bar",
            delta_color="blue",
        )
        widgets.tile("Uses", viewer.count(usage["total_events"]), None, "charged events", usage["day_events"])


def _sales_tiles(money: dict[str, Any], viewer: Viewer) -> None:
    code = money["currency"]
    widgets.tile(
        f"Sales in {code.upper()}",
        viewer.money(money["total_cents"], code),
        *against(money["change_percent"]),
        [plotted_money(day, code) for day in money["day_cents"]],
        "bar",
        help="Before tax, by the moment the credits were added.",
    )
    widgets.tile(
        "Purchases",
        viewer.count(money["purchases"]),
        None,
        f"by {viewer.count(money['buyers'])} accounts",
        money["day_purchases"],
    )
    widgets.tile(
        "Average purchase",
        viewer.money(money["average_cents"], code),
        None,
        f"{viewer.about(money['credits_micros'])} credits sold",
    )


def sales_cards(overview: dict[str, Any], viewer: Viewer) -> None:
    sales = overview["sales"]
    left, right = st.columns([2, 1])
    with left, widgets.card("Sales by day", height="stretch") as toolbar:
        if not sales["rows"]:
            widgets.empty(
                "Nothing sold in these days",
                "Choose a longer period; purchases count when their credits are added.",
            )
        else:
            with toolbar():
                exports.menu("sales", viewer, days=(first, last), key="sales_export")
            currency = sales["currencies"][0]["currency"]
            charts.draw(
                charts.stacked_days(
                    overview["days"],
                    charts.sales_series(sales, currency),
                    dark=viewer.dark,
                    unit=f" {currency.upper()}",
                ),
                key="sales_by_day",
                alt="Sales by day and package",
            )
    with right, widgets.card("Sales by package", height="stretch"):
        if not sales["packages"]:
            widgets.empty("No packages sold", "Each package sold gets a row.")
        else:
            (
                tables.Table(sales["packages"], viewer)
                .text("Package", "name")
                .count("Sold", "purchases")
                .money("Sales", "total_cents")
                .percent("Share", "share_percent")
                .draw(key="packages", alt="Sales by package, the largest first")
            )


def usage_cards(overview: dict[str, Any], viewer: Viewer) -> None:
    usage = overview["usage"]
    left, right = st.columns([2, 1])
    with left, widgets.card("Usage by day", height="stretch") as toolbar:
        if not usage["rows"]:
            widgets.empty(
                "Nothing used in these days", "Choose a longer period; usage counts on the day it happened."
            )
        else:
            with toolbar():
                exports.menu("usage_by_day", viewer, days=(first, last), key="usage_export")
            charts.draw(
                charts.stacked_days(
                    overview["days"], charts.usage_series(usage), dark=viewer.dark, unit=" credits"
                ),
                key="usage_by_day",
                alt="Credits used by day and operation",
            )
    with right, widgets.card("Usage by operation", height="stretch"):
        if not usage["operations"]:
            widgets.empty("No operations used", "Each operation used gets a row.")
        else:
            (
                tables.Table(usage["operations"], viewer)
                .text("Operation", "name")
                .count("Uses", "events")
                .credits("Credits", "charged_micros", places=2)
                .percent("Share", "share_percent")
                .draw(key="operations", alt="Usage by operation, the largest first")
            )


def top_accounts(overview: dict[str, Any], viewer: Viewer) -> None:
    with widgets.card("Heaviest users") as toolbar:
        rows = overview["top_accounts"]
        if not rows:
            widgets.empty("Nobody used anything in these days", "Choose a longer period.")
            return
        with toolbar():
            exports.menu("usage_by_account", viewer, days=(first, last), key="accounts_export")
        (
            tables.Table(rows, viewer)
            .text("Account", "name")
            .text("E-mail", "email")
            .count("Uses", "events")
            .cost_bar("Credits used", "charged_micros", places=2)
            .percent("Share", "share_percent")
            .credits("Available", "available_micros", places=2)
            .draw(
                key="top_accounts",
                alt="Accounts by credits used, the largest first",
                wide=("E-mail", "Uses", "Share", "Available"),
            )
        )


person, viewer = session.guard(session.FINANCE), session.viewer()
with widgets.page_header("Sales and usage", f"Everybody · days in {viewer.zone_name}"):
    if shell.is_test_mode():
        st.badge("Test sales", icon=":material/science:", color="orange")
with st.container(horizontal=True, vertical_alignment="center"):
    first, last = periods.choose(viewer, default="30d", with_all=False, with_months=True)
overview = figures(person)
tiles(overview, viewer)
sales_cards(overview, viewer)
usage_cards(overview, viewer)
top_accounts(overview, viewer)
