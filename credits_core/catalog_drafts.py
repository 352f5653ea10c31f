"""Drafts of the active catalog: collect new prices, packages and plans, rehearse them, ask for their release.

One draft is open at a time. Its items are keyed by code: `prices` {operation, components, rounding, minimum_charge_micros},
`packages` {code, name, credits_micros, bonus_micros, price_cents, popular, is_offered}, `plans` {code, name, allowances}.
A second person releases it (see approvals); nothing here changes what is sold or charged now.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from credits_core.db.port import Database, Identity

Answer = dict[str, Any]
Kind = Literal["price", "package", "plan"]


def catalog_draft(db: Database, identity: Identity) -> Answer:
    """`draft` (None: none is open), `before` (the last 20 that were released or discarded), and `coming` prices. For staff."""
    answer: Answer = db.call("catalog_draft", identity)
    return answer


def draft_change(
    db: Database, identity: Identity, kind: Kind, code: str, item: dict[str, Any] | None
) -> Answer:
    """Put an item into the draft, in place of one of the same code; None takes it out. Answers the draft. For admins.

    InvalidRequest or NotFound for what could not be released."""
    answer: Answer = db.call("draft_change", identity, kind=kind, code=code, item=item)
    return answer


def discard(db: Database, identity: Identity) -> Answer:
    """Close the open draft without a release. NotFound when it is empty or there is none."""
    answer: Answer = db.call("discard_catalog_draft", identity)
    return answer


def rehearse(db: Database, identity: Identity, start: datetime, end: datetime) -> Answer:
    """Usage from `start` to before `end` under the draft's prices, as catalog.rehearse_prices answers it."""
    answer: Answer = db.call("rehearse_catalog_draft", identity, **{"from": start, "to": end})
    return answer


def request_release(
    db: Database,
    identity: Identity,
    reason: str,
    idempotency_key: str,
    *,
    effective_from: datetime | None = None,
) -> Answer:
    """Ask a second person to release the draft as it is now, at once or from a later moment on: the approval, waiting."""
    answer: Answer = db.call(
        "request_catalog_release",
        identity,
        reason=reason,
        idempotency_key=idempotency_key,
        effective_from=effective_from,
    )
    return answer


def apply_releases(db: Database, identity: Identity) -> Answer:
    """Change the packages and plans of releases whose moment has come: `{released}`. For the service."""
    answer: Answer = db.call("apply_catalog_releases", identity)
    return answer
