"""PaymentIntents and charges: what happens when a card is presented."""

from __future__ import annotations

from typing import Any

from credits_core import currencies
from credits_core.stripe_sim import cards
from credits_core.stripe_sim.catalog_api import checked_currency
from credits_core.stripe_sim.errors import StripeFault, missing, required
from credits_core.stripe_sim.events import Context
from credits_core.stripe_sim.store import Obj, new_id

Params = dict[str, Any]
_AUTHENTICATION_FAILED = (
    "payment_intent_authentication_failure",
    None,
    "We are unable to authenticate your payment method. Please choose a different payment method and try"
    " again.",
)


# fmt: off
def create_intent(ctx: Context, params: Params, *, session_id: str | None = None) -> Obj:
    """A new PaymentIntent, confirmed at once when `confirm` is given."""
    amount, currency = params["amount"], checked_currency(params["currency"])
    check_amount(amount, currency)
    if params.get("customer") and not ctx.store.get("customer", params["customer"]):
        raise missing("customer", params["customer"], "customer")
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
    }, {"session": session_id})
    ctx.emit("payment_intent.created", intent)
    return confirm_intent(ctx, params, intent_id) if params.get("confirm") else intent
# fmt: on


def confirm_intent(ctx: Context, params: Params, intent_id: str) -> Obj:
    """Confirm with a test payment method (`pm_card_visa`); a decline is a 402 that leaves its traces."""
    name = params.get("payment_method")
    if not name:
        raise required("payment_method")
    saved = ctx.store.get("payment_method", name)
    number = ctx.store.private(name).get("number") if saved else cards.BY_NAME.get(name)
    if number is None:
        raise StripeFault(f"No such PaymentMethod: '{name}'", code="resource_missing", param="payment_method")
    intent = present_card(
        ctx,
        intent_id,
        cards.BY_NUMBER[number],
        return_url=params.get("return_url"),
        email=params.get("receipt_email"),
        method=saved,
    )
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
) -> Obj:
    """Try to pay the intent with the card: it ends succeeded, in need of 3-D Secure, or awaiting another
    card."""
    intent = payable(ctx, intent_id)
    if method is None:
        method = cards.payment_method(card, ctx.store.now(), email)
        ctx.store.add(method, {"number": card.number})
    intent.update(payment_method=method["id"], last_payment_error=None, next_action=None)
    ctx.store.set_private(intent_id, number=card.number, email=email or intent["receipt_email"])
    if card.challenge:
        intent.update(
            status="requires_action",
            next_action={
                "type": "redirect_to_url",
                "redirect_to_url": {
                    "return_url": return_url,
                    "url": f"{ctx.hosted_base(return_url)}/challenge/{intent_id}",
                },
            },
        )
        ctx.emit("payment_intent.requires_action", ctx.store.save(intent))
        return intent
    return _refused(ctx, intent, method, card.declined) if card.declined else _paid(ctx, intent, method, card)


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
    if intent["status"] in ("succeeded", "canceled"):
        raise StripeFault(
            f"This PaymentIntent's state is {intent['status']}; it cannot be changed any more.",
            code="payment_intent_unexpected_state",
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


def _paid(ctx: Context, intent: Obj, method: Obj, card: cards.Card) -> Obj:
    charge = _charge(ctx, intent, method, card, failure=None)
    intent.update(status="succeeded", amount_received=intent["amount"], latest_charge=charge["id"])
    ctx.store.save(intent)
    ctx.emit("charge.succeeded", charge)
    ctx.emit("payment_intent.succeeded", intent)
    if card.disputed:
        ctx.at(ctx.store.now() + 60, "dispute", charge["id"])
    return intent


def _refused(
    ctx: Context, intent: Obj, method: Obj, reason: tuple[str, str | None, str], *, charged: bool = True
) -> Obj:
    code, decline_code, message = reason
    card = cards.BY_NUMBER[ctx.store.private(intent["id"])["number"]]
    charge = _charge(ctx, intent, method, card, failure=reason) if charged else None
    error = {"code": code, "message": message, "payment_method": method, "type": "card_error"}
    if decline_code:
        error["decline_code"] = decline_code
    if charge:
        error["charge"] = charge["id"]
        intent["latest_charge"] = charge["id"]
        ctx.emit("charge.failed", charge)
    intent.update(status="requires_payment_method", last_payment_error=error, payment_method=None)
    ctx.emit("payment_intent.payment_failed", ctx.store.save(intent))
    return intent


# fmt: off
def _charge(
    ctx: Context, intent: Obj, method: Obj, card: cards.Card, failure: tuple[str, str | None, str] | None
) -> Obj:
    charge_id, ok = new_id("ch_3"), failure is None
    shown = {name: method["card"][name] for name in
             ("brand", "checks", "country", "exp_month", "exp_year", "fingerprint", "funding", "last4",
                 "wallet")}
    secure = {"authentication_flow": "challenge", "result": "authenticated", "result_reason": None,
              "version": "2.2.0"} if card.challenge else None
    email = ctx.store.private(intent["id"]).get("email")
    return ctx.store.add({
        "id": charge_id, "object": "charge", "amount": intent["amount"],
        "amount_captured": intent["amount"] if ok else 0, "amount_refunded": 0, "application": None,
        "application_fee": None, "application_fee_amount": None, "balance_transaction": None,
        "billing_details": cards.billing_details(email), "calculated_statement_descriptor": "PREPAID CREDITS",
        "captured": ok, "created": ctx.store.now(), "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"], "disputed": False, "failure_balance_transaction": None,
        "failure_code": failure[0] if failure else None, "failure_message": failure[2] if failure else None,
        "fraud_details": {}, "livemode": False, "metadata": intent["metadata"], "on_behalf_of": None,
        "outcome": {
            "advice_code": None, "network_advice_code": None, "network_decline_code": None,
            "network_status": "approved_by_network" if ok else "declined_by_network",
            "reason": failure[1] if failure else None, "risk_level": "normal", "risk_score": 12,
            "seller_message": "Payment complete." if ok else failure and failure[2],
            "type": "authorized" if ok else "issuer_declined",
        },
        "paid": ok, "payment_intent": intent["id"], "payment_method": method["id"],
        "payment_method_details": {"type": "card", "card": {**shown, "network": card.brand, "mandate": None,
                                                            "installments": None, "three_d_secure": secure}},
        "receipt_email": email, "receipt_number": None,
        "receipt_url": f"{ctx.hosted_base(None)}/receipts/{charge_id}" if ok else None, "refunded": False,
        "review": None, "shipping": None, "source": None, "source_transfer": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None, "status": "succeeded" if ok else "failed", "transfer_data": None,
        "transfer_group": None,
    })
# fmt: on
