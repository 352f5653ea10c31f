"""Saved cards that can be charged now, as the pages that sell need them: asked of Stripe seldom, and never a reason to fail."""

from __future__ import annotations

import time

import streamlit as st

from credits_core import card_payments, saved_cards
from credits_core.auth.person import Person
from credits_core.errors import CreditsError
from credits_core.runtime import get_runtime
from credits_core.stripe_states import SavedCard
from pages.common.formats import Viewer

FRESH_SECONDS = 60
_KEPT = "saved_cards"


def usable(person: Person, viewer: Viewer) -> list[SavedCard]:
    """The person's cards that have not expired, the default one first; none where a card cannot be charged at once, or while Stripe
    does not answer.

    A tab asks at most once a minute, also while nobody answers: a page that sells must not wait for that at each click. The way to
    a new card leads over Stripe's page, and back from there everything is asked anew.
    """
    if not card_payments.is_offered(get_runtime().stripe):
        return []
    kept = st.session_state.get(_KEPT)
    if kept is None or kept[0] != person.user_id or time.monotonic() - kept[1] > FRESH_SECONDS:
        try:
            found = saved_cards.saved(get_runtime(), person.identity)[1]
        except CreditsError:
            found = []
        kept = (person.user_id, time.monotonic(), found)
        st.session_state[_KEPT] = kept
    return [card for card in kept[2] if not card.expired(viewer.today())]


def forget() -> None:
    """Ask anew the next time: a card was taken away."""
    st.session_state.pop(_KEPT, None)
