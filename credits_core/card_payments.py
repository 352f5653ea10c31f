"""Paying at once with a saved card: the purchase is committed, the card is charged, and Stripe's answer is recorded.

A purchase has one charge, however often it is asked for: its Stripe key comes from its row. What became of it is in the row, so a
page that was closed, a second press and a restarted server all see the same.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from credits_core import customers, fulfillment
from credits_core.checkout import Parts, find_at_stripe, record_intent, record_opened
from credits_core.db.port import SERVICE, Database, Identity
from credits_core.errors import Conflict, IdempotencyKeyReused, InvalidRequest, NotFound, StripeUnavailable
from credits_core.stripe_gateway import StripeGateway
from credits_core.stripe_states import ChargeState

logger = logging.getLogger(__name__)

Answer = dict[str, Any]
CONFIRM_PATH = "/auth/confirm-payment"
# A purchase this old was begun before; its charge may be there although Stripe has forgotten its key: look first.
LOOK_FIRST_SECONDS = 60
STATES: Mapping[str, tuple[str, str]] = {
    "credited": ("succeeded", "The card was charged and the credits are added."),
    "review": (
        "review",
        "The card was charged. It does not match the purchase, so a person looks at it before credits are added.",
    ),
    "processing": (
        "processing",
        "The bank is still confirming it; the credits come as soon as the money does.",
    ),
    "open": (
        "requires_action",
        "The bank wants the owner of the card to confirm this payment. Nothing is charged before that.",
    ),
    "created": (
        "unknown",
        "Stripe has not answered yet, so it is not known whether the card was charged. It is found out within minutes, and asking "
        "again with the same key never charges twice.",
    ),
    "failed": ("declined", "Nothing was charged."),
    "expired": ("canceled", "This payment was given up. Nothing was charged."),
}
"""What the status of a purchase with a saved card says of its payment: its state, and a sentence."""


def is_offered(stripe: StripeGateway) -> bool:
    """Whether a saved card can be charged at once: not where each payment needs an invoice or tax, which the payment page makes."""
    return not (stripe.options.invoices or stripe.options.automatic_tax)


def payments(
    db: Database,
    identity: Identity,
    *,
    idempotency_key: str | None = None,
    account_id: int | None = None,
) -> Answer:
    """`payment`: the purchase that this key began, or None; `items`: payments with saved cards that are not decided yet."""
    found: Answer = db.call("card_payments", identity, idempotency_key=idempotency_key, account_id=account_id)
    return found


def pay(
    parts: Parts,
    identity: Identity,
    *,
    payment_method_id: str,
    idempotency_key: str,
    package: str | None = None,
    amount_cents: int | None = None,
    promo_code: str | None = None,
    account_id: int | None = None,
    shown: Mapping[str, Any] | None = None,
    terms_accepted: bool = False,
) -> Answer:
    """Buy a package (or an amount) with a saved card of the caller's: the purchase, whose state says what became of it (`STATES`).

    The same key never charges twice: it goes on where it stopped. `shown` holds what the buyer saw (price_cents, credits_micros,
    bonus_micros, currency); Conflict when that is not the price any more. NotFound for a card that is not theirs, NotAllowed for
    anybody but the owner, InvalidRequest where terms are to be accepted first. When Stripe does not answer after the charge was
    asked for, that is no error: the state is `unknown`, and the poll finds out.
    """
    known = payments(parts.db, identity, idempotency_key=idempotency_key, account_id=account_id)["payment"]
    if known is None:
        _check(parts, identity, payment_method_id, account_id, terms_accepted)
    purchase: Answer = record_intent(
        parts,
        identity,
        package=package,
        amount_cents=amount_cents,
        flow="payment_intent",
        idempotency_key=idempotency_key,
        livemode=parts.stripe.livemode,
        account_id=account_id,
        promo_code=promo_code,
        payment_method_id=payment_method_id,
        shown=dict(shown) if shown is not None else None,
    )
    try:
        if purchase["status"] == "created":
            _settle(parts, purchase, _charge(parts, purchase, terms_accepted))
        elif purchase["status"] in ("open", "processing"):
            fulfillment.fulfill_session(parts.db, parts.stripe, purchase["session_id"])
    except StripeUnavailable as error:
        known_as = {"purchase": purchase["purchase_id"], "detail": error.detail}
        logger.warning("stripe has not said what became of a payment", extra=known_as)
    return _read(parts, purchase["purchase_id"]) | {"replayed": purchase["replayed"]}


def look(parts: Parts, identity: Identity, idempotency_key: str) -> Answer | None:
    """What became of the payment of this key by now; charges nothing. None when there is none."""
    known: Answer | None = payments(parts.db, identity, idempotency_key=idempotency_key)["payment"]
    if known is None or known["status"] not in ("open", "processing"):
        return known
    try:
        fulfillment.fulfill_session(parts.db, parts.stripe, known["session_id"])
    except StripeUnavailable:
        return known
    return _read(parts, known["purchase_id"])


def resume(parts: Parts, identity: Identity, idempotency_key: str) -> Answer | None:
    """Go on with a payment whose answer was lost: the very same charge once more, which is made once at most."""
    known: Answer | None = payments(parts.db, identity, idempotency_key=idempotency_key)["payment"]
    if known is None or known["payment_method_id"] is None:
        return known
    return pay(
        parts,
        identity,
        payment_method_id=known["payment_method_id"],
        idempotency_key=idempotency_key,
        package=known["package"],
        amount_cents=None if known["package"] else known["list_price_cents"],
        promo_code=known["promo_code"],
        terms_accepted=parts.stripe.options.terms_url is not None,  # it was not recorded without that
    )


def cancel(parts: Parts, identity: Identity, idempotency_key: str) -> Answer | None:
    """End a payment that waits for its owner's confirmation, so that it cannot be paid beside another one; answers what became
    of it. One that is decided stays as it is."""
    known: Answer | None = payments(parts.db, identity, idempotency_key=idempotency_key)["payment"]
    if known is None or known["status"] not in ("open", "failed") or known["payment_method_id"] is None:
        return known
    if known["session_id"] is not None:
        parts.stripe.cancel_payment_intent(known["session_id"])
        fulfillment.fulfill_session(parts.db, parts.stripe, known["session_id"])
    return _read(parts, known["purchase_id"])


def outcome(purchase: Mapping[str, Any], base_url: str) -> Answer:
    """What became of a payment: `state`, `message`, and `confirm_url` where its owner has to confirm it, signed in."""
    state, message = STATES[purchase["status"]]
    if state == "declined" and purchase["failure_reason"]:
        message = f"{purchase['failure_reason']} {message}"
    asks = state == "requires_action"
    return {
        "state": state,
        "message": message,
        "confirm_url": f"{base_url}{confirm_path(purchase)}" if asks else None,
    }


def confirm_path(purchase: Mapping[str, Any], call_id: int | None = None) -> str:
    """The address in this app where the owner confirms a payment that the bank asks about; it leads back to the call."""
    query = {"payment": purchase["payment_intent_id"]} | ({"call": str(call_id)} if call_id else {})
    return f"{CONFIRM_PATH}?{urlencode(query)}"


def confirmation_url(
    parts: Parts,
    identity: Identity,
    payment_intent_id: str,
    base_url: str,
    key: str,
    call_id: int | None = None,
) -> str:
    """Where the owner confirms a payment that the bank did not allow without them: the bank's page, or the return page when it
    is paid already. Other people's payments are NotFound."""
    fulfillment.check_session_id(payment_intent_id)
    purchase = parts.db.call("purchase_status", identity, session_id=payment_intent_id)
    own = parts.db.call("customer", identity, livemode=parts.stripe.livemode)["account_id"]
    if purchase["account_id"] != own:  # staff may read it, and confirm nothing
        raise NotFound("No payment of yours is to be confirmed here; only the owner of the card confirms it.")
    done = f"{base_url}/checkout_return?session_id={payment_intent_id}" + (
        f"&call={call_id}" if call_id else ""
    )
    charge = parts.stripe.cards.charge_state(payment_intent_id)
    if charge.status in ("succeeded", "processing", "canceled"):
        return done
    if charge.url is None:
        card = purchase["payment_method_id"] or parts.db.call("auto_reload", identity)["payment_method_id"]
        charge = parts.stripe.cards.authenticate(payment_intent_id, card, done, key)
    return charge.url or done


