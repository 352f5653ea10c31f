"""Subscriptions, as their owners see and change them. Rules: supabase/migrations/*_subscription*.sql.

Each wish is a row before Stripe is called, and its id is the key at Stripe: asking again after a crash charges nothing twice.
Amounts are minor units (`*_cents`) and micros of credits; times ISO 8601.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from credits_core.checkout import Parts
from credits_core.db.port import SERVICE, Database, Identity
from credits_core.errors import Conflict, CreditsError, InvalidRequest, NotFound, StripeUnavailable
from credits_core.fulfillment import IN_FLIGHT_SECONDS, Both, check_session_id
from credits_core.stripe_gateway import StripeGateway
from credits_core.stripe_states import ChargeState, SubscriptionState
from credits_core.subscribing import age, have_price, open_page
from credits_core.subscription_news import follow, follow_session

logger = logging.getLogger(__name__)

Answer = dict[str, Any]


def plans(db: Database, identity: Identity, *, livemode: bool = False) -> Answer:
    """What can be subscribed to: catalog, currency, plans (code, name, interval, price_cents, credits_micros,
    rollover_cap_micros or None, allowances, cents_per_credit). Open to everybody."""
    found: Answer = db.call("subscription_plans", identity, livemode=livemode)
    return found


def state(parts: Parts, identity: Identity, *, account_id: int | None = None) -> Answer:
    """`subscription` (the present or the last one, or None), `plans` with what choosing each means from here, its last
    `changes` and `payments`."""
    found: Answer = parts.db.call(
        "subscription", identity, livemode=parts.stripe.livemode, account_id=account_id
    )
    return found


def arrive(parts: Parts, identity: Identity, session_id: str) -> Answer:
    """Back from that page: asks Stripe, credits what is paid, answers `state`. NotFound for somebody else's page."""
    check_session_id(session_id)
    found = state(parts, identity)
    if found["subscription"] is None or found["subscription"]["session_id"] != session_id:
        raise NotFound("This page to subscribe is not yours, or it was given up; choose a plan to start.")
    follow_session(parts.db, parts.stripe, session_id)
    return state(parts, identity)


def change(
    parts: Parts, identity: Identity, action: str, *, idempotency_key: str, plan: str | None = None
) -> Answer:
    """`action` change (to `plan`), cancel (with the period) or keep. A dearer plan begins at once and is paid in full, any other
    with the next period. Answers `state`. Conflict, and nothing has changed, when the card does not pay."""
    if plan is not None:
        have_price(parts, plan)
    asked = parts.db.call(
        "request_subscription_change",
        identity,
        action=action,
        livemode=parts.stripe.livemode,
        idempotency_key=idempotency_key,
        plan=plan,
    )
    if asked["request_status"] == "declined":
        raise Conflict(asked["detail"])
    if asked["request_status"] == "asked":
        _carry_out(parts, asked)
    return state(parts, identity)


def poll(db: Database, stripe: StripeGateway, *, limit: int = 50) -> dict[str, int]:
    """Ask Stripe about subscriptions that are due: checked, failed. One that fails stops no other; when Stripe itself does not
    answer, the rest waits for the next time."""
    counts = {"checked": 0, "failed": 0}
    due = db.call("subscriptions_to_poll", SERVICE, livemode=stripe.livemode, limit=limit)["items"]
    for row in due:
        counts["checked"] += 1
        try:
            _look_after(Both(db, stripe), row)
        except CreditsError as error:
            counts["failed"] += 1
            known = {"subscription": row["subscription_id"]}
            logger.warning("subscription could not be polled: %s", error.message, extra=known)
            if isinstance(error, StripeUnavailable):
                break
    return counts


def _look_after(parts: Parts, row: Mapping[str, Any]) -> None:
    if row["stripe_id"] is not None:
        follow(parts.db, parts.stripe, row["stripe_id"])
    elif row["session_id"] is not None:
        follow_session(parts.db, parts.stripe, row["session_id"])
    elif age(row) > IN_FLIGHT_SECONDS:  # the answer of Stripe was lost: the same key answers the same page
        open_page(parts, row)


def _carry_out(parts: Parts, asked: Mapping[str, Any]) -> None:
    stripe_id = asked["subscription"]["stripe_id"]
    try:
        made = _at_stripe(parts.stripe, asked, stripe_id)
    except (InvalidRequest, NotFound) as error:
        _finish(parts.db, asked, "failed", error.message)
        follow(parts.db, parts.stripe, stripe_id)
        raise
    if isinstance(made, ChargeState):
        why = _refusal(made)
        _finish(parts.db, asked, "declined", why)
        raise Conflict(why, detail={"decline_code": made.decline_code})
    follow(parts.db, parts.stripe, stripe_id)
    _finish(parts.db, asked, "done", None)


def _at_stripe(
    stripe: StripeGateway, asked: Mapping[str, Any], stripe_id: str
) -> SubscriptionState | ChargeState:
    key = f"subscription-{asked['request_id']}"
    if asked["action"] == "cancel":
        return stripe.subscriptions.cancel(stripe_id, key)
    if asked["action"] == "keep":
        return stripe.subscriptions.keep(stripe_id, key)
    now = stripe.subscriptions.subscription(stripe_id)
    if now.price_id == asked["price_id"]:  # an earlier attempt came through although its answer was lost
        return now
    return stripe.subscriptions.change_price(stripe_id, asked["price_id"], key, now=asked["is_now"])


def _refusal(charge: ChargeState) -> str:
    if charge.status == "requires_action":
        return (
            "Your bank wants to confirm this payment with you, so the plan was not changed and nothing was charged."
            " Use another card for the subscription, then try again."
        )
    said = f" The bank says: {charge.message}" if charge.message else ""
    return f"Your card was declined, so the plan was not changed and nothing was charged.{said}"


def _finish(db: Database, asked: Mapping[str, Any], status: str, detail: str | None) -> None:
    request_id = asked["request_id"]
    db.call("finish_subscription_change", SERVICE, request_id=request_id, status=status, detail=detail)
