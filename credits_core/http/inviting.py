"""Referrals over HTTP: one's own code and who joined, entering a code; for staff the terms, the list and held ones."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.responses import JSONResponse

from credits_core import referrals
from credits_core.http.caller import Called
from credits_core.http.decimal_json import DecimalRoute
from credits_core.http.fields import Micros, Text
from credits_core.http.models import Answer, Body, Page
from credits_core.http.reading import Cursor, Limit, Whose
from credits_core.http.shapes import answer

router = APIRouter(prefix="/credits", route_class=DecimalRoute)

Status = Literal["open", "expired", "held", "rewarded", "taken_back", "rejected"]
Count = Annotated[int | None, Field(ge=0, le=1_000_000_000, strict=True)]
Credits = Annotated[Micros, Field(ge=0, le=1_000_000_000_000)]


class Claim(Body):
    code: str = Field(min_length=1, max_length=40, examples=["K7QM4XPD"])


class Program(Body):
    """All terms at once; they hold for codes entered from now on."""

    on: bool = Field(examples=[True])
    referrer: Credits = Field(examples=["5.00"], description="Credits for who invites.")
    referee: Credits = Field(examples=["5.00"], description="Credits for who is invited.")
    min_purchase_cents: int = Field(
        ge=1, le=99_999_999, strict=True, examples=[1000], description="Smallest first purchase that counts."
    )
    open_days: int = Field(
        ge=1, le=730, strict=True, examples=[60], description="Days from code to purchase."
    )
    month_rewards: Count = Field(None, description="Rewards of one referrer in a month; without it no cap.")
    month: Credits | None = Field(None, description="Credits of one referrer in a month; without it no cap.")
    total_rewards: Count = Field(None, description="The same in all.")
    total: Credits | None = None


class Decision(Body):
    approve: bool = Field(examples=[True])
    reason: Text = Field(min_length=3, examples=["Two colleagues with one company card"])


class Referral(Answer):
    code: str | None = Field(description="Null for staff who look at an account that has not asked for one.")
    program: dict[str, Any]
    joined: int
    rewarded: int
    earned: str
    earned_micros: int
    waiting: int
    left: dict[str, Any]
    invited: dict[str, Any] | None
    may_claim: bool
    items: list[dict[str, Any]]
    next_cursor: str | None


class Invited(Answer):
    status: Status
    reward: str
    reward_micros: int
    min_purchase_cents: int
    expires_at: str


class Terms(Answer):
    on: bool
    referrer: str
    referrer_micros: int
    referee: str
    referee_micros: int
    min_purchase_cents: int
    open_days: int


class Decided(Answer):
    referral_id: int
    status: Status


@router.get("/referral", response_model=Referral, tags=["Referrals"])
def referral(caller: Called, account: Whose = None, limit: Limit = 50, cursor: Cursor = None) -> JSONResponse:
    """One's code, the terms, who joined (masked), what it earned and what is left of the caps."""
    account_id = caller.account_id(account)
    return answer(
        referrals.referral(caller.db, caller.identity, account_id=account_id, limit=limit, cursor=cursor)
    )


@router.post("/referral/claim", response_model=Invited, tags=["Referrals"])
def claim(caller: Called, body: Claim) -> JSONResponse:
    """I was invited with this code: once, before the first purchase. The same code again answers the same."""
    return answer(referrals.claim(caller.db, caller.identity, body.code))


@router.get("/admin/referral-program", response_model=Terms, tags=["Administration"])
def program(caller: Called) -> JSONResponse:
    """The terms of invitations."""
    return answer(referrals.program(caller.db, caller.identity))


@router.post("/admin/referral-program", response_model=Terms, tags=["Administration"])
def set_program(caller: Called, body: Program) -> JSONResponse:
    """New terms, whole; the audit trail keeps what they were."""
    return answer(
        referrals.set_program(
            caller.db,
            caller.identity,
            on=body.on,
            referrer_micros=body.referrer,
            referee_micros=body.referee,
            min_purchase_cents=body.min_purchase_cents,
            open_days=body.open_days,
            month_rewards=body.month_rewards,
            month_micros=body.month,
            total_rewards=body.total_rewards,
            total_micros=body.total,
        )
    )


@router.get("/admin/referrals", response_model=Page, tags=["Administration"])
def list_referrals(
    caller: Called,
    account: Whose = None,
    status: Annotated[Status | None, Query()] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> JSONResponse:
    """Referrals, newest first, with both sides and why one is held."""
    return answer(
        referrals.referrals(
            caller.db,
            caller.identity,
            status=status,
            account_id=caller.account_id(account),
            limit=limit,
            cursor=cursor,
        )
    )


@router.post("/admin/referrals/{referral_id}/decide", response_model=Decided, tags=["Administration"])
def decide(caller: Called, referral_id: Annotated[int, Path(ge=1, le=2**62)], body: Decision) -> JSONResponse:
    """Reward a held referral all the same, or reject it. One that is not held, or whose purchase was refunded: 409."""
    return answer(referrals.decide(caller.db, caller.identity, referral_id, body.approve, body.reason))
