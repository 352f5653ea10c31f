"""How long finished messages and the payloads of processed Stripe events are kept. Rules: supabase/migrations/*_retention.sql."""

from __future__ import annotations

from typing import Any

from credits_core.db.port import SERVICE, Database, Identity

Answer = dict[str, Any]

PORTION = 500
# A first run over years of messages is spread over several: a transaction of one portion holds no lock for long.
MOST_PORTIONS = 100


def retention(db: Database, identity: Identity) -> Answer:
    """What is kept for how long, for staff: items [what (messages, stripe_events), days, updated_at, updated_by_name]."""
    answer: Answer = db.call("retention", identity)
    return answer


def set_retention(db: Database, identity: Identity, what: str, days: int, reason: str) -> Answer:
    """Keep it for so many days (35 to 3650), from the next run of the job on; super admins. Answers all of them."""
    answer: Answer = db.call("set_retention", identity, what=what, days=days, reason=reason)
    return answer


def prune(db: Database) -> dict[str, int]:
    """Remove what is older, portion by portion: messages, attempts, stripe_events, how many of each."""
    done = {"messages": 0, "attempts": 0, "stripe_events": 0}
    for _ in range(MOST_PORTIONS):
        portion = db.call("prune", SERVICE, limit=PORTION)
        for what in done:
            done[what] += portion[what]
        if max(portion["messages"], portion["stripe_events"]) < PORTION:
            break
    return done
