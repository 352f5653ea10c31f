"""API keys: make one, see it once, cap it, end it."""

from __future__ import annotations

import datetime as dt
import re
import uuid
from typing import Any, get_args

import streamlit as st

from credits_core import api_keys, limits
from credits_core.auth.person import Person
from credits_core.errors import CreditsError
from credits_core.runtime import get_runtime
from credits_core.units import parse_credits
from pages.common import limits_card, session, tables, widgets
from pages.common.formats import Viewer

session.guard(session.EVERYBODY)

NEW = "new"  # in the URL while a key is being made: the idempotency key of making it
REVOKE = "revoke"  # in the URL while somebody is asked whether to revoke it: the key's id
_VALID_KEY = re.compile(r"[0-9a-f]{32}")
SCOPES = {
    "read": "See balance, calls, transactions and figures",
    "use": "Charge use and carry calls",
    "hold": "Hold credits for work, then charge or release them",
    "purchase": "Start purchases and see saved cards",
    "admin": "Everything an administrator may do",
}
EXPIRES = {"Never": None, "30 days": 30, "90 days": 90, "1 year": 365}


def curl(key: str) -> str:
    """A first request that works as it stands."""
    return (
        f'curl {get_runtime().settings.base_url}/api/credits/balance \\\n  -H "Authorization: Bearer {key}"'
    )


def _open() -> None:
    st.query_params[NEW] = uuid.uuid4().hex


def _close() -> None:
    st.session_state.pop(f"made_{st.query_params.get(NEW)}", None)  # the key is gone from here, too
    st.query_params.pop(NEW, None)


def scopes_for(person: Person) -> list[str]:
    """Scopes this person may give to a key."""
    known = list(get_args(api_keys.Scope))
    return known if person.role in session.ADMIN else [scope for scope in known if scope != "admin"]


@st.dialog("New API key", width="medium", on_dismiss=_close)
def new_dialog(request: str) -> None:
    """Asks what the key is for; then the key itself, in the same place."""
    person = session.guard(session.EVERYBODY)
    if made := st.session_state.get(f"made_{request}"):
        show_once(made)
        return
    try:
        made = form(person, request)
    except CreditsError as error:
        widgets.show_error(error)
        return
    if made is not None:
        st.session_state[f"made_{request}"] = made
        st.rerun()  # the dialog is open as long as the URL says so: it is drawn anew with the key


def form(person: Person, request: str) -> dict[str, Any] | None:
    """The new key, once the button is pressed."""
    name = st.text_input(
        "Name", placeholder="What will use it, for example Phone system", max_chars=80, key="key_name"
    )
    st.markdown("**What it may do**")
    scopes = [
        scope
        for scope in scopes_for(person)
        if st.checkbox(f"{scope}: {SCOPES[scope]}", value=scope == "read", key=f"scope_{scope}")
    ]
    expires = st.segmented_control(
        "Expires", list(EXPIRES), default="Never", required=True, key="key_expires"
    )
    with st.container(horizontal=True):
        caps = {
            period: st.text_input(f"Cap {words}", placeholder="No cap", max_chars=20, key=f"key_cap_{period}")
            for period, words in limits_card.PERIODS.items()
        }
    ready = bool(name and name.strip() and scopes)
    pressed = st.button("Make key", type="primary", width="stretch", key="key_make", disabled=not ready)
    if not ready:
        st.caption("Give it a name and at least one thing it may do.")
    if not pressed or not name:
        return None
    wanted = {
        period: parse_credits(text) for period, text in caps.items() if text and text.strip()
    }  # before there is a key
    made = make(person, request, name.strip(), scopes, EXPIRES[expires or "Never"])
    for period, cap in wanted.items():
        limits.set_cap(session.database(), person.identity, period, cap, api_key_id=made["api_key_id"])
    return made


def make(person: Person, request: str, name: str, scopes: list[Any], days: int | None) -> dict[str, Any]:
    """The key of this request; asked again after a lost answer it is the same key, but not shown again."""
    today = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return api_keys.create_api_key(
        session.database(),
        person.identity,
        name,
        scopes,
        livemode=get_runtime().settings.stripe_live,
        expires_at=today + dt.timedelta(days=days + 1) if days else None,  # whole days: the same all day long
        idempotency_key=f"page-{request}",
    )


def show_once(made: dict[str, Any]) -> None:
    """The key itself, this one time."""
    if made["key"] is None:
        st.warning(
            "This key was made and shown already. If nobody copied it, revoke it and make another.",
            icon=":material/key_off:",
        )
        return
    st.success("**Copy the key now.** It is not stored and cannot be shown again.", icon=":material/key:")
    st.code(made["key"], language=None, wrap_lines=True)
    st.markdown("**Try it**")
    st.code(curl(made["key"]), language=None, wrap_lines=True)
    if st.button("Done, I have copied it", type="primary", width="stretch", key="key_done"):
        _close()
        st.rerun()


def _ask_to_revoke(api_key_id: int) -> None:
    st.query_params[REVOKE] = str(api_key_id)


def _keep() -> None:
    st.query_params.pop(REVOKE, None)


