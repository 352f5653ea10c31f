"""Limits: a plan's monthly allowance, spending caps, an account's settings. Rules: supabase/migrations/*_limits.sql."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from credits_core.db.port import Database, Identity

Answer = dict[str, Any]
Period = Literal["day", "month"]


def limits(db: Database, identity: Identity, *, account_id: int | None = None) -> Answer:
    """Usage against every limit: plan, time_zone, anchor_day, allowances [operation, included, used, remaining, resets_at,
    level], caps [api_key_id, period, cap_micros, spent_micros, resets_at, level]. level: ok, warning (80 %), reached."""
    answer: Answer = db.call("limits", identity, account_id=account_id)
    return answer


def set_cap(
    db: Database,
    identity: Identity,
    period: Period,
    cap_micros: int | None,
    *,
    api_key_id: int | None = None,
    account_id: int | None = None,
) -> Answer:
    """Cap what an account, or one of its API keys, spends in a day or month; None removes the cap. Answers as `limits`.

    What was spent in the running period counts."""
    answer: Answer = db.call(
        "set_cap",
        identity,
        period=period,
        cap_micros=cap_micros,
        api_key_id=api_key_id,
        account_id=account_id,
    )
    return answer


def set_plan(db: Database, identity: Identity, account_id: int, plan: str | None) -> Answer:
    """Put an account on a plan of the active catalog from now on, or off any (None); admins and programs. As `limits`."""
    answer: Answer = db.call("set_plan", identity, account_id=account_id, plan=plan)
    return answer


def account_settings(db: Database, identity: Identity, *, account_id: int | None = None) -> Answer:
    """The settings as they are: account_id, time_zone, anchor_day (1 to 31), low_balance_micros (levels), catalog (its own, or
    None)."""
    answer: Answer = db.call("account_settings", identity, account_id=account_id)
    return answer


def set_account_settings(
    db: Database,
    identity: Identity,
    *,
    account_id: int | None = None,
    time_zone: str | None = None,
    anchor_day: int | None = None,
    low_balance_micros: Sequence[int] | None = None,
    catalog: str | None = None,
) -> Answer:
    """Change what is given and answer all settings: account_id, time_zone, anchor_day, low_balance_micros, catalog.

    The billing day and the catalog are for admins and programs."""
    answer: Answer = db.call(
        "set_account_settings",
        identity,
        account_id=account_id,
        time_zone=time_zone,
        anchor_day=anchor_day,
        low_balance_micros=None if low_balance_micros is None else _array(low_balance_micros),
        catalog=catalog,
    )
    return answer


def _array(numbers: Sequence[int]) -> str:
    """PostgreSQL's own text of an array, which both transports pass on."""
    return "{" + ",".join(str(int(number)) for number in numbers) + "}"
