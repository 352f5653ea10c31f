"""PaymentIntents: what happens when a card is presented, with the cardholder there or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from credits_core import currencies
from credits_core.stripe_sim import cards, charges, methods
from credits_core.stripe_sim.catalog_api import checked_currency
from credits_core.stripe_sim.errors import StripeFault, missing, required
from credits_core.stripe_sim.events import Context
from credits_core.stripe_sim.store import Obj, new_id

Params = dict[str, Any]
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


# fmt: off
def create_intent(ctx: Context, params: Params, **private: Any) -> Obj:
    """A new PaymentIntent, confirmed at once when `confirm` is given. `private`: the `session` or `invoice` it
    belongs to."""
    amount, currency = params["amount"], checked_currency(params["currency"])
    check_amount(amount, currency)
    if params.get("customer"):
        methods.existing(ctx, params["customer"])
    if params.get("off_session") is not None and not params.get("confirm"):
        raise StripeFault("You can only use `off_session` when `confirm` is true.", param="off_session")
    intent_id = new_id("pi_3")
    automatic = params.get("automatic_payment_methods")
    intent = ctx.store.add({
        "id": intent_id, "object": "payment_intent", "amount": amount, "amount_capturable": 0,
        "amount_received": 0,
        "amount_details": {"tip": {}}, "application": None, "application_fee_amount": None,
        "automatic_payment_methods": {"allow_redirects": "always", **automatic} if automatic else None,
        "canceled_at": None, "cancellation_reason": None,
        "capture_method": params.get("capture_method", "automatic"),
        "client_secret": f"{intent_id}_secret_{new_id('', 25)}", "confirmation_method": "automatic",
        "created": ctx.store.now(), "currency": currency, "customer": params.get("customer"),
        "customer_account": None, "description": params.get("description"), "last_payment_error": None,
        "latest_charge": None, "livemode": False, "metadata": params.get("metadata", {}), "next_action": None,
        "on_behalf_of": None, "payment_method": None, "payment_method_configuration_details": None,
        "payment_method_options": {}, "payment_method_types": ["card"], "processing": None,
        "receipt_email": params.get("receipt_email"), "review": None,
        "setup_future_usage": params.get("setup_future_usage"), "shipping": None, "source": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": params.get("statement_descriptor_suffix"),
        "status": "requires_payment_method", "transfer_data": None, "transfer_group": None,
    }, private)
    ctx.emit("payment_intent.created", intent)
    return confirm_intent(ctx, params, intent_id) if params.get("confirm") else intent
# fmt: on


def confirm_intent(
    ctx: Context, params: Params, intent_id: str, then: Callable[[Context, Obj], Obj] | None = None
) -> Obj:
    """Confirm with a payment method (an id, or a test name such as `pm_card_visa`); a decline is a 402 that
    leaves its traces. `then` is what else follows from it, before an error is raised."""
    name = params.get("payment_method")
    if not name:
        raise required("payment_method")
    intent = payable(ctx, intent_id)
    if params.get("setup_future_usage"):
        intent["setup_future_usage"] = params["setup_future_usage"]
        ctx.store.save(intent)
    method, card = methods.resolve(ctx, name, intent["customer"])
    intent = present_card(
        ctx,
        intent_id,
        card,
        return_url=params.get("return_url"),
        email=params.get("receipt_email"),
        method=method,
        off_session=params.get("off_session", False),
    )
    if then is not None:
        then(ctx, intent)
    raise_if_declined(intent)
    return intent


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
    """The `next_action` that sends the cardholder to a page."""
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


def cancel_intent(ctx: Context, params: Params, intent_id: str) -> Obj:
    """Cancel what is not yet paid."""
    intent = payable(ctx, intent_id)
    if ctx.store.private(intent_id).get("session"):
        raise StripeFault(
            "You cannot cancel a PaymentIntent of a Checkout Session; expire the session instead.",
            code="payment_intent_unexpected_state",
        )
    return mark_canceled(ctx, intent, params.get("cancellation_reason"))


def mark_canceled(ctx: Context, intent: Obj, reason: str | None) -> Obj:
    """The intent, canceled, with its event."""
    intent.update(
        status="canceled", canceled_at=ctx.store.now(), cancellation_reason=reason, next_action=None
    )
    ctx.emit("payment_intent.canceled", ctx.store.save(intent))
    return intent


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


def raise_if_declined(intent: Obj) -> None:
    """402 card_error carrying the intent, when its last attempt was declined."""
    if error := intent["last_payment_error"]:
        raise StripeFault(
            error["message"],
            status=402,
            kind="card_error",
            code=error["code"],
            keeps_effects=True,
            decline_code=error.get("decline_code"),
            advice_code=charges.advice(error.get("decline_code")),
            charge=error.get("charge"),
            payment_intent=intent,
            payment_method=error["payment_method"],
        )


def check_amount(amount: int, currency: str) -> None:
    """400 for an amount Stripe would not charge."""
    smallest = currencies.minimum(currency)
    if amount < smallest:
        raise StripeFault(
            f"Amount must be at least {currencies.format_money(smallest, currency)}",
            code="amount_too_small",
            param="amount",
        )
    if amount > 99_999_999:
        raise StripeFault("Amount must be no more than 99999999", code="amount_too_large", param="amount")


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
