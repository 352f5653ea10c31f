"""The balance: what Stripe keeps for each charge, what becomes available when, and payouts to the bank."""

from __future__ import annotations

from credits_core.stripe_sim.errors import StripeFault, missing
from credits_core.stripe_sim.events import Context
from credits_core.stripe_sim.store import Obj, new_id

DAY = 86_400
DISPUTE_FEE_CENTS = 1_500
_SETTLES_AFTER, _ARRIVES_AFTER = 2 * DAY, 2 * DAY


def charge_fee(amount: int) -> int:
    """2.9 % and 30 minor units, rounded half up."""
    return (amount * 29 + 500) // 1000 + 30


# fmt: off
def record(
    ctx: Context, kind: str, source: str, amount: int, currency: str, *, fee: int = 0,
    category: str | None = None, fee_text: str = "Stripe processing fees",
) -> Obj:
    """A balance transaction of signed `amount`; money in becomes available after two days, money out counts at
    once."""
    now = ctx.store.now()
    available_on = now + (_SETTLES_AFTER if amount > 0 else 0)
    details = [{"amount": fee, "application": None, "currency": currency, "description": fee_text,
                "type": "stripe_fee"}] if fee else []
    transaction = ctx.store.add({
        "id": new_id("txn_3"), "object": "balance_transaction", "amount": amount, "available_on": available_on,
        "balance_type": "payments", "created": now, "currency": currency, "description": None,
        "exchange_rate": None, "fee": fee, "fee_details": details, "net": amount - fee,
        "reporting_category": category or kind, "source": source,
        "status": "pending" if amount > 0 else "available", "type": kind,
    })
    if amount > 0:
        ctx.at(available_on, "available", transaction["id"])
    return transaction
# fmt: on


def make_available(ctx: Context, transaction_id: str) -> None:
    """The money of a balance transaction can be paid out from now on."""
    transaction = ctx.store.get("balance_transaction", transaction_id)
    if transaction and transaction["status"] == "pending":
        transaction["status"] = "available"
        ctx.store.save(transaction)


# fmt: off
def create_payout(ctx: Context, currency: str = "usd") -> Obj:
    """Pay out everything that is available in a currency and not yet paid out, as Stripe does by itself."""
    open_ones = [found for found in ctx.store.find("balance_transaction",
                                                   {"currency": currency, "status": "available"})
                 if found["type"] not in ("payout", "payout_failure")
                 and ctx.store.private(found["id"]).get("parent") is None]
    amount, now = sum(found["net"] for found in open_ones), ctx.store.now()
    if amount <= 0:
        raise StripeFault("You have insufficient funds in your Stripe account for this payout.",
                          code="balance_insufficient")
    payout_id = new_id("po_1")
    out = record(ctx, "payout", payout_id, -amount, currency)
    payout = ctx.store.add({
        "id": payout_id, "object": "payout", "amount": amount, "application_fee": None,
        "application_fee_amount": None, "arrival_date": now + _ARRIVES_AFTER, "automatic": True,
        "balance_transaction": out["id"], "created": now, "currency": currency,
        "description": "STRIPE PAYOUT", "destination": None, "failure_balance_transaction": None,
        "failure_code": None, "failure_message": None, "livemode": False, "metadata": {},
        "method": "standard", "original_payout": None, "payout_method": None,
        "reconciliation_status": "completed", "reversed_by": None, "source_type": "card",
        "statement_descriptor": None, "status": "pending", "trace_id": None, "type": "bank_account",
    })
    for found in [out, *open_ones]:
        ctx.store.set_private(found["id"], parent=payout_id)
    ctx.at(payout["arrival_date"], "payout", payout_id)
    ctx.emit("payout.created", payout)
    return payout
# fmt: on


def arrive(ctx: Context, payout_id: str) -> None:
    """The payout reached the bank."""
    payout = ctx.store.get("payout", payout_id)
    if payout and payout["status"] == "pending":
        payout["status"] = "paid"
        ctx.emit("payout.paid", ctx.store.save(payout))
        ctx.emit("payout.reconciliation_completed", payout)


def fail_payout(ctx: Context, payout_id: str) -> Obj:
    """The bank sends a payout back: its money is in the balance again, and is not paid out a second time by
    itself."""
    payout: Obj | None = ctx.store.get("payout", payout_id)
    if payout is None:
        raise missing("payout", payout_id)
    if payout["status"] == "failed":
        return payout
    back = record(ctx, "payout_failure", payout_id, payout["amount"], payout["currency"])
    payout.update(
        status="failed",
        failure_code="account_closed",
        failure_message="The bank account has been closed.",
        failure_balance_transaction=back["id"],
    )
    ctx.emit("payout.failed", ctx.store.save(payout))
    return payout