def _check(
    parts: Parts, identity: Identity, payment_method_id: str, account_id: int | None, terms_accepted: bool
) -> None:
    """What must be so before anything is recorded."""
    stripe = parts.stripe
    if not is_offered(stripe):
        raise Conflict(
            "Here each payment needs an invoice or tax; buy on the payment page, without naming a card."
        )
    if stripe.options.terms_url and not terms_accepted:
        raise InvalidRequest(
            "Accept the terms first: send terms_accepted with true.",
            detail={"terms_url": stripe.options.terms_url},
        )
    known = parts.db.call("customer", identity, livemode=stripe.livemode, account_id=account_id)
    stripe.cards.saved_card(known["customer_id"], payment_method_id)


def _charge(parts: Parts, purchase: Answer, terms_accepted: bool) -> ChargeState:
    """The charge of a purchase, made now or before. StripeUnavailable says nothing about whether the money was taken."""
    age = time.time() - datetime.fromisoformat(purchase["created_at"]).timestamp()
    found = _found(parts, purchase) if age > LOOK_FIRST_SECONDS else None
    if found is not None:
        return found
    known = parts.db.call(
        "customer", SERVICE, livemode=purchase["livemode"], account_id=purchase["account_id"]
    )
    customer_id = customers.existing(parts.db, parts.stripe, known)
    terms_url = parts.stripe.options.terms_url if terms_accepted else None
    try:
        return parts.stripe.cards.charge_on_session(customer_id, purchase, terms_url)
    except IdempotencyKeyReused as error:
        # Asked before with another e-mail address or other terms: that charge counts.
        found = _found(parts, purchase)
        if found is None:
            raise StripeUnavailable("Stripe is still busy with this payment.") from error
        return found
    except (InvalidRequest, NotFound) as error:
        _fail(parts, purchase, error.message)
        raise InvalidRequest(f"Nothing was charged. {error.message}", detail=error.detail) from error


