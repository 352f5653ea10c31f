"""Who is looking at this page: asked on every run and in every fragment, never remembered.

`st.context.cookies` is frozen at the socket's start, so whether its session still counts must be asked each time;
session_state would keep a signed-out person signed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from credits_core.auth.person import Person, current_identity
from credits_core.db.port import Database
from credits_core.runtime import get_runtime
from pages.common import sign_in
from pages.common.formats import Viewer

EVERYBODY = ("holder", "finance", "admin", "super_admin")
FINANCE = ("finance", "admin", "super_admin")
ADMIN = ("admin", "super_admin")


def database() -> Database:
    return get_runtime().db


def cookies() -> dict[str, str]:
    """What the browser sent when it opened this page. The one place that reads it, so that tests can sign in."""
    return st.context.cookies.to_dict()


def user_agent() -> str:
    return st.context.headers.get("User-Agent", "")


def guard(roles: Sequence[str]) -> Person:
    """The person, if they may be here; otherwise the sign-in page or a refusal, and the run ends.

    First statement of every page and of every fragment: fragments run without the main script.
    """
    person = current_identity(cookies())
    if person is None:
        sign_in.show()
        st.stop()
    if person.role not in roles:
        refuse()
    return person


def refuse() -> NoReturn:
    st.title("Not for your role", anchor=False)
    st.error(
        "You may not see this page. Choose one from the menu, or ask an administrator for access.",
        icon=":material/lock:",
    )
    st.stop()


def viewer() -> Viewer:
    """The browser's zone, language, colour scheme and kind; UTC and English when it did not say."""
    try:
        zone = ZoneInfo(st.context.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        zone = ZoneInfo("UTC")
    language, *more = (st.context.locale or "en").split("-")
    region = next((part.upper() for part in more if len(part) == 2), "")  # of zh-Hant-TW: TW
    theme, phone = st.context.theme.type, "Mobi" in user_agent()
    return Viewer(zone, language.lower(), dark=theme == "dark", phone=phone, region=region)
