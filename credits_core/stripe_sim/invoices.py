"""Invoices of subscriptions: drafted, finalized, paid or not. Those of one-time payments: session_invoices."""

from __future__ import annotations

from typing import Any

from credits_core.stripe_sim import methods, payments
from credits_core.stripe_sim.errors import StripeFault, missing
from credits_core.stripe_sim.events import Context
from credits_core.stripe_sim.session_items import round_half_up
from credits_core.stripe_sim.store import Obj, new_id

Params = dict[str, Any]


# fmt: off
def draft(ctx: Context, subscription: Obj, reason: str) -> Obj:
    """A draft for the subscription's current period; its lines are the subscription's items."""
    invoice_id = new_id("in_1")
    customer = methods.existing(ctx, subscription["customer"])
    taxed = subscription["automatic_tax"]["enabled"]
    rate, inclusive = ctx.store.setting("tax", [0, False]) if taxed else (0, False)
    lines = [_line(invoice_id, subscription, item, rate, inclusive) for item in subscription["items"]["data"]]
    tax = sum(tax["amount"] for line in lines for tax in line["taxes"])
    parent = {"type": "subscription_details", "quote_details": None, "subscription_details": {
        "metadata": subscription["metadata"], "subscription": subscription["id"]}}
    begins = subscription["items"]["data"][0]["current_period_start"]
    invoice = blank(ctx, invoice_id, customer, lines, subscription["currency"], taxed=taxed) | {
        "billing_reason": reason, "parent": parent, "period_end": begins, "period_start": begins,
        **totals(lines, 0 if inclusive else tax, tax, inclusive=inclusive),
    }
    ctx.store.add(invoice, {"parent": subscription["id"]})
    ctx.emit("invoice.created", invoice)
    return invoice


def blank(ctx: Context, invoice_id: str, customer: Obj, lines: list[Obj], currency: str, *, taxed: bool) -> Obj:
    """What all drafts have in common; totals, parent and period are still to come."""
    now = ctx.store.now()
    return {
        "id": invoice_id, "object": "invoice", "account_country": "US", "account_name": "Prepaid credits",
        "account_tax_ids": None, "amount_overpaid": 0, "amount_paid": 0,
        "amount_shipping": 0, "application": None, "attempt_count": 0,
        "attempted": False, "auto_advance": True,
        "automatic_tax": {"disabled_reason": None, "enabled": taxed,
                          "liability": None, "provider": None, "status": None},
        "automatically_finalizes_at": now + 3600,
        "collection_method": "charge_automatically", "created": now, "currency": currency,
        "custom_fields": None, "customer": customer["id"], "customer_account": None, "customer_address": None,
        "customer_email": customer["email"], "customer_name": customer["name"], "customer_phone": None,
        "customer_shipping": None, "customer_tax_exempt": "none", "customer_tax_ids": [],
        "default_payment_method": None, "default_source": None, "default_tax_rates": [], "description": None,
        "discounts": [], "due_date": None, "effective_at": None, "ending_balance": None, "footer": None,
        "from_invoice": None, "hosted_invoice_url": None, "invoice_pdf": None,
        "issuer": {"account": None, "type": "self"}, "last_finalization_error": None, "latest_revision": None,
        "lines": {"object": "list", "data": lines, "has_more": False, "url": f"/v1/invoices/{invoice_id}/lines"},
        "livemode": False, "metadata": {}, "next_payment_attempt": None, "number": None, "on_behalf_of": None,
        "payment_settings": {"default_mandate": None, "payment_method_options": None, "payment_method_types": None},
        "post_payment_credit_notes_amount": 0, "pre_payment_credit_notes_amount": 0, "receipt_number": None,
        "rendering": None, "shipping_cost": None, "shipping_details": None, "starting_balance": 0,
        "statement_descriptor": None, "status": "draft",
        "status_transitions": dict.fromkeys(("finalized_at", "marked_uncollectible_at", "paid_at", "voided_at")),
        "test_clock": None, "total_discount_amounts": [],
        "total_pretax_credit_amounts": [], "webhooks_delivered_at": now,
    }


def totals(lines: list[Obj], on_top: int, tax: int, *, inclusive: bool) -> Obj:
    """The sums of an invoice; `on_top` is what its total is above (or, with a discount, below) its lines."""
    subtotal = sum(line["subtotal"] for line in lines)
    total = subtotal + on_top
    return {
        "amount_due": total, "amount_remaining": total, "subtotal": subtotal, "total": total,
        "subtotal_excluding_tax": subtotal - (tax if inclusive else 0), "total_excluding_tax": total - tax,
        "total_taxes": [tax for line in lines for tax in line["taxes"]],
    }


