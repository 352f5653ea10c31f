"""What the clock does by itself."""

from __future__ import annotations

from collections.abc import Callable

from credits_core.stripe_sim import balance, billing, disputes, refunds, session_flow, sessions, subscriptions
from credits_core.stripe_sim.events import Context


def _expire(ctx: Context, session_id: str) -> None:
    session = ctx.store.get("checkout.session", session_id)
    if session and session["status"] == "open":
        sessions.expire_session(ctx, {}, session_id)


def _dispute(ctx: Context, charge_id: str) -> None:
    charge = ctx.store.get("charge", charge_id)
    if charge and charge["amount_refunded"] < charge["amount"]:
        disputes.open_dispute(ctx, charge_id)


def _debit(ctx: Context, intent_id: str) -> None:
    session_flow.settle_debit(ctx, intent_id)


def _refund_succeeds(ctx: Context, refund_id: str) -> None:
    refunds.settle_refund(ctx, refund_id, succeeds=True)


def _refund_fails(ctx: Context, refund_id: str) -> None:
    refunds.settle_refund(ctx, refund_id, succeeds=False)


def _renew(ctx: Context, subscription_id: str) -> None:
    billing.renew(ctx, subscription_id, subscriptions.set_period)


ACTIONS: dict[str, Callable[[Context, str], None]] = {
    "expire": _expire,
    "dispute": _dispute,
    "debit": _debit,
    "refund_succeeds": _refund_succeeds,
    "refund_fails": _refund_fails,
    "available": balance.make_available,
    "payout": balance.arrive,
    "renew": _renew,
    "finalize": billing.finalize_and_collect,
    "retry": billing.retry,
    "incomplete": billing.give_up_incomplete,
}
"""By the name under which `Context.at` put it: what is done with the object when its moment comes."""
