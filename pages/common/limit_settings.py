"""From which amount on a second person decides: everybody of the staff sees it, super admins change it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from credits_core import approvals
from credits_core.auth.person import Person
from credits_core.currencies import parse_money
from credits_core.errors import CreditsError
from credits_core.units import parse_credits
from pages.common import pending, session, tables, widgets
from pages.common.formats import Viewer, words


@widgets.errors_as_sentences
def show(person: Person, viewer: Viewer) -> None:
    limits = approvals.approval_limits(session.database(), person.identity)["items"]
    with widgets.card("A second person decides"):
        (
            tables.Table(limits, viewer)
            .texts("Kind", [words(limit["kind"]) for limit in limits])
            .texts("From", [amount(limit, viewer) for limit in limits])
            .texts("Can be decided for", [f"{limit['valid_days']} days" for limit in limits])
            .texts("Changed by", [limit["updated_by_name"] or "–" for limit in limits])
            .draw(
                key="approval_limits",
                alt="Limits by kind of request",
                wide=("Changed by", "Can be decided for"),
            )
        )
        st.caption("Money: the same number in every currency. Changes are in the audit trail.")
    if person.role == "super_admin":
        change([limit for limit in limits if limit["unit"] != "always"])


def amount(limit: Mapping[str, Any], viewer: Viewer) -> str:
    if limit["unit"] == "micros":
        return f"{viewer.credits(limit['amount'])} credits"
    return viewer.money(limit["amount"], "usd") if limit["unit"] == "cents" else "Always"


def change(limits: list[dict[str, Any]]) -> None:
    person = session.guard(("super_admin",))
    with widgets.card("Change a limit"), st.form("limit", border=False):
        kinds = {limit["kind"]: limit for limit in limits}
        kind = st.selectbox("Kind", list(kinds), format_func=words, key="limit_kind")
        text = st.text_input("From, in credits or in money", key="limit_amount")
        reason = st.text_input("Reason", max_chars=200, key="limit_reason")
        if st.form_submit_button("Change the limit", type="primary"):
            try:
                is_money = kinds[kind]["unit"] == "cents"
                value = parse_money(text, "usd") if is_money else parse_credits(text)
                approvals.set_approval_limit(session.database(), person.identity, kind, value, reason)
                pending.tell("The limit is changed.")
                st.rerun()
            except CreditsError as error:
                widgets.show_error(error)
