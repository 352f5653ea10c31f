"""Bring purchases to where Stripe says they are. The return page, the webhook and the poll all end in one SQL
call, `fulfill_purchase`, which credits a purchase once, whoever asks, in whatever order and how often.

What an event or an address says is never believed: Stripe's object is read again each time.
"""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from credits_core import refunds, subscription_news
from credits_core.checkout import Parts, find_at_stripe, record_opened
from credits_core.db.port import SERVICE, Database, Identity
from credits_core.errors import CreditsError, InvalidRequest, NotFound, StripeUnavailable
from credits_core.stripe_gateway import StripeGateway
from credits_core.stripe_shapes import StripeEvent

logger = logging.getLogger(__name__)

PLACEHOLDER = "{CHECKOUT_SESSION_ID}"
_ID = re.compile(r"(cs|pi)_[A-Za-z0-9_]{1,250}")
# A call to Stripe with its retries is over by then, and its answer recorded or lost.
IN_FLIGHT_SECONDS = 90
# Longer than every retry of a call to Stripe: after it, a row without a session never got one.
ABANDONED_SECONDS = 600
# A session closes by itself after 24 hours; an intent does not, so it is canceled then.
PAYABLE_SECONDS = 86_400
GIVEN_UP_SECONDS = PAYABLE_SECONDS + 3600

SESSION_EVENTS = frozenset(
    {
        "checkout.session.completed",
        "checkout.session.async_payment_succeeded",
        "checkout.session.async_payment_failed",
        "checkout.session.expired",
    }
)
INTENT_EVENTS = frozenset(
    {
        "payment_intent.succeeded",
        "payment_intent.processing",
        "payment_intent.payment_failed",
        "payment_intent.canceled",
    }
)
# These say where to look again: at the payment of a charge, refund or dispute.
MONEY_EVENTS = ("charge.refund", "charge.dispute.", "refund.")


def fulfill(parts: Parts, identity: Identity, session_id: str) -> dict[str, Any]:
    """The purchase of a person's own session after asking Stripe: `status`, `credits_micros`,
    `available_micros`, `newly_credited` and the rest of the row. Other people's sessions are NotFound."""
    check_session_id(session_id)
    known: dict[str, Any] = parts.db.call("purchase_status", identity, session_id=session_id)
    return known if known["status"] == "credited" else fulfill_session(parts.db, parts.stripe, session_id)


def fulfill_session(db: Database, stripe: StripeGateway, session_id: str) -> dict[str, Any]:
    """Read a session (or PaymentIntent) from Stripe and bring its purchase there. NotFound if it is not ours."""
    check_session_id(session_id)
    state = stripe.retrieve(session_id)
    if state.purchase_id is None:
        raise NotFound("This Stripe session does not belong to a purchase of credits.")
    answer: dict[str, Any] = db.call("fulfill_purchase", SERVICE, session=state.as_sql())
    known = {"purchase": answer["purchase_id"], "account": answer["account_id"]}
    if answer["newly_credited"]:
        logger.info("purchase credited", extra=known)
    elif answer["status"] == "review":
        logger.warning(
            "purchase needs review",
            extra={"purchase": answer["purchase_id"], "reason": answer["review_reason"]},
        )
    return answer


def settle_payment(db: Database, stripe: StripeGateway, payment_intent_id: object) -> bool:
    """Bring the purchase of a payment to where Stripe says it is: credited, then its refunds and disputes taken. False for
    a payment that is none of ours, or of a purchase that is not credited."""
    if not isinstance(payment_intent_id, str) or not _ID.fullmatch(payment_intent_id):
        return False
    purchase = db.call("purchase_of_payment", SERVICE, payment_intent_id=payment_intent_id)
    if purchase is None or purchase["status"] != "credited":
        # The news of a refund can overtake that of the payment: credit first, or the refund would be forgotten.
        try:
            session_id = stripe.session_of_intent(payment_intent_id) or payment_intent_id
            purchase = fulfill_session(db, stripe, session_id)
        except NotFound:
            if not subscription_news.follow_payment(db, stripe, payment_intent_id):
                return False
            purchase = db.call("purchase_of_payment", SERVICE, payment_intent_id=payment_intent_id)
            if purchase is None:
                return False
    followed = purchase["status"] == "credited" or purchase["review_decision"] == "refund"
    return followed and refunds.converge(db, stripe, payment_intent_id) is not None


def check_session_id(session_id: str) -> None:
    """InvalidRequest, with what to do, for everything that cannot be the id of a session or intent."""
    if not session_id:
        raise InvalidRequest(
            "There is no session_id; come here from the payment page, or see your purchases."
        )
    if session_id == PLACEHOLDER:
        raise InvalidRequest(
            f"{PLACEHOLDER} is where Stripe puts the id of the session; use the id that"
            " checkout answered, it begins with cs_."
        )
    if not _ID.fullmatch(session_id):
        raise InvalidRequest(
            "This is not the id of a Stripe session; it begins with cs_, or with pi_ for a PaymentIntent."
        )


