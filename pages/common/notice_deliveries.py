"""Deliveries: every message with what became of it; what it said, all attempts, and sending it again."""

from __future__ import annotations

import json
from typing import Any

import streamlit as st

from credits_core import customer_webhooks, notifications
from credits_core.auth.person import Person
from pages.common import notices, paging, session, tables, widgets
from pages.common.formats import Viewer, words

CHANNELS = {"email": "E-mail", "chat": "Chat", "webhook": "Webhook"}
STATUSES = ("waiting", "sent", "not_sent", "gave_up")
_CLOSED = "deliveries_closed"


@widgets.errors_as_sentences
def draw(person: Person, viewer: Viewer) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        channel = st.selectbox(
            "Channel",
            list(CHANNELS),
            index=None,
            placeholder="Any channel",
            format_func=lambda name: CHANNELS[name],
            key="by",
            label_visibility="collapsed",
            bind="query-params",
            width=170,
        )
        status = st.selectbox(
            "Status",
            STATUSES,
            index=None,
            placeholder="Any status",
            format_func=widgets.status_label,
            key="status",
            label_visibility="collapsed",
            bind="query-params",
            width=170,
        )
        if st.button("Refresh", icon=":material/refresh:", key="refresh_deliveries"):
            st.rerun()
    place = paging.cursor(f"deliveries {channel} {status}")
    answer = notifications.deliveries(
        session.database(), person.identity, channel=channel, status=status, limit=paging.PAGE, cursor=place
    )
    rows = answer["items"]
    if not rows:
        with st.container(border=True):
            widgets.empty(
                "No messages match", "Clear the filters, or send a test message from the other two parts."
            )
        return
    picked = (
        tables.Table(rows, viewer)
        .time("Time", "created_at")
        .texts("Message", [notices.words(row, viewer).title for row in rows], width="medium", phone_width=130)
        .texts("Channel", [CHANNELS[row["channel"]] for row in rows])
        .text("To", "target")
        .pill("Status", "status")
        .texts("Last answer", [_last(row) for row in rows], width="medium")
        .count("Attempts", "attempts")
        .draw(
            key=f"deliveries_{place}_{channel}_{status}_{st.session_state.get(_CLOSED, 0)}",
            alt="Messages, the newest first",
            wide=("Channel", "To", "Last answer", "Attempts"),
            on_select="rerun",
            selection_mode="single-row",
        )
    )
    paging.toolbar(answer["next_cursor"], key="deliveries")
    if picked.selection.rows:
        delivery_dialog(rows[picked.selection.rows[0]]["message_id"])


def _last(row: dict[str, Any]) -> str:
    last = row["last"] or {}
    return row["reason"] or (f"{last['status_code']}" if last.get("status_code") else "")


def _closed() -> None:
    st.session_state[_CLOSED] = st.session_state.get(_CLOSED, 0) + 1


@st.dialog("Message", width="large", on_dismiss=_closed)
@widgets.errors_as_sentences
def delivery_dialog(message_id: str) -> None:
    person, viewer = session.guard(session.EVERYBODY), session.viewer()
    found = notifications.delivery(session.database(), person.identity, message_id)
    facts = [
        ("To", f"{CHANNELS[found['channel']]} · {found['target'] or '–'}"),
        ("Status", widgets.status_label(found["status"])),
        ("Message id", found["message_id"]),
    ]
    if found["reason"]:
        facts.append(("Reason", found["reason"]))
    if found["next_at"]:
        facts.append(("Next attempt", viewer.time(found["next_at"])))
    widgets.facts(facts)
    if found["channel"] == "webhook":
        body = customer_webhooks.payload(found)
        st.code(json.dumps(json.loads(body), indent=2, ensure_ascii=False), language="json", wrap_lines=True)
    else:
        with st.container(border=True):
            notices.show(notices.words(found, viewer))
    if found["tries"]:
        _attempts(found["tries"], viewer)
    if st.button("Send again", icon=":material/send:", key="resend", width="stretch"):
        notifications.resend(session.database(), person.identity, message_id)
        st.session_state["notice_done"] = "It is sent again now, under the same id."
        _closed()
        st.rerun()


def _attempts(tries: list[dict[str, Any]], viewer: Viewer) -> None:
    st.markdown("**Attempts**")
    (
        tables.Table(tries, viewer)
        .time("At", "at")
        .texts("Outcome", [words(one["outcome"] or "under way") for one in tries])
        .texts("Answer", [str(one["status_code"] or "") for one in tries])
        .texts(
            "Took", [f"{one['duration_ms']} ms" if one["duration_ms"] is not None else "" for one in tries]
        )
        .texts("What was said", [one["error"] or one["response"] or "" for one in tries], width="medium")
        .draw(key="attempts", alt="Attempts of this message, the newest first", wide=("Answer", "Took"))
    )
