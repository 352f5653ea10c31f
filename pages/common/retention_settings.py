"""How long finished messages and the payloads of old Stripe events are kept: administrators see it, super admins change it."""

from __future__ import annotations

import streamlit as st

from credits_core import retention
from credits_core.auth.person import Person
from credits_core.errors import CreditsError
from pages.common import session, widgets
from pages.common.formats import Viewer

NAMES = {
    "messages": "Messages that were sent or given up",
    "stripe_events": "Payloads of processed Stripe events",
}
DONE = "retention_done"


@widgets.errors_as_sentences
def show(person: Person, viewer: Viewer) -> None:
    kept = {
        item["what"]: item["days"]
        for item in retention.retention(session.database(), person.identity)["items"]
    }
    with widgets.card("Kept for"):
        widgets.facts([(NAMES[what], f"{viewer.count(days)} days") for what, days in kept.items()])
        st.caption(
            "Then a job removes them. What still waits or failed stays, and so do the ledger, notices and the ids of events:"
            " nothing is told or credited twice."
        )
        if person.role == "super_admin":
            with st.popover("Change", icon=":material/edit:"):
                _change(kept)


def _change(kept: dict[str, int]) -> None:
    person = session.guard(("super_admin",))
    what = st.selectbox("What", list(kept), format_func=NAMES.get, key="retention_what")
    days = st.number_input("Days", 35, 3650, kept[what], key=f"retention_days_{what}")
    reason = st.text_input(
        "Reason", max_chars=200, key="retention_reason", placeholder="Stays in the audit trail"
    )
    changed = days != kept[what] and reason.strip()
    if st.button("Change how long", type="primary", key="retention_save", disabled=not changed):
        try:
            retention.set_retention(session.database(), person.identity, what, int(days), reason.strip())
        except CreditsError as error:
            widgets.show_error(error)
            return
        st.session_state[DONE] = f"{NAMES[what]}: kept for {int(days)} days."
        st.rerun()
