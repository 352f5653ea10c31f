"""Promotional codes over HTTP: a quote for buyers, campaigns for administrators."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.responses import JSONResponse

from credits_core import promotions
from credits_core.http import models
from credits_core.http.caller import Called
from credits_core.http.decimal_json import DecimalRoute
from credits_core.http.fields import Account, Code, Text, Time
from credits_core.http.reading import Cursor, Limit
from credits_core.http.shapes import answer

router = APIRouter(prefix="/credits", route_class=DecimalRoute)
PromoCode = Annotated[
    str, Field(min_length=3, max_length=40, pattern=r"^[A-Za-z0-9_-]+$", examples=["WELCOME20"])
]
CodeInPath = Annotated[str, Path(min_length=3, max_length=40, pattern=r"^[A-Za-z0-9_-]+$")]

State = Literal["on", "off", "scheduled", "used_up", "expired"]


class Quote(models.Body):
    package: Code | None = Field(default=None, examples=["usd_10"])
    amount_cents: int | None = Field(
        None, ge=1, le=99_999_999, strict=True, description="Instead of a package."
    )
    promo_code: PromoCode | None = None


class Campaign(models.Body):
    code: PromoCode
    name: Text = Field(min_length=1, examples=["Welcome"])
    kind: Literal["bonus_percent", "bonus_credits", "discount_percent", "discount_cents"] = Field(
        examples=["discount_percent"]
    )
    amount: Decimal = Field(
        gt=0, lt=1_000_000_000, examples=[20], description="Per cent, credits, or the smallest coin."
    )
    starts_at: Time | None = None
    ends_at: Time | None = None
    max_redemptions: int | None = Field(None, ge=1, le=1_000_000_000, strict=True)
    max_per_account: int = Field(1, ge=1, le=1_000_000, strict=True)
    first_purchase_only: bool = False
    account: Account | None = Field(default=None, description="Only for this account.")
    packages: list[Code] | None = Field(default=None, max_length=100, description="Only for these packages.")


class Switch(models.Body):
    on: bool = Field(examples=[False])


@router.post("/quote", response_model=models.Answer, tags=["Buying"])
def quote(caller: Called, body: Quote) -> JSONResponse:
    """What a package or an amount costs and gives, with a code if there is one. Changes nothing."""
    return answer(
        promotions.purchase_quote(
            caller.db,
            caller.identity,
            package=body.package,
            amount_cents=body.amount_cents,
            promo_code=body.promo_code,
        )
    )


@router.get("/admin/campaigns", response_model=models.Page, tags=["Administration"])
def campaigns(
    caller: Called,
    state: Annotated[State | None, Query()] = None,
    search: Annotated[str | None, Query(max_length=100)] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> JSONResponse:
    """Campaigns, newest first, with how often each code was redeemed, what it gave and what was sold with it."""
    return answer(
        promotions.campaigns(
            caller.db, caller.identity, state=state, search=search, limit=limit, cursor=cursor
        )
    )


@router.post("/admin/campaigns", response_model=models.Answer, tags=["Administration"])
def create_campaign(caller: Called, body: Campaign) -> JSONResponse:
    """A new code for purchases. The code itself makes a repetition harmless: it is refused with 409."""
    return answer(
        promotions.create_campaign(
            caller.db,
            caller.identity,
            code=body.code,
            name=body.name,
            kind=body.kind,
            amount=body.amount,
            starts_at=body.starts_at,
            ends_at=body.ends_at,
            max_redemptions=body.max_redemptions,
            max_per_account=body.max_per_account,
            first_purchase_only=body.first_purchase_only,
            account_id=caller.account_id(body.account) if body.account is not None else None,
            packages=body.packages,
        )
    )


@router.post("/admin/campaigns/{code}/switch", response_model=models.Answer, tags=["Administration"])
def switch_campaign(caller: Called, code: CodeInPath, body: Switch) -> JSONResponse:
    """Switch a code on or off; what was bought with it stays."""
    return answer(promotions.switch_campaign(caller.db, caller.identity, code, body.on))
