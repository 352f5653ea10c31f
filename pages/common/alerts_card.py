"""Unread alerts in words, with what to do about each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from credits_core import alerts
from credits_core.auth.person import Person
from pages.common import session, widgets
from pages.common.formats import Viewer, words

SHOWN = 5
ICONS = {
    "low_balance": ":material/battery_2_bar:",
    "out_of_credits": ":material/battery_alert:",
    "debt": ":material/error:",
    "payment_failed": ":material/credit_card_off:",
    "auto_reload_paused": ":material/pause_circle:",
    "credits_expiring": ":material/hourglass_bottom:",
}


def sentence(alert: Mapping[str, Any], viewer: Viewer) -> str:
    """What happened, with its figures where the alert brings them."""
    detail, kind = alert["detail"], alert["kind"]
    if kind == "low_balance" and "available_micros" in detail and "level_micros" in detail:
        level, left = viewer.credits(detail["level_micros"]), viewer.credits(detail["available_micros"])
        return f"The balance fell below {level}: {left} left."
    if kind == "out_of_credits":
        return "The credits are used up. Calls and services stop until you buy more."
    if kind in ("allowance_warning", "allowance_reached") and "name" in detail:
        used = "80% used" if kind == "allowance_warning" else "used up"
        return f"{detail['name']}: the plan's allowance is {used}."
    if kind == "credits_expiring" and "amount_micros" in detail and "expires_at" in detail:
        return (
            f"{viewer.credits(detail['amount_micros'])} credits expire {viewer.time(detail['expires_at'])}."
        )
    return f"{words(kind)}."


@widgets.errors_as_sentences
def card(person: Person, viewer: Viewer) -> None:
    """Drawn only where there is something unread."""
    found = alerts.alerts(session.database(), person.identity, unread_only=True, limit=SHOWN)
    if not found["items"]:
        return
    with widgets.card("Alerts") as toolbar:
        with toolbar():
            if st.button("Mark all as read", icon=":material/done_all:", type="tertiary", key="alerts_read"):
                alerts.mark_alerts_read(session.database(), person.identity)
                st.rerun()
        for alert in found["items"]:
            icon = ICONS.get(alert["kind"], ":material/notifications:")
            st.markdown(
                f"{icon} {widgets.plain(sentence(alert, viewer))} :gray[{viewer.time(alert['created_at'])}]"
            )
        if found["next_cursor"]:
            st.caption("There are more; marking as read clears all of them.")
