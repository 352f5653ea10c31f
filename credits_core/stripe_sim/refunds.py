"""Refunds of charges: given back at once, later, or not after all."""

from __future__ import annotations

from typing import Any

from credits_core.stripe_sim import balance, methods
from credits_core.stripe_sim.errors import StripeFault, missing, required
from credits_core.stripe_sim.events import Context
from credits_core.stripe_sim.store import Obj, merged, new_id

Params = dict[str, Any]
_LATER_SECONDS = 60


# fmt: off
def create_refund(ctx: Context, params: Params) -> Obj:
    """Give back a charge, or part of it; never more than is left of it."""
    charge = _charge_of(ctx, params)
    left = charge["amount_captured"] - charge["amount_refunded"]
    amount = params.get("amount", left)
    if _charged_back(ctx, charge):
        raise StripeFault(f"Charge {charge['id']} has been charged back; cannot issue a refund.",
                          code="charge_disputed")
    if left == 0:
        raise StripeFault(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    if amount < 1:
        raise StripeFault("Invalid positive integer", code="parameter_invalid_integer", param="amount")
    if amount > left:
        raise StripeFault(f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})",
                          param="amount")
    card = methods.card_of(ctx, charge["payment_method"])
    waits = card.refund == "pending" or card.delayed is not None
    refund_id = new_id("re_3" if not card.delayed else "pyr_1")
    out = None if waits else balance.record(ctx, "refund", refund_id, -amount, charge["currency"])
    refund = ctx.store.add({
        "id": refund_id, "object": "refund", "amount": amount,
        "balance_transaction": out["id"] if out else None,
        "charge": charge["id"], "created": ctx.store.now(), "currency": charge["currency"],
        "destination_details": {"type": "card", "card": {"reference_status": "pending", "type": "refund",
                                                         "reference_type": "acquirer_reference_number"}},
        "failure_balance_transaction": None, "failure_reason": None,
        "metadata": params.get("metadata", {}), "payment_intent": charge["payment_intent"],
        "reason": params.get("reason"), "receipt_number": None, "source_transfer_reversal": None,
        "status": "pending" if waits else "succeeded", "transfer_reversal": None,
    })
    if waits or card.refund == "failed":
        ctx.at(ctx.store.now() + _LATER_SECONDS, f"refund_{'succeeds' if waits else 'fails'}", refund["id"])
    _add_refunded(ctx, charge, amount)
    ctx.emit("charge.refunded", charge)
    ctx.emit("refund.created", refund)
    return refund
# fmt: on


def update_refund(ctx: Context, params: Params, refund_id: str) -> Obj:
    """Change a refund's metadata."""
    refund = _existing(ctx, refund_id)
    refund.update(merged(refund, params))
    ctx.emit("refund.updated", ctx.store.save(refund))
    return refund


def settle_refund(ctx: Context, refund_id: str, *, succeeds: bool) -> Obj:
    """What the bank says later: the money arrived, or it came back and the charge is less refunded. A refund
    that has failed stays so; one that has succeeded can still fail."""
    refund = _existing(ctx, refund_id)
    if refund["status"] == "failed" or (succeeds and refund["status"] == "succeeded"):
        return refund
    amount, currency = refund["amount"], refund["currency"]
    if succeeds:
        out = balance.record(ctx, "refund", refund_id, -amount, currency)
        refund.update(status="succeeded", balance_transaction=out["id"])
    else:
        refund.update(status="failed", failure_reason="expired_or_canceled_card")
        if refund["balance_transaction"]:
            back = balance.record(ctx, "refund_failure", refund_id, amount, currency)
            refund["failure_balance_transaction"] = back["id"]
        charge = ctx.store.get("charge", refund["charge"])
        assert charge is not None  # a refund has its charge
        _add_refunded(ctx, charge, -amount)
    ctx.store.save(refund)
    ctx.emit("refund.updated", refund)
    ctx.emit("charge.refund.updated", refund)
    if not succeeds:
        ctx.emit("refund.failed", refund)
    return refund


def _add_refunded(ctx: Context, charge: Obj, amount: int) -> None:
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount_captured"]
    ctx.store.save(charge)


def _charged_back(ctx: Context, charge: Obj) -> bool:
    disputes = ctx.store.find("dispute", {"charge": charge["id"]})
    return any(not dispute["is_charge_refundable"] for dispute in disputes)


def _existing(ctx: Context, refund_id: str) -> Obj:
    refund = ctx.store.get("refund", refund_id)
    if refund is None:
        raise missing("refund", refund_id)
    return refund


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
