"""Payments of everybody, for staff, and decisions about those in review."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import JSONResponse

from credits_core import payments
from credits_core.http.approving import Approval
from credits_core.http.caller import Called
from credits_core.http.decimal_json import DecimalRoute
from credits_core.http.fields import Key, KeyHeader, Text, idempotency_key, with_key
from credits_core.http.models import Answer, Body
from credits_core.http.reading import Cursor, From, Limit, To
from credits_core.http.shapes import answer

router = APIRouter(prefix="/credits/admin/payments", tags=["Administration"], route_class=DecimalRoute)

Status = Literal[
    "created", "open", "processing", "credited", "expired", "failed", "review", "refunded", "disputed"
]

Currency = Annotated[str | None, Query(pattern="^[a-z]{3}$", examples=["usd"])]


class Decided(Body):
    decision: Literal["credit", "refund", "close"] = Field(
        examples=["credit"],
        description="credit: what was paid becomes credits; refund: it goes back; close: nothing to do.",
    )
    reason: Text = Field(min_length=1, examples=["The customer paid an older price"])
    idempotency_key: Key | None = None


class Payments(Answer):
    items: list[dict[str, Any]]
    next_cursor: str | None


class Currencies(Answer):
    items: list[str] = Field(examples=[["eur", "usd"]])


class Payment(Answer):
    purchase_id: str
    status: str
    state: str
    price_cents: int
    refunded_cents: int
    refunds: list[dict[str, Any]]
    disputes: list[dict[str, Any]]
    timeline: list[dict[str, Any]]
    review: dict[str, Any] | None


class Reviewed(Approval):
    idempotency_key: str


@router.get("", response_model=Payments)
def list_payments(
    caller: Called,
    status: Annotated[Status | None, Query()] = None,
    search: Annotated[
        str | None,
        Query(
            max_length=255, description="Part of name or e-mail, account number, or a whole id, Stripe's too."
        ),
    ] = None,
    from_: From = None,
    to: To = None,
    currency: Currency = None,
    livemode: bool | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> JSONResponse:
    """Payments of everybody, newest first, with what was refunded and disputed of each."""
    found = payments.payments(
        caller.db,
        caller.identity,
        status=status,
        search=search,
        from_=from_,
        to=to,
        currency=currency,
        livemode=livemode,
        limit=limit,
        cursor=cursor,
    )
    return answer(found)


@router.get("/currencies", response_model=Currencies)
def currencies(caller: Called) -> JSONResponse:
    """In which currencies there are payments, to choose one."""
    return answer({"items": payments.currencies(caller.db, caller.identity)})


@router.get("/{purchase_id}", response_model=Payment)
def payment(caller: Called, purchase_id: UUID) -> JSONResponse:
    """One payment: what is left of its credits, refunds, disputes, Stripe's events, its timeline, and how a review can end."""
    return answer(payments.payment(caller.db, caller.identity, purchase_id))


@router.post("/{purchase_id}/review", response_model=Reviewed)
def review(caller: Called, purchase_id: UUID, body: Decided, key: KeyHeader = None) -> JSONResponse:
    """Decide about a payment that was paid and does not match: credit what was paid, refund it, or close it.

    From the limit on another administrator approves. Crediting asks Stripe again within seconds. Not in review any more: 409.
    """
    key = idempotency_key(key, body.idempotency_key)
    decided = payments.decide_review(caller.db, caller.identity, purchase_id, body.decision, body.reason, key)
    return answer(with_key(decided, key))
