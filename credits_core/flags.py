"""Feature flags: who gets what is new, by a per cent of accounts and by name. Rules: supabase/migrations/*_flags.sql."""

from __future__ import annotations

from typing import Any

from credits_core.db.port import Database, Identity

Answer = dict[str, Any]


def flags(db: Database, identity: Identity, *, account_id: int | None = None) -> dict[str, bool]:
    """What is switched on for an account (the caller's own): key to true or false."""
    answer: dict[str, bool] = db.call("flags", identity, account_id=account_id)["flags"]
    return answer


def flag_list(db: Database, identity: Identity) -> Answer:
    """All flags, for staff: items (key, description, on, percent, named: account_id, email, on)."""
    answer: Answer = db.call("flag_list", identity)
    return answer


def reach(
    db: Database, identity: Identity, key: str, *, percent: int | None = None, on: bool | None = None
) -> Answer:
    """How many accounts a flag reaches: `now`, `then` (with this per cent and state), of `accounts` in all. NotFound."""
    answer: Answer = db.call("flag_reach", identity, key=key, percent=percent, on=on)
    return answer


def set_flag(
    db: Database,
    identity: Identity,
    key: str,
    *,
    on: bool | None = None,
    percent: int | None = None,
    description: str | None = None,
) -> Answer:
    """Make a flag (with a description), or change what is given of it. Admins. InvalidRequest for what makes no sense."""
    answer: Answer = db.call("set_flag", identity, key=key, on=on, percent=percent, description=description)
    return answer


def set_flag_account(db: Database, identity: Identity, key: str, account_id: int, on: bool | None) -> Answer:
    """On or off for one account whatever the per cent; None: the per cent decides again. Admins. NotFound."""
    answer: Answer = db.call("set_flag_account", identity, key=key, account_id=account_id, on=on)
    return answer
