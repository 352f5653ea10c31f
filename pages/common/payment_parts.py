"""One payment, part by part: what happened to it, its credits, refunds, disputes, and Stripe's events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from credits_core import refunds
from credits_core.errors import StripeUnavailable
from credits_core.runtime import get_runtime
from pages.common import session, tables, widgets
from pages.common.formats import Viewer, words

Payment = Mapping[str, Any]
WHAT = {
    "created": "Purchase begun",
    "opened": "Payment page opened",
    "credited": "Paid and credited",
    "refund_sent": "Refund sent to Stripe",
    "review_done": "Review carried out",
    "review_approved": "Review approved",
    "review_credit_asked": "Review: credit what was paid",
    "review_refund_asked": "Review: give the money back",
    "review_close_asked": "Review: close, nothing to do",
}


def timeline(payment: Payment, viewer: Viewer) -> None:
    entries = []
    for entry in payment["timeline"]:
        amount = entry.get("amount_cents")
        more = [
            viewer.money(amount, payment["currency"]) if amount else "",
            entry.get("detail") or "",
            f"by {entry['who']}" if entry.get("who") else "",
        ]
        label = WHAT.get(entry["what"], words(entry["what"]))
        entries.append((viewer.time(entry["at"]), label, " · ".join(part for part in more if part)))
    widgets.timeline(entries)


def facts(payment: Payment, viewer: Viewer) -> None:
    """Money, and where it is at Stripe."""
    currency = payment["currency"]
    rows = [("Price", viewer.money(payment["list_price_cents"], currency))]
    if payment["discount_cents"]:
        rows.append(("Discount", f"-{viewer.money(payment['discount_cents'], currency)}"))
    if payment["tax_cents"]:
        rows.append(("Tax", viewer.money(payment["tax_cents"], currency)))
    if payment["paid_cents"] is not None:
        rows.append(("Paid", viewer.money(payment["paid_cents"], currency)))
    rows += [("Promotional code", payment["promo_code"])] if payment["promo_code"] else []
    rows += [
        ("Mode", "Live" if payment["livemode"] else "Test"),
        ("Flow", words(payment["flow"])),
        ("Purchase", payment["purchase_id"]),
        ("Session", payment["session_id"] or "–"),
        ("Payment", payment["payment_intent_id"] or "–"),
        ("Customer", payment["customer_id"] or "–"),
    ]
    if payment["failure_reason"]:
        rows.append(("Ended because", payment["failure_reason"]))
    widgets.facts(rows)
    if payment["receipt_url"]:
        st.link_button("Receipt", payment["receipt_url"], icon=":material/receipt_long:", type="tertiary")


def grants(payment: Payment, viewer: Viewer) -> None:
    if not payment["grants"]:
        widgets.empty("No credits yet", "They are added when the payment is credited.")
        return
    (
        tables.Table(payment["grants"], viewer)
        .texts("Source", [words(row["source"]) for row in payment["grants"]])
        .credits("Granted", "granted_micros")
        .credits("Left", "remaining_micros")
        .texts(
            "Cost",
            [viewer.money(row["cost_cents"] or 0, payment["currency"]) for row in payment["grants"]],
            alignment="right",
        )
        .draw(key="payment_grants", alt="Credits of this payment and what is left of them", wide=("Cost",))
    )


def refund_rows(payment: Payment, viewer: Viewer) -> None:
    if not payment["refunds"]:
        widgets.empty("No refunds", "What goes back of this payment appears here, with every step.")
        return
    (
        tables.Table(payment["refunds"], viewer)
        .time("Asked", "created_at")
        .money("Amount", "total_cents")
        .pill("Status", "status")
        .credits("Credits", "credits_micros")
        .credits("Bonus", "bonus_micros")
        .text("Reason", "reason")
        .texts("By", [row["requested_by_name"] or "" for row in payment["refunds"]])
        .texts("Note", [row["failure_reason"] or row["decision_reason"] or "" for row in payment["refunds"]])
        .draw(
            key="payment_refunds",
            alt="Refunds of this payment",
            wide=("Asked", "Credits", "Bonus", "Reason", "By", "Note"),
        )
    )
    for refund in payment["refunds"]:
        _resume(refund, viewer)


def _resume(refund: Mapping[str, Any], viewer: Viewer) -> None:
    """A refund that Stripe has not confirmed: what it waits for, and a button to go on."""
    money = widgets.plain(viewer.money(refund["total_cents"], refund["currency"]))
    if refund["status"] == "requested":
        st.info(f"{money} waits for another administrator: see the approvals.", icon=":material/approval:")
    elif refund["status"] in ("approved", "sent"):
        known = (
            "Stripe has it and has not confirmed it yet."
            if refund["stripe_refund_id"]
            else "Stripe has not answered yet."
        )
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(f"{money}: {known}")
            if st.button("Go on with it", icon=":material/refresh:", key=f"resume_{refund['refund_id']}"):
                _go_on(refund)


def _go_on(refund: Mapping[str, Any]) -> None:
    session.guard(session.ADMIN)
    runtime = get_runtime()
    try:
        refunds.send(runtime.db, runtime.stripe, refund_id=refund["refund_id"])
        if refund["payment_intent_id"]:
            refunds.converge(runtime.db, runtime.stripe, refund["payment_intent_id"])
    except StripeUnavailable as error:
        widgets.show_error(error)
        return
    st.rerun()


def disputes(payment: Payment, viewer: Viewer) -> None:
    (
        tables.Table(payment["disputes"], viewer)
        .time("Opened", "created_at")
        .money("Amount", "amount_cents")
        .pill("Status", "status")
        .texts("Reason", [words(row["reason"] or "") for row in payment["disputes"]])
        .time("Changed", "updated_at")
        .text("Dispute", "dispute_id")
        .draw(key="payment_disputes", alt="Disputes of this payment", wide=("Changed", "Dispute", "Reason"))
    )


def events(payment: Payment, viewer: Viewer) -> None:
    if not payment["events"]:
        widgets.empty("No events received", "Stripe's webhook events about this payment appear here.")
        return
    (
        tables.Table(payment["events"], viewer)
        .time("Received", "received_at")
        .text("Event", "type")
        .texts("Outcome", [words(row["outcome"]) for row in payment["events"]])
        .count("Deliveries", "deliveries")
        .text("Error", "error")
        .text("Id", "event_id")
        .draw(
            key="payment_events",
            alt="Stripe's events about this payment",
            wide=("Deliveries", "Error", "Id", "Received"),
        )
    )
