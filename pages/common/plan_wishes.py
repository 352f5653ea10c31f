"""A wish for another plan, or for none: the dialog that says what is paid before it is.

It is open while the URL holds `wish`, and that value is the idempotency key: when a restarted server gets the click once more, the
browser still sends the same key, and nothing is charged twice.
"""

from __future__ import annotations

import re
import uuid
from typing import Any

import streamlit as st

from credits_core import subscriptions
from credits_core.errors import Conflict, CreditsError
from credits_core.runtime import get_runtime
from pages.common import session, widgets
from pages.common.formats import Viewer
from pages.common.plan_parts import day, price

WISH, ACTION, PLAN = "wish", "do", "to"
DONE, CONFIRM = "plan_done", "plan_confirm"
_KEY = re.compile(r"[0-9a-f]{32}")
TITLES = {"change": "Change plan", "cancel": "Cancel plan", "keep": "Keep plan"}


def ask(action: str, plan: str = "") -> None:
    """Open the dialog for a wish."""
    st.query_params.update({WISH: uuid.uuid4().hex, ACTION: action, PLAN: plan})


def leave() -> None:
    for name in (WISH, ACTION, PLAN):
        st.query_params.pop(name, None)


def wish() -> tuple[str, str, str] | None:
    """Key, action and plan of the wish in the address; one that somebody made up opens nothing."""
    key, action, plan = (st.query_params.get(name, "") for name in (WISH, ACTION, PLAN))
    return (key, action, plan) if _KEY.fullmatch(key) and action in TITLES else None


def dialog(found: dict[str, Any]) -> None:
    """The dialog of the wish in the address, if it makes sense for this subscription."""
    wanted, current = wish(), found["subscription"]
    if wanted is None or current is None or current["status"] not in ("active", "past_due"):
        return
    _, action, code = wanted
    target = next((plan for plan in found["plans"] if plan["code"] == code), None)
    if action == "change" and (target is None or target["choice"] not in ("upgrade", "downgrade", "stay")):
        return
    if action in ("cancel", "keep") and (action == "keep") is not current["cancel_at_period_end"]:
        return
    st.dialog(TITLES[action], width="small", on_dismiss=leave)(_confirm)(current, target)


def _confirm(current: dict[str, Any], target: dict[str, Any] | None) -> None:
    person, viewer = session.guard(session.EVERYBODY), session.viewer()
    wanted = wish()
    if wanted is None:
        return
    key, action, code = wanted
    text, label, done = _words(viewer, action, current, target)
    st.write(widgets.plain(text))
    # A button of its own for each price: a click on what was seen never agrees to what is shown only now.
    seen = f"{target['price_cents']}-{target['credits_micros']}" if target else "none"
    if not st.button(label, type="primary", width="stretch", key=f"{CONFIRM}-{seen}"):
        return
    try:
        with st.spinner("Asking Stripe …"):
            subscriptions.change(
                get_runtime(), person.identity, action, plan=code or None, idempotency_key=f"plan-{key}"
            )
    except Conflict as error:
        st.query_params[WISH] = uuid.uuid4().hex  # this wish was answered; another try is another one
        widgets.show_error(error)
        return
    except CreditsError as error:
        widgets.show_error(error)
        return
    st.session_state[DONE] = done
    leave()
    st.rerun()


def _words(
    viewer: Viewer, action: str, current: dict[str, Any], target: dict[str, Any] | None
) -> tuple[str, str, str]:
    """What will happen and what is paid now, the button, and the toast after it."""
    ends = day(viewer, current["period_end"])
    if action == "cancel":
        return (
            f"{current['name']} ends on {ends}. Until then nothing changes; after that its unused credits and what the plan "
            "includes are gone. Credits you bought stay. Nothing is charged and nothing is paid back.",
            f"End on {ends}",
            f"{current['name']} ends on {ends}.",
        )
    if action == "keep" or target is None:
        return (
            f"{current['name']} goes on: {price(viewer, current)} is charged on {ends}, as before. Nothing is paid now.",
            "Keep my plan",
            f"{current['name']} goes on.",
        )
    if target["choice"] == "upgrade":
        return (
            f"{price(viewer, target)} is charged now, to the card of your subscription, and a new {target['interval']} begins "
            f"today with {viewer.credits(target['credits_micros'])} credits. Credits that are left are not lost.",
            f"Pay {price(viewer, target)} now",
            f"You are on {target['name']} now.",
        )
    if target["choice"] == "stay":
        text = f"The planned change is taken back: {target['name']} goes on for {price(viewer, target)} on {ends}."
        return f"{text} Nothing is paid now.", "Stay on this plan", f"{target['name']} goes on."
    return (
        f"Nothing is paid now. On {ends} your plan becomes {target['name']} for {price(viewer, target)} a {target['interval']}, "
        f"with {viewer.credits(target['credits_micros'])} credits each time. Until then {current['name']} stays as it is.",
        f"Change on {ends}",
        f"Your plan becomes {target['name']} on {ends}.",
    )


def toast_after() -> None:
    """Says once that the last wish was done."""
    if done := st.session_state.pop(DONE, None):
        st.toast(widgets.plain(done), icon=":material/check_circle:")
