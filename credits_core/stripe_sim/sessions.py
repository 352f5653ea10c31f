"""Checkout Sessions: created, paid on the hosted page, completed or expired."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from credits_core.stripe_sim import cards, payments
from credits_core.stripe_sim.catalog_api import create_price
from credits_core.stripe_sim.errors import StripeFault, missing, required
from credits_core.stripe_sim.events import Context
from credits_core.stripe_sim.store import Obj, new_id

Params = dict[str, Any]
_HALF_HOUR, _DAY = 1800, 86400


def create_session(ctx: Context, params: Params) -> Obj:
    """A session in payment mode on the hosted page, open for 24 hours unless `expires_at` says less."""
    if params["mode"] != "payment":
        raise StripeFault(f"This simulator has no Checkout in {params['mode']} mode.", param="mode")
    if params.get("ui_mode", "hosted_page") != "hosted_page":
        raise StripeFault("This simulator has only the hosted page.", param="ui_mode")
    if not params.get("success_url"):
        raise required("success_url")
    for name in ("success_url", "cancel_url"):
        _check_url(params.get(name), name)
    if params.get("customer") and not ctx.store.get("customer", params["customer"]):
        raise missing("customer", params["customer"], "customer")
    now = ctx.store.now()
    expires_at = params.get("expires_at", now + _DAY)
    if not now + _HALF_HOUR <= expires_at <= now + _DAY:
        raise StripeFault(
            "The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout"
            " Session creation.",
            param="expires_at",
        )
    session_id = new_id("cs_test_", 58)
    items = [_line_item(ctx, item, index) for index, item in enumerate(params["line_items"])]
    currency, total = items[0]["currency"], sum(item["amount_total"] for item in items)
    if any(item["currency"] != currency for item in items):
        raise StripeFault("All line items must have the same currency.", param="line_items")
    payments.check_amount(total, currency)
    for item in reversed(items):  # lists are newest first; line items keep the order of the request
        ctx.store.add(item, {"parent": session_id})
    session = ctx.store.add(
        _session(params, session_id, now, expires_at, currency, total)
        | {"url": f"{ctx.hosted_base(params['success_url'])}/pay/{session_id}"},
        {"intent": None, "intent_data": params.get("payment_intent_data", {})},
    )
    ctx.at(expires_at, "expire", session_id)
    return session


def present_card(ctx: Context, session_id: str, card: cards.Card, email: str | None) -> Obj:
    """Pay an open session with the card. Answers the PaymentIntent: succeeded (the session is complete then),
    requires_action (3-D Secure), or requires_payment_method with the reason in `last_payment_error`."""
    session = open_session(ctx, session_id)
    known = ctx.store.private(session_id)
    intent_id = known.get("intent")
    if intent_id is None:
        data = known["intent_data"]
        intent_id = payments.create_intent(
            ctx,
            {
                "amount": session["amount_total"],
                "currency": session["currency"],
                "customer": session["customer"],
                "metadata": data.get("metadata", {}),
                "description": data.get("description"),
                "receipt_email": data.get("receipt_email"),
                "setup_future_usage": data.get("setup_future_usage"),
            },
            session_id=session_id,
        )["id"]
        ctx.store.set_private(session_id, intent=intent_id)
        session["payment_intent"] = intent_id
        ctx.store.save(session)
    intent = payments.present_card(
        ctx, intent_id, card, return_url=session["success_url"], email=email or session["customer_email"]
    )
    complete_if_paid(ctx, intent)
    return intent


def complete_if_paid(ctx: Context, intent: Obj) -> None:
    """Complete the session an intent belongs to once it has succeeded; other intents are left alone."""
    session_id = ctx.store.private(intent["id"]).get("session")
    session = ctx.store.get("checkout.session", session_id) if session_id else None
    if session is None or session["status"] != "open" or intent["status"] != "succeeded":
        return
    email = ctx.store.private(intent["id"]).get("email")
    session.update(
        status="complete",
        payment_status="paid",
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
        consent={"promotions": None, "terms_of_service": "accepted"} if _wants_terms(session) else None,
    )
    ctx.emit("checkout.session.completed", ctx.store.save(session))


def expire_session(ctx: Context, _params: Params, session_id: str) -> Obj:
    """Close an open session; 400 when it is not open."""
    session = _existing(ctx, session_id)
    if session["status"] != "open":
        raise StripeFault(
            'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a'
            f" status of {session['status']}.",
            param="session",
        )
    session.update(status="expired", url=None)
    ctx.emit("checkout.session.expired", ctx.store.save(session))
    if session["payment_intent"]:
        payments.mark_canceled(ctx, payments.payable(ctx, session["payment_intent"]), "automatic")
    return session


def open_session(ctx: Context, session_id: str) -> Obj:
    """The session, if it can still be paid; 404 or 400 otherwise."""
    session = _existing(ctx, session_id)
    if session["status"] != "open":
        raise StripeFault(
            f"This Checkout Session is {session['status']}; it can no longer be paid.",
            code="checkout_session_not_open",
        )
    return session


def line_items(ctx: Context, session_id: str) -> list[Obj]:
    """The session's line items in the order of the request."""
    return ctx.store.find("item", {}, parent=session_id)


