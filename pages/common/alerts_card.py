"""The newest unread notices on the overview, with the way to all of them."""

from __future__ import annotations

import streamlit as st

from credits_core import alerts
from credits_core.auth.person import Person
from pages.common import notices, session, widgets
from pages.common.formats import Viewer

SHOWN = 3


@widgets.errors_as_sentences
def card(person: Person, viewer: Viewer) -> None:
    """Drawn only where there is something unread."""
    found = alerts.alerts(session.database(), person.identity, unread_only=True, limit=SHOWN)
    if not found["items"]:
        return
    with widgets.card("Alerts") as toolbar:
        with toolbar():
            if st.button("Mark all as read", icon=":material/done_all:", type="tertiary", key="alerts_read"):
                alerts.mark_alerts_read(session.database(), person.identity)
                st.rerun()
            st.page_link(
                "account/notifications.py",
                label="All",
                icon=":material/chevron_right:",
                icon_position="right",
            )
        for item in found["items"]:
            title = widgets.plain(notices.words(item, viewer).title)
            st.markdown(f":material/notifications: {title} :gray[{viewer.time(item['created_at'])}]")
