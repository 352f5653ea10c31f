"""What a Checkout Session sells: its line items, and the totals with discount and tax."""

from __future__ import annotations

from typing import Any

from credits_core.stripe_sim import discounts
from credits_core.stripe_sim.catalog_api import create_price
from credits_core.stripe_sim.errors import StripeFault, missing
from credits_core.stripe_sim.events import Context
from credits_core.stripe_sim.store import Obj, new_id

Params = dict[str, Any]


def items_of(ctx: Context, params: Params, *, recurring: bool) -> list[Obj]:
    """The line items asked for, all of one currency; recurring prices belong to subscriptions and only there."""
    if not params.get("line_items"):
        raise StripeFault(
            f"You must specify `line_items` in `{params['mode']}` mode.",
            code="parameter_missing",
            param="line_items",
        )
    items = [_line_item(ctx, item, index) for index, item in enumerate(params["line_items"])]
    if any(item["currency"] != items[0]["currency"] for item in items):
        raise StripeFault("All line items must have the same currency.", param="line_items")
    if any((item["price"]["type"] == "recurring") is not recurring for item in items):
        wanted = "at least one recurring price" if recurring else "only one-time prices"
        raise StripeFault(f"You must provide {wanted} in `{params['mode']}` mode.", param="line_items")
    return items


def line_items(ctx: Context, session_id: str) -> list[Obj]:
    """The session's line items in the order of the request."""
    return ctx.store.find("item", {}, parent=session_id)


def apply_totals(ctx: Context, session: Obj, items: list[Obj]) -> None:
    """Put discount and tax on the items and the session, from what the session asks for."""
    subtotal = sum(item["amount_subtotal"] for item in items)
    off = discounts.amount_off(ctx, session["discounts"], subtotal, session["currency"])
    rate, inclusive = (
        ctx.store.setting("tax", [0, False]) if session["automatic_tax"]["enabled"] else (0, False)
    )
    for item, share in zip(items, _shares(off, [item["amount_subtotal"] for item in items]), strict=True):
        net = item["amount_subtotal"] - share
        tax = round_half_up(net * rate, 10_000 + (rate if inclusive else 0))
        item.update(amount_discount=share, amount_tax=tax, amount_total=net + (0 if inclusive else tax))
    tax = sum(item["amount_tax"] for item in items)
    session.update(
        amount_subtotal=subtotal,
        amount_total=sum(item["amount_total"] for item in items),
        total_details={"amount_discount": off, "amount_shipping": 0, "amount_tax": tax},
    )


def round_half_up(dividend: int, divisor: int) -> int:
    """A quotient of whole numbers that are not negative, rounded half up."""
    return (2 * dividend + divisor) // (2 * divisor)


def _shares(amount: int, weights: list[int]) -> list[int]:
    """Divide an amount by weights; the last takes what rounding leaves."""
    total = sum(weights)
    shares = [amount * weight // total if total else 0 for weight in weights]
    shares[-1] += amount - sum(shares)
    return shares


# fmt: off
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
