"""Limits of an account: what the plan includes and what caps allow, as bars, and the form that sets caps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from credits_core import limits
from credits_core.auth.person import Person
from credits_core.errors import CreditsError
from credits_core.units import format_credits, parse_credits
from pages.common import session, widgets
from pages.common.formats import Viewer, plotted

PERIODS: dict[limits.Period, str] = {"day": "a day", "month": "a month"}
SAID = "cap_saved"
CAPS = "caps"  # in the URL while caps are being set: whose
ACCOUNT = "account"


def bars(found: Mapping[str, Any], viewer: Viewer, keys: Mapping[int, str]) -> None:
    """One bar for each allowance and cap; `keys` names API keys by their id."""
    for row in found["allowances"]:
        used, included = (viewer.number(f"{row[field]:.15g}") for field in ("used", "included"))
        _bar(
            f"{row['name']} in the plan",
            plotted(row["used"], row["included"] or 1),
            row,
            f"{used} of {included}",
            viewer,
        )
    for row in found["caps"]:
        whose = f"Key {keys.get(row['api_key_id'], row['api_key_id'])}" if row["api_key_id"] else "Spending"
        spent, cap = viewer.credits(row["spent_micros"]), viewer.credits(row["cap_micros"])
        share = plotted(row["spent_micros"], row["cap_micros"] or 1)
        _bar(f"{whose}, {PERIODS[row['period']]}", share, row, f"{spent} of {cap}", viewer)


def _bar(label: str, share: float, row: Mapping[str, Any], text: str, viewer: Viewer) -> None:
    widgets.meter(label, share, row["level"], text)
    then = f"starts again {viewer.time(row['resets_at'])}"
    if row["level"] == "reached":
        st.caption(f":material/block: Used up; {then}.")
    elif row["level"] == "warning":
        st.caption(f":material/warning: 80% is used; {then}.")
    else:
        st.caption(then.capitalize())


@widgets.errors_as_sentences
def card(person: Person, viewer: Viewer, keys: Sequence[Mapping[str, Any]]) -> None:
    """The account's limits with a button that changes its caps."""
    found = limits.limits(session.database(), person.identity)
    with widgets.card("Limits", height="stretch") as toolbar:
        with toolbar():
            caps_button("Set caps", ACCOUNT, key="set_caps", type="tertiary")
        if not found["allowances"] and not found["caps"]:
            widgets.empty("No limits", "Set a cap and spending stops at it, for a day or a month.")
        bars(found, viewer, {key["api_key_id"]: key["name"] for key in keys})
    if st.query_params.get(CAPS) == ACCOUNT:
        caps_dialog(None, "this account")


def caps_button(label: str, whose: str, *, key: str, **options: Any) -> None:
    """Opens the form of caps: `whose` is ACCOUNT or the id of a key."""
    st.button(label, icon=":material/tune:", key=key, on_click=_open, args=(whose,), **options)


def _open(whose: str) -> None:
    st.query_params[CAPS] = whose


def _close() -> None:
    st.query_params.pop(CAPS, None)


@st.dialog("Spending caps", width="small", on_dismiss=_close)
def caps_dialog(api_key_id: int | None, whose: str) -> None:
    """Caps by day and by month; an empty field is no cap. What was spent in the running day or month counts at once."""
    person = session.guard(session.EVERYBODY)
    st.caption(f"Credits that {widgets.plain(whose)} may spend. Empty: no cap. What was spent so far counts.")
    try:
        found = limits.limits(session.database(), person.identity)
        now = {row["period"]: row["cap_micros"] for row in found["caps"] if row["api_key_id"] == api_key_id}
        entered = {
            period: _field(period, words, now.get(period), api_key_id) for period, words in PERIODS.items()
        }
        if st.button("Save caps", type="primary", width="stretch", key="caps_save"):
            wanted = {period: parse_credits(text) if text else None for period, text in entered.items()}
            for period, cap in wanted.items():
                if cap != now.get(period):
                    limits.set_cap(session.database(), person.identity, period, cap, api_key_id=api_key_id)
            st.session_state[SAID] = f"Caps of {whose} are saved."
            _close()
            st.rerun()
        st.caption(f"Days and months begin at midnight in {found['time_zone']}.")
    except CreditsError as error:
        widgets.show_error(error)


def _field(period: limits.Period, words: str, cap_micros: int | None, api_key_id: int | None) -> str:
    return (
        st.text_input(
            f"Credits {words}",
            value="" if cap_micros is None else format_credits(cap_micros),
            placeholder="No cap",
            max_chars=20,
            key=f"cap_{period}_{api_key_id or 'account'}",
        )
        or ""
    ).strip()


def toast_after() -> None:
    """Says once that caps were saved."""
    if said := st.session_state.pop(SAID, None):
        st.toast(widgets.plain(said), icon=":material/check_circle:")
