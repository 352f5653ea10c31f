"""Refunds, for administrators: see what one means, ask for it, decide about somebody else's."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import Field, model_validator
from starlette.responses import JSONResponse

from credits_core import refunds
from credits_core.http.caller import Called
from credits_core.http.decimal_json import DecimalRoute
from credits_core.http.fields import Key, KeyHeader, Micros, Text, idempotency_key, with_key
from credits_core.http.models import Answer, Body
from credits_core.http.reading import Limit, Whose
from credits_core.http.shapes import answer

router = APIRouter(prefix="/credits/admin/refunds", tags=["Administration"], route_class=DecimalRoute)

Cents = Annotated[int, Field(ge=1, le=99_999_999, strict=True)]
Status = Literal["requested", "approved", "sent", "succeeded", "failed", "rejected"]


class Wanted(Body):
    """By amount, by credits, or everything that is left."""

    purchase_id: UUID = Field(examples=["0b4de6b3-8a86-44a8-97a0-2d5a2b0d7f10"])
    amount_cents: Cents | None = Field(
        default=None,
        examples=[500],
        description="Of the price, tax apart. Without it and `credits`: all that is left.",
    )
    credits: Micros | None = Field(default=None, gt=0, description="Instead of an amount.")

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.amount_cents is not None and self.credits is not None:
            raise ValueError("Send amount_cents or credits, not both.")
        return self


class Request(Wanted):
    reason: Text = Field(min_length=1, examples=["Bought twice by mistake"])
    idempotency_key: Key | None = Field(default=None, description="Or send it as the header Idempotency-Key.")


class Decision(Body):
    reason: Text | None = Field(default=None, examples=["Agreed on the phone"])


class Preview(Answer):
    allowed: bool
    reason: str | None
    amount_cents: int
    tax_cents: int
    credits: str
    credits_micros: int
    bonus_short_micros: int = Field(description="Bonus that belongs to the amount and is spent already.")
    max_cents: int = Field(description="What can be refunded at most: what is left, at its cost.")
    needs_approval: bool
    referral: dict[str, Any] | None = Field(
        description="The reward that both sides of a referral would lose."
    )


class Refund(Answer):
    refund_id: str
    status: Status
    amount_cents: int
    credits: str
    credits_micros: int


class Requested(Refund):
    idempotency_key: str


class Refunds(Answer):
    items: list[dict[str, Any]]


@router.get("", response_model=Refunds)
def list_refunds(
    caller: Called, account: Whose = None, status: Annotated[Status | None, Query()] = None, limit: Limit = 50
) -> JSONResponse:
    """Refunds, newest first. Staff see everybody's unless they name an account; others see their own."""
    account_id = caller.account_id(account)
    return answer(
        refunds.refunds(caller.db, caller.identity, account_id=account_id, status=status, limit=limit)
    )


@router.post("/preview", response_model=Preview)
def preview(caller: Called, body: Wanted) -> JSONResponse:
    """What a refund would mean: money, tax, credits, bonus, and why it is not possible. Nothing happens."""
    found = refunds.refund_preview(
        caller.db,
        caller.identity,
        body.purchase_id,
        amount_cents=body.amount_cents,
        credits_micros=body.credits,
    )
    return answer(found)


@router.post("", response_model=Requested)
def request_refund(caller: Called, body: Request, key: KeyHeader = None) -> JSONResponse:
    """Give money back for credits that are left. They leave the account at once; the money follows within seconds.

    From $100 on the answer's status is `requested`, and another administrator approves. More than is left of the
    purchase: 402; a disputed purchase: 409.
    """
    key = idempotency_key(key, body.idempotency_key)
    asked = refunds.request_refund(
        caller.db,
        caller.identity,
        body.purchase_id,
        body.reason,
        key,
        amount_cents=body.amount_cents,
        credits_micros=body.credits,
    )
    return answer(with_key(asked, key))


@router.post("/{refund_id}/approve", response_model=Refund)
def approve(caller: Called, refund_id: UUID, body: Decision | None = None) -> JSONResponse:
    """Let somebody else's request go ahead. One's own: 403; one that was decided, or is no longer covered: 409 or 402."""
    return _decide(caller, refund_id, body, approve=True)


@router.post("/{refund_id}/reject", response_model=Refund)
def reject(caller: Called, refund_id: UUID, body: Decision | None = None) -> JSONResponse:
    """Refuse a request; nothing has left the account."""
    return _decide(caller, refund_id, body, approve=False)


def _decide(caller: Called, refund_id: UUID, body: Decision | None, *, approve: bool) -> JSONResponse:
    reason = body.reason if body else None
    return answer(refunds.decide_refund(caller.db, caller.identity, refund_id, approve, reason=reason))
