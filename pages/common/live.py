"""A running call as people watch it: what it has cost, how long it can last, and what pays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from credits_core import calls
from credits_core.auth.person import Person
from credits_core.runtime import get_runtime
from pages.common import explain, session, tables, widgets
from pages.common.formats import Viewer, duration, plotted

DEMO = "demo_call"  # marks a call that this page carries itself, in test mode
SILENT_SECONDS = 90
CHOSEN = "call"
ICONS = {"low": ":material/timer:", "ending": ":material/notifications_active:", "end": ":material/call_end:"}


def is_demo(call: Mapping[str, Any]) -> bool:
    """Whether the page carries this call. Never where cards are charged."""
    return get_runtime().settings.simulator and bool((call["metadata"] or {}).get(DEMO))


def look(person: Person) -> dict[str, Any]:
    """What runs now, in one call of the database. A demo call is carried on the way, as its program would: heard of, and ended when
    its time is up."""
    seen = calls.live_calls(session.database(), person.identity)
    demos = [call for call in seen["items"] if is_demo(call)]
    for call in demos:
        answer = calls.heartbeat(session.database(), person.identity, call["call_id"])
        if answer["status"] == "end":
            calls.end_call(session.database(), person.identity, call["call_id"], reason="out_of_credits")
    return calls.live_calls(session.database(), person.identity) if demos else seen


def warning(call: Mapping[str, Any]) -> None:
    """What the call is told at its thresholds, told to people."""
    low, ending = (
        duration(call["low_seconds"]).removeprefix("0"),
        duration(call["ending_seconds"]).removeprefix("0"),
    )
    if call["level"] == "low":
        st.warning(
            f"**Less than {low} minutes of talk time are left.** Top up and the call goes on.",
            icon=ICONS["low"],
        )
    elif call["level"] == "ending":
        st.error(
            f"**The call ends in less than {ending} minutes.** Top up now to keep it.", icon=ICONS["ending"]
        )
    elif call["level"] == "end":
        st.error(
            "**The talk time is used up.** The call is told to hang up; what it takes longer becomes a debt.",
            icon=ICONS["end"],
        )
    if call["silent_seconds"] > SILENT_SECONDS:
        st.info(
            f"Nothing heard from the calling system for {duration(call['silent_seconds'])}. After 5 minutes the call is ended "
            "at its last sign of life.",
            icon=":material/signal_disconnected:",
        )


def figures(call: Mapping[str, Any], viewer: Viewer) -> None:
    """Time left counting down, cost so far, how long it has been, and what is held for it."""
    left = "No limit" if call["unlimited"] else duration(call["remaining_seconds"])
    with st.grid(4, gap="small", min_column_width=150):
        st.metric(
            "Talk time left",
            left,
            border=True,
            help="With everything that is free now. Running calls share it fairly.",
        )
        st.metric("Cost so far", viewer.credits(call["cost_so_far_micros"]), border=True)
        st.metric("Elapsed", duration(call["elapsed_seconds"]), border=True)
        st.metric(
            "Held for it",
            viewer.credits(call["held_micros"]),
            border=True,
            help="Set aside for the next minute. What is not used is free again at the end.",
        )
    if not call["unlimited"]:
        # a length on the page: how much of all its talk time the call has used
        used = min(plotted(call["elapsed_seconds"], max(call["max_duration_seconds"], 1)), 1.0)
        level = {"ok": "ok", "low": "warning"}.get(call["level"], "reached")
        widgets.meter(
            "Talk time used",
            used,
            level,
            f"{duration(call['elapsed_seconds'])} of {duration(call['max_duration_seconds'])}",
        )


def details(call: Mapping[str, Any], viewer: Viewer) -> None:
    """Rate and numbers on the left, what pays on the right."""
    left, right = st.columns([1, 1])
    with left, widgets.card("This call", height="stretch"):
        free = (
            [("Of the allowance", duration(call["allowance_seconds"]))] if call["allowance_seconds"] else []
        )
        widgets.facts(
            [
                ("To", call["to"] or "–"),
                ("From", call["from"] or "–"),
                ("Started", viewer.time(call["started_at"])),
                *[("Rate", explain.price_part(part, viewer)[1]) for part in call["components"]],
                *free,
                ("Call", str(call["call_id"])),
            ]
        )
    with right, widgets.card("What pays", height="stretch") as toolbar:
        toolbar().caption("In this order")
        rows = call["pays"]
        if not rows:
            widgets.empty("No credits behind this call", "It is paid by the plan or not charged at all.")
            return
        (
            tables.Table(rows, viewer)
            .texts("Credits", [explain.source_text(row) for row in rows])
            .credits("Held", "held_micros")
            .credits("Left", "left_micros")
            .texts(
                "Expire", [viewer.time(row["expires_at"]) if row["expires_at"] else "Never" for row in rows]
            )
            .draw(key="pays", alt="Grants that pay, in their order", wide=("Expire",))
        )


def table(rows: Sequence[Mapping[str, Any]], viewer: Viewer, *, key: str, **options: Any) -> Any:
    """Running calls in a table."""
    left = ["No limit" if row["unlimited"] else duration(row["remaining_seconds"]) for row in rows]
    return (
        tables.Table(rows, viewer)
        .texts("To", [row["to"] or row["name"] for row in rows])
        .duration("Elapsed", "elapsed_seconds")
        .credits("Cost so far", "cost_so_far_micros")
        .texts("Time left", left, alignment="right")
        .pill("State", "level")
        .draw(key=key, alt="Calls that run now", wide=("State",), **options)
    )
