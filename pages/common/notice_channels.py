"""E-mail: which kinds are sent, and at which balances a warning comes."""

from __future__ import annotations

import re

import streamlit as st

from credits_core import limits, mail, notifications
from credits_core.auth.person import Person
from credits_core.runtime import get_runtime
from credits_core.units import parse_credits
from pages.common import session, widgets
from pages.common.formats import Viewer


@widgets.errors_as_sentences
def draw(person: Person, viewer: Viewer) -> None:
    found = notifications.settings(session.database(), person.identity)
    with widgets.card("Sent by e-mail", key="email_choices"):
        st.caption(f"To {widgets.plain(found['email'] or 'nobody: this account has no address')}.")
        if get_runtime().settings.smtp is None:
            st.info(
                f"E-mails are kept and not sent here. To send them, set `SMTP_URL` to `{mail.EXAMPLE}` "
                "and start again. *Deliveries* shows what they say.",
                icon=":material/mail_off:",
            )
        _emails(person, found["kinds"])
    with widgets.card("Low balance", key="levels"):
        _levels(person, viewer, found["low_balance_micros"])


def _emails(person: Person, kinds: list[dict[str, object]]) -> None:
    names = {str(kind["kind"]): str(kind["name"]) for kind in kinds}
    before = [str(kind["kind"]) for kind in kinds if kind["email"]]
    chosen = st.pills(
        "Kinds sent by e-mail",
        list(names),
        selection_mode="multi",
        default=before,
        format_func=lambda kind: names[kind],
        key="email_kinds",
        label_visibility="collapsed",
    )
    with st.container(horizontal=True):
        if st.button("Save", type="primary", key="save_emails", disabled=set(chosen) == set(before)):
            notifications.set_emails(
                session.database(), person.identity, {kind: kind in chosen for kind in names}
            )
            _done("Saved what is sent by e-mail.")
        if st.button("Send a test", icon=":material/send:", key="test_email"):
            notifications.send_test(session.database(), person.identity)
            _done("The test message is on its way; see Deliveries.")


def _levels(person: Person, viewer: Viewer, levels: list[int]) -> None:
    st.caption("You are told once when your balance goes below each of these, and always when it is used up.")
    with st.form("levels_form", border=False):
        text = st.text_input(
            "Levels in credits, separated by spaces",
            value="  ".join(viewer.credits(level) for level in sorted(levels, reverse=True)),
            key="levels_text",
            placeholder="10 5 1",
        )
        if st.form_submit_button("Save levels", type="primary"):
            micros = [
                parse_credits(part.replace(",", "")) for part in re.split(r"[\s;]+", text or "") if part
            ]
            limits.set_account_settings(session.database(), person.identity, low_balance_micros=micros)
            _done("Saved the levels.")


def _done(text: str) -> None:
    st.session_state["notice_done"] = text
    st.rerun()
