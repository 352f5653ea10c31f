"""Feature flags: what is new reaches some accounts first; how many, who by name, and who changed it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from credits_core import accounts, audit, flags
from credits_core.errors import CreditsError
from pages.common import campaigns, flagged, session, tables, trail, widgets

session.guard(session.ADMIN)

SHOWN = "flag"
HISTORY = 20


def finish(done: str) -> None:
    """After a change: everybody's answer is asked again, and the page says what happened."""
    flagged.forget()
    st.session_state["flag_done"] = done
    st.rerun()


def show_list() -> None:
    with widgets.page_header(
        "Feature flags", "What is new reaches some accounts first. Select one to open it."
    ):
        campaigns.new_button("New flag")
    rows = flags.flag_list(session.database(), person.identity)["items"]
    reached = [flags.reach(session.database(), person.identity, row["key"]) for row in rows]
    if not rows:
        with st.container(border=True):
            widgets.empty("No flags yet", "Make one for a feature that some accounts shall have first.")
    else:
        picked = (
            tables.Table(rows, viewer)
            .text("Flag", "key")
            .text("What it is for", "description", width="large")
            .texts("State", ["On" if row["on"] else "Off" for row in rows])
            .texts("Roll-out", [f"{row['percent']}%" for row in rows], alignment="right")
            .texts("Accounts", [_of(found) for found in reached], alignment="right")
            .texts("By name", [viewer.count(len(row["named"])) for row in rows], alignment="right")
            .time("Changed", "changed_at")
            .draw(
                key="flags", alt="Feature flags", wide=("What it is for", "By name", "Changed"),
                on_select="rerun", selection_mode="single-row",
            )
        )  # fmt: skip
        if picked.selection.rows:
            st.query_params[SHOWN] = rows[picked.selection.rows[0]]["key"]
            st.rerun()
    if campaigns.is_new():
        new_dialog()


def _of(found: dict[str, Any]) -> str:
    return f"{viewer.count(found['now'])} of {viewer.count(found['accounts'])}"


@st.dialog("New flag", width="medium", on_dismiss=campaigns.closed)
def new_dialog() -> None:
    person = session.guard(session.ADMIN)
    key = st.text_input("Key", placeholder="new_chart", max_chars=40, key="new_key").strip()
    description = st.text_input("What it is for", max_chars=300, key="new_description").strip()
    st.caption("It starts switched off. Programs ask for it with GET /api/credits/flags.")
    if st.button(
        "Make the flag", type="primary", width="stretch", key="make_flag", disabled=not (key and description)
    ):
        try:
            flags.set_flag(session.database(), person.identity, key, on=False, description=description)
        except CreditsError as error:
            widgets.show_error(error)
            return
        campaigns.closed()
        st.query_params[SHOWN] = key
        finish(f"{key} is made.")


def show_flag(flag: dict[str, Any]) -> None:
    st.button("All flags", icon=":material/chevron_left:", type="tertiary", on_click=st.query_params.clear)
    with widgets.page_header(flag["key"], flag["description"]):
        st.badge("On" if flag["on"] else "Off", color="green" if flag["on"] else "gray")
    left, right = st.columns([1, 1])
    with left, widgets.card("Roll-out"):
        roll_out(flag)
    with right, widgets.card("Accounts by name"):
        named(flag)
    with widgets.card("What was changed"):
        history(flag["key"])


@widgets.errors_as_sentences
def roll_out(flag: dict[str, Any]) -> None:
    on = st.toggle(
        "Switched on", value=flag["on"], key="flag_on", help="Off means off for everybody, named or not."
    )
    percent = st.slider(
        "Per cent of all accounts", 0, 100, flag["percent"], format="%d%%", key="flag_percent"
    )
    reach = flags.reach(session.database(), person.identity, flag["key"], percent=percent, on=on)
    total = viewer.count(reach["accounts"])
    widgets.facts(
        [
            ("Reaches now", f"{viewer.count(reach['now'])} of {total} accounts"),
            ("Would reach", f"{viewer.count(reach['then'])} of {total} accounts"),
        ]
    )
    st.caption(
        "A higher per cent only adds accounts: nobody loses what they have."
        if percent >= flag["percent"]
        else "A lower per cent takes it from the accounts that got it last."
    )
    changed = (on, percent) != (flag["on"], flag["percent"])
    label = f"Roll out to {viewer.count(reach['then'])} accounts" if on else "Switch off for everybody"
    if st.button(label if changed else "Roll out", type="primary", key="roll_out", disabled=not changed):
        flags.set_flag(session.database(), person.identity, flag["key"], on=on, percent=percent)
        finish(f"{flag['key']} reaches {viewer.count(reach['then'])} accounts.")


@widgets.errors_as_sentences
def named(flag: dict[str, Any]) -> None:
    st.caption("These have it, or do not, whatever the per cent says.")
    for row in flag["named"]:
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            who = row["email"] or f"Account {row['account_id']}"
            st.markdown(f"{widgets.plain(who)} · {'on' if row['on'] else 'off'}", width="content")
            if st.button("Remove", key=f"remove_{row['account_id']}", type="tertiary", help=f"Remove {who}"):
                flags.set_flag_account(
                    session.database(), person.identity, flag["key"], row["account_id"], None
                )
                finish(f"For {who} the per cent decides again.")
    account = st.text_input("Account", key="flag_account", placeholder="Number or e-mail").strip()
    with st.container(horizontal=True):
        on = st.button("Switch on for it", key="name_on", disabled=not account)
        off = st.button("Switch off for it", key="name_off", disabled=not account)
    if on or off:
        found = accounts.find_account(session.database(), person.identity, account)
        flags.set_flag_account(session.database(), person.identity, flag["key"], found["account_id"], on)
        finish(f"{flag['key']} is {'on' if on else 'off'} for {found['email'] or account}.")


@widgets.errors_as_sentences
def history(key: str) -> None:
    found = audit.audit(session.database(), person.identity, search=f'"key": "{key}"', limit=HISTORY)
    rows = [row for row in found["items"] if row["action"] in ("set_flag", "set_flag_account")]
    if not rows:
        widgets.empty("Nothing yet", "Each change of this flag appears here with who made it.")
        return
    (
        tables.Table(rows, viewer)
        .time("When", "at")
        .texts("Who", [trail.who(row) for row in rows])
        .texts("What", [trail.change_of_flag(row) for row in rows], width="large")
        .draw(key="flag_history", alt="Changes of this flag, the newest first", wide=("Who",))
    )


person, viewer = session.guard(session.ADMIN), session.viewer()
if done := st.session_state.pop("flag_done", None):
    st.toast(widgets.plain(done), icon=":material/check_circle:")
wanted = st.query_params.get(SHOWN)
shown = [row for row in flags.flag_list(session.database(), person.identity)["items"] if row["key"] == wanted]
if wanted and not shown:
    st.error("There is no such flag; see the list.", icon=":material/error:")
if shown:
    show_flag(shown[0])
else:
    show_list()
