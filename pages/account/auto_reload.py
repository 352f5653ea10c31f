"""Auto-reload: the saved card, the terms its owner agrees to, what happens next, and why the last attempts did what they did."""

from __future__ import annotations

from typing import Any

import streamlit as st

from credits_core import auto_reload, currencies, saved_cards
from credits_core.errors import CreditsError, InvalidRequest
from credits_core.runtime import get_runtime
from credits_core.stripe_states import SavedCard
from credits_core.units import format_credits, parse_credits
from pages.common import reloading, session, shell, tables, widgets
from pages.common.formats import Viewer
from pages.common.reloading import card_name

session.guard(session.EVERYBODY)

Terms = dict[str, int]
CAPTION = "Buys credits with a saved card when the balance is low, within the limits you set."


def header(state: dict[str, Any]) -> None:
    with widgets.page_header("Auto-reload", CAPTION):
        if shell.is_test_mode():
            st.badge(shell.TEST_MODE, icon=":material/science:", color="orange")
        label, color, icon = reloading.STATES[state["state"]]
        st.badge(label, color=color, icon=icon)
        if state["state"] != "off":
            st.button(
                "Switch off", icon=":material/power_settings_new:", on_click=reloading.ask, args=("off",)
            )


def paused_banner(state: dict[str, Any]) -> None:
    """Why it is paused, and the way on: confirm the payment, another card, or resume."""
    if state["state"] != "paused":
        return
    way_on = {
        "authentication_required": "Confirm the payment with your bank, then resume."
        if state["pay_url"]
        else "The payment is settled: resume, and reloads go on.",
        "refused_card": "Save another card below and agree to the terms with it.",
        "declines": "Ask your bank or choose another card below, then resume.",
        "terms": "Look at the terms below and agree to new ones.",
        "review": "Nothing is lost; resume when it is settled.",
        "disputed": "Clear it up with your bank, then resume.",
        "refunded": "Resume when reloads shall go on.",
    }[state["paused_for"]]
    with st.container(border=True):
        st.warning(
            f"**Auto-reload is paused.** {widgets.plain(state['paused_reason'])} {way_on}",
            icon=":material/pause_circle:",
        )
        with st.container(horizontal=True, vertical_alignment="center"):
            if state["pay_url"]:
                widgets.link_button("Confirm the payment", state["pay_url"])
            if state["paused_for"] != "terms":
                st.button("Resume", icon=":material/play_arrow:", on_click=reloading.ask, args=("resume",))
            st.page_link("account/buy.py", label="Buy credits by hand", icon=":material/add_card:")


def what_next(state: dict[str, Any], card: str, viewer: Viewer) -> None:
    with widgets.card("What happens next", height="stretch"):
        st.markdown(widgets.plain(reloading.next_sentence(state, card, viewer)))
        rows = [("Balance", f"{viewer.credits(state['available_micros'])} credits")]
        if state["state"] == "off":
            widgets.facts(rows)
            return
        rows += [
            ("Reload below", f"{viewer.credits(state['threshold_micros'])} credits"),
            ("Buy up to", f"{viewer.credits(state['target_micros'])} credits"),
        ]
        if state["debt_micros"]:
            rows.append(("Owed, paid first", f"{viewer.credits(state['debt_micros'])} credits"))
        widgets.facts(rows)
        reloading.caps(state, viewer)


def cards_part(cards: list[SavedCard], state: dict[str, Any], viewer: Viewer) -> None:
    with widgets.card("Saved card", height="stretch"):
        if not cards:
            widgets.empty(
                "No card is saved",
                "It is entered on Stripe's page and kept there; nothing is charged by that.",
            )
        for card in cards:
            used = state["state"] != "off" and card.payment_method_id == state["payment_method_id"]
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.markdown(f"**{widgets.plain(card_name(card))}**", width="content")
                st.caption(f"expires {card.exp_month:02d}/{card.exp_year}", width="content")
                if card.expired(viewer.today()):
                    st.badge("Expired", color="red")
                if used:
                    st.badge("In use", color="blue")
                else:
                    st.button("Remove", type="tertiary", key=f"remove_{card.payment_method_id}",
                              on_click=reloading.ask, args=(card.payment_method_id,))  # fmt: skip
            if used and card.expired(viewer.today()):
                st.warning(
                    "This card has expired; save another one and agree with it.",
                    icon=":material/credit_card_off:",
                )
        reloading.save_card("Save another card" if cards else "Save a card", primary=not cards)


def entered(state: dict[str, Any], currency: str) -> Terms:
    """The four limits as they are written: at first those agreed to, or a suggestion; kept in the address. InvalidRequest for what
    is no amount."""
    known = state if state["threshold_micros"] is not None else state["suggestion"]

    def field(place: Any, label: str, key: str, value: str) -> str:
        return place.text_input(label, value=value, key=key, max_chars=20, bind="query-params") or ""

    def credits(name: str) -> str:
        return format_credits(known[name]) if known else ""

    def money(name: str) -> str:
        return currencies.plain_money(known[name], currency) if known else ""

    (left, right), (below_left, below_right) = st.columns(2), st.columns(2)
    texts = (
        field(left, "Reload when the balance is below (credits)", "below", credits("threshold_micros")),
        field(right, "Buy up to (credits)", "up_to", credits("target_micros")),
        field(below_left, f"At most a day ({currency.upper()})", "day", money("cap_day_cents")),
        field(below_right, f"At most a month ({currency.upper()})", "month", money("cap_month_cents")),
    )
    return {
        "threshold_micros": parse_credits(texts[0]),
        "target_micros": parse_credits(texts[1]),
        "cap_day_cents": currencies.parse_money(texts[2], currency),
        "cap_month_cents": currencies.parse_money(texts[3], currency),
    }