# fmt: off
def _session(params: Params, session_id: str, now: int, expires_at: int, currency: str, total: int) -> Obj:
    consent = params.get("consent_collection")
    return {
        "id": session_id, "object": "checkout.session",
        "adaptive_pricing": params.get("adaptive_pricing", {"enabled": True}), "after_expiration": None,
        "allow_promotion_codes": None, "amount_subtotal": total, "amount_total": total,
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "billing_address_collection": None, "cancel_url": params.get("cancel_url"),
        "client_reference_id": params.get("client_reference_id"), "client_secret": None,
        "collected_information": None, "consent": None,
        "consent_collection": {"payment_method_reuse_agreement": None, "promotions": None,
            "terms_of_service": None,
                               **consent} if consent else None,
        "created": now, "currency": currency, "currency_conversion": None, "custom_fields": [],
        "custom_text": dict.fromkeys(("after_submit", "shipping_address", "submit",
            "terms_of_service_acceptance")),
        "customer": params.get("customer"), "customer_account": None,
        "customer_creation": None if params.get("customer") else params.get("customer_creation",
            "if_required"),
        "customer_details": None, "customer_email": params.get("customer_email"), "discounts": [],
        "expires_at": expires_at, "invoice": None, "livemode": False, "locale": params.get("locale"),
        "metadata": params.get("metadata", {}), "mode": "payment", "origin_context": None,
        "payment_intent": None,
        "payment_link": None, "payment_method_collection": "if_required",
        "payment_method_configuration_details": None, "payment_method_options": {},
        "payment_method_types": params.get("allowed_payment_method_types", ["card"]),
        "payment_status": "unpaid",
        "permissions": None, "phone_number_collection": {"enabled": False}, "recovered_from": None,
        "saved_payment_method_options": None, "setup_intent": None, "shipping_address_collection": None,
        "shipping_cost": None, "shipping_options": [], "status": "open",
        "submit_type": params.get("submit_type"),
        "subscription": None, "success_url": params["success_url"],
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
        "wallet_options": None,
    }


def _line_item(ctx: Context, wanted: Params, index: int) -> Obj:
    param, quantity = f"line_items[{index}]", wanted.get("quantity")
    if quantity is None or not 1 <= quantity <= 999_999:
        raise StripeFault("Quantity is required and must be at least 1.", param=f"{param}[quantity]")
    if wanted.get("price_data"):
        price = create_price(ctx, wanted["price_data"], active=False)
    else:
        price = ctx.store.get("price", wanted.get("price")) or {}
        if not price:
            raise missing("price", str(wanted.get("price")), f"{param}[price]")
        if not price["active"]:
            raise StripeFault("The price specified is inactive. This field only accepts active prices.",
                              param=f"{param}[price]")
    product = ctx.store.get("product", price["product"])
    amount = price["unit_amount"] * quantity
    return {
        "id": new_id("li_1"), "object": "item", "adjustable_quantity": None, "amount_discount": 0,
        "amount_subtotal": amount, "amount_tax": 0, "amount_total": amount, "currency": price["currency"],
        "description": product["name"] if product else None, "metadata": wanted.get("metadata", {}),
        "price": price,
        "quantity": quantity,
    }
# fmt: on


def _check_url(url: str | None, param: str) -> None:
    parts = urlsplit(url) if url else None
    if parts is not None and (parts.scheme not in ("http", "https") or not parts.hostname):
        raise StripeFault("Not a valid URL", code="url_invalid", param=param)


def _wants_terms(session: Obj) -> bool:
    return (session["consent_collection"] or {}).get("terms_of_service") == "required"


def _existing(ctx: Context, session_id: str) -> Obj:
    session = ctx.store.get("checkout.session", session_id)
    if session is None:
        raise missing("checkout.session", session_id, "session")
    return session
