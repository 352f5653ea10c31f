"""The subscription of the caller's own account: see it, begin it, change its plan, cancel it, keep it.

Only its owner does so, signed in: it agrees to payments that repeat.
"""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import JSONResponse

from credits_core import subscribing, subscriptions
from credits_core.http.caller import Called
from credits_core.http.decimal_json import DecimalRoute
from credits_core.http.fields import Code, Key, KeyHeader, idempotency_key, with_key
from credits_core.http.models import Answer, Body
from credits_core.http.reading import Whose
from credits_core.http.shapes import answer

router = APIRouter(prefix="/credits/subscription", tags=["Subscription"], route_class=DecimalRoute)

Status = Literal["created", "open", "incomplete", "active", "past_due", "ended", "expired", "failed"]


class Wish(Body):
    idempotency_key: Key | None = Field(default=None, description="Or send it as the header Idempotency-Key.")


class PlanWish(Wish):
    plan: Code = Field(examples=["monthly_20"])


class Plans(Answer):
    catalog: str
    currency: str
    plans: list[dict[str, Any]] = Field(
        description="With interval, price_cents, credits each period, roll-over cap and allowances."
    )


class Subscription(Answer):
    account_id: int
    subscription: dict[str, Any] | None = Field(description="The present one, or the last; null: none yet.")
    plans: list[dict[str, Any]] = Field(
        description="What choosing each means from here: subscribe, upgrade, downgrade, stay, current, planned or none; and what "
        "is paid now."
    )
    changes: list[dict[str, Any]]
    payments: list[dict[str, Any]]


class Changed(Subscription):
    idempotency_key: str


class Begun(Answer):
    subscription_id: str
    status: Status
    url: str | None = Field(description="The page where the card is entered.")
    code: str
    price_cents: int
    idempotency_key: str


@router.get("", response_model=Subscription)
def read_subscription(caller: Called, account: Whose = None) -> JSONResponse:
    """The account's subscription: plan, next renewal, what is left, what waits to be paid, and what can be chosen."""
    return answer(subscriptions.state(caller.runtime, caller.identity, account_id=caller.account_id(account)))


@router.get("/plans", response_model=Plans)
def read_plans(caller: Called) -> JSONResponse:
    """What can be subscribed to. Open to everybody."""
    livemode = caller.runtime.stripe.livemode
    return answer(subscriptions.plans(caller.db, caller.identity_or_nobody, livemode=livemode))


@router.post("", response_model=Begun)
def subscribe(caller: Called, body: PlanWish, key: KeyHeader = None) -> JSONResponse:
    """Begin a subscription: send its owner to `url`. The first credits come when the first period is paid. One at a time: 409."""
    key = idempotency_key(key, body.idempotency_key)
    begun = subscribing.subscribe(
        caller.runtime, caller.identity, plan=body.plan, base_url=caller.base_url, idempotency_key=key
    )
    return answer(with_key(begun, key))


@router.post("/change", response_model=Changed)
def change_plan(caller: Called, body: PlanWish, key: KeyHeader = None) -> JSONResponse:
    """Another plan. A dearer one begins at once and is paid in full; any other with the next period. 409, and nothing has changed,
    when the card does not pay."""
    return _change(caller, "change", body, key, plan=body.plan)


@router.post("/cancel", response_model=Changed)
def cancel(caller: Called, body: Wish | None = None, key: KeyHeader = None) -> JSONResponse:
    """End it with the paid period. Until then nothing changes; nothing is given back."""
    return _change(caller, "cancel", body, key)


@router.post("/keep", response_model=Changed)
def keep(caller: Called, body: Wish | None = None, key: KeyHeader = None) -> JSONResponse:
    """Take back the cancellation."""
    return _change(caller, "keep", body, key)


def _change(
    caller: Called, action: str, body: Wish | None, key: str | None, *, plan: str | None = None
) -> JSONResponse:
    key = idempotency_key(key, body.idempotency_key if body else None)
    changed = subscriptions.change(caller.runtime, caller.identity, action, plan=plan, idempotency_key=key)
    return answer(with_key(changed, key))