@st.fragment
@widgets.errors_as_sentences
def terms_form(state: dict[str, Any], cards: list[SavedCard]) -> None:
    """The limits with a preview of the next charge, the words, and the consent."""
    person, viewer = session.guard(session.EVERYBODY), session.viewer()
    currency = state["currency"]
    found: dict[str, Any] = {}
    terms: Terms = {}
    problem = ""
    with widgets.card("Your limits"):
        try:
            terms = entered(state, currency)
            found = auto_reload.preview(session.database(), person.identity, **terms)
            problem = found["refusal"] or ""
        except InvalidRequest as error:
            problem = error.message
        card = chosen_card(cards, state)
        if problem:
            one = found.get("one_reload_cents")
            costs = f" One reload costs {viewer.money(one, currency)}." if one else ""
            st.error(widgets.plain(problem + costs), icon=":material/error:")
        else:
            sentence = reloading.next_sentence({**found, **terms}, card_name(card), viewer)
            st.info(f"**With these limits:** {widgets.plain(sentence)}", icon=":material/visibility:")
        words = state["consent_words"]
        st.markdown(f"> {widgets.plain(words['text'])}")
        st.caption(
            f"Version {words['version']} of these words. Buying credits by hand never changes what you agreed to."
        )
        if card is None:
            st.caption("Save a card to go on; what you entered here is kept.")
            reloading.save_card("Save a card", primary=True)
            return
        agreed = st.checkbox(
            "I agree to these words with the limits above", key=f"agreed_{len(state['consents'])}"
        )
        label = "Agree and switch on" if state["state"] == "off" else "Agree to these limits"
        if st.button(label, type="primary", disabled=bool(problem) or not agreed):
            auto_reload.agree(
                get_runtime(), person.identity, **terms, consent_text=words["text"],
                payment_method_id=card.payment_method_id,
            )  # fmt: skip
            reloading.done("Agreed. Auto-reload is on.")


def chosen_card(cards: list[SavedCard], state: dict[str, Any]) -> SavedCard | None:
    """The card to charge: the only one, or the one picked (at first the one in use)."""
    good = [card for card in cards if not card.expired(session.viewer().today())]
    if len(good) < 2:
        return good[0] if good else None
    names = {card.payment_method_id: card_name(card) for card in good}
    in_use = state["payment_method_id"] if state["paused_for"] != "refused_card" else None
    ids = list(names)
    picked = st.selectbox(
        "Card", ids, index=ids.index(in_use) if in_use in ids else 0, format_func=names.get, key="pay_with"
    )
    return next(card for card in good if card.payment_method_id == picked)


def consents(state: dict[str, Any], viewer: Viewer) -> None:
    with widgets.card("What you agreed to"):
        rows = state["consents"]
        if not rows:
            widgets.empty(
                "Nothing agreed yet", "Each agreement is kept with its words, its limits and its time."
            )
            return
        given = [row["terms"] for row in rows]

        def money(terms: dict[str, Any], name: str) -> str:
            return viewer.money(terms[name], terms["currency"]) if terms else "–"

        (
            tables.Table(rows, viewer)
            .time("Time", "at")
            .texts("What", ["Agreed" if row["is_given"] else "Switched off" for row in rows])
            .texts(
                "Below",
                [viewer.credits(t["threshold_micros"]) if t else "–" for t in given],
                alignment="right",
            )
            .texts(
                "Up to", [viewer.credits(t["target_micros"]) if t else "–" for t in given], alignment="right"
            )
            .texts("A day", [money(t, "cap_day_cents") for t in given], alignment="right")
            .texts("A month", [money(t, "cap_month_cents") for t in given], alignment="right")
            .texts(
                "Words", [f"Version {row['text_version']}" if row["text_version"] else "–" for row in rows]
            )
            .draw(
                key="consents",
                alt="What was agreed to and when, the newest first",
                wide=("A month", "Words", "Up to"),
            )
        )


@widgets.errors_as_sentences
def page() -> None:
    person, viewer = session.guard(session.EVERYBODY), session.viewer()
    state = auto_reload.state(session.database(), person.identity)
    header(state)
    reloading.say_done()
    if st.query_params.pop("card", None):
        st.toast("The card is saved.", icon=":material/credit_card:")
    try:
        cards = saved_cards.saved(get_runtime(), person.identity)[1]
    except CreditsError as error:
        widgets.show_error(error)
        cards = []
    used = next((card for card in cards if card.payment_method_id == state["payment_method_id"]), None)
    paused_banner(state)
    left, right = st.columns([3, 2])
    with left:
        what_next(state, card_name(used), viewer)
    with right:
        cards_part(cards, state, viewer)
    terms_form(state, cards)
    with widgets.card("Last attempts"):
        reloading.attempts(state["attempts"][:10], viewer)
    consents(state, viewer)
    reloading.confirmations(state, cards, card_name(used))


page()
