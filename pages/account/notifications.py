"""Alerts and webhooks: what happened, what is sent where, and what became of each message."""

from __future__ import annotations

import streamlit as st

from pages.common import notice_channels, notice_deliveries, notice_targets, notices, session, widgets

session.guard(session.EVERYBODY)

PARTS = {
    "Notices": notices.draw,
    "E-mail": notice_channels.draw,
    "Connections": notice_targets.draw,
    "Deliveries": notice_deliveries.draw,
}

person, viewer = session.guard(session.EVERYBODY), session.viewer()
with widgets.page_header(
    "Alerts and webhooks", "What you are told, where it is sent, and whether it arrived."
):
    pass
part = st.segmented_control(
    "Part",
    list(PARTS),
    default="Notices",
    required=True,
    key="part",
    label_visibility="collapsed",
    bind="query-params",
)
PARTS[part or "Notices"](person, viewer)
if done := st.session_state.pop("notice_done", None):
    st.toast(widgets.plain(done), icon=":material/check_circle:")
