"""Invoices of one-time payments: a Checkout Session that asks for one gets it, paid, when its payment has succeeded."""

from __future__ import annotations

from credits_core.stripe_sim import invoices, methods
from credits_core.stripe_sim.events import Context
from credits_core.stripe_sim.session_items import line_items
from credits_core.stripe_sim.store import Obj, new_id


def after_payment(ctx: Context, session: Obj) -> None:
    """Make the paid invoice of a session that asks for one, once."""
    asked = session.get("invoice_creation")
    if not asked or not asked["enabled"] or session["invoice"] or session["payment_status"] != "paid":
        return
    customer = methods.existing(ctx, session["customer"])
    invoice_id, now = new_id("in_1"), ctx.store.now()
    lines = [_line(invoice_id, item, now) for item in line_items(ctx, session["id"])]
    tax = session["total_details"]["amount_tax"]
    on_top = session["amount_total"] - session["amount_subtotal"]
    inclusive = on_top + session["total_details"]["amount_discount"] != tax
    taxed = session["automatic_tax"]["enabled"]
    made = invoices.blank(ctx, invoice_id, customer, lines, session["currency"], taxed=taxed) | {
        "billing_reason": "manual",
        "parent": None,
        "period_end": now,
        "period_start": now,
        "metadata": asked["invoice_data"]["metadata"] or {},
        "description": asked["invoice_data"]["description"],
        **invoices.totals(lines, on_top, tax, inclusive=inclusive),
    }
    ctx.store.add(made, {"parent": session["id"]})
    ctx.emit("invoice.created", made)
    session["invoice"] = invoices.mark_paid(ctx, invoices.finalize(ctx, made))["id"]


# fmt: off
def _line(invoice_id: str, item: Obj, now: int) -> Obj:
    price, tax = item["price"], item["amount_tax"]
    inclusive = item["amount_total"] - item["amount_subtotal"] + item["amount_discount"] != tax
    return {
        "id": new_id("il_1"), "object": "line_item", "amount": item["amount_subtotal"], "currency": item["currency"],
        "description": item["description"], "discount_amounts": [], "discountable": True, "discounts": [],
        "invoice": invoice_id, "livemode": False, "metadata": {},
        "parent": {"type": "invoice_item_details", "subscription_item_details": None, "invoice_item_details": {
            "invoice_item": new_id("ii_1"), "proration": False, "proration_details": None, "subscription": None}},
        "period": {"start": now, "end": now}, "pretax_credit_amounts": [],
        "pricing": {"type": "price_details", "unit_amount_decimal": str(price["unit_amount"]),
                    "price_details": {"price": price["id"], "product": price["product"]}},
        "quantity": item["quantity"], "quantity_decimal": str(item["quantity"]), "subscription": None,
        "subtotal": item["amount_subtotal"],
        "taxes": [{"amount": tax, "tax_behavior": "inclusive" if inclusive else "exclusive",
                   "tax_rate_details": None, "taxability_reason": "standard_rated",
                   "taxable_amount": item["amount_total"] - tax, "type": "tax_rate_details"}] if tax else [],
    }
# fmt: on


def settings(params: Obj) -> Obj | None:
    """The session's `invoice_creation` of the parameters it was made with."""
    asked = params.get("invoice_creation")
    if asked is None:
        return None
    data = asked.get("invoice_data", {})
    named = {name: data.get(name) for name in ("description", "footer", "metadata")}
    empty = dict.fromkeys(("account_tax_ids", "custom_fields", "issuer", "rendering_options"))
    return {"enabled": asked["enabled"], "invoice_data": named | empty}
