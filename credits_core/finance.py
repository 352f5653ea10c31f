"""Figures for finance: money by month, cohorts of buyers, what became of purchases that were begun. For staff alone.

Money is in the currency's smallest unit (`*_cents`), tax apart; currencies and modes (test, live) are never added up.
Months and days are those of `time_zone`. InvalidRequest for an unknown zone, over 36 months or over 800 days.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from credits_core.db.port import Database, Identity

Answer = dict[str, Any]


def revenue_by_month(
    db: Database, identity: Identity, *, livemode: bool, months: int = 12, time_zone: str = "UTC"
) -> Answer:
    """`rows` by currency and month, the oldest first: sales, refunds, disputes, net, purchases, buyers, new buyers, and
    `per_buyer_cents`, the net sales of a paying account (None in a month without any)."""
    answer: Answer = db.call(
        "revenue_by_month", identity, livemode=livemode, months=months, time_zone=time_zone
    )
    return answer


def recurring_revenue(
    db: Database, identity: Identity, *, livemode: bool, months: int = 12, time_zone: str = "UTC"
) -> Answer:
    """`rows` by currency and month, the oldest first: `mrr_cents` of the subscriptions running at its end (now, for the
    running month), and what moved it since the month before: new, expansion, contraction (below 0), churn (below 0)."""
    answer: Answer = db.call(
        "recurring_revenue", identity, livemode=livemode, months=months, time_zone=time_zone
    )
    return answer


def cohorts(
    db: Database, identity: Identity, *, livemode: bool, months: int = 12, time_zone: str = "UTC"
) -> Answer:
    """`rows` by month of the first purchase (`cohort`, with so many `accounts`) and `months_later`: how many of them bought
    then, what they paid, and `retention_percent`. A cohort with two currencies has a row for each."""
    answer: Answer = db.call("cohorts", identity, livemode=livemode, months=months, time_zone=time_zone)
    return answer


def checkout_funnel(
    db: Database,
    identity: Identity,
    *,
    livemode: bool,
    first: dt.date | None = None,
    last: dt.date | None = None,
    time_zone: str = "UTC",
) -> Answer:
    """Purchases begun from day `first` to day `last` (default: the last 30): `begun`, `opened` (Stripe's page was there),
    `paid`, `waiting`, `processing`, `expired`, `failed`, `review`; by package; and reasons of those that were not paid."""
    answer: Answer = db.call(
        "checkout_funnel",
        identity,
        livemode=livemode,
        **{
            "from": first.isoformat() if first else None,
            "to": last.isoformat() if last else None,
        },
        time_zone=time_zone,
    )
    return answer
