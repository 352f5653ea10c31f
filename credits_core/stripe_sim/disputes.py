"""Disputes: a cardholder asks the bank for the money back, and the bank decides."""

from __future__ import annotations

from typing import Any

from credits_core.stripe_sim import balance
from credits_core.stripe_sim.errors import StripeFault, missing
from credits_core.stripe_sim.events import Context
from credits_core.stripe_sim.store import Obj, merged, new_id

Params = dict[str, Any]
_OPEN = ("needs_response", "under_review")
_INQUIRY = ("warning_needs_response", "warning_under_review")


# fmt: off
def open_dispute(
    ctx: Context, charge_id: str, *, amount: int | None = None, reason: str = "fraudulent",
    inquiry: bool = False,
) -> Obj:
    """The cardholder disputes a charge, or part of it: the money is withdrawn at once, but not for an inquiry.
    A second time answers the same dispute; a dispute after an inquiry escalates it."""
    charge = ctx.store.get("charge", charge_id)
    if charge is None or not charge["paid"]:
        raise missing("charge", charge_id)
    for known in ctx.store.find("dispute", {"charge": charge_id}):
        escalated = known["status"] in _INQUIRY and not inquiry
        return _withdraw(ctx, known) if escalated else known
    left = charge["amount"] - charge["amount_refunded"]
    amount = left if amount is None else amount
    if not 0 < amount <= left:
        raise StripeFault(f"amount must be between 1 and {left}, what is left of the charge.", param="amount")
    now = ctx.store.now()
    dispute = ctx.store.add({
        "id": new_id("du_1"), "object": "dispute", "amount": amount,
        "balance_transactions": [], "charge": charge_id, "created": now, "currency": charge["currency"],
        "enhanced_eligibility_types": [], "evidence": {"enhanced_evidence": {}},
        "evidence_details": {"due_by": now + 9 * 86400, "enhanced_eligibility": {}, "has_evidence": False,
                             "past_due": False, "submission_count": 0, "submission_method": "not_submitted"},
        "is_charge_refundable": inquiry, "livemode": False, "metadata": {},
        "payment_intent": charge["payment_intent"], "reason": reason,
        "status": "warning_needs_response" if inquiry else "needs_response",
    })
    charge["disputed"] = True
    ctx.store.save(charge)
    if not inquiry:
        dispute = _withdraw(ctx, dispute, announce=False)
    ctx.emit("charge.dispute.created", dispute)
    if not inquiry:
        ctx.emit("charge.dispute.funds_withdrawn", dispute)
    return dispute
# fmt: on


def update_dispute(ctx: Context, params: Params, dispute_id: str) -> Obj:
    """Answer a dispute: with `submit` the bank reviews it."""
    dispute = _existing(ctx, dispute_id)
    if params.pop("submit", False) or params.pop("evidence", None):
        if dispute["status"] not in _OPEN + _INQUIRY:
            raise StripeFault(f"This dispute is already {dispute['status']}.")
        warning = "warning_" if dispute["status"] in _INQUIRY else ""
        dispute["status"] = f"{warning}under_review"
        dispute["evidence_details"] |= {
            "has_evidence": True,
            "submission_count": 1,
            "submission_method": "manual",
        }
    dispute.update(merged(dispute, params))
    ctx.emit("charge.dispute.updated", ctx.store.save(dispute))
    return dispute


def decide(ctx: Context, dispute_id: str, *, won: bool) -> Obj:
    """The bank's last word. A won dispute gives the money back, but not the fee; a decided one stays so."""
    dispute = _existing(ctx, dispute_id)
    if dispute["status"] in _INQUIRY and won:
        dispute.update(status="warning_closed", is_charge_refundable=True)
    elif dispute["status"] in _INQUIRY:
        raise StripeFault("An inquiry takes no money; dispute its charge first, then lose the dispute.")
    elif dispute["status"] in _OPEN:
        dispute.update(status="won" if won else "lost", is_charge_refundable=won)
        if won:
            _book(ctx, dispute, dispute["amount"], "dispute_reversal", fee=0)
            ctx.emit("charge.dispute.funds_reinstated", ctx.store.save(dispute))
    else:
        return dispute
    ctx.emit("charge.dispute.closed", ctx.store.save(dispute))
    return dispute


def accept_loss(ctx: Context, _params: Params, dispute_id: str) -> Obj:
    """Give in: the dispute is lost."""
    return decide(ctx, dispute_id, won=False)


def _withdraw(ctx: Context, dispute: Obj, *, announce: bool = True) -> Obj:
    dispute.update(status="needs_response", is_charge_refundable=False)
    _book(ctx, dispute, -dispute["amount"], "dispute", fee=balance.DISPUTE_FEE_CENTS)
    ctx.store.save(dispute)
    if announce:
        ctx.emit("charge.dispute.updated", dispute)
        ctx.emit("charge.dispute.funds_withdrawn", dispute)
    return dispute


def _book(ctx: Context, dispute: Obj, amount: int, category: str, *, fee: int) -> None:
    entry = balance.record(
        ctx, "adjustment", dispute["id"], amount, dispute["currency"], fee=fee, category=category,
        fee_text="Dispute fee",
    )  # fmt: skip
    dispute["balance_transactions"].append(entry)


def _existing(ctx: Context, dispute_id: str) -> Obj:
    dispute = ctx.store.get("dispute", dispute_id)
    if dispute is None:
        raise missing("dispute", dispute_id)
    return dispute
