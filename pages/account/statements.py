"""Statements: month by month what was there, what came and went, and what was paid; as PDF and as tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from credits_core import statements
from credits_core.auth.person import Person
from pages.common import exports, session, tables, widgets
from pages.common.formats import Viewer

session.guard(session.EVERYBODY)

MONTHS = 120  # ten years


def choose_month(months: list[dict[str, Any]], viewer: Viewer) -> str:
    """The month of the URL (`2026-11`, whatever the viewer's language), or the newest one."""
    known = [item["month"] for item in months]
    wanted = st.query_params.get("month")
    chosen: str = st.selectbox(
        "Month",
        known,
        index=known.index(wanted) if wanted in known else 0,
        format_func=viewer.month_of_year,
        key="month_chosen",
        label_visibility="collapsed",
        width=200,
    )
    if chosen != known[0] or wanted:
        st.query_params["month"] = chosen
    return chosen


def tiles(statement: dict[str, Any], viewer: Viewer) -> None:
    with st.grid(4, gap="small", min_column_width=150):
        for label, value, signed, help_text in (
            ("Opening balance", "opening_micros", False, "What the account had when the month began."),
            ("Came in", "in_micros", True, "Everything that added credits."),
            ("Went out", "out_micros", True, "Everything that took credits."),
            ("Closing balance", "closing_micros", False, "Opening balance and all movements together."),
        ):
            st.metric(label, viewer.credits(statement[value], signed=signed), border=True, help=help_text)


def movements(statement: dict[str, Any], viewer: Viewer) -> None:
    with widgets.card("What moved the balance", height="stretch"):
        rows = statement["movements"]
        if not rows:
            widgets.empty("Nothing happened in this month", "Choose another month, or buy and use credits.")
            return
        (
            tables.Table(rows, viewer)
            .texts("Movement", [statements.label(row) for row in rows])
            .count("Number", "count")
            .credits("Credits", "amount_micros", signed=True)
            .draw(key=f"movements_{statement['month']}", alt="What moved the balance in this month, by kind")
        )


def sums(statement: dict[str, Any], viewer: Viewer) -> None:
    with widgets.card("Paid", height="stretch"):
        if not statement["payments"]:
            widgets.empty(
                "Nothing was paid in this month", "Purchases count in the month their credits came."
            )
            return
        for paid in statement["payments"]:
            code = paid["currency"]
            rows = [("List price", viewer.money(paid["list_price_cents"], code))]
            if paid["discount_cents"]:
                rows.append(("Discount", viewer.money(-paid["discount_cents"], code)))
            rows += [
                ("Tax", viewer.money(paid["tax_cents"], code)),
                (f"Paid in {code.upper()}", viewer.money(paid["total_cents"], code)),
            ]
            if paid["refunded_cents"]:
                rows.append(("Refunded", viewer.money(-paid["refunded_cents"], code)))
            widgets.facts(rows)


def payments(statement: dict[str, Any], viewer: Viewer) -> None:
    rows = statement["purchases"]
    if not rows:
        return
    table = tables.Table(rows, viewer).time("Date", "credited_at").text("Purchase", "package_name")
    table.credits("Credits", "credits_micros")
    if any(row["bonus_micros"] for row in rows):
        table.credits("Bonus", "bonus_micros")
    for label, field in (("Price", "list_price_cents"), ("Discount", "discount_cents"), ("Tax", "tax_cents")):
        if any(row[field] for row in rows):
            table.money(label, field)
    table.money("Paid", "paid_cents")
    for label, field in (("Receipt", "receipt_url"), ("Invoice", "invoice_url")):
        if any(row[field] for row in rows):
            table.link(label, field, label)
    with widgets.card("Purchases") as toolbar:
        if statement["purchases_cursor"]:
            count = viewer.count(sum(paid["purchases"] for paid in statement["payments"]))
            toolbar().caption(f"The first {viewer.count(len(rows))} of {count}; the files hold all of them")
        table.draw(
            key=f"payments_{statement['month']}",
            alt="Purchases of this month, the oldest first",
            wide=("Credits", "Bonus", "Price", "Discount", "Tax", "Invoice"),
        )


def cards_and_invoices() -> None:
    with widgets.card("Cards and invoices"):
        st.caption("Saved cards, invoices and subscriptions are kept by Stripe. Its page leads back here.")
        with st.container(width=280):
            widgets.post_form("/auth/portal", {}, "Manage cards and invoices", primary=False)


def show(person: Person, viewer: Viewer) -> None:
    months = statements.statements(session.database(), person.identity, limit=MONTHS)
    with widgets.page_header("Statements", f"One for each month, in {months['time_zone']} time."):
        toolbar = st.container(horizontal=True, horizontal_alignment="right")
    month = choose_month(months["items"], viewer)
    statement = statements.statement(session.database(), person.identity, month)
    local = replace(viewer, zone=ZoneInfo(statement["time_zone"]))
    with toolbar:
        exports.menu("statement", local, key="export", month=month)
        widgets.link_button("Download PDF", f"/auth/statement.pdf?month={month}")
    if not statement["complete"]:
        st.caption(
            f"{viewer.month_of_year(month)} is not over: figures up to {local.time(statement['as_of'])}."
        )
    tiles(statement, local)
    left, right = st.columns([3, 2])
    with left:
        movements(statement, local)
    with right:
        sums(statement, local)
    payments(statement, local)
    cards_and_invoices()


show(session.guard(session.EVERYBODY), session.viewer())
