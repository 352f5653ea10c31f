"""The customer of an account at Stripe: one for each mode, made the first time it is needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from credits_core.db.port import SERVICE, Database
from credits_core.stripe_gateway import StripeGateway


def existing(db: Database, stripe: StripeGateway, known: Mapping[str, Any]) -> str:
    """The customer's id of an answer of SQL's `customer` (account_id, email, customer_id), made when there is none yet."""
    if known["customer_id"] is not None:
        return str(known["customer_id"])
    account_id, email = known["account_id"], known["email"]
    mode = "live" if stripe.livemode else "test"
    made = stripe.cards.create_customer(account_id, email, f"customer-{account_id}-{mode}-{email}")
    kept = db.call("set_customer", SERVICE, account_id=account_id, livemode=stripe.livemode, customer_id=made)
    return str(kept["customer_id"])
