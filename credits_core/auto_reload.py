"""Auto-reload: credits bought by themselves with a saved card, within what the owner agreed to.

Rules: supabase/migrations/*_auto_reload.sql. The attempt and its purchase are recorded before Stripe is called; whoever goes on
with an attempt uses the same key, so that a card is charged once for it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from credits_core import card_payments, fulfillment, saved_cards
from credits_core.checkout import Parts, find_at_stripe
from credits_core.db.port import SERVICE, Database, Identity
from credits_core.errors import IdempotencyKeyReused, InvalidRequest, NotFound, StripeUnavailable
from credits_core.stripe_gateway import StripeGateway
from credits_core.stripe_states import ChargeState

logger = logging.getLogger(__name__)

Answer = dict[str, Any]
# Charges take seconds; so few at a time end long before their lease of two minutes.
BATCH = 5
# What is not begun by then is left to the next run: the lease could pass meanwhile, and somebody else take it up.
BEGIN_WITHIN_SECONDS = 25
# An attempt this old was begun by somebody else; its charge may be there although its key is forgotten: look first.
LOOK_FIRST_SECONDS = 60

CONSENT_VERSION = "1"
CONSENT_TEXT = (
    "I allow my saved card to be charged by itself whenever my balance falls below the threshold, for as many credits as reach "
    "the target and never for more than the caps of a day and a month, until I switch this off."
)


def state(db: Database, identity: Identity, *, account_id: int | None = None) -> Answer:
    """What is agreed (`state` on, paused, off), what happens next (`next_status`, `next`, `amount_cents`, `until`), the last
    `attempts` with why and how each ended, all `consents`; `consent_words` are the words to agree to."""
    found: Answer = db.call("auto_reload", identity, account_id=account_id)
    return found | {"consent_words": {"version": CONSENT_VERSION, "text": CONSENT_TEXT}}


def preview(
    db: Database,
    identity: Identity,
    *,
    threshold_micros: int,
    target_micros: int,
    cap_day_cents: int,
    cap_month_cents: int,
    account_id: int | None = None,
) -> Answer:
    """What these terms would do now; changes nothing. `refusal` is a sentence or None, `one_reload_cents` what a reload costs at
    the threshold; `status` (due, idle, ...), `amount_cents`, `credits_micros` and `until` are those of the next one."""
    answer: Answer = db.call(
        "auto_reload_preview",
        identity,
        threshold_micros=threshold_micros,
        target_micros=target_micros,
        cap_day_cents=cap_day_cents,
        cap_month_cents=cap_month_cents,
        account_id=account_id,
    )
    return answer


def after_resuming(db: Database, identity: Identity) -> Answer:
    """What the agreement of the caller's own account would do now if it were not paused; as `preview`, with its threshold."""
    agreed = state(db, identity)
    names = ("threshold_micros", "target_micros", "cap_day_cents", "cap_month_cents")
    terms = {name: agreed[name] for name in names}
    return preview(db, identity, **terms) | terms


def agree(
    parts: Parts,
    identity: Identity,
    *,
    threshold_micros: int,
    target_micros: int,
    cap_day_cents: int,
    cap_month_cents: int,
    consent_text: str,
    payment_method_id: str | None = None,
) -> Answer:
    """Switch on, or agree to other terms; the owner alone. `consent_text` must be the current words. Without a card: the default
    one. InvalidRequest for terms that make no sense, NotFound without a saved card."""
    if consent_text.strip() != CONSENT_TEXT:
        raise InvalidRequest(
            "Agree to the current words; they are in detail.consent_text and on the auto-reload page.",
            detail={"consent_text": CONSENT_TEXT, "version": CONSENT_VERSION},
        )
    customer_id, cards = saved_cards.saved(parts, identity)
    card = next((c for c in cards if payment_method_id in (None, c.payment_method_id)), None)
    if card is None or customer_id is None:
        raise NotFound("There is no such saved card; save a card first, then switch auto-reload on.")
    before = state(parts.db, identity)
    parts.db.call(
        "set_auto_reload",
        identity,
        threshold_micros=threshold_micros,
        target_micros=target_micros,
        cap_day_cents=cap_day_cents,
        cap_month_cents=cap_month_cents,
        customer_id=customer_id,
        payment_method_id=card.payment_method_id,
        consent_text=consent_text,
        text_version=CONSENT_VERSION,
    )
    _end_waiting(parts, identity, before)
    return state(parts.db, identity)


def switch(parts: Parts, identity: Identity, action: str) -> Answer:
    """`off`, or `resume` after a pause; the owner alone. A payment that waited for the owner's confirmation is settled or ended
    first, so that resuming does not charge a second time for the same reload."""
    before = state(parts.db, identity)
    parts.db.call("switch_auto_reload", identity, action=action)
    _end_waiting(parts, identity, before)
    return state(parts.db, identity)


