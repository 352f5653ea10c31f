"""Promotional codes: campaigns, and what a purchase costs and gives with a code. Rules: supabase/migrations/*_promotions.sql."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from credits_core.db.port import Database, Identity

Answer = dict[str, Any]


def purchase_quote(
    db: Database,
    identity: Identity,
    *,
    package: str | None = None,
    amount_cents: int | None = None,
    promo_code: str | None = None,
) -> Answer:
    """What a package or an amount costs and gives before it is bought: list_price_cents, price_cents, credits_micros,
    bonus_micros (promo_bonus_micros of it by the code), cents_per_credit.

    NotFound for an unknown code, Conflict for one that does not apply, InvalidRequest with min_cents and max_cents.
    """
    answer: Answer = db.call(
        "purchase_quote", identity, package=package, amount_cents=amount_cents, promo_code=promo_code
    )
    return answer


def create_campaign(
    db: Database,
    identity: Identity,
    *,
    code: str,
    name: str,
    kind: str,
    amount: Decimal | int,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
    max_redemptions: int | None = None,
    max_per_account: int = 1,
    first_purchase_only: bool = False,
    account_id: int | None = None,
    packages: Sequence[str] | None = None,
) -> Answer:
    """A code for purchases; admins and programs. kind: bonus_percent, bonus_credits, discount_percent, discount_cents.

    Conflict when the code exists, InvalidRequest for amounts and codes that make no sense.
    """
    answer: Answer = db.call(
        "create_campaign",
        identity,
        code=code,
        name=name,
        kind=kind,
        amount=amount,
        starts_at=starts_at,
        ends_at=ends_at,
        max_redemptions=max_redemptions,
        max_per_account=max_per_account,
        first_purchase_only=first_purchase_only,
        account_id=account_id,
        packages=list(packages) if packages is not None else None,
    )
    return answer


def switch_campaign(db: Database, identity: Identity, code: str, on: bool) -> Answer:
    """Switch a campaign on or off; what was bought with it stays."""
    answer: Answer = db.call("switch_campaign", identity, code=code, on=on)
    return answer


def campaigns(
    db: Database,
    identity: Identity,
    *,
    state: str | None = None,
    search: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Answer:
    """Campaigns for staff, newest first: items with state (on, off, scheduled, used_up, expired), redeemed, reserved,
    bonus_micros and discount_cents given, sales_cents of the purchases; next_cursor."""
    answer: Answer = db.call("campaigns", identity, state=state, search=search, limit=limit, cursor=cursor)
    return answer
