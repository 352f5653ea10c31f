"""Saved cards: the customer at Stripe, the page where a card is saved, and taking it away. No card number touches us."""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import quote

from credits_core import customers
from credits_core.checkout import Parts
from credits_core.db.port import Identity
from credits_core.errors import Conflict, NotFound
from credits_core.stripe_states import CardSetup, SavedCard

RETURN_PATH = "/auth/card-saved?session_id={CHECKOUT_SESSION_ID}&next="
PAGE = "/auto_reload"
PORTAL_RETURN = "/statements"


def saved(parts: Parts, identity: Identity) -> tuple[str | None, list[SavedCard]]:
    """The customer of the caller's account and its cards, the default one first."""
    customer_id = _customer(parts, identity)["customer_id"]
    try:
        return customer_id, parts.stripe.cards.saved_cards(customer_id) if customer_id else []
    except NotFound:
        return None, []


def ensure_customer(parts: Parts, identity: Identity, account_id: int) -> str:
    """The customer of an account at Stripe, made now if there is none yet."""
    return customers.existing(parts.db, parts.stripe, _customer(parts, identity, account_id))


def start_saving(parts: Parts, identity: Identity, base_url: str, back: str = PAGE) -> CardSetup:
    """A page at Stripe (`url`) where the caller saves a card; nothing is charged. It leads to the path `back`."""
    known = _customer(parts, identity)
    customer_id = customers.existing(parts.db, parts.stripe, known)
    currency = parts.db.call("packages", identity)["currency"]
    return parts.stripe.cards.setup_session(
        customer_id,
        known["account_id"],
        currency,
        f"{base_url}{RETURN_PATH}{quote(back, safe='')}",
        f"{base_url}{back}",
        f"card-{uuid.uuid4()}",
    )


def portal(parts: Parts, identity: Identity, base_url: str) -> str:
    """The address of a fresh page at Stripe where the caller looks after cards and finds invoices; good for a short time.

    Its link leads back to `PORTAL_RETURN` of the app. Only for the owner of the account."""
    known = parts.db.call("portal_customer", identity, livemode=parts.stripe.livemode)
    customer_id = customers.existing(parts.db, parts.stripe, known)
    return parts.stripe.cards.portal(customer_id, f"{base_url}{PORTAL_RETURN}")


def finish_saving(parts: Parts, identity: Identity, session_id: str) -> CardSetup:
    """What became of that page; a card that was saved becomes the default one. NotFound for somebody else's."""
    known = _customer(parts, identity)
    setup = parts.stripe.cards.setup_state(session_id)
    if setup.customer_id is None or setup.customer_id != known["customer_id"]:
        raise NotFound("This page for saving a card is not yours; start again from the auto-reload page.")
    if setup.payment_method_id is not None:
        parts.stripe.cards.use_by_default(setup.customer_id, setup.payment_method_id)
    return setup


def remove(parts: Parts, identity: Identity, payment_method_id: str) -> None:
    """Take a card away. NotFound for a card that is not the caller's, Conflict while auto-reload uses it."""
    _, cards = saved(parts, identity)
    if payment_method_id not in [card.payment_method_id for card in cards]:
        raise NotFound("There is no such saved card of yours.")
    reload = parts.db.call("auto_reload", identity)
    if reload["state"] != "off" and reload["payment_method_id"] == payment_method_id:
        raise Conflict("Auto-reload uses this card; switch it off or choose another card first.")
    parts.stripe.cards.forget(payment_method_id)


def _customer(parts: Parts, identity: Identity, account_id: int | None = None) -> dict[str, Any]:
    found: dict[str, Any] = parts.db.call(
        "customer", identity, livemode=parts.stripe.livemode, account_id=account_id
    )
    return found
