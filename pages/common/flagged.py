"""Features that are behind a flag: whether one is switched on for who is looking."""

from __future__ import annotations

import streamlit as st

from credits_core import flags
from credits_core.auth.person import Person
from credits_core.db.port import Identity
from credits_core.errors import CreditsError
from pages.common import session

SECONDS = 15  # how long a page may go on as it was after a flag was switched elsewhere


@st.cache_data(ttl=SECONDS, max_entries=10_000, show_spinner=False)
def _flags_of(user_id: str, _identity: Identity) -> dict[str, bool]:  # noqa: ARG001 - the key of the cache
    """The cache is everybody's: the person is its key, so that nobody gets another account's answer."""
    return flags.flags(session.database(), _identity)


def is_on(person: Person, flag: str) -> bool:
    """Whether a feature is there for this person; one that nobody defined is not."""
    return _flags_of(person.user_id, person.identity).get(flag, False)


def is_known_to_be_on(person: Person, flag: str) -> bool:
    """The same for the menu, which is there while the database does not answer; what is not known is left out of it."""
    try:
        return is_on(person, flag)
    except CreditsError:
        return False


def guard(person: Person, flag: str) -> None:
    """Ends the run with a sentence where the feature is not there; for pages, after session.guard."""
    if not is_on(person, flag):
        st.title("Not open yet", anchor=False)
        st.info(
            "This page is not open for your account yet. Choose one from the menu.",
            icon=":material/schedule:",
        )
        st.stop()


def forget() -> None:
    """After a flag was switched here: ask again, for everybody."""
    _flags_of.clear()
