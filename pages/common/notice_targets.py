"""Webhooks to the own system and chat rooms: add, test, switch, change the secret, remove.

The form to add one is open while the URL holds `add`, and that value is its idempotency key: a click that is sent twice makes
one webhook. A secret is shown in the form that made it, and nowhere else.
"""

from __future__ import annotations

import re
import uuid
from typing import Any

import streamlit as st

from credits_core import notifications
from credits_core.auth.person import Person
from credits_core.runtime import get_runtime
from pages.common import session, widgets
from pages.common.formats import Viewer

ADD, CHANNEL = "add", "channel"
LAST = 3  # deliveries shown with each connection
_VALID_KEY = re.compile(r"[0-9a-f]{32}")
_MADE = "notice_target_made"


@widgets.errors_as_sentences
def draw(person: Person, viewer: Viewer) -> None:
    found = notifications.settings(session.database(), person.identity)
    names = {kind["kind"]: kind["name"] for kind in found["kinds"]}
    with st.container(horizontal=True):
        st.button("Add webhook", icon=":material/webhook:", type="primary", on_click=_open, args=("webhook",))
        st.button("Add chat room", icon=":material/forum:", on_click=_open, args=("chat",))
    if not found["targets"]:
        with st.container(border=True):
            widgets.empty(
                "Nothing is connected yet",
                "A webhook tells your own system as it happens, signed; a chat room tells your team.",
            )
    for target in found["targets"]:
        _card(person, viewer, target, names)
    key = st.query_params.get(ADD, "")
    if secret := st.session_state.get(_MADE):
        secret_dialog(secret)
    elif _VALID_KEY.fullmatch(key):
        add_dialog(key, "chat" if st.query_params.get(CHANNEL) == "chat" else "webhook", names)


def _open(channel: str) -> None:
    st.query_params[ADD] = uuid.uuid4().hex
    st.query_params[CHANNEL] = channel


def _close() -> None:
    for name in (ADD, CHANNEL):
        st.query_params.pop(name, None)


def _card(person: Person, viewer: Viewer, target: dict[str, Any], names: dict[str, str]) -> None:
    number = target["target_id"]
    with widgets.card(widgets.plain(target["name"]), key=f"target_{number}") as toolbar:
        with toolbar():
            st.badge("Webhook" if target["channel"] == "webhook" else "Chat room", color="blue")
            st.badge("On" if target["is_on"] else "Off", color="green" if target["is_on"] else "gray")
        kinds = ", ".join(names.get(kind, kind) for kind in target["kinds"]) or "Everything"
        last = notifications.deliveries(session.database(), person.identity, target_id=number, limit=LAST)
        widgets.facts(
            [
                ("Address", target["address"]),
                ("Sends", kinds),
                *_health(target, viewer),
                *((viewer.time(item["created_at"]), _outcome(item)) for item in last["items"]),
            ]
        )
        if target["off_reason"]:
            st.warning(f"Switched off. {widgets.plain(target['off_reason'])}", icon=":material/warning:")
        with st.container(horizontal=True):
            _buttons(person, target)


def _outcome(item: dict[str, Any]) -> str:
    """What became of a message: its status, the receiver's answer and how long it took."""
    last = item["last"] or {}
    code = f" · {last['status_code']}" if last.get("status_code") else ""
    took = f" · {last['duration_ms']} ms" if last.get("duration_ms") is not None else ""
    return widgets.status_label(item["status"]) + code + took


def _health(target: dict[str, Any], viewer: Viewer) -> list[tuple[str, str]]:
    rows = []
    if target["failures"]:
        since = viewer.time(target["failing_since"])
        rows.append(("Failing", f"{viewer.count(target['failures'])} × in a row, since {since}"))
    if target["old_secret_until"]:
        rows.append(("Old secret signs until", viewer.time(target["old_secret_until"])))
    return rows


def _buttons(person: Person, target: dict[str, Any]) -> None:
    database, number = session.database(), target["target_id"]
    if target["is_on"] and st.button("Send a test", icon=":material/send:", key=f"test_{number}"):
        notifications.send_test(database, person.identity, target_id=number)
        _done("The test message is on its way; see Deliveries.")
    label = "Switch off" if target["is_on"] else "Switch on"
    if st.button(label, icon=":material/power_settings_new:", key=f"switch_{number}"):
        notifications.change_target(database, person.identity, number, is_on=not target["is_on"])
        _done(f"{target['name']} is {'off' if target['is_on'] else 'on'}.")
    if target["channel"] == "webhook":
        with st.popover("Change secret", icon=":material/key:"):
            st.caption("Both secrets sign for a day, so that you can change over.")
            if st.button("Make a new secret", type="primary", key=f"rotate_{number}"):
                changed = notifications.rotate_secret(get_runtime(), person.identity, number)
                st.session_state[_MADE] = changed["secret"]
                st.rerun()
    with st.popover("Remove", icon=":material/delete:"):
        st.caption("Nothing more is sent there. What was sent stays listed.")
        if st.button("Remove it", type="primary", key=f"remove_{number}"):
            notifications.remove_target(database, person.identity, number)
            _done(f"{target['name']} was removed.")


@st.dialog("Connect", width="medium", on_dismiss=_close)
def add_dialog(key: str, channel: str, names: dict[str, str]) -> None:
    person = session.guard(session.EVERYBODY)
    webhook = channel == "webhook"
    with st.form("add_target", border=False):
        name = st.text_input("Name", max_chars=80, placeholder="Our dialer" if webhook else "Team room")
        address = st.text_input(
            "Address of your system" if webhook else "Address of the room",
            placeholder="https://example.com/credits" if webhook else "https://hooks.slack.com/services/…",
            type="default" if webhook else "password",
            help="It must be https and on the internet; each message is signed."
            if webhook
            else "The room's webhook address: Slack, Discord, Google Chat, Microsoft Teams; or an Apprise address of "
            "Telegram, Webex or Pushover.",
        )
        kinds = st.multiselect(
            "What is sent", list(names), format_func=lambda kind: names[kind], placeholder="Everything"
        )
        sent = st.form_submit_button("Connect", type="primary", width="stretch")
    if sent:
        _add(person, key, webhook, name or "", address or "", kinds)


@widgets.errors_as_sentences
def _add(person: Person, key: str, webhook: bool, name: str, address: str, kinds: list[str]) -> None:
    add = notifications.add_webhook if webhook else notifications.add_chat
    made = add(get_runtime(), person.identity, name, address, kinds=kinds, idempotency_key=f"page-{key}")
    _close()
    if webhook and made["secret"]:
        st.session_state[_MADE] = made["secret"]
    else:
        st.session_state["notice_done"] = f"{made['name']} is connected."
    st.rerun()


def _forget() -> None:
    st.session_state.pop(_MADE, None)


@st.dialog("Signing secret", width="medium", on_dismiss=_forget)
def secret_dialog(secret: str) -> None:
    session.guard(session.EVERYBODY)
    st.markdown("Store it where your system keeps secrets. **It is not shown again.**")
    st.code(secret, language=None, wrap_lines=True)
    st.caption(
        "Messages follow the Standard Webhooks format: any of its libraries verifies them with this secret. "
        "Answer 200 to 299 within ten seconds; a message may arrive twice, with the same webhook-id."
    )
    if st.button("I have stored it", type="primary", width="stretch", key="secret_stored"):
        _forget()
        st.rerun()


def _done(text: str) -> None:
    st.session_state["notice_done"] = text
    st.rerun()
