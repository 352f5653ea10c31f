"""What stands beside every page: the balance, the test-mode mark, and the menu of the person."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import streamlit as st

from credits_core import alerts, approvals, ledger
from credits_core.auth.person import Person
from credits_core.errors import CreditsError
from credits_core.runtime import get_runtime
from pages.common import session
from pages.common.formats import words
from pages.common.widgets import plain, post_form

TEST_MODE = "Test mode – no card is charged"


def is_test_mode() -> bool:
    """Whether payments are pretended: the simulator, or Stripe's own test mode."""
    return not get_runtime().settings.stripe_live


def sidebar(person: Person, pages: Mapping[str, st.Page]) -> None:
    with st.sidebar:
        with st.container(border=True, gap="xsmall", key="balance_badge"):
            figure = ""
            try:
                figure = _available(person)
                st.html(f'<div class="pc-balance">{figure}</div>')
            except CreditsError as error:
                st.caption(error.message)
            if st.button("Buy credits", icon=":material/add_card:", width="stretch", key="badge_buy"):
                st.switch_page(pages["buy"])
        _bell(person, pages)
        if person.role in session.ADMIN:
            _waiting(person, pages)
        if is_test_mode():
            st.badge(TEST_MODE, icon=":material/science:", color="orange")
        name = plain(person.name or person.email)
        with st.popover(name, icon=":material/account_circle:", type="tertiary"):
            st.markdown(f"**{name}**")
            st.caption(f"{plain(person.email)} · {words(person.role)}")
            post_form("/auth/sign-out", {}, "Sign out", primary=False)
    if figure:  # where the menu is closed, on a phone, the bar at the top says it
        st.html(f'<div class="pc-balance pc-top">{figure}</div>')


def _bell(person: Person, pages: Mapping[str, st.Page]) -> None:
    """How many notices are unread, as a link to them; nothing when there are none."""
    try:
        unread = alerts.unread(session.database(), person.identity)
    except CreditsError:
        return  # the balance above says that the database does not answer
    if unread:
        label = "1 unread notice" if unread == 1 else f"{unread if unread < 100 else '99+'} unread notices"
        st.page_link(pages["notifications"], label=label, icon=":material/notifications_unread:")


def _waiting(person: Person, pages: Mapping[str, st.Page]) -> None:
    """How many requests wait for this administrator; nothing when there are none."""
    try:
        waiting = approvals.approvals_count(session.database(), person.identity)["for_me"]
    except CreditsError:
        return
    if waiting:
        label = "1 request waits for you" if waiting == 1 else f"{waiting} requests wait for you"
        st.page_link(pages["approvals"], label=label, icon=":material/approval:")


def _available(person: Person) -> str:
    balance = ledger.balance(session.database(), person.identity)
    text = "Unlimited" if balance["unlimited"] else session.viewer().about(balance["available_micros"])
    return f"<span>Available</span><b>{escape(text)}</b>"
