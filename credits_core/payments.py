"""Payments as staff see them: the list, one payment with all that happened to it, and decisions about those in review.

Rules: supabase/migrations/*_payments.sql. Amounts are minor units of `currency` (`*_cents`) and micros of credits.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any
from uuid import UUID

from credits_core import refunds
from credits_core.db.port import SERVICE, Database, Identity
from credits_core.errors import InvalidRequest, NotFound, StripeUnavailable
from credits_core.stripe_gateway import StripeGateway

logger = logging.getLogger(__name__)

Answer = dict[str, Any]


def payments(
    db: Database,
    identity: Identity,
    *,
    status: str | None = None,
    search: str | None = None,
    from_: datetime | None = None,
    to: datetime | None = None,
    currency: str | None = None,
    livemode: bool | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Answer:
    """Payments of everybody, newest first, for staff: items, next_cursor. status: a purchase's, refunded or disputed; search: a
    part of name or e-mail, an account's number, or the whole id of a purchase, session, payment, refund or dispute."""
    answer: Answer = db.call(
        "payments",
        identity,
        status=status,
        search=search,
        **{"from": from_},
        to=to,
        currency=currency,
        livemode=livemode,
        limit=limit,
        cursor=cursor,
    )
    return answer


def currencies(db: Database, identity: Identity) -> list[str]:
    """In which currencies there are payments, or could be, for a filter; for staff."""
    found: list[str] = db.call("payment_currencies", identity)["items"]
    return found


def payment(db: Database, identity: Identity, purchase_id: UUID | str) -> Answer:
    """One payment with grants, refunds, disputes, attempts, events, timeline, and review (what can be decided). NotFound."""
    answer: Answer = db.call("payment", identity, purchase_id=purchase_id)
    return answer


def decide_review(
    db: Database,
    identity: Identity,
    purchase_id: UUID | str,
    decision: str,
    reason: str,
    idempotency_key: str,
) -> Answer:
    """Decide about a payment in review: credit, refund or close. Answers the request: waiting (a second person decides),
    approved (`settle_reviews` credits it next) or done. Conflict when it is not in review any more."""
    answer: Answer = db.call(
        "decide_review",
        identity,
        purchase_id=purchase_id,
        decision=decision,
        reason=reason,
        idempotency_key=idempotency_key,
    )
    return answer


def settle_reviews(
    db: Database, stripe: StripeGateway, *, limit: int = 20, approval_id: UUID | str | None = None
) -> dict[str, int]:
    """Credit the payments that a review decided to credit: credited, refused, waiting.

    Stripe is asked again first; its state under the lock decides. What Stripe does not answer waits for the next run.
    """
    counts = {"credited": 0, "refused": 0, "waiting": 0}
    for review in db.call("claim_reviews", SERVICE, limit=limit, approval_id=approval_id)["items"]:
        try:
            settled = db.call(
                "settle_review",
                SERVICE,
                approval_id=review["approval_id"],
                session=_at_stripe(stripe, review),
            )
            if settled["status"] == "failed":
                counts["refused"] += 1
                continue
            # A refund that Stripe told of before the payment was credited counts now.
            refunds.converge(db, stripe, review["payment_intent_id"])
        except StripeUnavailable as error:
            counts["waiting"] += 1
            logger.warning(
                "review waits for Stripe: %s", error.message, extra={"review": review["approval_id"]}
            )
            continue
        db.call("finish_review", SERVICE, approval_id=review["approval_id"])
        counts["credited"] += 1
    return counts


def _at_stripe(stripe: StripeGateway, review: Answer) -> Answer | None:
    """The session and what happened to its money since; None when Stripe does not know it."""
    try:
        state = stripe.retrieve(review["session_id"])
        totals = stripe.money.totals_of_charge(review["payment_intent_id"])
    except (NotFound, InvalidRequest):
        return None
    return state.as_sql() | {
        "refunded_cents": totals.refunded_cents,
        "disputed": totals.dispute in ("open", "lost"),
    }
