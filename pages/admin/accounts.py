"""Accounts: find one, see everything about it, adjust its credits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import streamlit as st

from credits_core import accounts, analytics, calls, ledger, purchases
from credits_core.auth.person import Person
from pages.common import adjusting, exports, paging, session, tables, widgets
from pages.common.explain import explain_dialog, table_key
from pages.common.formats import words

session.guard(session.ADMIN)

COLUMNS = (
    "account_id",
    "name",
    "email",
    "role",
    "available_micros",
    "held_micros",
    "debt_micros",
    "total_purchased_micros",
    "total_used_micros",
    "last_activity_at",
    "created_at",
    "is_demo",
)
RECENT = 15


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

    def export(person: Person) -> Iterable[Mapping[str, Any]]:
        return paging.every(
            lambda **page: accounts.accounts_list(session.database(), person.identity, **page), search=search
        )

    with toolbar:
        exports.csv_button("Download CSV", "accounts.csv", COLUMNS, session.later(export), key="export")
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
        .credits("Available", "available_micros")
        .credits("Bought", "total_purchased_micros")
        .credits("Used", "total_used_micros")
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
    found = accounts.find_account(session.database(), person.identity, account)
    account_id = found["account_id"]
    detail = analytics.account_detail(session.database(), person.identity, account_id)
    name = detail["name"] or detail["email"] or f"Account {account_id}"
    st.button("All accounts", icon=":material/chevron_left:", type="tertiary", on_click=back)
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
    tab = st.segmented_control(
        "Part",
        ("transactions", "grants", "calls", "purchases"),
        default="transactions",
        required=True,
        format_func=words,
        key="part",
        label_visibility="collapsed",
        bind="query-params",
    )
    {"grants": show_grants, "calls": show_calls, "purchases": show_purchases}.get(
        tab or "", show_transactions
    )(account_id)
    if adjusting.pending_key():
        adjusting.adjust_dialog(account_id, name)
    adjusting.toast_after()


@widgets.errors_as_sentences
def show_transactions(account_id: int) -> None:
    place = paging.cursor(f"account {account_id} transactions")
    answer = ledger.transactions(
        session.database(), person.identity, account_id=account_id, limit=RECENT, cursor=place
    )
    rows = answer["items"]
    if not rows:
        widgets.empty("No transactions yet", "Purchases, uses and adjustments of this account appear here.")
        return
    picked = (
        tables.Table(rows, viewer)
        .time("Time", "created_at")
        .pill("Kind", "kind")
        .texts("What", [row["reason"] or words(row["operation"] or "") for row in rows])
        .credits("Amount", "amount_micros", signed=True)
        .credits("Balance after", "posted_after_micros")
        .actor("By", "actor")
        .draw(
            key=table_key(f"account_transactions_{account_id}_{place}"),
            alt="Transactions of this account, the newest first",
            wide=("Kind", "Balance after", "By"),
            on_select="rerun",
            selection_mode="single-row",
        )
    )
    paging.toolbar(answer["next_cursor"], key="account_transactions")
    if picked.selection.rows and not adjusting.pending_key():
        explain_dialog(rows[picked.selection.rows[0]]["transaction_id"])


@widgets.errors_as_sentences
def show_grants(account_id: int) -> None:
    rows = analytics.account_detail(session.database(), person.identity, account_id)["grants"]
    if not rows:
        widgets.empty("No grants yet", "Each purchase and each adjustment that adds credits makes one.")
        return
    (
        tables.Table(rows, viewer)
        .count("Grant", "grant_id")
        .texts("Source", [words(row["source"]) for row in rows])
        .pill("Status", "status")
        .credits("Granted", "granted_micros")
        .credits("Left", "remaining_micros")
        .time("Since", "created_at")
        .time("Expires", "expires_at", pattern="MMM D, YYYY")
        .text("Reason", "reason")
        .draw(key=f"account_grants_{account_id}", alt="Grants in the order they are spent")
    )


@widgets.errors_as_sentences
def show_calls(account_id: int) -> None:
    place = paging.cursor(f"account {account_id} calls")
    answer = calls.calls(
        session.database(), person.identity, account_id=account_id, limit=RECENT, cursor=place
    )
    if not answer["items"]:
        widgets.empty("No calls yet", "Calls of this account appear here with duration and cost.")
        return
    (
        tables.Table(answer["items"], viewer)
        .time("Started", "started_at")
        .text("From", "from")
        .text("To", "to")
        .pill("Status", "status")
        .duration("Duration", "duration_seconds")
        .duration("Billed", "billed_seconds")
        .cost_bar("Cost", "charged_micros")
        .draw(
            key=f"account_calls_{account_id}",
            alt="Calls of this account",
            wide=("From", "Status", "Duration"),
        )
    )
    paging.toolbar(answer["next_cursor"], key="account_calls")


@widgets.errors_as_sentences
def show_purchases(account_id: int) -> None:
    place = paging.cursor(f"account {account_id} purchases")
    answer = purchases.purchases(
        session.database(), person.identity, account_id=account_id, limit=RECENT, cursor=place
    )
    if not answer["items"]:
        widgets.empty(
            "No purchases yet", "Purchases of this account appear here, also those that were not paid."
        )
        return
    (
        tables.Table(answer["items"], viewer)
        .time("Date", "created_at")
        .text("Package", "package_name")
        .money("Paid", "price_cents")
        .credits("Credits", "credits_micros")
        .credits("Bonus", "bonus_micros")
        .pill("Status", "status")
        .text("Note", "review_reason")
        .draw(key=f"account_purchases_{account_id}", alt="Purchases of this account")
    )
    paging.toolbar(answer["next_cursor"], key="account_purchases")


person, viewer = session.guard(session.ADMIN), session.viewer()
chosen_account = st.query_params.get("account")
if chosen_account:
    show_account(chosen_account)
else:
    show_list()
