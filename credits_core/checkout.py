"""Start a purchase: the row is committed first, then Stripe is called, then its answer is recorded.

A crash between two of these steps loses nothing: asking again with the same key goes on where it stopped, and
the poll looks after rows that nobody asks for again.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from credits_core import customers
from credits_core.db.port import SERVICE, Database, Identity
from credits_core.errors import Conflict, IdempotencyKeyReused, InvalidRequest, NotFound, StripeUnavailable
from credits_core.stripe_gateway import StripeGateway
from credits_core.stripe_shapes import SessionState

RETURN_PAGE = "/checkout_return?session_id={CHECKOUT_SESSION_ID}"
CANCEL_PAGE = "/buy?canceled="
CALL_PAGE = "/live_call?call="
CLOCK_TOLERANCE_SECONDS = 3600


class Parts(Protocol):
    """What buying needs of the runtime."""

    @property
    def db(self) -> Database: ...
    @property
    def stripe(self) -> StripeGateway: ...


def start_checkout(
    parts: Parts,
    identity: Identity,
    *,
    base_url: str,
    package: str | None = None,
    amount_cents: int | None = None,
    flow: str = "checkout",
    idempotency_key: str | None = None,
    account_id: int | None = None,
    promo_code: str | None = None,
    call_id: int | None = None,
) -> dict[str, Any]:
    """Buy a package (or a custom amount) as `identity`: the purchase, with the `url` of the page to pay on.

    With flow `payment_intent` there is a `client_secret` instead; `session_id` is the intent's id then. The
    same `idempotency_key` answers the same purchase and the same page. `base_url` is where the person is,
    without a slash at the end. With `call_id` the way back leads to that running call.

    Raises StripeUnavailable when Stripe does not answer: the same key may be used
    again.
    """
    purchase = record_intent(
        parts,
        identity,
        package=package,
        amount_cents=amount_cents,
        flow=flow,
        idempotency_key=idempotency_key or f"purchase-{uuid.uuid4()}",
        livemode=parts.stripe.livemode,
        account_id=account_id,
        promo_code=promo_code,
    )
    if purchase["session_id"] is not None or purchase["status"] != "created":
        return purchase
    return _open(parts, purchase, _ways_back(purchase, base_url, call_id)) | {
        "replayed": purchase["replayed"]
    }


def record_intent(parts: Parts, identity: Identity, **wanted: Any) -> dict[str, Any]:
    """The purchase row, by the arguments of `create_purchase`. A code that an earlier payment page of the same account still
    holds goes to this purchase: the page is closed first, so that nobody pays on both."""
    try:
        purchase: dict[str, Any] = parts.db.call("create_purchase", identity, **wanted)
    except Conflict as error:
        held = (
            parts.db.call("purchase", SERVICE, purchase_id=error.detail["pending"])
            if "pending" in error.detail
            else None
        )
        if held is None or held["session_id"] is None or held["livemode"] is not parts.stripe.livemode:
            raise
        if held["session_id"].startswith("pi_"):
            parts.stripe.cancel_payment_intent(held["session_id"])
        else:
            parts.stripe.expire_session(held["session_id"])
        state = parts.stripe.retrieve(held["session_id"])
        parts.db.call("fulfill_purchase", SERVICE, session=state.as_sql())
        purchase = parts.db.call("create_purchase", identity, **wanted)
    return purchase


def find_at_stripe(parts: Parts, purchase: Mapping[str, Any]) -> SessionState | None:
    """What Stripe made for a purchase whose answer was lost, or None when it made nothing."""
    created = datetime.fromisoformat(purchase["created_at"]).timestamp()
    return parts.stripe.find(
        purchase["purchase_id"], purchase["flow"], int(created) - CLOCK_TOLERANCE_SECONDS
    )


def _customer(parts: Parts, purchase: Mapping[str, Any]) -> str:
    """Whom the invoice is for: all invoices of an account are its customer's, who finds them in the billing portal."""
    known = parts.db.call(
        "customer", SERVICE, livemode=purchase["livemode"], account_id=purchase["account_id"]
    )
    return customers.existing(parts.db, parts.stripe, known)


def record_opened(db: Database, state: SessionState, purchase_id: str) -> dict[str, Any]:
    """Record what Stripe answered for a purchase; recording the same answer twice changes nothing."""
    opened: dict[str, Any] = db.call(
        "open_purchase",
        SERVICE,
        purchase_id=purchase_id,
        session_id=state.session_id,
        url=state.url,
        payment_intent_id=state.payment_intent_id,
        client_secret=state.client_secret,
        expires_at=state.expires,
    )
    return opened


def _ways_back(purchase: Mapping[str, Any], base_url: str, call_id: int | None) -> tuple[str, str]:
    """Where the payment page leads to: paid, and given up."""
    if call_id is None:
        return f"{base_url}{RETURN_PAGE}", f"{base_url}{CANCEL_PAGE}{purchase['purchase_id']}"
    return f"{base_url}{RETURN_PAGE}&call={call_id}", f"{base_url}{CALL_PAGE}{call_id}&canceled=yes"


def _open(parts: Parts, purchase: dict[str, Any], back: tuple[str, str]) -> dict[str, Any]:
    purchase_id = purchase["purchase_id"]
    try:
        state = _ask_stripe(parts, purchase, back)
    except (InvalidRequest, NotFound) as error:
        parts.db.call(
            "fail_purchase", SERVICE, purchase_id=purchase_id, status="failed", reason=error.message
        )
        raise InvalidRequest(
            f"This cannot be bought right now. {error.message} An administrator can put it right with"
            " “python -m credits_core stripe-sync”.",
            detail=error.detail,
        ) from error
    if (state.amount_subtotal, state.currency) != (purchase["price_cents"], purchase["currency"]):
        # A synced price that no longer is the package's: nobody may pay it.
        parts.stripe.expire_session(state.session_id)
        parts.db.call(
            "fail_purchase",
            SERVICE,
            purchase_id=purchase_id,
            status="failed",
            reason="The price at Stripe is not the package's price.",
        )
        raise Conflict(
            "The price at Stripe is not yet this package's price; nothing was charged. Buy again after"
            " an administrator has run “python -m credits_core stripe-sync”."
        )
    return record_opened(parts.db, state, purchase_id)


def _ask_stripe(parts: Parts, purchase: dict[str, Any], back: tuple[str, str]) -> SessionState:
    try:
        if purchase["flow"] == "payment_intent":
            return parts.stripe.create_payment_intent(purchase)
        if parts.stripe.options.invoices:
            purchase = purchase | {"customer_id": _customer(parts, purchase)}
        return parts.stripe.create_checkout_session(purchase, *back)
    except IdempotencyKeyReused as error:
        # Asked before a crash, from another address of this app or with another e-mail address: take that
        # answer.
        found = find_at_stripe(parts, purchase)
        if found is None:
            raise StripeUnavailable(
                "Stripe has this purchase on other terms; nothing was charged. Start again with a new purchase."
            ) from error
        return found
