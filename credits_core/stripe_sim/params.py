"""The parameters each endpoint takes. A subset of Stripe's own, with Stripe's names and types; a test
compares them with the installed stripe-python, and everything not listed here is refused as unknown."""

from __future__ import annotations

from credits_core.stripe_sim.forms import METADATA, Spec

# fmt: off
EXPAND: dict[str, Spec] = {"expand": [str]}
PAGE: dict[str, Spec] = {**EXPAND, "limit": int, "starting_after": str, "ending_before": str}
CREATED: dict[str, Spec] = {"created": {"gt": int, "gte": int, "lt": int, "lte": int}}

PRODUCT_CREATE: dict[str, Spec] = {
    **EXPAND, "name!": str, "id": str, "active": bool, "description": str, "metadata": METADATA,
    "statement_descriptor": str, "tax_code": str, "unit_label": str, "url": str, "shippable": bool,
}
PRODUCT_UPDATE: dict[str, Spec] = {
    **EXPAND, "name": str, "active": bool, "description": str, "metadata": METADATA,
    "statement_descriptor": str, "tax_code": str, "unit_label": str, "url": str,
}
PRODUCT_LIST: dict[str, Spec] = {**PAGE, **CREATED, "active": bool, "ids": [str]}

_TAX_BEHAVIOR = ("exclusive", "inclusive", "unspecified")
_RECURRING: dict[str, Spec] = {"interval!": ("day", "month", "week", "year"), "interval_count": int}
PRICE_CREATE: dict[str, Spec] = {
    **EXPAND, "currency!": str, "unit_amount!": int, "product": str, "active": bool, "lookup_key": str,
    "transfer_lookup_key": bool, "metadata": METADATA, "nickname": str, "tax_behavior": _TAX_BEHAVIOR,
    "product_data": {"name!": str, "active": bool, "metadata": METADATA, "statement_descriptor": str},
    "recurring": _RECURRING,
}
PRICE_UPDATE: dict[str, Spec] = {
    **EXPAND, "active": bool, "lookup_key": str, "transfer_lookup_key": bool, "metadata": METADATA,
    "nickname": str,
}
PRICE_LIST: dict[str, Spec] = {
    **PAGE, **CREATED, "active": bool, "currency": str, "lookup_keys": [str], "product": str,
    "type": ("one_time", "recurring"),
}

_CUSTOMER: dict[str, Spec] = {
    **EXPAND, "email": str, "name": str, "phone": str, "description": str, "metadata": METADATA,
    "invoice_settings": {"default_payment_method": str},
}
CUSTOMER_CREATE: dict[str, Spec] = {**_CUSTOMER, "payment_method": str}
CUSTOMER_UPDATE: dict[str, Spec] = _CUSTOMER
CUSTOMER_LIST: dict[str, Spec] = {**PAGE, **CREATED, "email": str}
METHOD_ATTACH: dict[str, Spec] = {**EXPAND, "customer!": str}
METHODS_OF_CUSTOMER: dict[str, Spec] = {**PAGE, "type": ("card", "us_bank_account")}
METHOD_LIST: dict[str, Spec] = {**METHODS_OF_CUSTOMER, "customer": str}
SETUP_LIST: dict[str, Spec] = {**PAGE, **CREATED, "customer": str, "payment_method": str}

SESSION_CREATE: dict[str, Spec] = {
    **EXPAND,
    "mode!": ("payment", "setup", "subscription"),
    "ui_mode": ("elements", "embedded_page", "form", "hosted_page"),
    "success_url": str, "cancel_url": str,
    "line_items": [{
        "price": str, "quantity": int, "metadata": METADATA,
        "price_data": {
            "currency!": str, "unit_amount!": int, "product": str, "tax_behavior": _TAX_BEHAVIOR,
            "product_data": {"name!": str, "description": str, "metadata": METADATA},
            "recurring": _RECURRING,
        },
    }],
    "allow_promotion_codes": bool, "automatic_tax": {"enabled!": bool}, "currency": str,
    "discounts": [{"coupon": str, "promotion_code": str}],
    "setup_intent_data": {"description": str, "metadata": METADATA},
    "subscription_data": {"description": str, "metadata": METADATA},
    "adaptive_pricing": {"enabled": bool},
    "allowed_payment_method_types": [str],
    "client_reference_id": str, "customer": str, "customer_email": str,
    "customer_creation": ("always", "if_required"),
    "consent_collection": {"terms_of_service": ("none", "required"), "promotions": ("auto", "none")},
    "custom_text": {"terms_of_service_acceptance": {"message!": str}}, "customer_update": {"address": ("auto", "never")},
    "invoice_creation": {
        "enabled!": bool, "invoice_data": {"description": str, "footer": str, "metadata": METADATA},
    },
    "expires_at": int, "locale": str, "metadata": METADATA,
    "payment_intent_data": {
        "description": str, "metadata": METADATA, "receipt_email": str,
        "setup_future_usage": ("off_session", "on_session"), "statement_descriptor_suffix": str,
    },
    "submit_type": ("auto", "book", "donate", "pay", "subscribe"),
}
SESSION_LIST: dict[str, Spec] = {
    **PAGE, **CREATED, "customer": str, "payment_intent": str, "subscription": str, "status": ("complete", "expired", "open"),
}

_INTENT: dict[str, Spec] = {
    **EXPAND, "payment_method": str, "receipt_email": str, "return_url": str, "off_session": bool,
    "setup_future_usage": ("off_session", "on_session"),
}
INTENT_CREATE: dict[str, Spec] = {
    **_INTENT, "amount!": int, "currency!": str, "confirm": bool, "customer": str, "description": str,
    "metadata": METADATA, "statement_descriptor_suffix": str,
    "capture_method": ("automatic", "automatic_async"), "allowed_payment_method_types": [str],
    "automatic_payment_methods": {"enabled!": bool, "allow_redirects": ("always", "never")},
}
INTENT_CONFIRM: dict[str, Spec] = _INTENT
INTENT_CANCEL: dict[str, Spec] = {
    **EXPAND, "cancellation_reason": ("abandoned", "duplicate", "fraudulent", "requested_by_customer"),
}
INTENT_LIST: dict[str, Spec] = {**PAGE, **CREATED, "customer": str}

REFUND_CREATE: dict[str, Spec] = {
    **EXPAND, "amount": int, "charge": str, "payment_intent": str, "metadata": METADATA,
    "reason": ("duplicate", "fraudulent", "requested_by_customer"),
}
REFUND_UPDATE: dict[str, Spec] = {**EXPAND, "metadata": METADATA}
DISPUTE_UPDATE: dict[str, Spec] = {
    **EXPAND, "metadata": METADATA, "submit": bool, "evidence": {"uncategorized_text": str},
}
OF_PAYMENT_LIST: dict[str, Spec] = {**PAGE, **CREATED, "charge": str, "payment_intent": str}
CHARGE_LIST: dict[str, Spec] = {**PAGE, **CREATED, "customer": str, "payment_intent": str}
EVENT_LIST: dict[str, Spec] = {**PAGE, **CREATED, "type": str, "types": [str]}
# fmt: on
