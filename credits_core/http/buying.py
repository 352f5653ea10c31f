"""Buying: start a purchase, ask what became of it, and Stripe's webhook."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse

from credits_core import card_payments, checkout, fulfillment, purchases
from credits_core.http import models
from credits_core.http.caller import Called
from credits_core.http.decimal_json import DecimalRoute
from credits_core.http.fields import KeyHeader, idempotency_key, with_key
from credits_core.http.shapes import answer
from credits_core.runtime import get_runtime

router = APIRouter(tags=["Buying"], route_class=DecimalRoute)


@router.post("/credits/checkout", response_model=models.Purchased)
@router.post("/credits/purchase", response_model=models.Purchased, summary="Purchase (the same as checkout)")
def start_checkout(caller: Called, body: models.Purchase, key: KeyHeader = None) -> JSONResponse:
    """Start a purchase of a package or an amount; `url` is the page where the card is entered.

    With `flow: "payment_intent"` there is no page: the answer holds `client_secret`. With a saved card (`payment_method_id` and
    `confirm: true`) nobody enters anything: the card is charged at once, and `payment` says what became of it. A declined card
    is an answer (200), not an error; another try takes another key.
    """
    key = idempotency_key(key, body.idempotency_key)
    if body.payment_method_id is not None:
        return answer(with_key(_pay(caller, body, body.payment_method_id, key), key))
    started = checkout.start_checkout(
        caller.runtime,
        caller.identity,
        package=body.package,
        amount_cents=body.amount_cents,
        flow=body.flow,
        idempotency_key=key,
        account_id=caller.account_id(body.account),
        promo_code=body.promo_code,
        base_url=caller.base_url,
    )
    return answer(with_key(started, key))


def _pay(caller: Called, body: models.Purchase, card: str, key: str) -> dict[str, Any]:
    paid = card_payments.pay(
        caller.runtime,
        caller.identity,
        payment_method_id=card,
        package=body.package,
        amount_cents=body.amount_cents,
        promo_code=body.promo_code,
        idempotency_key=key,
        account_id=caller.account_id(body.account),
        shown={"price_cents": body.price_cents} if body.price_cents is not None else None,
        terms_accepted=body.terms_accepted,
    )
    return paid | {"payment": card_payments.outcome(paid, caller.base_url)}


@router.get("/credits/success", response_model=models.PurchaseStatus)
def success(caller: Called, session_id: Annotated[str, Query(max_length=255)]) -> JSONResponse:
    """What became of a purchase. Asks Stripe, and credits what is paid; any number of times, once."""
    return answer(fulfillment.fulfill(caller.runtime, caller.identity, session_id))


@router.get("/credits/purchases/{purchase_id}", response_model=models.PurchaseDetail)
def read_purchase(caller: Called, purchase_id: UUID) -> JSONResponse:
    """One purchase: price, discount, tax, what was paid, receipt and invoice. Asks nobody: see `success` for what Stripe knows."""
    return answer(purchases.purchase(caller.db, caller.identity, purchase_id))


@router.post("/credits/webhook", response_model=models.Received)
@router.post("/credits/stripe/webhook", response_model=models.Received, include_in_schema=False)
@router.post("/stripe/webhook", response_model=models.Received, include_in_schema=False)
async def webhook(
    request: Request, signature: Annotated[str | None, Header(alias="Stripe-Signature")] = None
) -> JSONResponse:
    """For Stripe alone: an event, signed. Off (404) without a signing secret; the poll credits purchases then.

    Also at `/api/credits/stripe/webhook` and `/api/stripe/webhook`.
    """
    body = await request.body()  # byte for byte: the signature is over exactly these
    outcome = await run_in_threadpool(fulfillment.receive_webhook, get_runtime(), body, signature or "")
    return JSONResponse({"received": True, **outcome})
