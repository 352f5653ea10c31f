"""Webhook inbox: what Stripe has told, what became of it, and once more where it failed."""

from __future__ import annotations

from typing import Any

import streamlit as st

from credits_core import fulfillment, operations
from credits_core.runtime import get_runtime
from pages.common import exports, paging, session, shell, tables, widgets

session.guard(session.ADMIN)

EVENT = "event"
OUTCOMES = ("processed", "ignored", "failed", "waiting")
_DONE, _CLOSED = "event_done", "events_closed"


def filters() -> dict[str, Any]:
    """The filters of the URL, as arguments of the database's list."""
    with st.container(horizontal=True, vertical_alignment="center"):
        outcome = st.selectbox(
            "Outcome",
            OUTCOMES,
            index=None,
            placeholder="All outcomes",
            format_func=widgets.status_label,
            key="outcome",
            label_visibility="collapsed",
            bind="query-params",
            width=170,
        )
        kind = st.text_input(
            "Type",
            key="type",
            placeholder="Type, such as charge.refunded",
            label_visibility="collapsed",
            bind="query-params",
            width=250,
        )
        search = st.text_input(
            "Search",
            key="q",
            placeholder="Id of an event or object",
            type="search",
            label_visibility="collapsed",
            icon=":material/search:",
            bind="query-params",
            width=260,
        )
    return {
        "outcome": outcome,
        "type": (kind or "").strip() or None,
        "search": (search or "").strip() or None,
    }


def _closed() -> None:
    st.query_params.pop(EVENT, None)
    st.session_state[_CLOSED] = st.session_state.get(_CLOSED, 0) + 1


@st.dialog("Stripe event", width="large", on_dismiss=_closed)
@widgets.errors_as_sentences
def event_dialog(event_id: str) -> None:
    somebody, viewer = session.guard(session.ADMIN), session.viewer()
    event = operations.stripe_event(session.database(), somebody.identity, event_id)
    widgets.facts(
        [
            ("Event", event["event_id"]),
            ("Type", event["type"]),
            ("Object", event["object_id"] or "–"),
            (
                "Received",
                f"{viewer.time(event['received_at'])} · received {viewer.many(event['deliveries'], 'time')}",
            ),
            ("Outcome", widgets.status_label(event["outcome"])),
        ]
    )
    if event["error"]:
        st.error(widgets.plain(event["error"]), icon=":material/error:")
    if event["pruned_at"]:
        st.info(
            f"What it said was removed on {viewer.time(event['pruned_at'])}: it was processed long before. Its id stays, so"
            " that it is not processed twice.",
            icon=":material/inventory_2:",
        )
        return
    if st.button(
        "Process again", icon=":material/replay:", type="primary", width="stretch", key="event_again"
    ):
        with st.spinner("Reading Stripe again"):
            done = fulfillment.process_again(get_runtime(), somebody.identity, event_id)
        st.session_state[_DONE] = f"{event['type']}: {done['outcome']}."
        _closed()
        st.rerun()
    st.caption(
        "Harmless, any number of times: Stripe's object is read anew, and nothing is credited or taken twice."
    )
    st.json(event["payload"], expanded=2)


person, viewer = session.guard(session.ADMIN), session.viewer()
with widgets.page_header(
    "Webhook inbox", "What Stripe has told. What no event told of is asked for by jobs."
):
    toolbar = st.container(horizontal=True, vertical_alignment="center")
chosen = filters()
with toolbar:
    if shell.is_test_mode():
        st.badge("Test events", icon=":material/science:", color="orange")
    filtered = {"status": chosen["outcome"], "kind": chosen["type"], "search": chosen["search"]}
    exports.menu("stripe_events", viewer, key="export", **filtered)
place = paging.cursor(f"events {chosen}")
answer = operations.stripe_events(
    session.database(), person.identity, **chosen, limit=paging.PAGE, cursor=place
)
rows = answer["items"]
if not rows:
    with st.container(border=True):
        if any(chosen.values()):
            known = ", ".join(answer["types"][:8])
            widgets.empty(
                "No events match",
                f"Clear the filters. Types that came lately: {known}" if known else "Clear the filters.",
            )
        else:
            widgets.empty(
                "Stripe has told nothing yet",
                "Events arrive once Stripe's webhook points here; purchases are credited without them, too.",
            )
else:
    picked = (
        tables.Table(rows, viewer)
        .time("Received", "received_at", seconds=True)
        .text("Type", "type", width="medium")
        .pill("Outcome", "outcome")
        .text("Object", "object_id")
        .count("Deliveries", "deliveries")
        .text("Event", "event_id")
        .texts("Problem", [row["error"] or "" for row in rows])
        .draw(
            key=f"events_{place}_{chosen}_{st.session_state.get(_CLOSED, 0)}",
            alt="Stripe events, the newest first; select one to see its payload",
            wide=("Object", "Deliveries", "Event", "Problem"),
            on_select="rerun",
            selection_mode="single-row",
        )
    )
    paging.toolbar(answer["next_cursor"], key="events")
    if picked.selection.rows:
        st.query_params[EVENT] = rows[picked.selection.rows[0]]["event_id"]
if EVENT in st.query_params:
    event_dialog(st.query_params[EVENT])
if told := st.session_state.pop(_DONE, None):
    st.toast(widgets.plain(told), icon=":material/check_circle:")
