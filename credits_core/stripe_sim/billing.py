"""Collecting what subscriptions owe: the first period, renewals, retries, and what failure leads to."""

from __future__ import annotations

from typing import Any

from credits_core.stripe_sim import attempts, invoices, methods, payments
from credits_core.stripe_sim.errors import StripeFault
from credits_core.stripe_sim.events import Context
from credits_core.stripe_sim.store import Obj

Params = dict[str, Any]
DAY = 86_400
FINALIZES_AFTER = 3_600
INCOMPLETE_SECONDS = 23 * 3_600
RETRIES_AFTER = (3 * DAY, 5 * DAY, 7 * DAY)


def charge_period(ctx: Context, subscription: Obj, reason: str, behavior: str | None) -> Obj:
    """Invoice the subscription's current period and pay it at once with the saved card. Answers the subscription
    as it is then; with `error_if_incomplete` a payment that fails is a 402 and nothing has changed."""
    invoice = invoices.finalize(ctx, _draft(ctx, subscription, reason))
    if behavior != "default_incomplete":
        intent = attempt(ctx, invoice, off_session=True)
        if intent and intent["status"] != "succeeded" and behavior == "error_if_incomplete":
            raise _as_if_not_tried(intent)
    subscription = _existing(ctx, subscription["id"])
    if subscription["status"] == "incomplete":
        ctx.at(ctx.store.now() + INCOMPLETE_SECONDS, "incomplete", subscription["id"])
    elif reason == "subscription_update":
        ctx.emit("customer.subscription.updated", subscription)
    return subscription


def first_of_session(ctx: Context, subscription: Obj, intent: Obj | None) -> tuple[Obj, Obj]:
    """The first invoice of a subscription whose session is paid: the subscription and the paid invoice."""
    invoice = invoices.finalize(ctx, _draft(ctx, subscription, "subscription_create"))
    if intent is not None:
        invoices.link(ctx, invoice, intent)
    if intent is None or intent["status"] == "succeeded":
        _paid(ctx, invoice)
    return _existing(ctx, subscription["id"]), invoices.existing(ctx, invoice["id"])


def renew(ctx: Context, subscription_id: str, set_period: Any) -> None:
    """A period is over: end the subscription if that was asked for, else begin the next and draft its invoice."""
    subscription = _existing(ctx, subscription_id)
    known = ctx.store.private(subscription_id)
    if subscription["status"] not in ("active", "past_due") or ctx.store.now() < known["renews_at"]:
        return
    if subscription["cancel_at_period_end"]:
        end(ctx, subscription, "cancellation_requested")
        return
    set_period(ctx, subscription, subscription["billing_cycle_anchor"], known["number"] + 1)
    invoice = _draft(ctx, subscription, "subscription_cycle")
    ctx.emit("customer.subscription.updated", subscription)
    ctx.at(ctx.store.now() + FINALIZES_AFTER, "finalize", invoice["id"])


def finalize_and_collect(ctx: Context, invoice_id: str) -> None:
    """An hour after its draft an invoice is finalized and paid."""
    invoice = invoices.existing(ctx, invoice_id)
    subscription = _existing(ctx, subscription_of(invoice))
    if invoice["status"] == "draft" and subscription["status"] != "canceled":
        attempt(ctx, invoices.finalize(ctx, invoice), off_session=True)


def retry(ctx: Context, invoice_id: str) -> None:
    """Try an open invoice again, when it is still wanted."""
    invoice = invoices.existing(ctx, invoice_id)
    if invoice["status"] == "open" and invoice["auto_advance"]:
        attempt(ctx, invoice, off_session=True)


def pay(ctx: Context, params: Params, invoice_id: str) -> Obj:
    """Pay an open invoice now, with another card if one is named; a decline is a 402."""
    invoice = invoices.existing(ctx, invoice_id)
    if invoice["status"] == "paid":
        raise StripeFault("Invoice is already paid", code="invoice_already_paid")
    if invoice["status"] != "open":
        raise StripeFault(f"You can only pay open invoices; this one is {invoice['status']}.")
    off_session = params.get("off_session", True)
    intent = attempt(ctx, invoice, off_session=off_session, method_id=params.get("payment_method"))
    if intent:
        payments.raise_if_declined(intent)
        if intent["status"] == "requires_action":
            raise StripeFault("The payment needs authentication.", status=402, kind="card_error", keeps_effects=True,
                              code="invoice_payment_intent_requires_action", payment_intent=intent)  # fmt: skip
    return invoices.existing(ctx, invoice_id)


