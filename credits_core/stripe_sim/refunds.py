"""Refunds and disputes of charges."""

from __future__ import annotations

from typing import Any

from credits_core.stripe_sim.errors import StripeFault, missing, required
from credits_core.stripe_sim.events import Context
from credits_core.stripe_sim.store import Obj, new_id

Params = dict[str, Any]


# fmt: off
def create_refund(ctx: Context, params: Params) -> Obj:
    """Give back a charge, or part of it; never more than is left of it."""
    charge = _charge_of(ctx, params)
    left = charge["amount_captured"] - charge["amount_refunded"]
    amount = params.get("amount", left)
    if charge["disputed"]:
        raise StripeFault(f"Charge {charge['id']} has been charged back; cannot issue a refund.",
                          code="charge_disputed")
    if left == 0:
        raise StripeFault(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    if amount < 1:
        raise StripeFault("Invalid positive integer", code="parameter_invalid_integer", param="amount")
    if amount > left:
        raise StripeFault(f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})",
                          param="amount")
    refund = ctx.store.add({
        "id": new_id("re_3"), "object": "refund", "amount": amount, "balance_transaction": None,
        "charge": charge["id"], "created": ctx.store.now(), "currency": charge["currency"],
        "destination_details": {"type": "card", "card": {"reference_status": "pending", "type": "refund",
                                                         "reference_type": "acquirer_reference_number"}},
        "metadata": params.get("metadata", {}), "payment_intent": charge["payment_intent"],
        "reason": params.get("reason"), "receipt_number": None, "source_transfer_reversal": None,
        "status": "succeeded", "transfer_reversal": None,
    })
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount_captured"]
    ctx.emit("charge.refunded", ctx.store.save(charge))
    ctx.emit("refund.created", refund)
    return refund


def open_dispute(ctx: Context, charge_id: str) -> Obj:
    """The cardholder disputes the charge; a second time answers the same dispute."""
    charge = ctx.store.get("charge", charge_id)
    if charge is None or not charge["paid"]:
        raise missing("charge", charge_id)
    if known := ctx.store.find("dispute", {"charge": charge_id}):
        return known[0]
    now = ctx.store.now()
    dispute = ctx.store.add({
        "id": new_id("du_1"), "object": "dispute", "amount": charge["amount"] - charge["amount_refunded"],
        "balance_transactions": [], "charge": charge_id, "created": now, "currency": charge["currency"],
        "enhanced_eligibility_types": [], "evidence": {"enhanced_evidence": {}},
        "evidence_details": {"due_by": now + 9 * 86400, "enhanced_eligibility": {}, "has_evidence": False,
                             "past_due": False, "submission_count": 0, "submission_method": "not_submitted"},
        "is_charge_refundable": False, "livemode": False, "metadata": {},
        "payment_intent": charge["payment_intent"], "reason": "fraudulent", "status": "needs_response",
    })
    charge["disputed"] = True
    ctx.store.save(charge)
    ctx.emit("charge.dispute.created", dispute)
    return dispute
# fmt: on


def _charge_of(ctx: Context, params: Params) -> Obj:
    charge_id = params.get("charge")
    if intent_id := params.get("payment_intent"):
        intent = ctx.store.get("payment_intent", intent_id)
        if intent is None:
            raise missing("payment_intent", intent_id, "payment_intent")
        charge_id = intent["latest_charge"]
    if not charge_id and not intent_id:
        raise required("charge")
    charge = ctx.store.get("charge", charge_id)
    if charge is None or not charge["paid"]:
        raise missing("charge", str(charge_id), "charge")
    return charge
