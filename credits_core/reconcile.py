"""Reconciliation: read what Stripe has of a range, hand it to the database in batches, and let it compare.

The rules stand in supabase/migrations/*_reconciliation*.sql. Amounts are minor units (`*_cents`); in a difference `expected`
is what our books say and `found` what Stripe says.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from datetime import datetime
from itertools import islice
from typing import Any

from credits_core import fulfillment, refunds
from credits_core.db.port import SERVICE, Database, Identity
from credits_core.errors import CreditsError, InvalidRequest, NotFound
from credits_core.stripe_gateway import StripeGateway
from credits_core.stripe_shapes import SessionState
from credits_core.stripe_states import ChargeRecord, ChargeTotals, DisputeState, RefundState

logger = logging.getLogger(__name__)

Answer = dict[str, Any]
Row = dict[str, Any]
DAILY_DAYS = 30
_BATCH = 500


def start(
    db: Database,
    identity: Identity,
    since: datetime,
    until: datetime,
    *,
    livemode: bool,
    idempotency_key: str,
) -> Answer:
    """Ask for a run over a range (staff and programs): reconciliation_id, status `waiting`. Conflict while another one runs,
    InvalidRequest for a range that is empty, longer than 400 days or yet to come."""
    answer: Answer = db.call(
        "start_reconciliation",
        identity,
        livemode=livemode,
        idempotency_key=idempotency_key,
        **{"from": since, "to": until},
    )
    return answer


def reconciliations(
    db: Database, identity: Identity, *, limit: int = 50, cursor: str | None = None
) -> Answer:
    """Runs for staff, newest first: items with from, to, status, stage, read (counts by kind), found, open, totals by currency."""
    answer: Answer = db.call("reconciliations", identity, limit=limit, cursor=cursor)
    return answer


def differences(
    db: Database,
    identity: Identity,
    *,
    status: str | None = None,
    kind: str | None = None,
    reconciliation_id: int | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Answer:
    """Differences for staff, newest first; of a status (open, repaired, accepted), a kind, or as one run saw them."""
    answer: Answer = db.call(
        "reconciliation_differences",
        identity,
        status=status,
        kind=kind,
        reconciliation_id=reconciliation_id,
        limit=limit,
        cursor=cursor,
    )
    return answer


def accept(db: Database, identity: Identity, difference_id: int, reason: str) -> Answer:
    """Leave a difference as it is, with the reason; staff. Conflict when it is repaired already."""
    answer: Answer = db.call("accept_difference", identity, difference_id=difference_id, reason=reason)
    return answer


def run(db: Database, stripe: StripeGateway, *, reconciliation_id: int | None = None) -> Answer | None:
    """Work on the run that waits (or on this one); without a number the daily one is made first when it is due.

    None: nothing to do. A run that cannot be finished is marked as failed, and the error raised.
    """
    claimed: Answer | None = db.call(
        "claim_reconciliation",
        SERVICE,
        livemode=stripe.livemode,
        reconciliation_id=reconciliation_id,
        daily_days=None if reconciliation_id else DAILY_DAYS,
    )
    if claimed is None:
        return None
    number = claimed["reconciliation_id"]
    try:
        _read(db, stripe, claimed)
        finished: Answer = db.call("finish_reconciliation", SERVICE, reconciliation_id=number)
    except CreditsError as error:
        db.call("fail_reconciliation", SERVICE, reconciliation_id=number, error=error.message)
        raise
    logger.info("reconciled", extra={"reconciliation": number, "differences": finished["found"]})
    return finished


def repair(db: Database, stripe: StripeGateway, identity: Identity, difference_id: int) -> Answer:
    """Repair a difference from what Stripe says now, by the same functions that webhook and poll use; administrators and programs.

    Answers the difference; its status stays `open` when Stripe's word did not settle it. Conflict when only a person can.
    """
    difference: Answer = db.call("begin_repair", identity, difference_id=difference_id)
    if difference["status"] == "open":
        payment = difference["payment_intent_id"]
        if difference["kind"] in ("paid_not_credited", "payment_not_taken"):
            fulfillment.settle_payment(db, stripe, payment)
        else:
            refunds.converge(db, stripe, payment)
        difference = db.call("finish_repair", SERVICE, difference_id=difference_id)
    return difference


def repair_all(db: Database, stripe: StripeGateway, identity: Identity) -> dict[str, int]:
    """Repair every open difference that can be: repaired, left (Stripe's word did not settle them, or it did not answer)."""
    counts = {"repaired": 0, "left": 0}
    for difference in every_open(db, identity):
        if difference["repairable"]:
            try:
                done = repair(db, stripe, identity, difference["difference_id"])["status"] != "open"
            except CreditsError as error:
                done = False
                logger.warning(
                    "not repaired: %s", error.message, extra={"difference": difference["difference_id"]}
                )
            counts["repaired" if done else "left"] += 1
    return counts


def every_open(db: Database, identity: Identity) -> list[Answer]:
    """All open differences, newest first."""
    found: list[Answer] = []
    cursor: str | None = None
    while True:
        page = differences(db, identity, status="open", limit=500, cursor=cursor)
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


def _read(db: Database, stripe: StripeGateway, claimed: Answer) -> None:
    money, number = stripe.money, claimed["reconciliation_id"]
    since, until = (int(datetime.fromisoformat(claimed[end]).timestamp()) for end in ("from", "to"))

    def stage(kind: str, rows: Iterable[Row]) -> None:
        left = iter(rows)
        while batch := list(islice(left, _BATCH)):
            db.call("stage_reconciliation", SERVICE, reconciliation_id=number, kind=kind, items=batch)

    stage("session", (_session(found) for found in money.sessions(since, until)))
    stage("charge", (_charge(found) for found in money.charges(since, until)))
    stage("refund", (_refund(found) for found in money.refunds(since, until)))
    stage("dispute", (_dispute(found) for found in money.disputes(since, until)))
    # Until now, not until the range's end: what was taken in it may be booked and paid out later.
    stage("entry", ({"id": found.entry_id, **asdict(found)} for found in money.balance_entries(since)))
    payouts = list(money.payouts(since))
    stage("payout", ({"id": found.payout_id, **asdict(found)} for found in payouts))
    for payout in payouts:
        stage("entry", _entries_of(stripe, payout.payout_id))
    for wanted in db.call("reconciliation_lookups", SERVICE, reconciliation_id=number)["items"]:
        _look_up(stripe, wanted["kind"], wanted["id"], stage)


def _look_up(
    stripe: StripeGateway, kind: str, object_id: str, stage: Callable[[str, Iterable[Row]], None]
) -> None:
    """One object that the lists of the range did not have. What Stripe does not know either stays missing."""
    try:
        if kind == "refund":
            stage("refund", [_refund(stripe.money.refund(object_id))])
        elif kind == "dispute":
            stage("dispute", [_dispute(stripe.money.dispute(object_id))])
        else:
            stage("charge", [_charge_of_totals(stripe.money.totals_of_charge(object_id))])
    except (NotFound, InvalidRequest) as error:
        logger.info("not at Stripe: %s", error.message, extra={"kind": kind, "object": object_id})


def _entries_of(stripe: StripeGateway, payout_id: str) -> Iterator[Row]:
    """The movements of a payout. Stripe knows them for its own payouts only: one made by hand is left without."""
    try:
        for found in stripe.money.balance_entries(payout=payout_id):
            yield {"id": found.entry_id, "payout_id": payout_id, **asdict(found)}
    except InvalidRequest as error:
        logger.info("no movements of a payout: %s", error.message, extra={"payout": payout_id})


def _session(found: SessionState) -> Row:
    return {
        "id": found.session_id, "payment_intent_id": found.payment_intent_id, "purchase_ref": found.purchase_id,
        "amount_cents": found.amount_total, "currency": found.currency, "livemode": found.livemode, "created": found.created,
        "status": "paid" if (found.status, found.payment_status) == ("complete", "paid") else found.status,
    }  # fmt: skip


def _charge(found: ChargeRecord) -> Row:
    marks = found.metadata or {}
    return {
        "id": found.charge_id, "payment_intent_id": found.payment_intent_id, "purchase_ref": marks.get("purchase_id"),
        "our_mark": "purchase_id" in marks, "customer_id": found.customer_id, "amount_cents": found.amount_cents,
        "refunded_cents": found.refunded_cents, "currency": found.currency, "status": found.status,
        "entry_id": found.balance_transaction_id, "livemode": found.livemode, "created": found.created,
    }  # fmt: skip


def _charge_of_totals(found: ChargeTotals) -> Row:
    return {
        "id": found.charge_id, "payment_intent_id": found.payment_intent_id, "purchase_ref": found.purchase_id,
        "our_mark": found.purchase_id is not None, "customer_id": found.customer_id, "amount_cents": found.amount_cents,
        "refunded_cents": found.refunded_cents, "currency": found.currency,
        "status": "succeeded" if found.paid else "failed", "entry_id": found.balance_transaction_id,
        "livemode": found.livemode, "created": found.created,
    }  # fmt: skip


def _refund(found: RefundState) -> Row:
    return {
        "id": found.refund_id, "payment_intent_id": found.payment_intent_id, "purchase_ref": found.metadata.get("purchase_id"),
        "refund_ref": found.metadata.get("refund_id"), "amount_cents": found.amount_cents, "currency": found.currency,
        "status": found.status, "created": found.created,
    }  # fmt: skip


def _dispute(found: DisputeState) -> Row:
    return {
        "id": found.dispute_id, "payment_intent_id": found.payment_intent_id, "amount_cents": found.amount_cents,
        "currency": found.currency, "status": found.status, "created": found.created,
    }  # fmt: skip
