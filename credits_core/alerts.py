"""Alerts: what an account holder should know, told once for every crossing. Rules: supabase/migrations/*_alerts.sql."""

from __future__ import annotations

from typing import Any

from credits_core.db.port import Database, Identity

Answer = dict[str, Any]


def alerts(
    db: Database,
    identity: Identity,
    *,
    account_id: int | None = None,
    unread_only: bool = False,
    limit: int = 50,
    cursor: str | None = None,
) -> Answer:
    """Alerts, newest first: items [alert_id, kind, detail, created_at, read_at], next_cursor."""
    answer: Answer = db.call(
        "alerts", identity, account_id=account_id, unread_only=unread_only, limit=limit, cursor=cursor
    )
    return answer


def unread(db: Database, identity: Identity, *, account_id: int | None = None) -> int:
    """How many alerts of an account are unread, counted to 100."""
    return int(db.call("unread_alerts", identity, account_id=account_id)["unread"])


def mark_alerts_read(
    db: Database, identity: Identity, *, account_id: int | None = None, alert_id: int | None = None
) -> Answer:
    """Mark one alert or all of an account as read: read (how many were not)."""
    answer: Answer = db.call("mark_alerts_read", identity, account_id=account_id, alert_id=alert_id)
    return answer


def detect_alerts(db: Database, identity: Identity, *, limit: int = 1000) -> Answer:
    """Look at accounts whose ledger moved since the last time: alerts (how many are new)."""
    answer: Answer = db.call("detect_alerts", identity, limit=limit)
    return answer


def tell_expiring(db: Database, identity: Identity, *, limit: int = 1000) -> Answer:
    """Tell what expires within 30, 7 and 1 days, each grant once at each step: alerts (how many are new)."""
    answer: Answer = db.call("tell_expiring", identity, limit=limit)
    return answer
