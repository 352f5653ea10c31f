"""Revenue by month, buyers who come back, and what becomes of purchases that are begun."""

from __future__ import annotations

from typing import Any

import streamlit as st

from credits_core import finance
from credits_core.auth.person import Person
from credits_core.runtime import get_runtime
from pages.common import charts, exports, periods, session, shell, tables, widgets
from pages.common.formats import Viewer, duration, plotted_money, words

session.guard(session.FINANCE)

SPANS = {"6 months": 6, "12 months": 12, "24 months": 24}
STEPS = ("begun", "opened", "paid")
ENDS = ("waiting", "processing", "expired", "failed", "review")


def of_currency(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of one currency: chosen on the page where there are several."""
    known = sorted({row["currency"] for row in rows})
    if len(known) < 2:
        return rows
    chosen = st.segmented_control(
        "Currency", known, default=known[0], required=True, format_func=str.upper, bind="query-params",
        key="currency", label_visibility="collapsed",
    )  # fmt: skip
    return [row for row in rows if row["currency"] == (chosen or known[0])]


def tiles(months: list[dict[str, Any]], viewer: Viewer) -> None:
    """The running month, with the months before as a line."""
    now, currency = months[-1], months[-1]["currency"]

    def money(field: str) -> str:
        return "–" if now[field] is None else viewer.money(now[field], currency)

    def line(field: str) -> list[float]:
        return [plotted_money(month[field] or 0, currency) for month in months]

    name, returned = viewer.month(now["month"]), now["refunds_cents"] + now["disputes_cents"]
    bought, first = viewer.count(now["purchases"]), viewer.count(now["new_buyers"])
    buyers = [month["buyers"] for month in months]
    with st.grid("auto", gap="small", min_column_width=170):
        net = ("less what went back", line("net_cents"), "bar")
        widgets.tile(f"Net sales in {name}", money("net_cents"), None, *net)
        widgets.tile("Sales", money("sales_cents"), None, f"{bought} purchases", line("sales_cents"), "bar")
        widgets.tile(
            "Returned",
            viewer.money(returned, currency),
            None,
            "refunds and disputes",
            line("refunds_cents"),
            "bar",
        )
        widgets.tile(
            "Paying accounts", viewer.count(now["buyers"]), None, f"{first} for the first time", buyers
        )
        widgets.tile(
            "Per paying account",
            money("per_buyer_cents"),
            None,
            "net sales, on average",
            line("per_buyer_cents"),
        )


def months_card(months: list[dict[str, Any]], viewer: Viewer) -> None:
    currency = months[0]["currency"]
    with widgets.card(f"Money by month in {currency.upper()}") as toolbar:
        with toolbar():
            exports.menu("revenue", viewer, key="revenue_export")
        parts = {"Net sales": "net_cents", "Refunds": "refunds_cents", "Disputes": "disputes_cents"}
        charts.draw(
            charts.months(
                [month["month"] for month in months],
                {
                    name: [plotted_money(month[field], currency) for month in months]
                    for name, field in parts.items()
                    if name == "Net sales" or any(month[field] for month in months)
                },
                dark=viewer.dark,
                unit=f" {currency.upper()}",
            ),
            key="money_by_month",
            alt="Net sales, refunds and disputes by month",
        )
        (
            tables.Table(months[::-1], viewer)
            .texts("Month", [viewer.month_of_year(row["month"], short=True) for row in months[::-1]])
            .money("Sales", "sales_cents")
            .money("Refunds", "refunds_cents")
            .money("Disputes", "disputes_cents")
            .money("Net", "net_cents")
            .count("Buyers", "buyers")
            .count("New", "new_buyers")
            .draw(key="months", alt="Money by month", wide=("Refunds", "Disputes", "New"))
        )


@widgets.errors_as_sentences
def recurring_card(person: Person, viewer: Viewer, months: int, currency: str) -> None:
    with widgets.card("Monthly recurring revenue") as toolbar:
        live = get_runtime().settings.stripe_live
        found = finance.recurring_revenue(
            session.database(), person.identity, livemode=live, months=months, time_zone=viewer.zone_name
        )
        rows = [row for row in found["rows"] if row["currency"] == currency]
        if not rows:
            widgets.empty(
                "No subscriptions yet",
                "Account holders subscribe on the page Plan. Every plan that runs counts here.",
            )
            return
        now, money = rows[-1], widgets.plain(viewer.money(rows[-1]["mrr_cents"], currency))
        with toolbar():
            st.markdown(f"**{money}** from {viewer.count(now['subscriptions'])} subscriptions")
            exports.menu("recurring_revenue", viewer, key="mrr_export")
        charts.draw(
            charts.months(
                [row["month"] for row in rows],
                {"MRR": [plotted_money(row["mrr_cents"], currency) for row in rows]},
                dark=viewer.dark,
                unit=f" {currency.upper()}",
            ),
            key="mrr",
            alt="Monthly recurring revenue at the end of each month",
        )
        (
            tables.Table(rows[::-1], viewer)
            .texts("Month", [viewer.month_of_year(row["month"], short=True) for row in rows[::-1]])
            .money("MRR", "mrr_cents")
            .money("New", "new_cents")
            .money("Expansion", "expansion_cents")
            .money("Contraction", "contraction_cents")
            .money("Churn", "churn_cents")
            .count("Subscriptions", "subscriptions")
            .draw(
                key="mrr_months",
                alt="Recurring revenue and what moved it",
                wide=("Expansion", "Contraction", "Subscriptions"),
            )
        )


@widgets.errors_as_sentences
def cohorts_card(person: Person, viewer: Viewer, months: int, currency: str) -> None:
    with widgets.card("Who buys again") as toolbar:
        with toolbar():
            st.caption("Accounts by the month of their first purchase")
            exports.menu("cohorts", viewer, key="cohorts_export")
        live = get_runtime().settings.stripe_live
        found = finance.cohorts(
            session.database(), person.identity, livemode=live, months=months, time_zone=viewer.zone_name
        )
        rows = [row for row in found["rows"] if row["currency"] == currency]
        if not rows:
            widgets.empty("No buyers yet", "Each month with a first purchase gets a row.")
            return
        names = {row["cohort"]: viewer.month_of_year(row["cohort"], short=True) for row in rows}
        charts.draw(
            charts.grid(
                list(names.values()),
                [
                    f"+{later}" if later else "first"
                    for later in range(1 + max(r["months_later"] for r in rows))
                ],
                {(names[row["cohort"]], row["months_later"]): row["retention_percent"] for row in rows},
                dark=viewer.dark,
            ),
            key="cohorts_chart",
            alt="Share of each month's new buyers who bought in the months after",
        )


@st.fragment
@widgets.errors_as_sentences
def funnel_card() -> None:
    person, viewer = session.guard(session.FINANCE), session.viewer()
    with widgets.card("From checkout to payment"):
        with st.container(horizontal=True, vertical_alignment="center"):
            first, last = periods.choose(viewer, default="30d", with_all=False)
        funnel = finance.checkout_funnel(
            session.database(), person.identity, livemode=get_runtime().settings.stripe_live, first=first,
            last=last, time_zone=viewer.zone_name,
        )  # fmt: skip
        if not funnel["begun"]:
            widgets.empty("No purchases begun in these days", "Choose a longer period.")
            return
        left, right = st.columns([1, 1])
        with left:
            charts.draw(
                charts.ranked_bars(
                    ["Begun", "Payment page shown", "Paid"],
                    [funnel[step] for step in STEPS],
                    [viewer.count(funnel[step]) for step in STEPS],
                    dark=viewer.dark,
                ),
                key="funnel",
                alt=f"{funnel['paid']} of {funnel['begun']} purchases were paid",
            )
            took = funnel["median_seconds_to_pay"]
            facts = [("Paid", viewer.percent(funnel["paid_percent"]))]
            facts += [("Half of them paid within", duration(took))] if took else []
            facts += [
                (widgets.status_label(end), viewer.count(funnel[end]))
                for end in ENDS
                if funnel[end] and end != "waiting"
            ]
            facts += [("Still waiting", viewer.count(funnel["waiting"]))] if funnel["waiting"] else []
            widgets.facts(facts)
        with right:
            (
                tables.Table(funnel["packages"], viewer)
                .text("Package", "name")
                .count("Begun", "begun")
                .count("Paid", "paid")
                .percent("Share", "paid_percent")
                .draw(key="funnel_packages", alt="Purchases begun and paid by package")
            )
            if not funnel["failures"]:
                widgets.empty("No failures", "Declined cards and abandoned pages are listed here by reason.")
            else:
                (
                    tables.Table(funnel["failures"], viewer)
                    .texts(
                        "Not paid because",
                        [
                            r["reason"] if " " in r["reason"] else words(r["reason"])
                            for r in funnel["failures"]
                        ],
                    )
                    .count("Purchases", "count")
                    .draw(key="failures", alt="Reasons of purchases that were not paid")
                )


person, viewer = session.guard(session.FINANCE), session.viewer()
with widgets.page_header("Revenue", f"Paid for credits, tax apart · months in {viewer.zone_name}"):
    if shell.is_test_mode():
        st.badge("Test sales", icon=":material/science:", color="orange")
with st.container(horizontal=True, vertical_alignment="center"):
    span = st.segmented_control(
        "Months", list(SPANS), default="12 months", required=True, key="months_shown", bind="query-params",
        label_visibility="collapsed",
    )  # fmt: skip
    revenue = finance.revenue_by_month(
        session.database(), person.identity, livemode=get_runtime().settings.stripe_live,
        months=SPANS[span or "12 months"], time_zone=viewer.zone_name,
    )  # fmt: skip
    months = of_currency(revenue["rows"])
if not months:
    widgets.empty("Nothing sold yet", "The first purchase starts the figures of its month.")
else:
    tiles(months, viewer)
    months_card(months, viewer)
    recurring_card(person, viewer, SPANS[span or "12 months"], months[0]["currency"])
    cohorts_card(person, viewer, SPANS[span or "12 months"], months[0]["currency"])
funnel_card()
