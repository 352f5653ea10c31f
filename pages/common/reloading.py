"""Auto-reload in words: what happens next, why the last attempts did what they did, and the confirmations of its owner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import streamlit as st

from credits_core import auto_reload, saved_cards
from credits_core.runtime import get_runtime
from credits_core.stripe_states import SavedCard
from pages.common import own_cards, session, widgets
from pages.common.formats import Viewer, plotted

Figures = Mapping[str, Any]
DONE = "auto_reload_done"  # what the next run says once
CONFIRM = "confirm"
STATES: Mapping[str, tuple[str, Any, str]] = {
    "on": ("On", "green", ":material/check_circle:"),
    "paused": ("Paused", "orange", ":material/pause_circle:"),
    "off": ("Off", "gray", ":material/do_not_disturb_on:"),
}


def card_name(card: SavedCard | None) -> str:
    return f"{card.brand.capitalize()} ••••\u00a0{card.last4}" if card else "the saved card"


def next_sentence(found: Figures, card: str, viewer: Viewer) -> str:
    """What happens next on these figures (of the agreement, or of terms that are only looked at), in a sentence with numbers."""
    status = found.get("next_status") or found["status"]
    if status == "off":
        return (
            "Nothing happens by itself. You agree to the terms below, and only then is a card ever charged."
        )
    if status == "paused":
        return f"Paused since {viewer.time(found['paused_at'])}. {found['paused_reason']} Nothing is charged until you resume."
    charge = viewer.money(found["amount_cents"], found["currency"])
    gets = f" for {viewer.credits(found['credits_micros'])} credits" if found["credits_micros"] else ""
    balance, threshold = (viewer.credits(found[name]) for name in ("available_micros", "threshold_micros"))
    until = viewer.time(found["until"])
    return {
        "in_flight": f"A reload is being made now: {charge} is charged to {card}{gets}.",
        "due": f"The balance of {balance} is below {threshold}: {charge} is charged to {card} within a minute{gets}.",
        "waiting": f"The last attempt did not work, so the next one waits until {until}: {charge} to {card}{gets}.",
        "cap_day": f"The cap for today is reached. The next reload is possible from {until}: {charge} to {card}{gets}.",
        "cap_month": f"The cap for this month is reached. The next reload is possible from {until}: {charge} to {card}{gets}.",
        "idle": f"The balance is {balance}. When it falls below {threshold}, {charge} is charged to {card}{gets}.",
    }[status]


def caps(found: Figures, viewer: Viewer) -> None:
    """How much of the caps of today and this month is used."""
    for name, used, cap in (
        ("Today", found["reloaded_today_cents"], found["cap_day_cents"]),
        ("This month", found["reloaded_this_month_cents"], found["cap_month_cents"]),
    ):
        text = f"{name}: {viewer.money(used, found['currency'])} of {viewer.money(cap, found['currency'])}"
        st.progress(min(plotted(used, cap), 1.0), text=widgets.plain(text))


def attempts(found: Sequence[Figures], viewer: Viewer) -> None:
    """The last attempts, each with why it was made and what became of it."""
    if not found:
        widgets.empty(
            "No reload yet", "Each attempt appears here with why it was made and what became of it."
        )
        return
    for attempt in found:
        paid = attempt["purchase_status"] == "credited"
        label, color = ATTEMPTS["succeeded" if paid else attempt["status"]]
        with st.container(gap="xxsmall"):
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                money = widgets.plain(viewer.money(attempt["amount_cents"], attempt["currency"]))
                st.markdown(f"**{money}** · {viewer.time(attempt['created_at'])}", width="content")
                st.badge(label, color=color)
            st.caption(widgets.plain(f"{attempt['why']} {attempt['outcome']}"))


ATTEMPTS: Mapping[str, tuple[str, Any]] = {
    "succeeded": ("Paid", "green"),
    "in_flight": ("Under way", "blue"),
    "declined": ("Declined", "red"),
    "authentication_required": ("Needs your confirmation", "orange"),
    "gave_up": ("Not possible", "red"),
    "not_needed": ("Not needed", "gray"),
}


def save_card(label: str, *, primary: bool) -> None:
    """Leaves for the page where a card is entered, and comes back to this page as it is filled in now."""
    filled = {name: st.query_params[name] for name in st.query_params if name not in ("card", CONFIRM)}
    back = f"{saved_cards.PAGE}?{urlencode(filled)}" if filled else saved_cards.PAGE
    widgets.post_form("/auth/save-card", {"next": back}, label, primary=primary)


def say_done() -> None:
    """Says once what the last click did."""
    if said := st.session_state.pop(DONE, None):
        st.toast(widgets.plain(said), icon=":material/check_circle:")


def done(text: str) -> None:
    """Draws the page anew, which says this once."""
    _close()
    st.session_state[DONE] = text
    st.rerun()


def ask(what: str) -> None:
    """Opens a confirmation: `resume`, `off` or the id of a card to remove. It is open while the address says so, so that a
    restarted server, which gets a click once more, still knows what was asked."""
    st.query_params[CONFIRM] = what


def _close() -> None:
    st.query_params.pop(CONFIRM, None)


def confirmations(state: Figures, cards: Sequence[SavedCard], card: str) -> None:
    """The confirmation that the address asks for, if it makes sense now."""
    what = st.query_params.get(CONFIRM, "")
    if what == "resume" and state["state"] == "paused":
        _resume(card)
    elif what == "off" and state["state"] != "off":
        _off()
    for saved in cards:
        if what == saved.payment_method_id:
            _remove(what, card_name(saved))


@st.dialog("Resume auto-reload", on_dismiss=_close)
def _resume(card: str) -> None:
    person, viewer = session.guard(session.EVERYBODY), session.viewer()
    now = auto_reload.after_resuming(session.database(), person.identity)
    st.write(widgets.plain(now["refusal"] or next_sentence(now, card, viewer)))
    st.caption("A payment that still waits for your confirmation is canceled first: nothing is paid twice.")
    _switch("resume", "Resume", "Auto-reload goes on.")


@st.dialog("Switch auto-reload off", on_dismiss=_close)
def _off() -> None:
    session.guard(session.EVERYBODY)
    st.write("No card is charged by itself any more. Calls and services stop when the credits are used up.")
    _switch("off", "Switch off", "Auto-reload is off.")


@widgets.errors_as_sentences
def _switch(action: str, label: str, says: str) -> None:
    """The button of a confirmation. Clicking it twice does it once: the database changes only what is not so yet."""
    person = session.guard(session.EVERYBODY)
    if st.button(label, type="primary", width="stretch", key=f"confirm_{action}"):
        auto_reload.switch(get_runtime(), person.identity, action)
        done(says)


@st.dialog("Remove card", on_dismiss=_close)
@widgets.errors_as_sentences
def _remove(payment_method_id: str, name: str) -> None:
    person = session.guard(session.EVERYBODY)
    st.write(f"{widgets.plain(name)} is taken away at Stripe. You can save it again at any time.")
    if st.button("Remove", type="primary", width="stretch", key="confirm_remove"):
        saved_cards.remove(get_runtime(), person.identity, payment_method_id)
        own_cards.forget()
        done(f"{name} is removed.")
