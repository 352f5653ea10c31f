"""Lists paged by key: the database answers one page and where the next begins; the place stands in the URL."""

from __future__ import annotations

import streamlit as st

AFTER = "after"
PAGE = 25
_TRAIL = (
    "paging_trail"  # where this tab came through; without it (a shared link) only the newest page is offered
)


def cursor(signature: str) -> str | None:
    """The place of the shown page. `signature` names list and filters: another one starts at the newest again."""
    trail = st.session_state.setdefault(_TRAIL, {})
    if trail.get("of") not in (None, signature):
        st.query_params.pop(AFTER, None)
        trail["before"] = []
    trail["of"] = signature
    return st.query_params.get(AFTER)


def toolbar(next_cursor: str | None, *, key: str) -> None:
    """Newest, newer, older: only what leads somewhere can be pressed."""
    here = st.query_params.get(AFTER)
    before: list[str | None] = st.session_state.setdefault(_TRAIL, {}).setdefault("before", [])
    if here is None and next_cursor is None:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", width="content"):
        st.button(
            "Newest",
            icon=":material/first_page:",
            key=f"{key}_newest",
            type="tertiary",
            disabled=here is None,
            on_click=_go,
            args=(None, []),
        )
        st.button(
            "Newer",
            icon=":material/chevron_left:",
            key=f"{key}_newer",
            type="tertiary",
            disabled=not before,
            on_click=_go,
            args=(before[-1] if before else None, before[:-1]),
        )
        st.button(
            "Older",
            icon=":material/chevron_right:",
            icon_position="right",
            key=f"{key}_older",
            type="tertiary",
            disabled=next_cursor is None,
            on_click=_go,
            args=(next_cursor, [*before, here]),
        )


def _go(place: str | None, before: list[str | None]) -> None:
    st.session_state[_TRAIL]["before"] = before
    if place is None:
        st.query_params.pop(AFTER, None)
    else:
        st.query_params[AFTER] = place
