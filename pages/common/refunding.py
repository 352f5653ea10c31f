"""Giving money back: by amount or by credits, a preview of what it means, confirmation, and then Stripe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from credits_core import refunds
from credits_core.currencies import parse_money
from credits_core.errors import CreditsError, StripeUnavailable
from credits_core.runtime import get_runtime
from credits_core.units import parse_credits
from pages.common import pending, session, widgets
from pages.common.formats import Viewer

NAME = "refund"
WAYS = {"all": "All that is left", "amount": "By amount", "credits": "By credits"}


def open_button() -> None:
    st.button(
        "Refund",
        icon=":material/undo:",
        type="primary",
        on_click=pending.begin,
        args=(NAME,),
        key="refund_open",
    )


@st.dialog("Refund this payment", width="medium", on_dismiss=lambda: pending.end(NAME))
def refund_dialog(payment: Mapping[str, Any]) -> None:
    person, viewer = session.guard(session.ADMIN), session.viewer()
    st.caption(
        f"{widgets.plain(payment['package_name'])} · {widgets.plain(payment['name'] or payment['email'] or '')}"
    )
    way = (
        st.segmented_control(
            "How much",
            list(WAYS),
            default="all",
            required=True,
            format_func=WAYS.get,
            key="refund_way",
            label_visibility="collapsed",
        )
        or "all"
    )
    try:
        terms = _wanted(way, payment["currency"])
        reason = st.text_input(
            "Reason",
            placeholder="The account holder reads this in the list of transactions",
            max_chars=200,
            key="refund_reason",
        )
        if terms is None:
            return
        preview = refunds.refund_preview(session.database(), person.identity, payment["purchase_id"], **terms)
        _show(preview, viewer)
        confirmed = st.button(
            _label(preview, viewer),
            type="primary",
            width="stretch",
            key="refund_confirm",
            disabled=not (preview["allowed"] and reason.strip()),
        )
        if preview["allowed"] and not reason.strip():
            st.caption("Write a reason to go on.")
        if confirmed and (key := pending.key(NAME)):
            asked = refunds.request_refund(
                session.database(),
                person.identity,
                payment["purchase_id"],
                reason.strip(),
                f"refund-{key}",
                # what was previewed and confirmed, not what is left a moment later
                amount_cents=preview["amount_cents"],
            )
            pending.tell(send_now(asked, viewer))
            pending.end(NAME)
            st.rerun()
    except CreditsError as error:
        widgets.show_error(error)


def _wanted(way: str, currency: str) -> dict[str, int] | None:
    """The arguments of the preview; None while nothing is entered."""
    if way == "all":
        return {}
    if way == "amount":
        text = st.text_input(
            f"Amount in {currency.upper()}, tax apart", placeholder="For example 12.50", key="refund_amount"
        )
        return {"amount_cents": parse_money(text, currency)} if text and text.strip() else None
    text = st.text_input("Credits", placeholder="For example 100", key="refund_credits")
    return {"credits_micros": parse_credits(text)} if text and text.strip() else None


def _show(preview: Mapping[str, Any], viewer: Viewer) -> None:
    currency = preview["currency"]
    rows = [("Money back", viewer.money(preview["amount_cents"], currency))]
    if preview["tax_cents"]:
        rows.append(("Tax on top", viewer.money(preview["tax_cents"], currency)))
    rows.append(("Credits taken", viewer.credits(preview["credits_micros"])))
    if preview["bonus_micros"] or preview["bonus_short_micros"]:
        rows.append(("Bonus taken", viewer.credits(preview["bonus_micros"])))
    if preview["bonus_short_micros"]:
        rows.append(("Bonus spent already, not taken", viewer.credits(preview["bonus_short_micros"])))
    rows.append(("Most that can be refunded", viewer.money(preview["max_cents"], currency)))
    with st.container(border=True):
        widgets.facts(rows)
    if preview["allowed"] and preview["referral"]:
        st.warning(widgets.plain(reward_lost(preview["referral"], viewer)), icon=":material/group_remove:")
    if not preview["allowed"]:
        st.error(_why(preview, viewer), icon=":material/error:")
    elif preview["needs_approval"]:
        st.info(_why_it_waits(preview, viewer), icon=":material/approval:")


def _why_it_waits(preview: Mapping[str, Any], viewer: Viewer) -> str:
    if preview["is_own"]:
        return "This is your own payment: another administrator has to approve what goes back."
    text = "From this amount on another administrator has to approve it first."
    if preview["refunded_cents"]:
        before = widgets.plain(viewer.money(preview["refunded_cents"], preview["currency"]))
        text += f" What you refund to one account within 24 hours adds up: {before} before this."
    return text


def reward_lost(referral: Mapping[str, Any], viewer: Viewer) -> str:
    """Which reward goes back with the money, and from whom."""
    inviting = referral["referrer_email"] or f"account {referral['referrer_account_id']}"
    return (
        f"Takes back a referral reward: {viewer.credits(referral['referrer_micros'])} credits from {inviting}, who invited"
        f" this account, and {viewer.credits(referral['referee_micros'])} from this account. What is spent becomes a debt."
    )


def _why(preview: Mapping[str, Any], viewer: Viewer) -> str:
    """The refusal, with the amount as the viewer reads it."""
    if preview["amount_cents"] > preview["max_cents"] > 0:
        most = widgets.plain(viewer.money(preview["max_cents"], preview["currency"]))
        return f"Part of these credits is spent: at most {most} can be refunded."
    return widgets.plain(preview["reason"])


def _label(preview: Mapping[str, Any], viewer: Viewer) -> str:
    money = widgets.plain(viewer.money(preview["total_cents"], preview["currency"]))
    return f"Ask for approval of {money}" if preview["needs_approval"] else f"Refund {money}"


def send_now(refund: Mapping[str, Any], viewer: Viewer) -> str:
    """Send an approved refund to Stripe at once (the job would, seconds later); answers what to tell."""
    money = viewer.money(refund["total_cents"], refund["currency"])
    if refund["status"] == "requested":
        return f"{money}: another administrator has to approve it."
    runtime = get_runtime()
    try:
        sent = refunds.send(runtime.db, runtime.stripe, refund_id=refund["refund_id"])
    except StripeUnavailable:
        sent = {"waiting": 1}
    if sent.get("failed"):
        return f"Stripe refused to refund {money}; the credits are back. See the payment for the reason."
    if sent.get("waiting"):
        return f"Stripe does not answer; the refund of {money} is sent again by itself."
    return f"The refund of {money} is with Stripe."
