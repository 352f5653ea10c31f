"""The simulator's side of the demo data: a checkout page, a payment and a fee for every demo purchase, its refunds, and weekly
payouts.

Without it the demo's purchases would be credits that Stripe never heard of, which is what a reconciliation is there to find.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING, Any, LiteralString

from credits_core.db.owner import Connection, connect
from credits_core.stripe_shapes import session_params

if TYPE_CHECKING:
    from credits_core.stripe_sim.events import Context
    from credits_core.stripe_sim.simulator import Simulator

WEEK = 7 * 86_400
CARD = "4242424242424242"
logger = logging.getLogger(__name__)

_PURCHASES = """
select p.id::text as purchase_id, p.account_id, p.name as package_name, p.price_cents, p.currency, p.flow, x.email,
       p.status = 'credited' as is_paid, p.created_at
  from credits.purchases as p join credits.profiles as x on x.account_id = p.account_id
 where p.session_id like 'cs_test_demo_%' order by p.created_at, p.id
"""
_REFUNDS = """
select f.id::text as refund_id, f.purchase_id::text, f.amount_cents + f.tax_cents as amount_cents, f.created_at
  from credits.refunds as f join credits.purchases as p on p.id = f.purchase_id
 where p.session_id like 'cs_test_demo_%' and f.status = 'succeeded' order by f.created_at, f.id
"""
_KNOWN = "update credits.purchases set session_id = %s, payment_intent_id = %s, receipt_url = %s where id = %s::uuid"
_REFUNDED = "update credits.refunds set stripe_refund_id = %s where id = %s::uuid"

Row = dict[str, Any]


def seed(simulator: Simulator, owner_dsn: str, base: str) -> int:
    """Make Stripe's history of the demo purchases that have none; answers how many. `base`: where the simulator is served."""
    with connect(owner_dsn) as owner:
        purchases, refunds = _rows(owner, _PURCHASES), _rows(owner, _REFUNDS)
        if not purchases:
            return 0
        steps = sorted([*purchases, *refunds], key=lambda row: row["created_at"])
        payments: dict[str, str | None] = {}
        with simulator.change(base) as ctx:
            payday = _seconds(steps[0]["created_at"]) + WEEK
            for row in steps:
                while payday <= _seconds(row["created_at"]):
                    _pay_out(ctx, payday)
                    payday += WEEK
                if "refund_id" in row:
                    owner.execute(
                        _REFUNDED, (_give_back(ctx, row, payments[row["purchase_id"]]), row["refund_id"])
                    )
                else:
                    session_id, payment, receipt_url = _live_through(ctx, row)
                    payments[row["purchase_id"]] = payment
                    owner.execute(_KNOWN, (session_id, payment, receipt_url, row["purchase_id"]))
    logger.info("demo payments made", extra={"purchases": len(purchases)})
    return len(purchases)


def _rows(owner: Connection, query: LiteralString) -> list[Row]:
    cursor = owner.execute(query)
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _give_back(ctx: Context, row: Row, payment: str | None) -> str:
    from credits_core.stripe_sim import refunds

    moment = _seconds(row["created_at"])
    _catch_up(ctx, moment)
    marks = {"refund_id": row["refund_id"], "purchase_id": row["purchase_id"]}
    with ctx.store.at(moment):
        made = refunds.create_refund(
            ctx, {"payment_intent": payment, "amount": row["amount_cents"], "metadata": marks}
        )
    return str(made["id"])


def _live_through(ctx: Context, row: Row) -> tuple[str, str | None, str | None]:
    """One purchase as it went: its page opened, and paid unless it was left to expire."""
    from credits_core.stripe_sim import cards, session_flow, sessions

    begun = _seconds(row["created_at"])
    _catch_up(ctx, begun)
    home = "http://127.0.0.1/checkout_return"
    with ctx.store.at(begun):
        session = sessions.create_session(ctx, session_params(row, home, home))
        if not row["is_paid"]:
            return session["id"], None, None
        paid = session_flow.present_card(ctx, session["id"], cards.BY_NUMBER[CARD], row["email"])
    charge = ctx.store.get("charge", paid["latest_charge"])
    assert charge is not None  # it was made a moment ago
    return session["id"], paid["id"], charge["receipt_url"]


def _catch_up(ctx: Context, moment: int) -> None:
    """What falls due until a moment of the past happens at its own time."""
    from credits_core.stripe_sim import timers

    while True:
        with ctx.store.at(moment):
            due = ctx.store.next_due()
        if due is None:
            return
        at, action, object_id = due
        with ctx.store.at(at):
            timers.ACTIONS[action](ctx, object_id)


def _pay_out(ctx: Context, moment: int) -> None:
    from credits_core.stripe_sim import balance
    from credits_core.stripe_sim.errors import StripeFault

    _catch_up(ctx, moment)
    with ctx.store.at(moment):
        try:
            balance.create_payout(ctx)
        except StripeFault:
            logger.debug("nothing to pay out", extra={"moment": moment})


def _seconds(at: datetime) -> int:
    return int(at.timestamp())
