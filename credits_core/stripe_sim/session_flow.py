"""Paying a Checkout Session: a card is presented, and what follows when the payment moves."""

from __future__ import annotations

from credits_core.stripe_sim import (
    attempts,
    billing,
    cards,
    discounts,
    methods,
    payments,
    session_invoices,
    setups,
    subscriptions,
)
from credits_core.stripe_sim.events import Context
from credits_core.stripe_sim.session_items import line_items
from credits_core.stripe_sim.sessions import open_session
from credits_core.stripe_sim.store import Obj


def present_card(ctx: Context, session_id: str, card: cards.Card, email: str | None) -> Obj:
    """Pay an open session with the card, or save it. Answers the PaymentIntent or SetupIntent: succeeded or
    processing (the session is complete then), requires_action (3-D Secure), or requires_payment_method with the
    reason. A session of 0 is completed at once and answers itself."""
    session = open_session(ctx, session_id)
    email = email or session["customer_email"] or _email_of(ctx, session)
    if session["mode"] == "setup":
        moved = setups.present_card(
            ctx, session["setup_intent"], card, return_url=session["success_url"], email=email
        )
    elif session["amount_total"] == 0:
        session["payment_status"] = "no_payment_required"
        return _complete(ctx, session, email)
    else:
        intent_id = ctx.store.private(session_id)["intent"] or _intent(ctx, session)
        moved = attempts.present_card(ctx, intent_id, card, return_url=session["success_url"], email=email)
    return follow_up(ctx, moved)


def follow_up(ctx: Context, moved: Obj) -> Obj:
    """After an intent moved: complete its session, pay its invoice, say how a debit ended. Answers the intent."""
    known = ctx.store.private(moved["id"])
    session = ctx.store.get("checkout.session", known.get("session"))
    if session and session["status"] == "open" and moved["status"] in ("succeeded", "processing"):
        if moved["object"] == "payment_intent":
            session["payment_status"] = "paid" if moved["status"] == "succeeded" else "unpaid"
        _complete(ctx, session, known.get("email"))
    elif session and session["status"] == "complete" and session["payment_status"] == "unpaid":
        succeeded = moved["status"] == "succeeded"
        if succeeded:
            session["payment_status"] = "paid"
            session_invoices.after_payment(ctx, session)
        ctx.store.save(session)
        ctx.emit(f"checkout.session.async_payment_{'succeeded' if succeeded else 'failed'}", session)
    if known.get("invoice"):
        billing.intent_moved(ctx, known["invoice"], moved)
    return moved


def settle_debit(ctx: Context, intent_id: str, *, succeeds: bool | None = None) -> Obj:
    """The bank's answer to a debit, and what follows from it."""
    before = ctx.store.get("payment_intent", intent_id)
    moved = attempts.settle_debit(ctx, intent_id, succeeds=succeeds)
    return follow_up(ctx, moved) if before and before["status"] == "processing" else moved


def answer_challenge(ctx: Context, intent_id: str, *, passed: bool) -> Obj:
    """The cardholder's answer to 3-D Secure for a payment or for saving a card, and what follows from it."""
    answer = setups.answer_challenge if intent_id.startswith("seti_") else attempts.answer_challenge
    return follow_up(ctx, answer(ctx, intent_id, passed=passed))


def raise_if_declined(moved: Obj) -> None:
    """402 when the last attempt of a PaymentIntent or SetupIntent was declined."""
    if moved["object"] == "setup_intent":
        setups.raise_if_declined(moved)
    elif moved["object"] == "payment_intent":
        payments.raise_if_declined(moved)


def _intent(ctx: Context, session: Obj) -> str:
    data = ctx.store.private(session["id"])["asked"]["payment_intent_data"]
    saves = "off_session" if session["mode"] == "subscription" else data.get("setup_future_usage")
    invoiced = (session["invoice_creation"] or {}).get("enabled")
    if saves or invoiced or session["customer_creation"] == "always":
        _ensure_customer(ctx, session)
    intent = payments.create_intent(
        ctx,
        {
            "amount": session["amount_total"],
            "currency": session["currency"],
            "customer": session["customer"],
            "metadata": data.get("metadata", {}),
            "description": data.get("description"),
            "receipt_email": data.get("receipt_email"),
            "setup_future_usage": saves,
        },
        session=session["id"],
    )
    ctx.store.set_private(session["id"], intent=intent["id"])
    if session["mode"] == "payment":  # a subscription's intent belongs to its invoice
        session["payment_intent"] = intent["id"]
    ctx.store.save(session)
    return str(intent["id"])


def _ensure_customer(ctx: Context, session: Obj) -> None:
    if not session["customer"]:
        session["customer"] = methods.create_customer(ctx, {"email": session["customer_email"]})["id"]


def _email_of(ctx: Context, session: Obj) -> str | None:
    customer = ctx.store.get("customer", session["customer"])
    return customer["email"] if customer else None


def _complete(ctx: Context, session: Obj, email: str | None) -> Obj:
    wants_terms = (session["consent_collection"] or {}).get("terms_of_service") == "required"
    session.update(
        status="complete",
        url=None,
        customer_details={
            "address": cards.billing_details(None)["address"],
            "business_name": None,
            "email": email,
            "individual_name": None,
            "name": None,
            "phone": None,
            "tax_exempt": "none",
            "tax_ids": [],
        },
        consent={"promotions": None, "terms_of_service": "accepted"} if wants_terms else None,
    )
    discounts.redeem(ctx, session["discounts"])
    session_invoices.after_payment(ctx, session)
    if session["mode"] == "subscription":
        _ensure_customer(ctx, session)
        subscriptions.start_from_session(ctx, session, line_items(ctx, session["id"]))
    ctx.emit("checkout.session.completed", ctx.store.save(session))
    return session