def receive_webhook(parts: Parts, payload: bytes, signature: str | None) -> dict[str, Any]:
    """Take one webhook call: `{event_id, type, outcome}`; outcome is processed, ignored or duplicate.

    WebhookRejected for what is not a genuine event of our mode. Other errors leave the event marked as failed
    and are raised, so that Stripe sends it again.
    """
    db, stripe = parts.db, parts.stripe
    event = stripe.construct_event(payload, signature)
    seen = db.call(
        "record_stripe_event",
        SERVICE,
        event_id=event.event_id,
        type=event.type,
        livemode=event.livemode,
        object_id=event.object_id,
        payload=event.payload,
    )
    answer = {"event_id": event.event_id, "type": event.type}
    if seen["processed"]:
        return answer | {"outcome": "duplicate"}
    try:
        outcome = _process(db, stripe, event)
    except CreditsError as error:
        db.call(
            "finish_stripe_event", SERVICE, event_id=event.event_id, outcome="failed", error=error.message
        )
        raise
    db.call("finish_stripe_event", SERVICE, event_id=event.event_id, outcome=outcome)
    return answer | {"outcome": outcome}


def process_again(parts: Parts, identity: Identity, event_id: str) -> dict[str, Any]:
    """Work on a stored event once more, for administrators; answers the event. Harmless: Stripe's object is read anew."""
    known: dict[str, Any] = parts.db.call("reopen_stripe_event", identity, event_id=event_id)
    event = StripeEvent(event_id, known["type"], known["livemode"], known["object_id"], known["payload"])
    try:
        outcome = _process(parts.db, parts.stripe, event)
    except CreditsError as error:
        parts.db.call(
            "finish_stripe_event", SERVICE, event_id=event_id, outcome="failed", error=error.message
        )
        raise
    parts.db.call("finish_stripe_event", SERVICE, event_id=event_id, outcome=outcome)
    return known | {"outcome": outcome}


def _process(db: Database, stripe: StripeGateway, event: StripeEvent) -> str:
    session_id = event.object_id
    ours = subscription_news.is_about_us(event)
    if (
        not ours
        and event.type not in SESSION_EVENTS | INTENT_EVENTS
        and not event.type.startswith(MONEY_EVENTS)
    ):
        return "ignored"
    if session_id is None:
        return "ignored"
    try:
        if ours:
            subscription_news.take(db, stripe, event)
            return "processed"
        if event.type.startswith(MONEY_EVENTS):
            payment = event.payload["data"]["object"].get("payment_intent")
            return "processed" if settle_payment(db, stripe, payment) else "ignored"
        if event.type in INTENT_EVENTS:
            session_id = stripe.session_of_intent(session_id) or session_id
        fulfill_session(db, stripe, session_id)
    except (NotFound, InvalidRequest) as error:
        # Something else is sold on this Stripe account, or the object is gone: sending it again would not help.
        logger.info(
            "stripe event is not about a purchase", extra={"event": event.event_id, "why": error.message}
        )
        return "ignored"
    return "processed"


def poll(db: Database, stripe: StripeGateway, *, limit: int = 100) -> dict[str, int]:
    """Ask Stripe about the purchases that wait: how many were looked at, credited, ended, and could not be
    asked.

    One purchase that fails stops no other; when Stripe itself does not answer, the rest waits for the next
    time.
    """
    parts = Both(db, stripe)
    counts = {"checked": 0, "credited": 0, "ended": 0, "failed": 0}
    for purchase in db.call("purchases_to_poll", SERVICE, limit=limit)["items"]:
        counts["checked"] += 1
        try:
            answer = _settle(parts, purchase)
        except CreditsError as error:
            counts["failed"] += 1
            logger.warning(
                "purchase could not be polled: %s", error.message, extra={"purchase": purchase["purchase_id"]}
            )
            if isinstance(error, StripeUnavailable):
                break
            continue
        counts["credited"] += answer["status"] == "credited"
        counts["ended"] += answer["status"] in ("expired", "failed")
    return counts


@dataclass(frozen=True)
class Both:
    """Database and Stripe, for what needs no more of the runtime."""

    db: Database
    stripe: StripeGateway


def _settle(parts: Parts, purchase: dict[str, Any]) -> dict[str, Any]:
    age = time.time() - datetime.fromisoformat(purchase["created_at"]).timestamp()
    session_id = purchase["session_id"]
    if purchase["livemode"] is not parts.stripe.livemode:
        too_old = age > GIVEN_UP_SECONDS
        return _end(parts, purchase, "It was started in Stripe's other mode.") if too_old else purchase
    try:
        if session_id is None:
            session_id = _recovered(parts, purchase, age)
            if session_id is None:
                return purchase
        answer = fulfill_session(parts.db, parts.stripe, session_id)
        payable = answer["status"] in ("open", "failed") and session_id.startswith("pi_")
        if payable and age > PAYABLE_SECONDS:
            parts.stripe.cancel_payment_intent(session_id)
            answer = fulfill_session(parts.db, parts.stripe, session_id)
    except NotFound as error:
        if age < GIVEN_UP_SECONDS and session_id is not None:
            raise
        return _end(parts, purchase, error.message)
    return answer


def _recovered(parts: Parts, purchase: dict[str, Any], age: float) -> str | None:
    """The session of a row whose answer from Stripe was lost; None while the call may still be under way."""
    if age < IN_FLIGHT_SECONDS:
        return None
    found = find_at_stripe(parts, purchase)
    if found is not None:
        record_opened(parts.db, found, purchase["purchase_id"])
        return found.session_id
    if age > ABANDONED_SECONDS:
        raise NotFound("Stripe was never reached for this purchase.")
    return None


def _end(parts: Parts, purchase: dict[str, Any], reason: str) -> dict[str, Any]:
    answer: dict[str, Any] = parts.db.call(
        "fail_purchase", SERVICE, purchase_id=purchase["purchase_id"], status="expired", reason=reason
    )
    return answer
