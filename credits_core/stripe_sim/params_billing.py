"""The parameters of what is billed and of the balance; like `params`, a subset of Stripe's own."""

from __future__ import annotations

from credits_core.stripe_sim.forms import METADATA, Spec
from credits_core.stripe_sim.params import CREATED, EXPAND, PAGE

# fmt: off
_BEHAVIOR = ("allow_incomplete", "default_incomplete", "error_if_incomplete")
SUBSCRIPTION_CREATE: dict[str, Spec] = {
    **EXPAND, "customer!": str, "items!": [{"price": str, "quantity": int}], "default_payment_method": str,
    "description": str, "metadata": METADATA, "cancel_at_period_end": bool, "off_session": bool,
    "payment_behavior": _BEHAVIOR, "automatic_tax": {"enabled!": bool},
}
SUBSCRIPTION_UPDATE: dict[str, Spec] = {
    **EXPAND, "items": [{"id": str, "price": str, "quantity": int}], "default_payment_method": str,
    "description": str, "metadata": METADATA, "cancel_at_period_end": bool,
    "payment_behavior": ("allow_incomplete", "error_if_incomplete"),
    "proration_behavior": ("always_invoice", "create_prorations", "none"),
    "billing_cycle_anchor": {"type!": ("now", "unchanged")},
    "cancellation_details": {"comment": str, "feedback": (
        "customer_service", "low_quality", "missing_features", "other", "switched_service", "too_complex",
        "too_expensive", "unused")},
}
SUBSCRIPTION_CANCEL: dict[str, Spec] = {
    **EXPAND, "cancellation_details": SUBSCRIPTION_UPDATE["cancellation_details"],
}
SUBSCRIPTION_LIST: dict[str, Spec] = {
    **PAGE, **CREATED, "customer": str, "status": (
        "active", "all", "canceled", "incomplete", "incomplete_expired", "past_due"),
}
INVOICE_LIST: dict[str, Spec] = {
    **PAGE, **CREATED, "customer": str, "subscription": str,
    "status": ("draft", "open", "paid", "uncollectible", "void"),
}
INVOICE_PAY: dict[str, Spec] = {**EXPAND, "payment_method": str, "off_session": bool}
INVOICE_PAYMENT_LIST: dict[str, Spec] = {
    **PAGE, **CREATED, "invoice": str, "status": ("canceled", "open", "paid"),
    "payment": {"type!": ("payment_intent",), "payment_intent": str},
}
PORTAL_CREATE: dict[str, Spec] = {**EXPAND, "customer!": str, "return_url": str}

COUPON_CREATE: dict[str, Spec] = {
    **EXPAND, "id": str, "name": str, "percent_off": float, "amount_off": int, "currency": str,
    "duration": ("forever", "once", "repeating"), "duration_in_months": int, "max_redemptions": int,
    "redeem_by": int, "metadata": METADATA,
}
COUPON_LIST: dict[str, Spec] = {**PAGE, **CREATED}
CODE_CREATE: dict[str, Spec] = {
    **EXPAND, "promotion!": {"type!": ("coupon",), "coupon": str}, "code": str, "active": bool, "customer": str,
    "expires_at": int, "max_redemptions": int, "metadata": METADATA,
    "restrictions": {"minimum_amount": int, "minimum_amount_currency": str},
}
CODE_UPDATE: dict[str, Spec] = {**EXPAND, "active": bool, "metadata": METADATA}
CODE_LIST: dict[str, Spec] = {**PAGE, **CREATED, "active": bool, "code": str, "customer": str}

BALANCE_LIST: dict[str, Spec] = {**PAGE, **CREATED, "currency": str, "payout": str, "source": str, "type": str}
PAYOUT_LIST: dict[str, Spec] = {**PAGE, **CREATED, "status": str}
# fmt: on
