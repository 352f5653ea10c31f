"""Requests above a limit, for staff: see them, and decide about somebody else's."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import Field, model_validator
from starlette.responses import JSONResponse

from credits_core import approvals
from credits_core.http.caller import Called
from credits_core.http.decimal_json import DecimalRoute
from credits_core.http.fields import Code, Key, KeyHeader, Text, Time, idempotency_key, with_key
from credits_core.http.models import Answer, Body, ForAccount
from credits_core.http.reading import Cursor, Limit
from credits_core.http.shapes import answer

router = APIRouter(prefix="/credits/admin/approvals", tags=["Administration"], route_class=DecimalRoute)

View = Literal["waiting", "for_me", "mine", "decided"]


class Verdict(Body):
    reason: Text | None = Field(
        default=None, examples=["Agreed with the customer on the phone"], description="Rejecting needs one."
    )


class NewLimit(Body):
    kind: Code = Field(examples=["adjustment"])
    amount: int = Field(
        ge=1, strict=True, examples=[10_000_000_000], description="Micros or cents, by the kind."
    )
    valid_days: int | None = Field(default=None, ge=1, le=90, strict=True)
    reason: Text = Field(min_length=1, examples=["Decided by the board on 12 November"])


class PriceChange(Body):
    """A new price that a second person has to approve: of an operation, or the prices of another catalog for one account."""

    operation: Code | None = Field(default=None, examples=["call"])
    components: list[dict[str, Any]] | None = Field(
        default=None,
        min_length=1,
        max_length=10,
        examples=[[{"unit": "minute", "price_micros": 200_000, "initial": 60, "following": 60}]],
    )
    rounding: Literal["half_up", "half_even", "up", "down"] = "half_up"
    effective_from: Time | None = None
    minimum_charge_micros: int = Field(default=0, ge=0, strict=True)
    account: ForAccount = None
    catalog: Code | None = Field(
        default=None, description="With `account`: whose prices it pays from then on."
    )
    reason: Text = Field(min_length=1, examples=["The provider raised its price"])
    idempotency_key: Key | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> PriceChange:
        if {"operation", "components"} <= self.model_fields_set and not {
            "account",
            "catalog",
        } & self.model_fields_set:
            return self
        if {"account", "catalog"} <= self.model_fields_set and not {
            "operation",
            "components",
        } & self.model_fields_set:
            return self
        raise ValueError("give operation and components, or account and catalog.")


class Approval(Answer):
    approval_id: str
    kind: str
    status: str
    amount: int | None
    reason: str
    is_own: bool = Field(description="Asked for by the caller, who cannot approve it.")


class Approvals(Answer):
    items: list[dict[str, Any]]
    next_cursor: str | None


class Limits(Answer):
    items: list[dict[str, Any]]


class Count(Answer):
    waiting: int
    for_me: int
    in_review: int
    held_referrals: int


@router.get("", response_model=Approvals)
def list_approvals(
    caller: Called, view: Annotated[View, Query()] = "waiting", limit: Limit = 50, cursor: Cursor = None
) -> JSONResponse:
    """Requests that wait, that wait for you, that are yours, or that were decided; newest first."""
    return answer(approvals.approvals(caller.db, caller.identity, view=view, limit=limit, cursor=cursor))


@router.get("/count", response_model=Count)
def count(caller: Called) -> JSONResponse:
    """How many requests wait, how many payments are in review, and how many referrals are held for a decision."""
    return answer(approvals.approvals_count(caller.db, caller.identity))


@router.get("/limits", response_model=Limits)
def limits(caller: Called) -> JSONResponse:
    """From which amount on a second person decides."""
    return answer(approvals.approval_limits(caller.db, caller.identity))


@router.post("/limits", response_model=Limits)
def set_limit(caller: Called, body: NewLimit) -> JSONResponse:
    """Change such a limit, with a reason; super admins alone."""
    changed = approvals.set_approval_limit(
        caller.db, caller.identity, body.kind, body.amount, body.reason, valid_days=body.valid_days
    )
    return answer(changed)


@router.post("/price-change", response_model=Approval)
def price_change(caller: Called, body: PriceChange, key: KeyHeader = None) -> JSONResponse:
    """Ask for a new price. It is checked at once, waits for another administrator, and starts when it is approved or later."""
    key = idempotency_key(key, body.idempotency_key)
    if body.catalog is not None:
        change: dict[str, Any] = {"account_id": caller.account_id(body.account), "catalog": body.catalog}
    else:
        change = body.model_dump(mode="json", exclude={"reason", "idempotency_key"}, exclude_none=True)
    asked = approvals.request_price_change(caller.db, caller.identity, change, body.reason, key)
    return answer(with_key(asked, key))


@router.post("/{approval_id}/approve", response_model=Approval)
def approve(caller: Called, approval_id: UUID, body: Verdict | None = None) -> JSONResponse:
    """Let somebody else's request go ahead: it is carried out at once. One's own: 403; decided, expired, or what it was asked
    for has changed: 409."""
    return _decide(caller, approval_id, body, approve=True)


@router.post("/{approval_id}/reject", response_model=Approval)
def reject(caller: Called, approval_id: UUID, body: Verdict | None = None) -> JSONResponse:
    """Refuse a request, with a reason; nothing has happened yet."""
    return _decide(caller, approval_id, body, approve=False)


def _decide(caller: Called, approval_id: UUID, body: Verdict | None, *, approve: bool) -> JSONResponse:
    reason = body.reason if body else None
    return answer(approvals.decide_approval(caller.db, caller.identity, approval_id, approve, reason=reason))
