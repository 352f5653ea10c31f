"""Beginning a subscription: the row is committed first, then Stripe makes the page where its owner pays."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from credits_core import saved_cards, stripe_sync
from credits_core.checkout import Parts
from credits_core.db.port import SERVICE, Identity
from credits_core.errors import Conflict, InvalidRequest, NotFound
from credits_core.fulfillment import IN_FLIGHT_SECONDS
from credits_core.stripe_shapes import SessionState
from credits_core.subscription_news import follow_session

Answer = dict[str, Any]
PLAN_PAGE = "/plan"
RETURN_PAGE = f"{PLAN_PAGE}?session_id={{CHECKOUT_SESSION_ID}}"
CANCEL_PAGE = f"{PLAN_PAGE}?canceled=1"


def subscribe(parts: Parts, identity: Identity, *, plan: str, base_url: str, idempotency_key: str) -> Answer:
    """Begin a subscription: the row, with the `url` of the page where its owner pays. Conflict for who has one already;
    a page that is open for another plan is closed first."""
    have_price(parts, plan)
    wanted: dict[str, Any] = {
        "plan": plan,
        "livemode": parts.stripe.livemode,
        "base_url": base_url,
        "idempotency_key": idempotency_key,
    }
    try:
        row: Answer = parts.db.call("create_subscription", identity, **wanted)
    except Conflict as error:
        if "pending" not in error.detail:
            raise
        waiting = parts.db.call("subscription", identity, livemode=parts.stripe.livemode)["subscription"]
        if _goes_on(parts, waiting, error, wanted):
            return dict(waiting) | {"replayed": True}
        row = parts.db.call("create_subscription", identity, **wanted)
    if row["status"] != "created":
        return row
    return open_page(parts, row) | {"replayed": row["replayed"]}


def open_page(parts: Parts, row: Mapping[str, Any]) -> Answer:
    """The page at Stripe for a row that has none yet; asking again answers the same page."""
    row_id = row["subscription_id"]
    try:
        page = _ask_for_page(parts, row)
    except (InvalidRequest, NotFound) as error:
        parts.db.call(
            "fail_subscription", SERVICE, subscription_id=row_id, status="failed", reason=error.message
        )
        raise InvalidRequest(
            f"This plan cannot be subscribed to right now. {error.message}", detail=error.detail
        ) from error
    if (page.amount_subtotal, page.currency) != (row["price_cents"], row["currency"]):
        parts.stripe.expire_session(page.session_id)
        reason = "The price at Stripe is not the plan's price."
        parts.db.call("fail_subscription", SERVICE, subscription_id=row_id, status="failed", reason=reason)
        raise Conflict(
            "The price at Stripe is not yet this plan's price; nothing was charged. Try again after an"
            " administrator has run “python -m credits_core stripe-sync”."
        )
    opened: Answer = parts.db.call(
        "open_subscription",
        SERVICE,
        subscription_id=row_id,
        session_id=page.session_id,
        url=page.url,
        customer_id=page.customer_id,
    )
    return opened


def age(row: Mapping[str, Any]) -> float:
    """Seconds since a row was made."""
    return time.time() - datetime.fromisoformat(row["created_at"]).timestamp()


def have_price(parts: Parts, plan: str) -> None:
    """A plan that nobody has chosen yet may have no price at Stripe: it is made now."""
    offer = parts.db.call("subscription_plans", SERVICE, livemode=parts.stripe.livemode)
    for one in offer["plans"]:
        if one["code"] == plan and one["stripe_price_id"] is None:
            try:
                stripe_sync.sync_plan(parts.db, parts.stripe, offer["catalog"], one, stripe_sync.SyncReport())
            except InvalidRequest:  # somebody else is making it at this very moment: now it is there
                stripe_sync.sync_plan(parts.db, parts.stripe, offer["catalog"], one, stripe_sync.SyncReport())


def _goes_on(parts: Parts, waiting: Mapping[str, Any], error: Conflict, wanted: Mapping[str, Any]) -> bool:
    """Whether the page that is open already is the one that is wanted; another one is closed, so that nobody pays twice."""
    session_id = waiting["session_id"]
    if session_id is None:
        if age(waiting) < IN_FLIGHT_SECONDS:
            raise error
        session_id = open_page(parts, waiting)["session_id"]
    same = (waiting["code"], waiting["base_url"]) == (wanted["plan"], wanted["base_url"])
    if same and parts.stripe.retrieve(session_id).status == "open":
        return True
    parts.stripe.expire_session(session_id)
    follow_session(parts.db, parts.stripe, session_id)
    return False


def _ask_for_page(parts: Parts, row: Mapping[str, Any]) -> SessionState:
    return parts.stripe.subscriptions.create_session(
        saved_cards.ensure_customer(parts, SERVICE, row["account_id"]),
        row["stripe_price_id"],
        {
            "subscription_id": row["subscription_id"],
            "account_id": str(row["account_id"]),
            "type": "credit_subscription",
        },
        f"{row['base_url']}{RETURN_PAGE}",
        f"{row['base_url']}{CANCEL_PAGE}",
        f"subscription-{row['subscription_id']}",
    )
