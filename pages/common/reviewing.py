"""A payment that was paid and does not match: what Stripe says, and the three ways it can end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from credits_core import payments
from credits_core.errors import CreditsError
from credits_core.runtime import get_runtime
from pages.common import pending, session, widgets
from pages.common.formats import Viewer

NAME = "review"
WAYS = {
    "credit": "Credit what was paid",
    "refund": "Give the money back",
    "close": "Close, nothing to do",
}


def card(payment: Mapping[str, Any], viewer: Viewer) -> None:
    """Why it waits, and the button to decide. Only for payments in review."""
    review = payment["review"]
    with widgets.card("Paid, but not matching"):
        st.warning(widgets.plain(payment["review_reason"] or ""), icon=":material/policy:")
        widgets.facts(
            [
                ("Expected", viewer.money(review["expected_cents"], review["expected_currency"])),
                ("Paid", _paid(review, viewer)),
                ("Credits for what was paid", viewer.credits(review["credits_micros"] or 0)),
                ("Bonus in proportion", viewer.credits(review["bonus_micros"] or 0)),
            ]
        )
        if request := review["request"]:
            wait = "another administrator" if request["status"] == "waiting" else "Stripe"
            st.info(
                f"{WAYS[request['payload']['decision']]}: asked by {widgets.plain(request['requested_by_name'] or '')}, "
                f"waits for {wait}.",
                icon=":material/approval:",
            )
        else:
            st.button(
                "Decide",
                icon=":material/gavel:",
                type="primary",
                on_click=pending.begin,
                args=(NAME,),
                key="review_open",
            )


def _paid(review: Mapping[str, Any], viewer: Viewer) -> str:
    try:
        return viewer.money(review["total_cents"] or 0, review["currency"])
    except KeyError:  # a currency we never charge in
        return f"{review['total_cents']} {str(review['currency']).upper()} (smallest units)"


@st.dialog("Decide about this payment", width="medium", on_dismiss=lambda: pending.end(NAME))
def review_dialog(payment: Mapping[str, Any]) -> None:
    person, viewer = session.guard(session.ADMIN), session.viewer()
    review = payment["review"]
    possible = [way for way in WAYS if not review.get(f"no_{way}")]
    way = (
        st.radio("What to do", possible, format_func=WAYS.get, key="review_way", label_visibility="collapsed")
        or "close"
    )
    for other in WAYS:
        if why := review.get(f"no_{other}"):
            st.caption(f"{WAYS[other]}: not possible. {widgets.plain(why)}")
    reason = st.text_input("Reason", max_chars=200, key="review_reason", placeholder="What you found out")
    with st.container(border=True):
        widgets.facts(_effect(way, review, viewer))
    if review["needs_approval"]:
        st.info(
            "From this amount on another administrator has to approve it first.", icon=":material/approval:"
        )
    label = "Ask for approval" if review["needs_approval"] else WAYS[way]
    pressed = st.button(
        label, type="primary", width="stretch", key="review_confirm", disabled=not (reason or "").strip()
    )
    key = pending.key(NAME)
    if not pressed or key is None:
        return
    try:
        decided = payments.decide_review(
            session.database(), person.identity, payment["purchase_id"], way, reason.strip(), f"review-{key}"
        )
        pending.tell(carry_out(decided))
        pending.end(NAME)
    except CreditsError as error:
        widgets.show_error(error)
        return
    st.rerun()


def _effect(way: str, review: Mapping[str, Any], viewer: Viewer) -> list[tuple[str, str]]:
    if way == "credit":
        return [
            ("Credits added", viewer.credits(review["credits_micros"], signed=True)),
            ("Bonus added", viewer.credits(review["bonus_micros"], signed=True)),
            ("Before that", "Stripe is asked once more"),
        ]
    if way == "refund":
        return [("Money back", _paid(review, viewer)), ("Credits", "None were added, none are taken")]
    return [("Money", "Stays where it is"), ("Credits", "None are added")]


def carry_out(decided: Mapping[str, Any]) -> str:
    """Go on with a decision at once (jobs would, seconds later); answers what to tell."""
    if decided["status"] == "waiting":
        return "Another administrator has to approve this decision."
    runtime = get_runtime()
    if decided["status"] == "approved":
        done = payments.settle_reviews(runtime.db, runtime.stripe, approval_id=decided["approval_id"])
        if done["refused"]:
            return "Stripe's state has changed: nothing was credited. Look at the payment again."
        return (
            "Credited." if done["credited"] else "Stripe does not answer; it is credited as soon as it does."
        )
    return "Decided."