@st.dialog("Revoke this key?", width="small", on_dismiss=_keep)
def revoke_dialog(key: dict[str, Any]) -> None:
    person = session.guard(session.EVERYBODY)
    st.write(
        f"Programs that use **{widgets.plain(key['name'])}** ({widgets.plain(key['prefix'])}…) are refused from this moment on. "
        "A revoked key does not come back."
    )
    if st.button(
        "Revoke the key", type="primary", width="stretch", icon=":material/key_off:", key="revoke_confirm"
    ):
        try:
            api_keys.revoke_api_key(session.database(), person.identity, key["api_key_id"])
        except CreditsError as error:
            widgets.show_error(error)
            return
        st.session_state["key_revoked"] = f"{key['name']} is revoked."
        _keep()
        st.rerun()


def cap_texts(rows: list[dict[str, Any]], person: Person, viewer: Viewer) -> list[str]:
    """For each key what it may spend: `5.00 a day, 50.00 a month`."""
    found = limits.limits(session.database(), person.identity)["caps"]
    caps: dict[int, list[str]] = {row["api_key_id"]: [] for row in rows}
    for cap in found:
        if cap["api_key_id"] in caps:
            caps[cap["api_key_id"]].append(
                f"{viewer.credits(cap['cap_micros'])} {limits_card.PERIODS[cap['period']]}"
            )
    return [", ".join(caps[row["api_key_id"]]) or "No cap" for row in rows]


def key_table(rows: list[dict[str, Any]], person: Person, viewer: Viewer) -> dict[str, Any] | None:
    """The keys; answers the one that is ticked."""
    picked = (
        tables.Table(rows, viewer)
        .text("Name", "name")
        .texts("Key", [f"{row['prefix']}…" for row in rows])
        .pill("Status", "status")
        .texts("May", [", ".join(row["scopes"]) for row in rows])
        .texts("Cap", cap_texts(rows, person, viewer))
        .texts(
            "Last used",
            [viewer.time(row["last_used_at"]) if row["last_used_at"] else "Never" for row in rows],
        )
        .texts("Expires", [viewer.time(row["expires_at"]) if row["expires_at"] else "Never" for row in rows])
        .time("Made", "created_at")
        .draw(
            key=f"keys_{st.session_state.get('keys_shown', 0)}",
            alt="API keys, the newest first",
            wide=("Key", "May", "Cap", "Expires", "Made"),
            on_select="rerun",
            selection_mode="single-row",
        )
    )
    chosen = picked.selection.rows
    return rows[chosen[0]] if chosen and chosen[0] < len(rows) else None


def key_card(key: dict[str, Any]) -> None:
    """What can be done with the ticked key."""
    with widgets.card(widgets.plain(key["name"])):
        widgets.facts([("Key", f"{key['prefix']}…"), *[(scope, SCOPES[scope]) for scope in key["scopes"]]])
        with st.container(horizontal=True):
            off, number = key["status"] == "revoked", key["api_key_id"]
            limits_card.caps_button("Set caps", str(number), key="key_caps", disabled=off)
            st.button(
                "Revoke", icon=":material/key_off:", key="revoke", disabled=off, on_click=_ask_to_revoke, args=(number,)
            )  # fmt: skip


def open_dialog(rows: list[dict[str, Any]]) -> None:
    """The one that the URL asks for."""
    request = st.query_params.get(NEW, "")
    by_id = {str(row["api_key_id"]): row for row in rows if row["status"] != "revoked"}
    revoked, capped = (by_id.get(st.query_params.get(what, "")) for what in (REVOKE, limits_card.CAPS))
    if _VALID_KEY.fullmatch(request):
        new_dialog(request)
    elif revoked:
        revoke_dialog(revoked)
    elif capped:
        limits_card.caps_dialog(capped["api_key_id"], f"the key {capped['name']}")


@widgets.errors_as_sentences
def page(person: Person, viewer: Viewer) -> None:
    rows = api_keys.api_keys(session.database(), person.identity)["items"]
    if not rows:
        with st.container(border=True):
            widgets.empty(
                "No API keys yet", "Make one, and your programs can use your credits. A first request:"
            )
            st.code(curl("YOUR_KEY"), language=None, wrap_lines=True)
    else:
        picked = key_table(rows, person, viewer)
        if picked:
            key_card(picked)
        else:
            st.caption("Tick a key to cap or revoke it.")
        limits_card.card(person, viewer, rows)
    with st.expander("What each scope may do"):
        widgets.facts([(scope, SCOPES[scope]) for scope in scopes_for(person)])
    open_dialog(rows)


person, viewer = session.guard(session.EVERYBODY), session.viewer()
limits_card.toast_after()
if said := st.session_state.pop("key_revoked", None):
    st.toast(widgets.plain(said), icon=":material/check_circle:")
with widgets.page_header("API keys", "Keys for your programs. Each does only what you allow it."):
    st.link_button("API documentation", "/api/docs", icon=":material/menu_book:", type="tertiary")
    st.button("New key", icon=":material/add:", type="primary", on_click=_open, key="new_key")
page(person, viewer)
