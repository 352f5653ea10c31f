"""Notices in the app: newest first, unread ones marked, with what they mean and what to do."""

from __future__ import annotations

from typing import Any

import streamlit as st

from credits_core import alerts, messages
from credits_core.auth.person import Person
from credits_core.runtime import get_runtime
from pages.common import paging, session, tables, widgets
from pages.common.formats import Viewer

_CLOSED = "notices_closed"


def words(item: dict[str, Any], viewer: Viewer) -> messages.Message:
    """What a notice or message says, with times in the viewer's zone."""
    base_url = get_runtime().settings.base_url
    return messages.render(item["kind"], item["detail"], base_url=base_url, time_zone=viewer.zone_name)


@widgets.errors_as_sentences
def draw(person: Person, viewer: Viewer) -> None:
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        unread = st.toggle("Unread only", key="unread", bind="query-params")
        if st.button("Mark all as read", icon=":material/done_all:", key="mark_all"):
            alerts.mark_alerts_read(session.database(), person.identity)
            st.rerun()
    place = paging.cursor(f"notices {unread}")
    answer = alerts.alerts(
        session.database(), person.identity, unread_only=bool(unread), limit=paging.PAGE, cursor=place
    )
    rows = answer["items"]
    if not rows:
        with st.container(border=True):
            widgets.empty(
                "Nothing unread" if unread else "No notices yet",
                "Purchases, low balance, failed payments and credits that expire appear here.",
            )
        return
    said = [words(row, viewer) for row in rows]
    states = [{"status": "read" if row["read_at"] else "unread"} for row in rows]
    merged = [row | state for row, state in zip(rows, states, strict=True)]
    picked = (
        tables.Table(merged, viewer)
        .time("Time", "created_at")
        .texts("Notice", [message.title for message in said], width="large")
        .pill("State", "status")
        .draw(
            key=f"notices_{place}_{unread}_{st.session_state.get(_CLOSED, 0)}",
            alt="Notices, the newest first",
            wide=("State",),
            on_select="rerun",
            selection_mode="single-row",
        )
    )
    paging.toolbar(answer["next_cursor"], key="notices")
    if picked.selection.rows:
        notice_dialog(rows[picked.selection.rows[0]])


def _closed() -> None:
    st.session_state[_CLOSED] = st.session_state.get(_CLOSED, 0) + 1


@st.dialog("Notice", width="medium", on_dismiss=_closed)
@widgets.errors_as_sentences
def notice_dialog(item: dict[str, Any]) -> None:
    person, viewer = session.guard(session.EVERYBODY), session.viewer()
    show(words(item, viewer))
    st.caption(viewer.time(item["created_at"]))
    if item["read_at"] is None:
        alerts.mark_alerts_read(session.database(), person.identity, alert_id=item["alert_id"])


def show(message: messages.Message) -> None:
    """A message as it reads: title, sentences, facts, and its button."""
    st.markdown(f"**{widgets.plain(message.title)}**")
    for line in message.lines:
        st.markdown(widgets.plain(line))
    if message.facts:
        widgets.facts(message.facts)
    if message.action:
        widgets.link_button(*message.action)