def attempt(ctx: Context, invoice: Obj, *, off_session: bool, method_id: str | None = None) -> Obj | None:
    """One attempt to pay an open invoice with the subscription's card, or the customer's; answers its intent."""
    if invoice["amount_due"] == 0:
        _paid(ctx, invoice)
        return None
    chosen = method_id or methods.default_of(
        ctx, invoice["customer"], _existing(ctx, subscription_of(invoice))["default_payment_method"]
    )
    intent = invoices.intent_of(ctx, invoice)
    if chosen is None:
        _failed(ctx, invoice)
        return intent
    method, card = methods.resolve(ctx, chosen, invoice["customer"])
    intent = attempts.present_card(
        ctx,
        intent["id"],
        card,
        return_url=None,
        email=invoice["customer_email"],
        method=method,
        off_session=off_session,
    )
    intent_moved(ctx, invoice["id"], intent)
    return intent


def intent_moved(ctx: Context, invoice_id: str, intent: Obj) -> None:
    """The payment of an invoice moved: it is paid, has failed, or waits for the cardholder."""
    invoice = invoices.existing(ctx, invoice_id)
    if invoice["status"] != "open":
        return
    if intent["status"] == "succeeded":
        _paid(ctx, invoice)
    elif intent["status"] == "requires_payment_method":
        _failed(ctx, invoice)
    elif intent["status"] == "requires_action":
        ctx.emit("invoice.payment_action_required", invoice)


def end(ctx: Context, subscription: Obj, reason: str) -> Obj:
    """The subscription is over."""
    now = ctx.store.now()
    subscription.update(status="canceled", ended_at=now, canceled_at=subscription["canceled_at"] or now)
    subscription["cancellation_details"]["reason"] = reason
    ctx.emit("customer.subscription.deleted", ctx.store.save(subscription))
    return subscription


def give_up_incomplete(ctx: Context, subscription_id: str) -> None:
    """A first payment that nobody completed within 23 hours is not wanted any more."""
    subscription = _existing(ctx, subscription_id)
    if subscription["status"] == "incomplete":
        invoices.void(ctx, {}, subscription["latest_invoice"])
        subscription.update(status="incomplete_expired", ended_at=ctx.store.now())
        ctx.emit("customer.subscription.updated", ctx.store.save(subscription))


def subscription_of(invoice: Obj) -> str:
    """The subscription an invoice belongs to."""
    return str(invoice["parent"]["subscription_details"]["subscription"])


def _as_if_not_tried(intent: Obj) -> StripeFault:
    error = intent["last_payment_error"] or {}
    return StripeFault(
        error.get("message", "The payment needs authentication."),
        status=402,
        kind="card_error",
        code=error.get("code", "subscription_payment_intent_requires_action"),
        decline_code=error.get("decline_code"),
    )


def _draft(ctx: Context, subscription: Obj, reason: str) -> Obj:
    invoice = invoices.draft(ctx, subscription, reason)
    subscription["latest_invoice"] = invoice["id"]
    ctx.store.save(subscription)
    return invoice


def _paid(ctx: Context, invoice: Obj) -> None:
    invoices.mark_paid(ctx, invoice)
    subscription = _existing(ctx, subscription_of(invoice))
    if subscription["status"] in ("incomplete", "past_due"):
        subscription["status"] = "active"
        ctx.emit("customer.subscription.updated", ctx.store.save(subscription))


def _failed(ctx: Context, invoice: Obj) -> None:
    subscription = _existing(ctx, subscription_of(invoice))
    if ctx.store.now() < (invoice["next_payment_attempt"] or 0):  # tried by hand between two retries
        ctx.emit("invoice.payment_failed", invoice)
        return
    count = invoice["attempt_count"] + 1
    again = (
        RETRIES_AFTER[count - 1]
        if count <= len(RETRIES_AFTER) and subscription["status"] != "incomplete"
        else None
    )
    invoice.update(attempted=True, attempt_count=count, auto_advance=again is not None)
    invoice["next_payment_attempt"] = None if again is None else ctx.store.now() + again
    ctx.emit("invoice.payment_failed", ctx.store.save(invoice))
    if again is not None:
        ctx.at(ctx.store.now() + again, "retry", invoice["id"])
        if subscription["status"] == "active":
            subscription["status"] = "past_due"
            ctx.emit("customer.subscription.updated", ctx.store.save(subscription))
    elif subscription["status"] in ("active", "past_due"):
        end(ctx, subscription, "payment_failed")


def _existing(ctx: Context, subscription_id: str) -> Obj:
    found = ctx.store.get("subscription", subscription_id)
    assert found is not None  # named by its own invoice or timer
    return found
