"""Referrals for administrators: the list, those that wait for a decision, and the terms."""

from __future__ import annotations

from typing import Any

import streamlit as st

from credits_core import currencies, referrals
from credits_core.auth.person import Person
from credits_core.errors import CreditsError
from credits_core.units import format_credits, parse_credits
from pages.common import campaigns, exports, paging, referring, session, tables, widgets
from pages.common.formats import Viewer

STATUSES = ("held", "open", "rewarded", "taken_back", "expired", "rejected")


def show_referrals(person: Person, viewer: Viewer) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        status = st.selectbox(
            "Status", STATUSES, index=None, placeholder="All referrals", format_func=widgets.status_label,
            key="status", label_visibility="collapsed", bind="query-params", width=190,
        )  # fmt: skip
        exports.menu("referrals", viewer, key="export", status=status)
    place = paging.cursor(f"referrals {status}")
    answer = referrals.referrals(
        session.database(), person.identity, status=status, limit=paging.PAGE, cursor=place
    )
    rows = answer["items"]
    if not rows:
        with st.container(border=True):
            widgets.empty(
                "No referral matches",
                "People invite others on the page Invite; their codes appear here once used.",
            )
        return
    picked = (
        tables.Table(rows, viewer)
        .text("Invited by", "referrer_email")
        .text("Who joined", "referee_email")
        .pill("Status", "status")
        .texts(
            "Why it waits",
            [referring.HELD.get(row["hold_reason"], "") if row["status"] == "held" else "" for row in rows],
        )
        .credits("For who invited", "referrer_micros", places=2)
        .credits("For who joined", "referee_micros", places=2)
        .time("Code entered", "claimed_at")
        .draw(
            key=campaigns.table_key(f"referrals_{place}_{status}"),
            alt="Referrals, the newest first",
            wide=("Invited by", "Why it waits", "For who invited", "For who joined", "Code entered"),
            on_select="rerun",
            selection_mode="single-row",
        )
    )
    paging.toolbar(answer["next_cursor"], key="referrals")
    if picked.selection.rows:
        referral_dialog(rows[picked.selection.rows[0]])


@st.dialog("Referral", width="medium", on_dismiss=campaigns.closed)
def referral_dialog(row: dict[str, Any]) -> None:
    """One referral; the decision where it waits for one."""
    person, viewer = session.guard(session.ADMIN), session.viewer()
    paid = viewer.money(row["paid_cents"], row["currency"]) if row["currency"] else "nothing yet"
    facts = [
        ("Invited by", row["referrer_email"] or f"Account {row['referrer_account_id']}"),
        ("Who joined", row["referee_email"] or f"Account {row['referee_account_id']}"),
        ("Status", widgets.status_label(row["status"])),
        (
            "Rewards",
            f"{viewer.credits(row['referrer_micros'])} and {viewer.credits(row['referee_micros'])} credits",
        ),
        ("Paid", paid),
        ("Code entered", viewer.time(row["claimed_at"])),
    ]
    if row["hold_reason"]:
        facts.append(("Held because", referring.HELD[row["hold_reason"]]))
    if row["decision_reason"]:
        facts.append(("Decision", row["decision_reason"]))
    widgets.facts(facts)
    if row["status"] != "held":
        return
    reason = st.text_input(
        "Reason", key="referral_reason", max_chars=200, placeholder="Stays in the audit trail"
    ).strip()
    with st.container(horizontal=True):
        reward = st.button("Reward both", type="primary", key="referral_reward", disabled=len(reason) < 3)
        reject = st.button("Reject", key="referral_reject", disabled=len(reason) < 3)
    if not (reward or reject):
        return
    try:
        referrals.decide(session.database(), person.identity, row["referral_id"], reward, reason)
    except CreditsError as error:
        widgets.show_error(error)
        return
    st.session_state["campaign_done"] = "Both sides are rewarded." if reward else "The referral is rejected."
    campaigns.closed()
    st.rerun()


def show_terms(person: Person, viewer: Viewer) -> None:
    """The terms as they are, and the form to change them; they hold for codes entered from then on."""
    program = referrals.program(session.database(), person.identity)
    left, right = st.columns([1, 1])
    with left, widgets.card("New terms"):
        wanted = _form(program)
    with right, widgets.card("In words"):
        st.badge("Switched on" if wanted["on"] else "Switched off", color="green" if wanted["on"] else "gray")
        st.caption("As the person who invites reads them.")
        widgets.facts(referring.terms(program | wanted, viewer))
        changed = any(program[name] != value for name, value in wanted.items())
        st.caption(
            "Codes that were entered already keep their terms; caps hold for all."
            if changed
            else "These are the terms now."
        )
        if st.button("Put these terms in force", type="primary", key="save_terms", disabled=not changed):
            try:
                referrals.set_program(session.database(), person.identity, **wanted)
            except CreditsError as error:
                widgets.show_error(error)
                return
            st.session_state["campaign_done"] = "The new terms are in force."
            st.rerun()


def _form(program: dict[str, Any]) -> dict[str, Any]:
    """The fields; what cannot be read leaves its value as it is, with a sentence."""
    currency = program["currency"] or "usd"
    on = st.toggle("Invitations are rewarded", value=program["on"], key="terms_on")
    one, two = st.columns(2)
    referrer = _amount(one, "Credits for who invites", program["referrer_micros"], "terms_referrer")
    referee = _amount(two, "Credits for who joins", program["referee_micros"], "terms_referee")
    one, two = st.columns(2)  # row by row, so that a phone keeps the order
    smallest = _amount(
        one,
        f"Smallest first purchase in {currency.upper()}",
        program["min_purchase_cents"],
        "terms_smallest",
        currency=currency,
    )
    days = two.number_input("Days until the purchase", 1, 730, program["open_days"], key="terms_days")
    st.caption("Caps of one person who invites; empty is no cap.")
    one, two = st.columns(2)
    caps: dict[str, Any] = {}
    for column, span, words in ((one, "month", "a month"), (two, "total", "in all")):
        caps[f"{span}_rewards"] = column.number_input(
            f"Rewards {words}",
            0,
            1_000_000,
            program[f"{span}_rewards"],
            key=f"terms_{span}_rewards",
            placeholder="No cap",
        )
        caps[f"{span}_micros"] = _amount(
            column, f"Credits {words}", program[f"{span}_micros"], f"terms_{span}_micros", optional=True
        )
    return {
        "on": on, "referrer_micros": referrer, "referee_micros": referee, "min_purchase_cents": smallest,
        "open_days": int(days), **caps,
    }  # fmt: skip


def _amount(
    column: Any, label: str, now: int | None, key: str, *, currency: str = "", optional: bool = False
) -> int | None:
    """An amount as text: credits, or money of a currency."""
    shown = "" if now is None else currencies.plain_money(now, currency) if currency else format_credits(now)
    text = column.text_input(label, value=shown, key=key, placeholder="No cap" if optional else "").strip()
    if not text and optional:
        return None
    try:
        return currencies.parse_money(text, currency) if currency else parse_credits(text)
    except CreditsError as error:
        column.error(widgets.plain(error.message), icon=":material/error:")
        return now
