"""For the people who run this: operations alerts, figures of the system, the webhook inbox.

Rules: supabase/migrations/*_operations_alerts.sql and *_system.sql.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from credits_core.db.port import SERVICE, Database, Identity

Answer = dict[str, Any]


def detect(db: Database, periods: Mapping[str, int]) -> Answer:
    """Look at every condition: opened, resolved (how many). `periods`: seconds between the runs of each job."""
    answer: Answer = db.call("detect_operations", SERVICE, jobs=dict(periods))
    return answer


def operations_alerts(
    db: Database, identity: Identity, *, open_only: bool = True, limit: int = 50, cursor: str | None = None
) -> Answer:
    """Alerts for staff, newest first: items with kind, about, sentence, evidence, opened_at, resolved_at, acknowledged_at."""
    answer: Answer = db.call("operations_alerts", identity, open_only=open_only, limit=limit, cursor=cursor)
    return answer


def acknowledge(db: Database, identity: Identity, alert_id: int, note: str | None = None) -> Answer:
    """Say that somebody is at it; the first one stays."""
    answer: Answer = db.call("acknowledge_operations_alert", identity, alert_id=alert_id, note=note)
    return answer


def system_status(db: Database, identity: Identity) -> Answer:
    """Versions, figures of the database, what waits in each queue, the last verify and reconciliation; administrators."""
    answer: Answer = db.call("system_status", identity)
    return answer


def stripe_events(
    db: Database,
    identity: Identity,
    *,
    type: str | None = None,
    outcome: str | None = None,
    search: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Answer:
    """The webhook inbox for administrators, newest first: items, next_cursor, and the types that came lately. `outcome`: processed,
    ignored, failed or waiting; `search`: the id of an event or of Stripe's object."""
    answer: Answer = db.call(
        "stripe_events", identity, type=type, outcome=outcome, search=search, limit=limit, cursor=cursor
    )
    return answer


def stripe_event(db: Database, identity: Identity, event_id: str) -> Answer:
    """One event with its payload, secrets hidden. NotFound for a wrong id."""
    answer: Answer = db.call("stripe_event", identity, event_id=event_id)
    return answer