def _end_waiting(parts: Parts, identity: Identity, before: Answer) -> None:
    """Settle or end the payment that waited for its owner's confirmation, so that it is not paid beside the next reload."""
    for attempt in before["attempts"][:1]:
        if attempt["status"] == "authentication_required":
            purchase = parts.db.call("purchase", identity, purchase_id=attempt["purchase_id"])
            if purchase["status"] in ("open", "failed") and purchase["session_id"] is not None:
                parts.stripe.cancel_payment_intent(purchase["session_id"])
                fulfillment.fulfill_session(parts.db, parts.stripe, purchase["session_id"])


def run(db: Database, stripe: StripeGateway, base_url: str, *, limit: int = BATCH) -> dict[str, int]:
    """Make the reloads that are due, any number of workers at once: charged, refused, waiting.

    When Stripe does not answer, the attempts wait and are asked again with their keys: that is no decline.
    """
    counts = {"charged": 0, "refused": 0, "waiting": 0}
    outage: str | None = None
    began = time.monotonic()
    for attempt in db.call("claim_auto_reloads", SERVICE, livemode=stripe.livemode, limit=limit)["items"]:
        if time.monotonic() - began > BEGIN_WITHIN_SECONDS:
            counts["waiting"] += 1
            continue
        try:
            if outage is None:
                counts[_reload(db, stripe, attempt, base_url)] += 1
                continue
        except StripeUnavailable as error:
            outage = error.message
        _finish(db, attempt, "outage", detail=outage)
        counts["waiting"] += 1
    return counts


def _reload(db: Database, stripe: StripeGateway, attempt: Mapping[str, Any], base_url: str) -> str:
    """Charge for one attempt and record what became of it. StripeUnavailable leaves it in flight."""
    purchase = db.call("purchase", SERVICE, purchase_id=attempt["purchase_id"])
    try:
        charge = _charge(db, stripe, attempt, purchase)
    except (InvalidRequest, NotFound) as error:
        _finish(db, attempt, "gave_up", detail=error.message)
        return "refused"
    if charge is None:
        _finish(db, attempt, "not_needed")
        return "refused"
    intent = charge.payment_intent_id
    if intent is not None:
        db.call(
            "open_purchase",
            SERVICE,
            purchase_id=attempt["purchase_id"],
            session_id=intent,
            payment_intent_id=intent,
        )
    if charge.status == "processing":
        raise StripeUnavailable("The bank has not answered yet.")
    if charge.status == "succeeded" and intent is not None:
        fulfillment.fulfill_session(db, stripe, intent)
        _finish(db, attempt, "succeeded")
        return "charged"
    if charge.status == "requires_action" and intent is not None:
        _finish(
            db,
            attempt,
            "authentication_required",
            charge,
            pay_url=f"{base_url}{card_payments.CONFIRM_PATH}?payment={intent}",
        )
        return "refused"
    if intent is not None:
        stripe.cancel_payment_intent(intent)  # a later attempt has an intent of its own
    _finish(db, attempt, "declined", charge)
    return "refused"


def _charge(
    db: Database, stripe: StripeGateway, attempt: Mapping[str, Any], purchase: Mapping[str, Any]
) -> ChargeState | None:
    """The charge of an attempt, made now or before; None when nothing was charged before and nothing is needed any more."""
    age = time.time() - datetime.fromisoformat(attempt["created_at"]).timestamp()
    is_needed = attempt["is_needed"]
    found = _found(db, stripe, purchase) if age > LOOK_FIRST_SECONDS or not is_needed else None
    if found is not None or not is_needed:
        return found
    reference = {
        "purchase_id": str(attempt["purchase_id"]),
        "account_id": str(attempt["account_id"]),
        "type": "credit_purchase",
        "flow": "payment_intent",
        "attempt_id": str(attempt["attempt_id"]),
    }
    try:
        return stripe.cards.charge_off_session(
            attempt["customer_id"],
            attempt["payment_method_id"],
            attempt["amount_cents"],
            attempt["currency"],
            reference,
            f"auto-reload-{attempt['attempt_id']}",
            description="Auto-reload of credits",
        )
    except IdempotencyKeyReused as error:
        # The card was changed after the charge and before its answer was recorded: that charge counts.
        found = _found(db, stripe, purchase)
        if found is None:
            raise InvalidRequest(
                "The card was changed while it was charged; the next attempt uses the new one."
            ) from error
        return found


def _found(db: Database, stripe: StripeGateway, purchase: Mapping[str, Any]) -> ChargeState | None:
    made = find_at_stripe(fulfillment.Both(db, stripe), purchase)
    return None if made is None else stripe.cards.charge_state(made.session_id)


def _finish(
    db: Database,
    attempt: Mapping[str, Any],
    outcome: str,
    charge: ChargeState | None = None,
    *,
    detail: str | None = None,
    pay_url: str | None = None,
) -> None:
    code = (charge.decline_code or charge.code) if charge else None
    db.call(
        "finish_auto_reload",
        SERVICE,
        attempt_id=attempt["attempt_id"],
        outcome=outcome,
        decline_code=code,
        is_hard=charge.hard if charge else False,
        detail=charge.message if charge else detail,
        pay_url=pay_url,
    )
    logger.info(
        "auto-reload", extra={"attempt": attempt["attempt_id"], "outcome": outcome, "decline_code": code}
    )