def _line(invoice_id: str, subscription: Obj, item: Obj, rate: int, inclusive: bool) -> Obj:
    price, quantity = item["price"], item["quantity"]
    amount = price["unit_amount"] * quantity
    tax = round_half_up(amount * rate, 10_000 + (rate if inclusive else 0))
    return {
        "id": new_id("il_1"), "object": "line_item", "amount": amount, "currency": price["currency"],
        "description": f"{quantity} × {price['nickname'] or 'subscription'}", "discount_amounts": [],
        "discountable": True, "discounts": [], "invoice": invoice_id, "livemode": False,
        "metadata": subscription["metadata"],
        "parent": {"type": "subscription_item_details", "invoice_item_details": None, "subscription_item_details": {
            "invoice_item": None, "proration": False, "proration_details": None,
            "subscription": subscription["id"], "subscription_item": item["id"]}},
        "period": {"start": item["current_period_start"], "end": item["current_period_end"]},
        "pretax_credit_amounts": [],
        "pricing": {"type": "price_details", "unit_amount_decimal": str(price["unit_amount"]),
                    "price_details": {"price": price["id"], "product": price["product"]}},
        "quantity": quantity, "quantity_decimal": str(quantity), "subscription": subscription["id"],
        "subtotal": amount,
        "taxes": [{"amount": tax, "tax_behavior": "inclusive" if inclusive else "exclusive",
                   "tax_rate_details": None, "taxability_reason": "standard_rated",
                   "taxable_amount": amount - (tax if inclusive else 0), "type": "tax_rate_details"}] if rate else [],
    }
# fmt: on


def finalize(ctx: Context, invoice: Obj) -> Obj:
    """The invoice can be paid from now on, and has a number and a page."""
    customer = methods.existing(ctx, invoice["customer"])
    number = f"{customer['invoice_prefix']}-{customer['next_invoice_sequence']:04d}"
    customer["next_invoice_sequence"] += 1
    ctx.store.save(customer)
    page = f"{ctx.hosted_base(None)}/invoices/{invoice['id']}"
    invoice.update(
        status="open", number=number, hosted_invoice_url=page, invoice_pdf=page, effective_at=ctx.store.now()
    )
    invoice.update(automatically_finalizes_at=None)
    invoice["status_transitions"]["finalized_at"] = ctx.store.now()
    ctx.emit("invoice.finalized", ctx.store.save(invoice))
    return invoice


def intent_of(ctx: Context, invoice: Obj) -> Obj:
    """The invoice's PaymentIntent, made with the first attempt to pay it."""
    for known in ctx.store.find("invoice_payment", {"invoice": invoice["id"]}):
        found = ctx.store.get("payment_intent", known["payment"]["payment_intent"])
        assert found is not None  # an invoice payment has its intent
        return found
    asked = {
        "amount": invoice["amount_due"],
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "description": f"Payment for invoice {invoice['number']}",
        "setup_future_usage": "off_session",
    }
    intent = payments.create_intent(ctx, asked, invoice=invoice["id"])
    link(ctx, invoice, intent)
    return intent


def link(ctx: Context, invoice: Obj, intent: Obj) -> None:
    """Let an intent be the one that pays the invoice."""
    ctx.store.set_private(intent["id"], invoice=invoice["id"])
    ctx.store.add(
        {
            "id": new_id("inpay_1"),
            "object": "invoice_payment",
            "amount_paid": None,
            "amount_requested": invoice["amount_due"],
            "created": ctx.store.now(),
            "currency": invoice["currency"],
            "invoice": invoice["id"],
            "is_default": True,
            "livemode": False,
            "payment": {"type": "payment_intent", "payment_intent": intent["id"]},
            "status": "open",
            "status_transitions": {"canceled_at": None, "paid_at": None},
        }
    )


def mark_paid(ctx: Context, invoice: Obj) -> Obj:
    """The invoice is paid; its events tell so."""
    now = ctx.store.now()
    invoice.update(status="paid", amount_paid=invoice["amount_due"], amount_remaining=0, attempted=True)
    invoice.update(next_payment_attempt=None, auto_advance=False, attempt_count=invoice["attempt_count"] + 1)
    invoice["status_transitions"]["paid_at"] = now
    for payment in ctx.store.find("invoice_payment", {"invoice": invoice["id"], "status": "open"}):
        payment.update(status="paid", amount_paid=invoice["amount_due"])
        payment["status_transitions"]["paid_at"] = now
        ctx.emit("invoice_payment.paid", ctx.store.save(payment))
    ctx.emit("invoice.paid", ctx.store.save(invoice))
    ctx.emit("invoice.payment_succeeded", invoice)
    return invoice


def void(ctx: Context, _params: Params, invoice_id: str) -> Obj:
    """Nothing is owed for this invoice any more."""
    invoice = existing(ctx, invoice_id)
    if invoice["status"] not in ("open", "uncollectible"):
        raise StripeFault(f"You can only void open invoices; this one is {invoice['status']}.")
    invoice.update(status="void", auto_advance=False, next_payment_attempt=None)
    invoice["status_transitions"]["voided_at"] = ctx.store.now()
    for payment in ctx.store.find("invoice_payment", {"invoice": invoice_id, "status": "open"}):
        payment["status"] = "canceled"
        ctx.store.save(payment)
        intent = ctx.store.get("payment_intent", payment["payment"]["payment_intent"])
        if intent and intent["status"] not in ("succeeded", "canceled", "processing"):
            payments.mark_canceled(ctx, intent, "void_invoice")
    ctx.emit("invoice.voided", ctx.store.save(invoice))
    return invoice


def existing(ctx: Context, invoice_id: str) -> Obj:
    """The invoice with that id, or 404."""
    found = ctx.store.get("invoice", invoice_id)
    if found is None:
        raise missing("invoice", invoice_id, "invoice")
    return found
