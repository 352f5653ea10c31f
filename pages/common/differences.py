"""Differences between our books and Stripe's: their names, and the dialog in which one is repaired or accepted.

The dialog is open while the URL holds `difference`, its number. Both deeds are safe to repeat: a click that a restarted server
gets once more finds the difference settled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from credits_core import reconcile
from credits_core.errors import CreditsError
from credits_core.runtime import get_runtime
from pages.common import session, widgets
from pages.common.formats import Viewer

KINDS: Mapping[str, str] = {
    "paid_not_credited": "Paid, not credited",
    "payment_not_taken": "Payment of a customer, not taken",
    "charge_missing": "Credited, not paid",
    "amount_differs": "Another amount",
    "currency_differs": "Another currency",
    "refund_missing": "Refund we do not have",
    "refund_differs": "Refund has moved",
    "refund_unknown": "Refund Stripe does not know",
    "dispute_missing": "Dispute we do not have",
    "dispute_differs": "Dispute has moved",
    "dispute_unknown": "Dispute Stripe does not know",
    "charged_twice": "Charged twice",
    "two_purchases": "One charge, two purchases",
    "fee_missing": "Fee not known",
    "fee_differs": "Fee does not add up",
    "payout_differs": "Payout does not add up",
    "wrong_mode": "Test and live mixed",
    "unknown_charge": "Unknown charge",
}
KEY = "difference"
_DONE, _CLOSED = "difference_done", "differences_closed"


def table_key(name: str) -> str:
    """Key of a table whose selected row opens the dialog; it changes when the dialog closes, which ends the selection."""
    return f"{name}_{st.session_state.get(_CLOSED, 0)}"


def _closed() -> None:
    st.query_params.pop(KEY, None)
    st.session_state[_CLOSED] = st.session_state.get(_CLOSED, 0) + 1


def chosen(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The listed difference that the URL names."""
    return next((row for row in rows if str(row["difference_id"]) == st.query_params.get(KEY)), None)


def amount(row: Mapping[str, Any], field: str, viewer: Viewer) -> str:
    """Money of a difference, or the word that stands in its place."""
    cents = row[f"{field}_cents"]
    if cents is None or row["currency"] is None:
        return str(row[field] or "–").replace("_", " ")
    return viewer.money(cents, row["currency"]) + (f" ({row[field].replace('_', ' ')})" if row[field] else "")


@st.dialog("Difference", width="medium", on_dismiss=_closed)
@widgets.errors_as_sentences
def difference_dialog(row: Mapping[str, Any]) -> None:
    person, viewer = session.guard(session.FINANCE), session.viewer()
    st.markdown(f"**{KINDS.get(row['kind'], row['kind'])}**")
    st.write(widgets.plain(row["explanation"]))
    facts = [
        ("Our books", amount(row, "expected", viewer)),
        ("Stripe", amount(row, "found", viewer)),
        ("At Stripe since", viewer.time(row["occurred_at"])),
        ("Object", row["object_id"]),
    ]
    if row["payment_intent_id"]:
        facts.append(("Payment", row["payment_intent_id"]))
    if row["account_id"]:
        facts.append(("Account", str(row["account_id"])))
    widgets.facts(facts)
    if row["status"] != "open":
        how = "Accepted" if row["status"] == "accepted" else "Repaired"
        st.info(
            widgets.plain(f"{how} {viewer.time(row['decided_at'])}: {row['reason'] or ''}"),
            icon=":material/task_alt:",
        )
        return
    if row["repairable"]:
        _repair(row["difference_id"], person.role)
    _accept(row["difference_id"])


def _repair(difference_id: int, role: str) -> None:
    if role not in session.ADMIN:
        st.caption("An administrator can repair this; ask one, or accept it with the reason.")
        return
    if st.button(
        "Repair from Stripe",
        icon=":material/build:",
        type="primary",
        width="stretch",
        key="difference_repair",
    ):
        person = session.guard(session.ADMIN)
        try:
            with st.spinner("Reading Stripe again"):
                runtime = get_runtime()
                done = reconcile.repair(runtime.db, runtime.stripe, person.identity, difference_id)
        except CreditsError as error:
            widgets.show_error(error)
            return
        if done["status"] == "open":
            st.warning(
                "What Stripe says now did not settle it. Look at the payment in Stripe's dashboard.",
                icon=":material/info:",
            )
            return
        _finish("Repaired from what Stripe says.")


def _accept(difference_id: int) -> None:
    reason = st.text_input(
        "Why it is all right as it is",
        max_chars=500,
        key="difference_reason",
        placeholder="Kept with the difference, for auditors",
    )
    if st.button(
        "Accept with this reason",
        width="stretch",
        key="difference_accept",
        disabled=not (reason or "").strip(),
    ):
        person = session.guard(session.FINANCE)
        try:
            reconcile.accept(session.database(), person.identity, difference_id, str(reason))
        except CreditsError as error:
            widgets.show_error(error)
            return
        _finish("Accepted. It comes back if it changes.")


def _finish(text: str) -> None:
    st.session_state[_DONE] = text
    _closed()
    st.rerun()


def toast_after() -> None:
    """Says once what was done in the dialog."""
    if done := st.session_state.pop(_DONE, None):
        st.toast(done, icon=":material/check_circle:")
