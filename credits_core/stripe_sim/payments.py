"""PaymentIntents as the API makes, confirms and cancels them; `attempts` presents the card."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from credits_core import currencies
from credits_core.stripe_sim import charges, methods
from credits_core.stripe_sim.attempts import payable, present_card
from credits_core.stripe_sim.catalog_api import checked_currency
from credits_core.stripe_sim.errors import StripeFault, required
from credits_core.stripe_sim.events import Context
from credits_core.stripe_sim.store import Obj, new_id

Params = dict[str, Any]


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
        "id": intent_id, "object": "payment_intent",
        "allowed_payment_method_types": params.get("allowed_payment_method_types"), "amount": amount, "amount_capturable": 0,
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
