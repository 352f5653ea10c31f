"""Referrals: a code to invite with, rewards for both sides after a first paid purchase. Rules: supabase/migrations/*_referrals.sql.

Rewards are micros of credits, `min_purchase_cents` is in minor units of the catalog's currency, times are ISO 8601.
"""

from __future__ import annotations

from typing import Any

from credits_core.db.port import Database, Identity

Answer = dict[str, Any]


def referral(
    db: Database,
    identity: Identity,
    *,
    account_id: int | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Answer:
    """An account's invitations: code, program (the terms), joined, rewarded, earned_micros, waiting, waiting_micros, left (of
    the caps; null: no cap), invited (its own invitation, or null), may_claim, and who joined: items (referral_id, who,
    status, reward_micros, held_for), next_cursor. The code is made when its owner first asks."""
    answer: Answer = db.call("referral", identity, account_id=account_id, limit=limit, cursor=cursor)
    return answer


def claim(db: Database, identity: Identity, code: str) -> Answer:
    """The caller was invited with this code: status, reward_micros, min_purchase_cents, expires_at, replayed.

    NotFound for an unknown code; Conflict for one's own, after a first purchase, or when another code was entered before.
    """
    answer: Answer = db.call("claim_referral", identity, code=code)
    return answer


def program(db: Database, identity: Identity) -> Answer:
    """The terms of invitations, for staff: on, referrer_micros, referee_micros, min_purchase_cents, open_days, currency, and
    the caps of one referrer: month_rewards, month_micros, total_rewards, total_micros (null: none)."""
    answer: Answer = db.call("referral_program", identity)
    return answer


def set_program(
    db: Database,
    identity: Identity,
    *,
    on: bool,
    referrer_micros: int,
    referee_micros: int,
    min_purchase_cents: int,
    open_days: int,
    month_rewards: int | None = None,
    month_micros: int | None = None,
    total_rewards: int | None = None,
    total_micros: int | None = None,
) -> Answer:
    """New terms, whole; they hold for codes entered from now on. Admins. InvalidRequest for terms that make no sense."""
    answer: Answer = db.call(
        "set_referral_program",
        identity,
        on=on,
        referrer_micros=referrer_micros,
        referee_micros=referee_micros,
        min_purchase_cents=min_purchase_cents,
        open_days=open_days,
        month_rewards=month_rewards,
        month_micros=month_micros,
        total_rewards=total_rewards,
        total_micros=total_micros,
    )
    return answer


def referrals(
    db: Database,
    identity: Identity,
    *,
    status: str | None = None,
    account_id: int | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Answer:
    """Referrals for staff, newest first: items with both sides, status (open, expired, held, rewarded, taken_back,
    rejected), hold_reason, paid_cents and kept_cents of the purchase; next_cursor."""
    answer: Answer = db.call(
        "referrals", identity, status=status, account_id=account_id, limit=limit, cursor=cursor
    )
    return answer


def decide(db: Database, identity: Identity, referral_id: int, approve: bool, reason: str) -> Answer:
    """Reward a held referral all the same, or reject it. Admins. Conflict when it is not held, or its purchase is gone."""
    answer: Answer = db.call(
        "decide_referral", identity, referral_id=referral_id, approve=approve, reason=reason
    )
    return answer