def _settle(parts: Parts, purchase: Answer, charge: ChargeState) -> None:
    """Record what became of a charge. What is declined is canceled: another try is another purchase with a charge of its own."""
    intent = charge.payment_intent_id
    if intent is None:
        _fail(parts, purchase, charge.message or "The card was not charged.")
    elif charge.status == "requires_action":
        record_opened(parts.db, parts.stripe.retrieve(intent), purchase["purchase_id"])
    else:
        if charge.status == "declined":
            parts.stripe.cancel_payment_intent(intent)
        fulfillment.fulfill_session(parts.db, parts.stripe, intent)


def _found(parts: Parts, purchase: Answer) -> ChargeState | None:
    made = find_at_stripe(parts, purchase)
    return None if made is None else parts.stripe.cards.charge_state(made.session_id)


def _fail(parts: Parts, purchase: Answer, reason: str) -> None:
    parts.db.call(
        "fail_purchase", SERVICE, purchase_id=purchase["purchase_id"], status="failed", reason=reason
    )


def _read(parts: Parts, purchase_id: str) -> Answer:
    """The purchase as it is now; without the balance, which a key that may only buy does not see."""
    found: Answer = parts.db.call("purchase", SERVICE, purchase_id=purchase_id)
    return {
        name: value for name, value in found.items() if name not in ("available_micros", "newly_credited")
    }
