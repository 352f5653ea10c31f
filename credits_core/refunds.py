"""Refunds and disputes. Recorded first, then sent to Stripe, then confirmed; Stripe's totals are the truth.

Rules: supabase/migrations/*_refunds.sql and *_converge.sql. `purchase_id` is ours, amounts are minor units of the
purchase's currency (`*_cents`) and micros of credits.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from credits_core.db.port import SERVICE, Database, Identity
from credits_core.errors import InvalidRequest, NotFound, StripeUnavailable
from credits_core.stripe_gateway import StripeGateway
from credits_core.stripe_states import RefundState

logger = logging.getLogger(__name__)

Answer = dict[str, Any]
# A refund older than this may have been sent before, and Stripe forgets idempotency keys after a day: look first.
LOOK_FIRST_SECONDS = 60


def refund_preview(
    db: Database,
    identity: Identity,
    purchase_id: UUID | str,
    *,
    amount_cents: int | None = None,
    credits_micros: int | None = None,
) -> Answer:
    """What a refund means before asking for it: amount, tax, credits, bonus and its shortfall, max_cents, allowed, reason,
    needs_approval, is_own, refunded_cents (what the caller refunded to this account within 24 hours, which counts too),
    referral (the reward it would take back: referrer_email, referrer_micros, referee_micros; or None). Without an amount: all."""
    answer: Answer = db.call(
        "refund_preview",
        identity,
        purchase_id=purchase_id,
        amount_cents=amount_cents,
        credits_micros=credits_micros,
    )
    return answer


def request_refund(
    db: Database,
    identity: Identity,
    purchase_id: UUID | str,
    reason: str,
    idempotency_key: str,
    *,
    amount_cents: int | None = None,
    credits_micros: int | None = None,
) -> Answer:
    """Ask for a refund; admins and programs. status `approved` (its credits are gone, `send` is next) or `requested` (a
    second administrator decides). InsufficientCredits above what is left, Conflict for a disputed purchase."""
    answer: Answer = db.call(
        "request_refund",
        identity,
        purchase_id=purchase_id,
        reason=reason,
        idempotency_key=idempotency_key,
        amount_cents=amount_cents,
        credits_micros=credits_micros,
    )
    return answer


def decide_refund(
    db: Database, identity: Identity, refund_id: UUID | str, approve: bool, *, reason: str | None = None
) -> Answer:
    """Approve or reject somebody else's request. NotAllowed for one's own, Conflict when it was decided."""
    answer: Answer = db.call("decide_refund", identity, refund_id=refund_id, approve=approve, reason=reason)
    return answer


def refunds(
    db: Database,
    identity: Identity,
    *,
    account_id: int | None = None,
    status: str | None = None,
    limit: int = 50,
) -> Answer:
    """Refunds, newest first: items. Staff without an account: everybody's."""
    answer: Answer = db.call("refunds", identity, account_id=account_id, status=status, limit=limit)
    return answer


def send(
    db: Database, stripe: StripeGateway, *, limit: int = 20, refund_id: UUID | str | None = None
) -> dict[str, int]:
    """Send approved refunds to Stripe, each with its own id as idempotency key: sent, failed, waiting.

    What Stripe refuses gives the credits back; what Stripe does not answer waits and is sent again with the same key.
    """
    counts = {"sent": 0, "failed": 0, "waiting": 0}
    for refund in db.call("claim_refunds", SERVICE, limit=limit, refund_id=refund_id)["items"]:
        known = {"refund": refund["refund_id"], "purchase": refund["purchase_id"]}
        if blocked := _not_at_this_stripe(stripe, refund):
            _record(db, refund["refund_id"], None, "failed", blocked)
            counts["failed"] += 1
            continue
        try:
            state = _at_stripe(stripe, refund) or _create(stripe, refund)
        except StripeUnavailable as error:
            counts["waiting"] += 1
            logger.warning("refund waits for Stripe: %s", error.message, extra=known)
            continue
        except (InvalidRequest, NotFound) as error:
            _record(db, refund["refund_id"], None, "failed", error.message)
            counts["failed"] += 1
            logger.warning("refund refused by Stripe: %s", error.message, extra=known)
            _look_again(db, stripe, refund)
            continue
        _record(db, refund["refund_id"], state.refund_id, state.status, state.failure_reason)
        counts["sent"] += 1
    return counts


def _not_at_this_stripe(stripe: StripeGateway, refund: Mapping[str, Any]) -> str | None:
    """Why Stripe need not be asked."""
    if refund["livemode"] is not stripe.livemode:
        return "The purchase was paid in Stripe's other mode."
    return None if refund["payment_intent_id"] else "Stripe named no payment for this purchase."


def _look_again(db: Database, stripe: StripeGateway, refund: Mapping[str, Any]) -> None:
    """What made Stripe refuse, such as a dispute, may hold the credits that just came back."""
    try:
        converge(db, stripe, refund["payment_intent_id"])
    except (StripeUnavailable, NotFound) as error:
        logger.warning(
            "payment waits to be followed: %s", error.message, extra={"refund": refund["refund_id"]}
        )


def _create(stripe: StripeGateway, refund: Mapping[str, Any]) -> RefundState:
    return stripe.money.create_refund(
        refund["payment_intent_id"],
        refund["total_cents"],
        {"refund_id": refund["refund_id"], "purchase_id": refund["purchase_id"]},
        f"refund-{refund['refund_id']}",
    )


def _at_stripe(stripe: StripeGateway, refund: Mapping[str, Any]) -> RefundState | None:
    """The refund of an earlier attempt whose answer was lost."""
    if time.time() - datetime.fromisoformat(refund["created_at"]).timestamp() < LOOK_FIRST_SECONDS:
        return None
    made = stripe.money.refunds_of(refund["payment_intent_id"])
    return next((one for one in made if one.metadata.get("refund_id") == refund["refund_id"]), None)


def _record(
    db: Database, refund_id: str, stripe_refund_id: str | None, status: str, reason: str | None
) -> None:
    db.call(
        "record_refund",
        SERVICE,
        refund_id=refund_id,
        stripe_refund_id=stripe_refund_id,
        status=status,
        reason=reason,
    )


def converge(db: Database, stripe: StripeGateway, payment_intent_id: str) -> Answer | None:
    """Read a payment's refunds and disputes from Stripe and bring its credited purchase there; None when it is none of ours.

    Answers purchase_id, changes (how many rows it took) and the account's debt_micros.
    """
    purchase = db.call("purchase_of_payment", SERVICE, payment_intent_id=payment_intent_id)
    if purchase is None:
        return None
    totals = stripe.money.totals_of_charge(payment_intent_id)
    answer: Answer = db.call(
        "converge_purchase", SERVICE, purchase_id=purchase["purchase_id"], totals=totals.as_sql()
    )
    if answer["changes"]:
        logger.info(
            "purchase converged", extra={"purchase": answer["purchase_id"], "changes": answer["changes"]}
        )
    return answer
