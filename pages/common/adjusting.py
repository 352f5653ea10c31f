"""Adding and removing credits: reason, preview, confirmation, and a key that a restart of the server cannot lose.

The dialog is open while the URL holds `adjust`, its idempotency key: see pending.py.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from credits_core import ledger
from credits_core.errors import CreditsError
from credits_core.units import parse_credits
from pages.common import pending, session, widgets
from pages.common.formats import Viewer

KEY = "adjust"
DIRECTIONS = {"add": "Add credits", "remove": "Remove credits"}


def open_button() -> None:
    st.button("Adjust credits", icon=":material/tune:", type="primary", on_click=pending.begin, args=(KEY,))


def _close() -> None:
    pending.end(KEY)


def pending_key() -> str | None:
    """The key of the adjustment that is being entered."""
    return pending.key(KEY)


@st.dialog("Adjust credits", width="medium", on_dismiss=_close)
def adjust_dialog(account_id: int, name: str) -> None:
    person, viewer = session.guard(session.ADMIN), session.viewer()
    st.caption(f"Account {account_id} · {widgets.plain(name)}")
    direction = (
        st.segmented_control(
            "What to do",
            list(DIRECTIONS),
            default="add",
            required=True,
            format_func=DIRECTIONS.get,
            key="adjust_direction",
            label_visibility="collapsed",
        )
        or "add"
    )
    amount = st.text_input("Amount in credits", placeholder="For example 12.50", key="adjust_amount")
    reason = st.text_input(
        "Reason",
        placeholder="The account holder reads this in the list of transactions",
        max_chars=200,
        key="adjust_reason",
    )
    try:
        micros = _signed(direction, amount)
        preview = None if micros is None else _preview(account_id, micros)
        allowed = preview is not None and preview["allowed"]
        confirmed = st.button(
            _label(direction, micros, viewer, asks=preview is not None and preview["needs_approval"]),
            type="primary",
            width="stretch",
            key="adjust_confirm",
            disabled=not (allowed and reason.strip()),
        )
        if micros is not None and not reason.strip():
            st.caption("Write a reason to go on.")
        if confirmed and micros is not None and (key := pending_key()):
            done = ledger.adjust(
                session.database(),
                person.identity,
                account_id=account_id,
                amount_micros=micros,
                reason=reason.strip(),
                idempotency_key=f"adjust-{key}",
            )
            what = f"{viewer.credits(micros, signed=True)} credits for {name}"
            st.session_state["adjusted"] = (
                f"{what}: {viewer.credits(done['available_micros'])} available."
                if done["status"] == "booked"
                else f"{what}: waiting for another administrator, see the approvals."
            )
            _close()
            st.rerun()
    except CreditsError as error:
        widgets.show_error(error)


def _signed(direction: str, amount: str | None) -> int | None:
    if not amount or not amount.strip():
        return None
    micros = parse_credits(amount)
    return -micros if direction == "remove" else micros


def _label(direction: str, micros: int | None, viewer: Viewer, *, asks: bool) -> str:
    if micros is None:
        return DIRECTIONS[direction]
    if asks:
        return f"Ask for approval of {viewer.credits(micros, signed=True)} credits"
    return f"Confirm {viewer.credits(micros, signed=True)} credits"


def _preview(account_id: int, micros: int) -> dict[str, Any]:
    """Shows the balance before and after; answers whether the database would do it, and whether alone."""
    person, viewer = session.guard(session.ADMIN), session.viewer()
    preview = ledger.adjust_preview(
        session.database(), person.identity, account_id=account_id, amount_micros=micros
    )
    with st.container(border=True):
        widgets.facts(
            [
                ("Available now", viewer.credits(preview["available_before_micros"])),
                ("Change", viewer.credits(micros, signed=True)),
                ("Available afterwards", viewer.credits(preview["available_after_micros"])),
            ]
        )
    if not preview["allowed"]:
        st.error(widgets.plain(preview["reason"]), icon=":material/error:")
    elif preview["needs_approval"]:
        st.info(_why_it_waits(preview, viewer), icon=":material/approval:")
    return preview


def _why_it_waits(preview: dict[str, Any], viewer: Viewer) -> str:
    """The rule as the viewer reads numbers; what was moved before counts where it is what makes the difference."""
    text = (
        f"From {viewer.credits(preview['limit_micros'])} credits on another administrator has to approve it."
    )
    if preview["moved_micros"]:
        text += (
            f" What you move on one account within 24 hours adds up: {viewer.credits(preview['moved_micros'])} credits"
            " before this."
        )
    return text


def toast_after() -> None:
    """Says once that the last adjustment worked."""
    if done := st.session_state.pop("adjusted", None):
        st.toast(widgets.plain(done), icon=":material/check_circle:")
