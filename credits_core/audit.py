"""The audit trail: who did what to whom, when and why. Rules: supabase/migrations/*_audit_reads.sql."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from credits_core.db.port import Database, Identity

Answer = dict[str, Any]


def audit(
    db: Database,
    identity: Identity,
    *,
    actor: str | None = None,
    action: str | None = None,
    account_id: int | None = None,
    from_: datetime | None = None,
    to: datetime | None = None,
    search: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Answer:
    """What was done, newest first, for staff: items (audit_id, at, actor, who: kind, name, email; action, account_id,
    account_email, detail), next_cursor, and all `actions` there are. `actor` is a part of a name or e-mail, `search` a text in
    the detail."""
    answer: Answer = db.call(
        "audit",
        identity,
        actor=actor,
        action=action,
        account_id=account_id,
        search=search,
        limit=limit,
        cursor=cursor,
        **{"from": from_, "to": to},
    )
    return answer
