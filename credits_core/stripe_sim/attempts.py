"""What happens to a PaymentIntent when a card is presented, with the cardholder there or not."""

from __future__ import annotations

from credits_core.stripe_sim import cards, charges, methods
from credits_core.stripe_sim.errors import StripeFault, missing
from credits_core.stripe_sim.events import Context
from credits_core.stripe_sim.store import Obj

DEBIT_SECONDS = 3 * 86_400
_AUTHENTICATION_FAILED: cards.Decline = (
    "payment_intent_authentication_failure",
    None,
    "We are unable to authenticate your payment method. Please choose a different payment method and try"
    " again.",
)
_AUTHENTICATION_REQUIRED: cards.Decline = (
    "authentication_required",
    "authentication_required",
    "Your card was declined. This transaction requires authentication.",
)


def present_card(
    ctx: Context,
    intent_id: str,
    card: cards.Card,
    *,
    return_url: str | None,
    email: str | None,
    method: Obj | None = None,
    off_session: bool = False,
) -> Obj:
    """Try to pay the intent with the card: it ends succeeded, in need of 3-D Secure, awaiting another card, or
    processing (a bank debit). With nobody there (`off_session`) a card that needs 3-D Secure is declined."""
    intent = payable(ctx, intent_id)
    if method is None:
        method, _ = methods.new(ctx, card, email)
    intent.update(payment_method=method["id"], last_payment_error=None, next_action=None)
    ctx.store.set_private(intent_id, number=card.number, email=email or intent["receipt_email"])
    ctx.store.set_private(method["id"], used=True)
    if card.delayed:
        return _processing(ctx, intent, method, card)
    if off_session and _needs_somebody(ctx, method, card):
        return _refused(ctx, intent, method, _AUTHENTICATION_REQUIRED)
    if card.challenge and not off_session:
        intent.update(
            status="requires_action",
            next_action=redirect(return_url, f"{ctx.hosted_base(return_url)}/challenge/{intent_id}"),
        )
        ctx.emit("payment_intent.requires_action", ctx.store.save(intent))
        return intent
    return _refused(ctx, intent, method, card.declined) if card.declined else _paid(ctx, intent, method, card)


def redirect(return_url: str | None, url: str) -> Obj:
    """The `next_action` that sends the cardholder to a page; Stripe.js shows it when there is no address to return to."""
    if return_url is None:
        return {
            "type": "use_stripe_sdk",
            "use_stripe_sdk": {"type": "three_d_secure_redirect", "stripe_js": url},
        }
    return {"type": "redirect_to_url", "redirect_to_url": {"return_url": return_url, "url": url}}


def answer_challenge(ctx: Context, intent_id: str, *, passed: bool) -> Obj:
    """The cardholder completed (or failed) 3-D Secure; answering twice changes nothing."""
    intent = ctx.store.get("payment_intent", intent_id)
    if intent is None:
        raise missing("payment_intent", intent_id)
    if intent["status"] != "requires_action":
        return intent
    method = ctx.store.get("payment_method", intent["payment_method"])
    assert method is not None  # an intent that requires action has one
    intent["next_action"] = None
    if not passed:
        return _refused(ctx, intent, method, _AUTHENTICATION_FAILED, charged=False)
    return _paid(ctx, intent, method, cards.BY_NUMBER[ctx.store.private(intent_id)["number"]])


def settle_debit(ctx: Context, intent_id: str, *, succeeds: bool | None = None) -> Obj:
    """The bank's answer to a debit, the one of the account unless told otherwise; a second time changes
    nothing."""
    intent = ctx.store.get("payment_intent", intent_id)
    if intent is None:
        raise missing("payment_intent", intent_id)
    if intent["status"] != "processing":
        return intent
    method = ctx.store.get("payment_method", intent["payment_method"])
    charge = ctx.store.get("charge", intent["latest_charge"])
    assert method is not None and charge is not None  # a debit under way has both
    card = cards.BY_NUMBER[ctx.store.private(intent_id)["number"]]
    if card.delayed == "succeed" if succeeds is None else succeeds:
        charges.settle(ctx, charge)
        return _succeeded(ctx, intent, charge)
    charges.fail(ctx, charge, cards.BANK_FAILED)
    return _awaiting_another(ctx, intent, method, cards.BANK_FAILED, charge)


def payable(ctx: Context, intent_id: str) -> Obj:
    """The intent, if a card can still be presented; 404 or 400 otherwise."""
    intent = ctx.store.get("payment_intent", intent_id)
    if intent is None:
        raise missing("payment_intent", intent_id)
    if intent["status"] in ("succeeded", "canceled", "processing"):
        raise StripeFault(
            f"This PaymentIntent's state is {intent['status']}; it cannot be changed any more.",
            code="payment_intent_unexpected_state",
            payment_intent=intent,
        )
    return intent


def _needs_somebody(ctx: Context, method: Obj, card: cards.Card) -> bool:
    confirmed = ctx.store.private(method["id"]).get("confirmed", False)
    return card.challenge == "always" or (card.challenge == "unless_saved" and not confirmed)


def _processing(ctx: Context, intent: Obj, method: Obj, card: cards.Card) -> Obj:
    charge = charges.create(ctx, intent, method, card, "pending")
    intent.update(status="processing", latest_charge=charge["id"], payment_method_types=["us_bank_account"])
    ctx.store.save(intent)
    ctx.emit("charge.pending", charge)
    ctx.emit("payment_intent.processing", intent)
    ctx.at(ctx.store.now() + DEBIT_SECONDS, "debit", intent["id"])
    return intent


def _paid(ctx: Context, intent: Obj, method: Obj, card: cards.Card) -> Obj:
    challenged = card.challenge is not None and intent["status"] == "requires_action"
    charge = charges.create(ctx, intent, method, card, "succeeded", challenged=challenged)
    if intent["setup_future_usage"] and intent["customer"]:
        methods.save(ctx, method, intent["customer"], confirmed=challenged)
    if card.disputed:
        ctx.at(ctx.store.now() + 60, "dispute", charge["id"])
    return _succeeded(ctx, intent, charge)


def _succeeded(ctx: Context, intent: Obj, charge: Obj) -> Obj:
    intent.update(status="succeeded", amount_received=intent["amount"], latest_charge=charge["id"])
    ctx.emit("payment_intent.succeeded", ctx.store.save(intent))
    return intent


def _refused(ctx: Context, intent: Obj, method: Obj, reason: cards.Decline, *, charged: bool = True) -> Obj:
    card = cards.BY_NUMBER[ctx.store.private(intent["id"])["number"]]
    charge = charges.create(ctx, intent, method, card, "failed", failure=reason) if charged else None
    if charge:
        ctx.emit("charge.failed", charge)
    return _awaiting_another(ctx, intent, method, reason, charge)


def _awaiting_another(
    ctx: Context, intent: Obj, method: Obj, reason: cards.Decline, charge: Obj | None
) -> Obj:
    code, decline_code, message = reason
    error = {"code": code, "message": message, "payment_method": method, "type": "card_error"}
    if decline_code:
        error["decline_code"] = decline_code
    if charge:
        error["charge"] = charge["id"]
        intent["latest_charge"] = charge["id"]
    intent.update(status="requires_payment_method", last_payment_error=error, payment_method=None)
    ctx.emit("payment_intent.payment_failed", ctx.store.save(intent))
    return intent
