"""A dialog that writes is open while the URL holds its key, and that key is the idempotency key of the write.

When a restarted server gets the click once more, the browser still sends the same key, and the database answers with
the first result. An address somebody made up opens nothing.
"""

from __future__ import annotations

import re
import uuid

import streamlit as st

_VALID = re.compile(r"[0-9a-f]{32}")
_TOLD = "told_after"


def begin(name: str) -> None:
    """Open the dialog `name` with a new key."""
    st.query_params[name] = uuid.uuid4().hex


def end(name: str) -> None:
    st.query_params.pop(name, None)


def key(name: str) -> str | None:
    """The key of what is being entered in the dialog `name`; None while it is closed."""
    found = st.query_params.get(name, "")
    return found if _VALID.fullmatch(found) else None


def tell(text: str) -> None:
    """Say something once the page is drawn again."""
    st.session_state[_TOLD] = text


def told() -> str | None:
    """What was left to be said, once."""
    text: str | None = st.session_state.pop(_TOLD, None)
    return text
