"""Accounts: who is calling, finding an account, the list for staff. Rules: supabase/migrations/*_accounts.sql."""

from __future__ import annotations

from typing import Any

from credits_core.db.port import Database, Identity

Answer = dict[str, Any]


def me(db: Database, identity: Identity) -> Answer:
    """The caller: user_id, email, name, role, account_id, unlimited. NotSignedIn for nobody."""
    answer: Answer = db.call("me", identity)
    return answer


def find_account(db: Database, identity: Identity, account: str) -> Answer:
    """An account by number, e-mail or user id, for staff and programs: account_id, email, name, role. NotFound."""
    answer: Answer = db.call("find_account", identity, account=account)
    return answer


def accounts_list(
    db: Database, identity: Identity, *, search: str | None = None, limit: int = 50, cursor: str | None = None
) -> Answer:
    """Accounts for staff, newest first, found by a part of name or e-mail or by number: items, next_cursor."""
    answer: Answer = db.call("accounts_list", identity, search=search, limit=limit, cursor=cursor)
    return answer
