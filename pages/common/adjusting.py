"""Adding and removing credits: reason, preview, confirmation, and a key that a restart of the server cannot lose.

The dialog is open while the URL holds `adjust`, and that value is the idempotency key: when a restarted server gets
the click once more, the browser still sends the same key, and the database answers with the first result.
"""

from __future__ import annotations

import re
import uuid
from typing import Any

import streamlit as st

from credits_core import ledger
from credits_core.errors import CreditsError
from credits_core.units import parse_credits
from pages.common import session, widgets

KEY = "adjust"
_VALID_KEY = re.compile(r"[0-9a-f]{32}")
DIRECTIONS = {"add": "Add credits", "remove": "Remove credits"}


def open_button() -> None:
    st.button("Adjust credits", icon=":material/tune:", type="primary", on_click=_open)


def _open() -> None:
    st.query_params[KEY] = uuid.uuid4().hex


def _close() -> None:
    st.query_params.pop(KEY, None)


def pending_key() -> str | None:
    """The key of the adjustment that is being entered; an address somebody made up opens nothing."""
    key = st.query_params.get(KEY, "")
    return key if _VALID_KEY.fullmatch(key) else None


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
        allowed = micros is not None and _preview(account_id, micros)
        confirmed = st.button(
            _label(direction, micros, viewer),
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
            st.session_state["adjusted"] = (
                f"{viewer.credits(micros, signed=True)} credits for {name}: "
                f"{viewer.credits(done['available_micros'])} available."
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


def _label(direction: str, micros: int | None, viewer: Any) -> str:
    if micros is None:
        return DIRECTIONS[direction]
    return f"Confirm {viewer.credits(micros, signed=True)} credits"


def _preview(account_id: int, micros: int) -> bool:
    """Shows the balance before and after; whether the database would do it."""
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
    return bool(preview["allowed"])


def toast_after() -> None:
    """Says once that the last adjustment worked."""
    if done := st.session_state.pop("adjusted", None):
        st.toast(widgets.plain(done), icon=":material/check_circle:")
