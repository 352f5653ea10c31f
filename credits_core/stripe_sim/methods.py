"""Customers and their saved payment methods."""

from __future__ import annotations

from typing import Any

from credits_core.stripe_sim import cards
from credits_core.stripe_sim.errors import StripeFault, missing
from credits_core.stripe_sim.events import Context
from credits_core.stripe_sim.store import Obj, merged, new_id

Params = dict[str, Any]
_USED_UP = (
    "The provided PaymentMethod was previously used with a PaymentIntent without Customer attachment, or was"
    " detached from a Customer. It may not be used again."
)


# fmt: off
def create_customer(ctx: Context, params: Params) -> Obj:
    """A new customer."""
    customer = ctx.store.add({
        "id": new_id("cus_", 14), "object": "customer", "address": None, "balance": 0,
        "created": ctx.store.now(),
        "currency": None, "customer_account": None, "default_source": None, "delinquent": False,
        "description": params.get("description"), "discount": None, "email": params.get("email"),
        "invoice_prefix": new_id("", 8).upper(), "livemode": False, "metadata": params.get("metadata", {}),
        "invoice_settings": {"custom_fields": None, "default_payment_method": None, "footer": None,
                             "rendering_options": None},
        "name": params.get("name"), "next_invoice_sequence": 1, "phone": params.get("phone"),
        "preferred_locales": [], "shipping": None, "tax_exempt": "none", "test_clock": None,
    })
    ctx.emit("customer.created", customer)
    if params.get("payment_method"):
        attach(ctx, {"customer": customer["id"]}, params["payment_method"])
    settings = params.get("invoice_settings")
    return update_customer(ctx, {"invoice_settings": settings}, customer["id"]) if settings else customer
# fmt: on


def update_customer(ctx: Context, params: Params, customer_id: str) -> Obj:
    """Change a customer; the default payment method must be one of theirs."""
    customer = existing(ctx, customer_id)
    settings = params.pop("invoice_settings", None) or {}
    chosen = settings.get("default_payment_method")
    if chosen:
        method = ctx.store.get("payment_method", chosen)
        if method is None or method["customer"] != customer_id:
            raise StripeFault(
                f"The customer does not have a payment method with the ID {chosen}. The payment method must be"
                " attached to the customer.",
                code="resource_missing",
                param="invoice_settings[default_payment_method]",
            )
    customer["invoice_settings"] |= {name: value or None for name, value in settings.items()}
    customer.update(merged(customer, params))
    ctx.emit("customer.updated", ctx.store.save(customer))
    return customer


def existing(ctx: Context, customer_id: str, param: str = "customer") -> Obj:
    """The customer with that id, or 404."""
    found = ctx.store.get("customer", customer_id)
    if found is None:
        raise missing("customer", customer_id, param)
    return found


def resolve(ctx: Context, name: str, customer_id: str | None) -> tuple[Obj, cards.Card]:
    """A payment method to pay with now, by its id or by a test name: it must be the customer's, if anybody's."""
    method = ctx.store.get("payment_method", name)
    if method is None:
        if name not in cards.BY_NAME:
            raise missing("PaymentMethod", name, "payment_method")
        return new(ctx, cards.BY_NUMBER[cards.BY_NAME[name]], None)
    if method["customer"] and method["customer"] != customer_id:
        raise StripeFault(
            "The payment method belongs to a Customer. Please include the Customer in the `customer` parameter on"
            " the PaymentIntent.",
            param="payment_method",
        )
    if not method["customer"] and ctx.store.private(name).get("used"):
        raise StripeFault(_USED_UP, param="payment_method")
    return method, card_of(ctx, name)


def new(ctx: Context, card: cards.Card, email: str | None) -> tuple[Obj, cards.Card]:
    """A payment method for a card that was just presented."""
    method = ctx.store.add(cards.payment_method(card, ctx.store.now(), email), {"number": card.number})
    return method, card


def card_of(ctx: Context, method_id: str) -> cards.Card:
    """The test card behind a payment method: how it behaves now."""
    return cards.BY_NUMBER[ctx.store.private(method_id)["number"]]


def attach(ctx: Context, params: Params, name: str) -> Obj:
    """Save a payment method with a customer; cards that do not attach are declined."""
    customer = existing(ctx, params["customer"])
    method, card = resolve(ctx, name, customer["id"])
    if card.declined and not card.attaches:
        code, decline_code, message = card.declined
        raise StripeFault(message, status=402, kind="card_error", code=code, decline_code=decline_code)
    return save(ctx, method, customer["id"])


def save(ctx: Context, method: Obj, customer_id: str, *, confirmed: bool = False) -> Obj:
    """Save a method with a customer; `confirmed` when the cardholder agreed with the bank to later payments."""
    if confirmed:
        ctx.store.set_private(method["id"], confirmed=True)
    if method["customer"] != customer_id:
        method["customer"] = customer_id
        ctx.emit("payment_method.attached", ctx.store.save(method))
    return method


def detach(ctx: Context, _params: Params, method_id: str) -> Obj:
    """Take a method from its customer, for good."""
    method = ctx.store.get("payment_method", method_id)
    if method is None:
        raise missing("PaymentMethod", method_id, "payment_method")
    if method["customer"] is None:
        raise StripeFault(
            "The payment method you provided is not attached to a customer so detachment is impossible.",
            param="payment_method",
        )
    customer = ctx.store.get("customer", method["customer"])
    method["customer"] = None
    ctx.store.set_private(method_id, used=True)
    ctx.emit("payment_method.detached", ctx.store.save(method))
    if customer and customer["invoice_settings"]["default_payment_method"] == method_id:
        customer["invoice_settings"]["default_payment_method"] = None
        ctx.emit("customer.updated", ctx.store.save(customer))
    return method


def default_of(ctx: Context, customer_id: str, chosen: str | None = None) -> str | None:
    """The method an invoice is paid with: the subscription's own while it is saved, else the customer's default."""
    method = ctx.store.get("payment_method", chosen)
    if method and method["customer"] == customer_id:
        return chosen
    default: str | None = existing(ctx, customer_id)["invoice_settings"]["default_payment_method"]
    return default
