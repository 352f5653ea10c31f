"""Follow refunds and disputes at Stripe without webhooks: ask for its events about them since the last time.

An event only names a payment; that payment is then brought to Stripe's totals, as a webhook does it.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import Any

from credits_core import fulfillment
from credits_core.db.port import Database
from credits_core.errors import CreditsError, DatabaseUnavailable, StripeUnavailable
from credits_core.stripe_gateway import StripeGateway

logger = logging.getLogger(__name__)

# Stripe keeps events for 30 days; a part of that at a time, so that a run is bounded and none has to start anew.
KEPT_SECONDS = 30 * 86_400
PART_SECONDS = 86_400
# Events can become visible a little after the moment they carry.
OVERLAP_SECONDS = 120
MAX_PAYMENTS = 200


def follow(
    db: Database, stripe: StripeGateway, until: str | None, *, now: float | None = None
) -> dict[str, Any]:
    """Take up what happened to money since `until` (ISO 8601, as the last run answered it; None: as far back as Stripe knows).

    Answers payments (looked at), ours, failed, and `until` to go on from. A run ends early when Stripe or the database does not
    answer, or after MAX_PAYMENTS; the next one goes on from there.
    """
    now = time.time() if now is None else now
    start = max(now - KEPT_SECONDS, datetime.fromisoformat(until).timestamp() if until else 0.0)
    counts = {"payments": 0, "ours": 0, "failed": 0}
    try:
        while start < now and counts["payments"] < MAX_PAYMENTS:
            end = start + PART_SECONDS
            last = end >= now
            since = int(start) - OVERLAP_SECONDS
            for payment in stripe.money.changed_payments(since, None if last else int(end)):
                counts["payments"] += 1
                _settle(db, stripe, payment, counts)
            start = now if last else end
    except (StripeUnavailable, DatabaseUnavailable) as error:
        counts["failed"] += 1
        logger.warning("refunds and disputes could not be followed: %s", error.message)
    return counts | {"until": datetime.fromtimestamp(start, UTC).isoformat()}


def _settle(db: Database, stripe: StripeGateway, payment: str, counts: dict[str, int]) -> None:
    """One payment that cannot be worked on stops no other."""
    try:
        counts["ours"] += fulfillment.settle_payment(db, stripe, payment)
    except (StripeUnavailable, DatabaseUnavailable):
        raise
    except CreditsError as error:
        counts["failed"] += 1
        logger.warning("payment could not be followed: %s", error.message, extra={"payment": payment})
