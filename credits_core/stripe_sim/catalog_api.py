"""Products and prices."""

from __future__ import annotations

from typing import Any

from credits_core import currencies
from credits_core.stripe_sim.errors import StripeFault, missing, required
from credits_core.stripe_sim.events import Context
from credits_core.stripe_sim.store import Obj, merged, new_id

Params = dict[str, Any]


# fmt: off
def create_product(ctx: Context, params: Params, *, active: bool = True) -> Obj:
    """A new product; an `id` of one's own is allowed, once."""
    store, now = ctx.store, ctx.store.now()
    product_id = params.get("id") or new_id("prod_", 14)
    if store.any(product_id):
        raise StripeFault(f"Product already exists with ID: {product_id}", code="resource_already_exists",
            param="id")
    product = store.add({
        "id": product_id, "object": "product", "active": params.get("active", active), "created": now,
        "default_price": None, "description": params.get("description") or None, "images": [],
        "livemode": False,
        "marketing_features": [], "metadata": params.get("metadata", {}), "name": params["name"],
        "package_dimensions": None, "shippable": params.get("shippable"),
        "statement_descriptor": params.get("statement_descriptor"), "tax_code": params.get("tax_code"),
        "type": "service", "unit_label": params.get("unit_label"), "updated": now, "url": params.get("url"),
    })
    ctx.emit("product.created", product)
    return product
# fmt: on


def update_product(ctx: Context, params: Params, product_id: str) -> Obj:
    """Change a product; metadata is merged, an empty text unsets."""
    product = _existing(ctx, "product", product_id)
    product.update(merged(product, params), updated=ctx.store.now())
    ctx.emit("product.updated", ctx.store.save(product))
    return product


# fmt: off
def create_price(ctx: Context, params: Params, *, active: bool = True) -> Obj:
    """A new price, one-time or recurring. `lookup_key` is unique among prices; `transfer_lookup_key` moves it here."""
    currency, amount = checked_currency(params["currency"]), params["unit_amount"]
    if amount < 0:
        raise StripeFault("Invalid non-negative integer", code="parameter_invalid_integer",
            param="unit_amount")
    if params.get("product"):
        product = _existing(ctx, "product", params["product"], param="product")
    elif params.get("product_data"):
        product = create_product(ctx, params["product_data"], active=active)
    else:
        raise required("product")
    _claim_lookup_key(ctx, params, owner=None)
    price = ctx.store.add({
        "id": new_id("price_1"), "object": "price", "active": params.get("active", active),
        "billing_scheme": "per_unit", "created": ctx.store.now(), "currency": currency,
        "custom_unit_amount": None,
        "livemode": False, "lookup_key": params.get("lookup_key"), "metadata": params.get("metadata", {}),
        "nickname": params.get("nickname"), "product": product["id"], "recurring": _recurring(params),
        "tax_behavior": params.get("tax_behavior", "unspecified"), "tiers_mode": None,
        "transform_quantity": None,
        "type": "recurring" if params.get("recurring") else "one_time", "unit_amount": amount, "unit_amount_decimal": str(amount),
    })
    ctx.emit("price.created", price)
    return price
# fmt: on


def update_price(ctx: Context, params: Params, price_id: str) -> Obj:
    """Change what may change of a price: never its amount or currency."""
    price = _existing(ctx, "price", price_id)
    _claim_lookup_key(ctx, params, owner=price_id)
    price.update(merged(price, {k: v for k, v in params.items() if k != "transfer_lookup_key"}))
    ctx.emit("price.updated", ctx.store.save(price))
    return price


def checked_currency(text: str) -> str:
    """The currency in lower case, or 400 as Stripe words it."""
    if not currencies.known(text):
        raise StripeFault(f"Invalid currency: {text[:20]}.", param="currency")
    return text.lower()


def _recurring(params: Params) -> Obj | None:
    asked = params.get("recurring")
    if not asked:
        return None
    count = asked.get("interval_count", 1)
    if not 1 <= count <= 36:
        raise StripeFault("Invalid interval_count.", param="recurring[interval_count]")
    usage = {"meter": None, "trial_period_days": None, "usage_type": "licensed"}
    return {"interval": asked["interval"], "interval_count": count, **usage}


def _claim_lookup_key(ctx: Context, params: Params, *, owner: str | None) -> None:
    key = params.get("lookup_key")
    for other in ctx.store.find("price", {"lookup_key": key}) if key else []:
        if other["id"] == owner:
            continue
        if not params.get("transfer_lookup_key"):
            raise StripeFault(f"A price (`{other['id']}`) already uses that lookup key.", param="lookup_key")
        other["lookup_key"] = None
        ctx.emit("price.updated", ctx.store.save(other))


def _existing(ctx: Context, kind: str, object_id: str, param: str = "id") -> Obj:
    found = ctx.store.get(kind, object_id)
    if found is None:
        raise missing(kind, object_id, param)
    return found
