"""Checkout Sessions: created and expired; `session_flow` pays them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from credits_core.stripe_sim import attempts, discounts, methods, payments, session_invoices, setups
from credits_core.stripe_sim.errors import StripeFault, missing, required
from credits_core.stripe_sim.events import Context
from credits_core.stripe_sim.session_items import apply_totals, items_of, line_items
from credits_core.stripe_sim.store import Obj, new_id

Params = dict[str, Any]
_HALF_HOUR, _DAY = 1800, 86400


def create_session(ctx: Context, params: Params) -> Obj:
    """A session on the hosted page, open for 24 hours unless `expires_at` says less: to pay, to subscribe, or to
    save a card."""
    mode = params["mode"]
    _check(ctx, params)
    now = ctx.store.now()
    expires_at = params.get("expires_at", now + _DAY)
    if not now + _HALF_HOUR <= expires_at <= now + _DAY:
        raise StripeFault(
            "The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout"
            " Session creation.",
            param="expires_at",
        )
    session = _session(params, new_id("cs_test_", 58), now, expires_at)
    items = [] if mode == "setup" else items_of(ctx, params, recurring=mode == "subscription")
    if mode == "setup":
        asked = {**params.get("setup_intent_data", {}), "customer": params.get("customer")}
        setup = setups.create_setup(ctx, asked, session=session["id"])
        session.update(setup_intent=setup["id"], payment_status="no_payment_required")
    else:
        subtotal = sum(item["amount_subtotal"] for item in items)
        session["currency"] = items[0]["currency"]
        session["discounts"] = discounts.chosen(
            ctx, params.get("discounts", []), params.get("customer"), subtotal
        )
        apply_totals(ctx, session, items)
        if session["amount_total"] or not session["discounts"]:
            payments.check_amount(session["amount_total"], session["currency"])
    for item in reversed(items):  # lists are newest first; line items keep the order of the request
        ctx.store.add(item, {"parent": session["id"]})
    session["url"] = f"{ctx.hosted_base(params['success_url'])}/pay/{session['id']}"
    asked = {name: params.get(name, {}) for name in ("payment_intent_data", "subscription_data")}
    ctx.store.add(session, {"intent": None, "asked": asked})
    ctx.at(expires_at, "expire", session["id"])
    return session


def enter_code(ctx: Context, session_id: str, code: str) -> Obj:
    """A person types a promotion code on the hosted page of a session that allows it."""
    session = open_session(ctx, session_id)
    if not session["allow_promotion_codes"] or session["payment_intent"]:
        raise StripeFault("This payment does not take promotion codes.", param="promotion_code")
    items = line_items(ctx, session_id)
    asked = discounts.by_typed_code(ctx, code)
    subtotal = session["amount_subtotal"]
    session["discounts"] = discounts.chosen(ctx, asked, session["customer"], subtotal)
    apply_totals(ctx, session, items)
    for item in items:
        ctx.store.save(item)
    return ctx.store.save(session)


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
    if intent_id := ctx.store.private(session_id)["intent"]:
        payments.mark_canceled(ctx, attempts.payable(ctx, intent_id), "automatic")
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


# fmt: off
def _session(params: Params, session_id: str, now: int, expires_at: int) -> Obj:
    consent, setup = params.get("consent_collection"), params["mode"] == "setup"
    none = None if setup else 0
    return {
        "id": session_id, "object": "checkout.session",
        "adaptive_pricing": params.get("adaptive_pricing", {"enabled": True}), "after_expiration": None,
        "allow_promotion_codes": params.get("allow_promotion_codes"),
        "amount_subtotal": none, "amount_total": none,
        "automatic_tax": _tax(params.get("automatic_tax", {}).get("enabled", False)),
        "billing_address_collection": None, "cancel_url": params.get("cancel_url"),
        "client_reference_id": params.get("client_reference_id"), "client_secret": None,
        "collected_information": None, "consent": None,
        "consent_collection": {"payment_method_reuse_agreement": None, "promotions": None,
            "terms_of_service": None,
                               **consent} if consent else None,
        "created": now, "currency": params.get("currency"), "currency_conversion": None, "custom_fields": [],
        "custom_text": {**dict.fromkeys(("after_submit", "shipping_address", "submit",
            "terms_of_service_acceptance")), **params.get("custom_text", {})},
        "customer": params.get("customer"), "customer_account": None,
        "customer_creation": None if params.get("customer") or params["mode"] != "payment"
        else params.get("customer_creation", "if_required"),
        "customer_details": None, "customer_email": params.get("customer_email"), "discounts": [],
        "expires_at": expires_at, "invoice": None,
        "invoice_creation": session_invoices.settings(params), "livemode": False, "locale": params.get("locale"),
        "metadata": params.get("metadata", {}), "mode": params["mode"], "origin_context": None,
        "payment_intent": None,
        "payment_link": None,
        "payment_method_collection": "always" if params["mode"] == "subscription" else "if_required",
        "payment_method_configuration_details": None, "payment_method_options": {},
        "payment_method_types": params.get("allowed_payment_method_types", ["card"]),
        "payment_status": "unpaid",
        "permissions": None, "phone_number_collection": {"enabled": False}, "recovered_from": None,
        "saved_payment_method_options": None, "setup_intent": None, "shipping_address_collection": None,
        "shipping_cost": None, "shipping_options": [], "status": "open",
        "submit_type": params.get("submit_type"),
        "subscription": None, "success_url": params["success_url"],
        "total_details": None if setup else {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
        "wallet_options": None,
    }


def _tax(enabled: bool) -> Obj:
    mine = {"account": None, "type": "self"}
    return {"enabled": enabled, "liability": mine if enabled else None, "provider": "stripe" if enabled else None,
            "status": "complete" if enabled else None}
# fmt: on


_ONLY_IN = {
    "payment_intent_data": ("payment",),
    "subscription_data": ("subscription",),
    "setup_intent_data": ("setup",),
    "customer_creation": ("payment", "setup"),
    "invoice_creation": ("payment",),
    "line_items": ("payment", "subscription"),
    "discounts": ("payment",),
    "allow_promotion_codes": ("payment",),
}


def _check(ctx: Context, params: Params) -> None:
    if params.get("ui_mode", "hosted_page") != "hosted_page":
        raise StripeFault("This simulator has only the hosted page.", param="ui_mode")
    for name, modes in _ONLY_IN.items():
        if name in params and params["mode"] not in modes:
            raise StripeFault(f"You can not pass `{name}` in `{params['mode']}` mode.", param=name)
    if not params.get("success_url"):
        raise required("success_url")
    if params["mode"] == "setup" and not params.get("currency"):
        raise required("currency")
    if params.get("allow_promotion_codes") and params.get("discounts"):
        raise StripeFault(
            "You may only specify one of these parameters: allow_promotion_codes, discounts.",
            param="discounts",
        )
    if params.get("customer") and params.get("customer_email"):
        raise StripeFault(
            "You may only specify one of these parameters: customer, customer_email.", param="customer_email"
        )
    for name in ("success_url", "cancel_url"):
        _check_url(params.get(name), name)
    if params.get("customer_update") and not params.get("customer"):
        raise StripeFault("`customer_update` can only be used with `customer`.", param="customer_update")
    if params.get("customer"):
        methods.existing(ctx, params["customer"])


def _check_url(url: str | None, param: str) -> None:
    parts = urlsplit(url) if url else None
    if parts is not None and (parts.scheme not in ("http", "https") or not parts.hostname):
        raise StripeFault("Not a valid URL", code="url_invalid", param=param)


def _existing(ctx: Context, session_id: str) -> Obj:
    session = ctx.store.get("checkout.session", session_id)
    if session is None:
        raise missing("checkout.session", session_id, "session")
    return session
