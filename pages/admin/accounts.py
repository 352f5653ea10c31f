"""Accounts: find one, see everything about it, adjust its credits."""

from __future__ import annotations

import streamlit as st

from credits_core import accounts, analytics
from pages.common import adjusting, exports, paging, session, tables, widgets
from pages.common.account_parts import PARTS
from pages.common.formats import words

session.guard(session.ADMIN)


def show_list() -> None:
    with widgets.page_header("Accounts", "Everybody with credits. Select one to open it."):
        toolbar = st.container()
    search = st.text_input(
        "Search",
        key="q",
        placeholder="Search name, e-mail or number",
        type="search",
        width=320,
        icon=":material/search:",
        label_visibility="collapsed",
        bind="query-params",
    )
    search = (search or "").strip() or None

    with toolbar:
        exports.menu("accounts", viewer, key="export", search=search)
    place = paging.cursor(f"accounts {search}")
    answer = accounts.accounts_list(
        session.database(), person.identity, search=search, limit=paging.PAGE, cursor=place
    )
    rows = answer["items"]
    if not rows:
        with st.container(border=True):
            widgets.empty(
                "No account matches", "Search by a part of the name or e-mail, or by the account's number."
            )
        return
    picked = (
        tables.Table(rows, viewer)
        .text("Name", "name")
        .text("E-mail", "email")
        .texts("Role", [words(row["role"]) for row in rows])
        .credits("Available", "available_micros", places=2)
        .credits("Bought", "total_purchased_micros", places=2)
        .credits("Used", "total_used_micros", places=2)
        .time("Last activity", "last_activity_at")
        .count("Number", "account_id")
        .draw(
            key=f"accounts_{place}_{search}",
            alt="Accounts, the newest first",
            wide=("E-mail", "Role", "Bought", "Used", "Number"),
            on_select="rerun",
            selection_mode="single-row",
        )
    )
    paging.toolbar(answer["next_cursor"], key="accounts")
    if picked.selection.rows:
        st.query_params["account"] = str(rows[picked.selection.rows[0]]["account_id"])
        st.rerun()


def back() -> None:
    st.query_params.clear()


def show_account(account: str) -> None:
    st.button("All accounts", icon=":material/chevron_left:", type="tertiary", on_click=back)
    found = accounts.find_account(session.database(), person.identity, account)
    account_id = found["account_id"]
    detail = analytics.account_detail(session.database(), person.identity, account_id)
    name = detail["name"] or detail["email"] or f"Account {account_id}"
    with widgets.page_header(
        name,
        f"{detail['email'] or 'no e-mail'} · {words(detail['role'])} · account {account_id} · "
        f"since {viewer.time(detail['created_at'])}",
    ):
        if detail["is_demo"]:
            st.badge("Demo account", color="orange")
        adjusting.open_button()
    balance = detail["balance"]
    with st.grid(5, gap="small", min_column_width=140):
        for label, field in (
            ("Available", "available_micros"),
            ("Held", "held_micros"),
            ("Debt", "debt_micros"),
            ("Bought in all", "total_purchased_micros"),
            ("Used in all", "total_used_micros"),
        ):
            st.metric(label, viewer.credits(balance[field]), border=True)
    part = st.segmented_control(
        "Part",
        list(PARTS),
        default="transactions",
        required=True,
        format_func=words,
        key="part",
        label_visibility="collapsed",
        bind="query-params",
    )
    PARTS[part or "transactions"](person, viewer, account_id)
    if adjusting.pending_key():
        adjusting.adjust_dialog(account_id, name)
    adjusting.toast_after()


person, viewer = session.guard(session.ADMIN), session.viewer()
chosen_account = st.query_params.get("account")
if chosen_account:
    show_account(chosen_account)
else:
    show_list()
