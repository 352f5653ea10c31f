"""Charges: one attempt to take money, successful, declined or under way."""

from __future__ import annotations

from credits_core.stripe_sim import balance, cards
from credits_core.stripe_sim.events import Context
from credits_core.stripe_sim.store import Obj, new_id

_STATUS = {"succeeded": ("approved_by_network", "authorized", "Payment complete."),
           "pending": ("approved_by_network", "authorized", "Payment complete."),
           "failed": ("declined_by_network", "issuer_declined", None)}  # fmt: skip


# fmt: off
def create(
    ctx: Context, intent: Obj, method: Obj, card: cards.Card, status: str, *,
    failure: cards.Decline | None = None, challenged: bool = False,
) -> Obj:
    """A charge of an intent: `status` succeeded, pending (a bank debit) or failed, with the reason."""
    charge_id, ok = new_id("ch_3" if not card.delayed else "py_3"), status != "failed"
    email = ctx.store.private(intent["id"]).get("email")
    network, kind, message = _STATUS[status]
    charge = ctx.store.add({
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
            "advice_code": _advice(failure), "network_advice_code": None, "network_decline_code": None,
            "network_status": network, "reason": failure[1] if failure else None,
            "risk_level": "normal", "risk_score": 12,
            "seller_message": failure[2] if failure else message, "type": kind,
        },
        "paid": status == "succeeded", "payment_intent": intent["id"], "payment_method": method["id"],
        "payment_method_details": cards.charge_details(card, method, challenged=challenged),
        "receipt_email": email, "receipt_number": None, "receipt_url": None, "refunded": False,
        "review": None, "shipping": None, "source": None, "source_transfer": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None, "status": status, "transfer_data": None,
        "transfer_group": None,
    })
    return settle(ctx, charge) if status == "succeeded" else charge
# fmt: on


def settle(ctx: Context, charge: Obj) -> Obj:
    """The money of a charge came in: it has a receipt and a balance transaction from now on."""
    amount, currency = charge["amount"], charge["currency"]
    fee = balance.charge_fee(amount)
    kind = "payment" if charge["id"].startswith("py_") else "charge"
    entry = balance.record(ctx, kind, charge["id"], amount, currency, fee=fee, category="charge")
    charge.update(
        status="succeeded",
        paid=True,
        balance_transaction=entry["id"],
        receipt_url=f"{ctx.hosted_base(None)}/receipts/{charge['id']}",
    )
    ctx.emit("charge.succeeded", ctx.store.save(charge))
    return charge


def fail(ctx: Context, charge: Obj, failure: cards.Decline) -> Obj:
    """A debit that was under way did not go through."""
    charge.update(status="failed", captured=False, amount_captured=0)
    charge.update(failure_code=failure[0], failure_message=failure[2])
    ctx.emit("charge.failed", ctx.store.save(charge))
    return charge


def advice(decline_code: str | None) -> str | None:
    """What Stripe advises after a decline: whether trying the same card again can help."""
    return {
        "lost_card": "do_not_try_again",
        "stolen_card": "do_not_try_again",
        "insufficient_funds": "try_again_later",
        "generic_decline": "try_again_later",
        "authentication_required": "confirm_card_data",
    }.get(decline_code or "")


def _advice(failure: cards.Decline | None) -> str | None:
    return advice(failure[1]) if failure else None
