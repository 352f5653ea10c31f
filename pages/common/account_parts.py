"""One account as an administrator sees it, part by part: transactions, grants, calls, purchases."""

from __future__ import annotations

import streamlit as st

from credits_core import analytics, calls, ledger, purchases
from credits_core.auth.person import Person
from pages.common import adjusting, paging, session, tables, widgets
from pages.common.explain import explain_dialog, table_key
from pages.common.formats import Viewer, words

RECENT = 15


@widgets.errors_as_sentences
def transactions_part(person: Person, viewer: Viewer, account_id: int) -> None:
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
        .texts(
            "What",
            [row["reason"] or words(row["operation"] or "") for row in rows],
            width=270,
            phone_width=118,
        )
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
def grants_part(person: Person, viewer: Viewer, account_id: int) -> None:
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
        .texts("Expires", [viewer.time(row["expires_at"]) if row["expires_at"] else "Never" for row in rows])
        .text("Reason", "reason")
        .draw(
            key=f"account_grants_{account_id}",
            alt="Grants in the order they are spent",
            wide=("Grant", "Granted", "Since", "Expires", "Reason"),
        )
    )


@widgets.errors_as_sentences
def calls_part(person: Person, viewer: Viewer, account_id: int) -> None:
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
def purchases_part(person: Person, viewer: Viewer, account_id: int) -> None:
    place = paging.cursor(f"account {account_id} purchases")
    answer = purchases.purchases(
        session.database(), person.identity, account_id=account_id, limit=RECENT, cursor=place
    )
    if not answer["items"]:
        widgets.empty(
            "No purchases yet", "Purchases of this account appear here, also those that were not paid."
        )
        return
    picked = (
        tables.Table(answer["items"], viewer)
        .time("Date", "created_at")
        .text("Package", "package_name")
        .money("Paid", "price_cents")
        .credits("Credits", "credits_micros")
        .credits("Bonus", "bonus_micros")
        .pill("Status", "status")
        .text("Note", "review_reason")
        .draw(
            key=f"account_purchases_{account_id}",
            alt="Purchases of this account",
            wide=("Credits", "Bonus", "Note"),
            on_select="rerun",
            selection_mode="single-row",
        )
    )
    paging.toolbar(answer["next_cursor"], key="account_purchases")
    if picked.selection.rows and not adjusting.pending_key():
        chosen = answer["items"][picked.selection.rows[0]]["purchase_id"]
        st.switch_page("admin/payments.py", query_params={"payment": chosen})


PARTS = {
    "transactions": transactions_part,
    "grants": grants_part,
    "calls": calls_part,
    "purchases": purchases_part,
}
