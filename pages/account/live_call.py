"""Live calls: what runs now, what it costs, how long it can last, and more credits without losing the call."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import Any

import streamlit as st

from credits_core import calls, catalog
from credits_core.auth.person import Person
from credits_core.runtime import get_runtime
from credits_core.stripe_states import SavedCard
from pages.common import live, own_cards, pay_dialog, paying, session, widgets
from pages.common.formats import Viewer, duration, words

session.guard(session.EVERYBODY)

REFRESH_SECONDS = 2
END = "end"  # in the URL while somebody is asked whether to end it
START = "start"  # in the URL: the key of the demo call that is being started
_VALID_KEY = re.compile(r"[0-9a-f]{32}")
QUICK_CHOICES = 4


def chosen_call() -> int | None:
    text = st.query_params.get(live.CHOSEN, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def _choose(call_id: int | None) -> None:
    st.query_params.clear()
    if call_id is not None:
        st.query_params[live.CHOSEN] = str(call_id)


@dataclass(frozen=True)
class Choice:
    """A package as a quick amount. Its key is made once a page: the forms stay the same while the page refreshes."""

    package: str
    label: str
    popular: bool
    key: str


def choices(person: Person, viewer: Viewer) -> tuple[Choice, ...]:
    """The first packages for sale."""

    def label(package: dict[str, Any]) -> str:
        price = viewer.money(package["price_cents"], package["currency"])
        return f"Add {viewer.about(package['credits_micros'])} for {price}"

    offered = catalog.packages(session.database(), person.identity)["packages"][:QUICK_CHOICES]
    return tuple(
        Choice(package["code"], label(package), package["popular"], f"top-up-{uuid.uuid4()}")
        for package in offered
    )


@st.fragment(run_every=REFRESH_SECONDS)
@widgets.errors_as_sentences
def watch(call_id: int, quick: tuple[Choice, ...], cards: tuple[SavedCard, ...]) -> None:
    """Looks again every moment, until the call is over; then the whole page is drawn once more, and nothing refreshes."""
    person, viewer = session.guard(session.EVERYBODY), session.viewer()
    seen = live.look(person)
    call = next((item for item in seen["items"] if item["call_id"] == call_id), None)
    if call is None:
        st.rerun()
    live.warning(call)
    live.figures(call, viewer)
    paying.undecided(person, viewer, cards, call_id)
    if quick and not call["unlimited"]:
        top_up(call_id, quick, cards)
    live.details(call, viewer)
    others = [item for item in seen["items"] if item["call_id"] != call_id]
    if others:
        with widgets.card("Other calls") as toolbar:
            toolbar().caption("They share the same balance")
            live.table(others, viewer, key="others")


def top_up(call_id: int, quick: tuple[Choice, ...], cards: tuple[SavedCard, ...]) -> None:
    """Quick amounts, while the call goes on: with a saved card they are paid here, else on the payment page, which leads back."""
    said = "you stay here" if cards else "you come back here"
    with widgets.card("Top up without losing the call", key="top_up") as toolbar:
        toolbar().caption(f"The call goes on while you pay, and {said}.")
        with st.grid(QUICK_CHOICES, gap="small", min_column_width=160) as grid:
            for choice in quick:
                with grid.cell():
                    if cards:
                        if paying.button(
                            choice.label, choice.package, name=choice.package, primary=choice.popular
                        ):
                            st.rerun()  # the whole page, which opens the dialog
                        continue
                    fields = {
                        "package": choice.package,
                        live.CHOSEN: str(call_id),
                        "idempotency_key": choice.key,
                    }
                    widgets.post_form("/auth/checkout", fields, choice.label, primary=choice.popular)


def _ask_to_end() -> None:
    st.query_params[END] = "ask"


def _go_on() -> None:
    st.query_params.pop(END, None)


@st.dialog("End this call?", width="small", on_dismiss=_go_on)
@widgets.errors_as_sentences
def end_dialog(call_id: int) -> None:
    person, viewer = session.guard(session.EVERYBODY), session.viewer()
    call = calls.call(session.database(), person.identity, call_id)
    if call["call_status"] != "running":
        _go_on()
        st.info("This call is over already.", icon=":material/call_end:")
        return
    st.write("It is charged up to now, and the calling system is told to hang up.")
    widgets.facts([("To", call["to"] or "–"), ("Available now", viewer.credits(call["available_micros"]))])
    if st.button(
        "End the call", type="primary", width="stretch", icon=":material/call_end:", key="end_confirm"
    ):
        ended = calls.end_call(session.database(), person.identity, call_id, reason="owner")
        _choose(call_id)
        st.session_state["call_ended"] = f"Call ended: {viewer.credits(ended['charged_micros'])} credits."
        st.rerun()


def start_button() -> None:
    """Lets people try it: a call to nobody, carried by this page."""
    if get_runtime().settings.simulator:
        st.button(
            "Start a demo call",
            icon=":material/add_call:",
            on_click=lambda: st.query_params.update({START: uuid.uuid4().hex}),
            help="A call to nobody, carried by this page while you watch it. It is charged as any other.",
        )


def start_demo(person: Person) -> None:
    """Starts the call whose key stands in the URL; the same key twice is the same call."""
    key = st.query_params.get(START, "")
    if not _VALID_KEY.fullmatch(key) or not get_runtime().settings.simulator:
        return
    prices = catalog.pricing(session.database(), person.identity)["operations"]
    timed = [price["operation"] for price in prices if price["measure"] == "seconds"]
    if not timed:
        st.query_params.pop(START, None)
        st.info("The active catalog has nothing that is charged by time, so there is no call to try.")
        return
    st.query_params.pop(START, None)  # first: a refused start is not tried again at each drawing
    started = calls.start_call(
        session.database(),
        person.identity,
        timed[0],
        f"demo-{key}",
        to="+15550100",
        from_="+15550199",
        metadata={live.DEMO: True},
    )
    _choose(started["call_id"])


@widgets.errors_as_sentences
def ended(call_id: int, person: Person, viewer: Viewer) -> None:
    """The end of a call that was watched, or of one that somebody asks for later."""
    call = calls.call(session.database(), person.identity, call_id)
    st.success("**This call is over.** It is charged and stands in the call log.", icon=":material/call_end:")
    with st.container(border=True, width=680):
        widgets.facts(
            [
                ("To", call["to"] or "–"),
                ("Started", viewer.time(call["started_at"])),
                ("Duration", duration(call["duration_seconds"])),
                ("Billed", duration(call["billed_seconds"])),
                ("Cost", f"{viewer.credits(call['charged_micros'])} credits"),
                ("Ended by", words(call["ended_reason"] or "–")),
                ("Available", viewer.credits(call["available_micros"])),
            ]
        )
        with st.container(horizontal=True, vertical_alignment="center"):
            st.page_link("account/calls.py", label="Call log", icon=":material/call:")
            st.page_link("account/transactions.py", label="Transactions", icon=":material/receipt_long:")


def nothing_runs() -> None:
    with st.container(border=True):
        widgets.empty(
            "No call is running",
            "Calls that your system starts with POST /api/credits/calls appear here while they run.",
        )


def choose_one(rows: list[dict[str, Any]], viewer: Viewer) -> None:
    """Several run: pick one to watch."""
    with widgets.card("Running now") as toolbar:
        toolbar().caption("Choose a call to watch it")
        for row in rows:
            label = f"{row['to'] or row['name']} · {duration(row['elapsed_seconds'])} · {viewer.credits(row['cost_so_far_micros'])}"
            st.button(
                widgets.plain(label),
                icon=":material/call:",
                key=f"watch_{row['call_id']}",
                on_click=_choose,
                args=(row["call_id"],),
                width="stretch",
            )


@widgets.errors_as_sentences
def page(person: Person, viewer: Viewer) -> None:
    start_demo(person)
    seen = live.look(person)
    rows, chosen = seen["items"], chosen_call()
    if chosen is None and len(rows) == 1:
        chosen = rows[0]["call_id"]
        st.query_params[live.CHOSEN] = str(chosen)  # so that its end is shown here, too
    call = next((row for row in rows if row["call_id"] == chosen), None)
    with buttons:
        if call is None:
            start_button()
        else:
            st.button("End call", icon=":material/call_end:", key="end", on_click=_ask_to_end)
    if st.query_params.get("canceled"):
        st.info("**Payment canceled.** Nothing was charged, and the call goes on.", icon=":material/undo:")
    cards = tuple(own_cards.usable(person, viewer))
    if call is None:  # one that ended while its top-up was on the way
        paying.undecided(person, viewer, cards)
        pay_dialog.show(cards)
    if call is not None:
        if st.query_params.get(END):
            end_dialog(call["call_id"])
        else:
            pay_dialog.show(cards, call["call_id"])
        watch(call["call_id"], choices(person, viewer), cards)
    elif chosen is not None:
        ended(chosen, person, viewer)
        if rows:
            choose_one(rows, viewer)
    elif rows:
        choose_one(rows, viewer)
    else:
        nothing_runs()


person, viewer = session.guard(session.EVERYBODY), session.viewer()
for said in ("call_ended", "topped_up"):
    if text := st.session_state.pop(said, None):
        st.toast(widgets.plain(text), icon=":material/check_circle:")
paying.say_done()
with widgets.page_header("Live calls", "What runs now, what it costs, and how long it can go on."):
    buttons = st.container()
page(person, viewer)
