"""Invite: a link to send, what both sides get, who joined, and the code of an invitation of one's own."""

from __future__ import annotations

from typing import Any

import streamlit as st

from credits_core import referrals
from credits_core.errors import CreditsError
from credits_core.runtime import get_runtime
from pages.common import flagged, paging, referring, session, tables, widgets
from pages.common.formats import Viewer

session.guard(session.EVERYBODY)


def link_card(answer: dict[str, Any]) -> None:
    with widgets.card("Your link", height="stretch"):
        st.caption("Send it to somebody who has no credits yet. It remembers your code until they sign in.")
        st.code(f"{get_runtime().settings.base_url}/r/{answer['code']}", language=None, wrap_lines=True)
        st.caption("Or tell them the code: they enter it on this page before their first purchase.")
        st.code(answer["code"], language=None)


def terms_card(program: dict[str, Any], viewer: Viewer) -> None:
    with widgets.card("What it brings", height="stretch"):
        widgets.facts(referring.terms(program, viewer))


def figures(answer: dict[str, Any], viewer: Viewer) -> None:
    left, left_in_all = answer["left"]["month_rewards"], answer["left"]["total_rewards"]
    with st.grid(4, gap="small", min_column_width=150):
        st.metric("Joined with your code", viewer.count(answer["joined"]), border=True)
        st.metric("Credits earned", viewer.credits(answer["earned_micros"]), border=True)
        st.metric(
            "Credits waiting",
            viewer.credits(answer["waiting_micros"]),
            border=True,
            help="For people who joined and have not bought yet, or whose purchase is being looked at.",
        )
        st.metric(
            "Left this month",
            "No limit"
            if left is None
            else viewer.count(min(left, left if left_in_all is None else left_in_all)),
            border=True,
        )


def who_joined(answer: dict[str, Any], viewer: Viewer) -> None:
    with widgets.card("Who joined"):
        rows = answer["items"]
        if not rows:
            widgets.empty("Nobody yet", "Send your link; everybody who signs in with it appears here.")
            return
        (
            tables.Table(rows, viewer)
            .text("Who", "who")
            .time("Joined", "claimed_at", day_alone=True)
            .pill("Status", "status")
            .credits("Your reward", "reward_micros", places=2)
            .texts("What happens", [referring.what_happens(row, viewer) for row in rows], width="large")
            .draw(
                key="joined",
                alt="Who joined with your code, the newest first",
                wide=("Joined", "What happens"),
            )
        )
        paging.toolbar(answer["next_cursor"], key="joined")


def own_invitation(answer: dict[str, Any], viewer: Viewer) -> None:
    """The code somebody was invited with, or the field to enter it while there is still time."""
    if answer["invited"]:
        with widgets.card("You were invited"):
            st.markdown(widgets.plain(referring.invitation(answer["invited"], viewer)))
    elif answer["may_claim"]:
        with widgets.card("Were you invited?"):
            enter_code(answer["program"], viewer)


def enter_code(program: dict[str, Any], viewer: Viewer) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        code = st.text_input(
            "Invitation code",
            key="code",
            max_chars=40,
            placeholder="For example K7QM4XPD",
            bind="query-params",
            width=280,
        ).strip()
        pressed = st.button("Enter the code", key="enter_code", disabled=not code, type="primary")
    if program["referee_micros"]:
        st.caption(
            f"You get {viewer.credits(program['referee_micros'])} credits after your first purchase of at least "
            f"{widgets.plain(viewer.money(program['min_purchase_cents'], program['currency']))}."
        )
    if pressed:
        try:
            referrals.claim(session.database(), person.identity, code)
        except CreditsError as error:
            widgets.show_error(error)
            return
        st.session_state["invited"] = True
        st.rerun()


person, viewer = session.guard(session.EVERYBODY), session.viewer()
flagged.guard(person, "invitations")
place = paging.cursor("invite")
answer = referrals.referral(session.database(), person.identity, limit=paging.PAGE, cursor=place)
program = answer["program"]
with widgets.page_header(
    "Invite", "Bring somebody along: credits for both of you after their first purchase."
):
    pass
if st.session_state.pop("invited", False):
    st.toast("Your invitation is entered.", icon=":material/check_circle:")
if not program["on"] and not answer["joined"] and not answer["invited"]:
    with st.container(border=True):
        widgets.empty(
            "No rewards at the moment",
            "Invitations are switched off. Look again later, or ask an administrator.",
        )
else:
    if not program["on"]:
        st.info("Invitations are switched off: new codes cannot be entered now.", icon=":material/info:")
    own_invitation(answer, viewer)
    left, right = st.columns(2)
    with left:
        link_card(answer)
    with right:
        terms_card(program, viewer)
    figures(answer, viewer)
    who_joined(answer, viewer)
