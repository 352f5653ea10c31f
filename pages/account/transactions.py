"""Transactions: every change of the balance, and why each amount is what it is."""

from __future__ import annotations

from typing import Any

import streamlit as st

from credits_core import ledger
from pages.common import exports, paging, periods, session, tables, widgets
from pages.common.explain import explain_dialog, table_key
from pages.common.formats import words

session.guard(session.EVERYBODY)


def filters() -> tuple[dict[str, Any], periods.Days]:
    """The filters of the URL: arguments of the database's list, and the days."""
    with st.container(horizontal=True, vertical_alignment="center"):
        kind = st.selectbox(
            "Kind",
            ledger.KINDS,
            index=None,
            placeholder="All kinds",
            format_func=widgets.status_label,
            key="kind",
            label_visibility="collapsed",
            bind="query-params",
            width=170,
        )
        search = st.text_input(
            "Search",
            key="q",
            placeholder="Search reason, operation or number",
            type="search",
            label_visibility="collapsed",
            icon=":material/search:",
            bind="query-params",
            width=280,
        )
        first, last = periods.choose(viewer, default="30d", with_all=True)
    return {"kind": kind, "search": search.strip() or None if search else None}, (first, last)


person, viewer = session.guard(session.EVERYBODY), session.viewer()
with widgets.page_header(
    "Transactions", "Every change of your balance. Select one to see how its amount came about."
):
    toolbar = st.container()
chosen, days = filters()
with toolbar:
    exports.menu("transactions", viewer, days=days, key="export", **chosen)
begin, end = periods.moments(viewer, *days)
chosen |= {"from_": begin, "to": end}
place = paging.cursor(f"transactions {chosen}")
answer = ledger.transactions(session.database(), person.identity, **chosen, limit=paging.PAGE, cursor=place)
rows = answer["items"]
if not rows:
    with st.container(border=True):
        widgets.empty(
            "No transactions match",
            "Choose another period or clear the filters. New accounts start by buying credits.",
        )
else:
    table = (
        tables.Table(rows, viewer)
        .time("Time", "created_at")
        .pill("Kind", "kind")
        .texts(
            "What",
            [row["reason"] or words(row["operation"] or "") for row in rows],
            width=270,
            phone_width=118,
        )
        .credits("Amount", "amount_micros", signed=True)
        .credits("Balance after", "posted_after_micros")
        .text("Number", "transaction_id")
    )
    picked = table.draw(
        key=table_key(f"transactions_{place}_{chosen}"),
        alt="Transactions, the newest first",
        wide=("Kind", "Balance after", "Number"),
        on_select="rerun",
        selection_mode="single-row",
    )
    paging.toolbar(answer["next_cursor"], key="transactions")
    if picked.selection.rows:
        explain_dialog(rows[picked.selection.rows[0]]["transaction_id"])
