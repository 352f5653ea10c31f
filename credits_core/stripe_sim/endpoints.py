"""Which endpoint takes what and does what."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from credits_core.stripe_sim import (
    billing,
    catalog_api,
    discounts,
    disputes,
    forms,
    invoices,
    methods,
    params,
    payments,
    portal,
    refunds,
    session_flow,
    sessions,
    subscriptions,
)
from credits_core.stripe_sim import params_billing as billed
from credits_core.stripe_sim.errors import StripeFault, missing
from credits_core.stripe_sim.events import Context
from credits_core.stripe_sim.store import Obj

Action = Callable[..., Obj]


@dataclass(frozen=True)
class Endpoint:
    """One line of the API: the method, the path below `/v1`, the parameters, and the action."""

    method: str
    path: re.Pattern[str]
    spec: dict[str, forms.Spec]
    action: Action


def _retrieve(kind: str) -> Action:
    def action(ctx: Context, _params: dict[str, Any], object_id: str) -> Obj:
        found = ctx.store.get(kind, object_id)
        if found is None:
            raise missing(kind, object_id)
        return found

    return action


_FILTERS = {"lookup_keys": "lookup_key", "types": "type", "ids": "id"}


def _list(kind: str, url: str) -> Action:
    def action(ctx: Context, given: dict[str, Any]) -> Obj:
        where = {
            _FILTERS.get(name, name): value
            for name, value in given.items()
            if name not in ("expand", "limit", "starting_after", "ending_before", "created")
        }
        return _page(ctx, kind, url, given, where, None)

    return action


def _page(
    ctx: Context, kind: str, url: str, given: dict[str, Any], where: dict[str, Any], parent: str | None
) -> Obj:
    limit = given.get("limit", 10)
    if not 1 <= limit <= 100:
        raise StripeFault("Invalid limit: must be between 1 and 100.", param="limit")
    for name in ("starting_after", "ending_before"):
        if given.get(name) and ctx.store.get(kind, given[name]) is None:
            raise missing(kind, given[name], name)
    found, more = ctx.store.page(
        kind,
        where,
        limit=limit,
        parent=parent,
        after=given.get("starting_after"),
        before=given.get("ending_before"),
        created=given.get("created"),
    )
    return {"object": "list", "data": found, "has_more": more, "url": url}


def _endpoint(method: str, path: str, spec: dict[str, forms.Spec], action: Action) -> Endpoint:
    return Endpoint(method, re.compile("/v1" + path.replace("*", r"([A-Za-z0-9_\-.]+)")), spec, action)


def _resource(kind: str, path: str, listing: dict[str, forms.Spec]) -> list[Endpoint]:
    return [
        _endpoint("GET", path, listing, _list(kind, f"/v1{path}")),
        _endpoint("GET", f"{path}/*", params.EXPAND, _retrieve(kind)),
    ]


def _children(kind: str, owner: str, url: str) -> Action:
    def action(ctx: Context, given: dict[str, Any], owner_id: str) -> Obj:
        if ctx.store.get(owner, owner_id) is None:
            raise missing(owner, owner_id, "session" if owner == "checkout.session" else owner)
        where = {name: value for name, value in given.items() if name == "type"}
        if owner == "customer":
            return _page(ctx, kind, url.format(owner_id), given, {**where, "customer": owner_id}, None)
        return _page(ctx, kind, url.format(owner_id), given, {}, owner_id)

    return action


def _subscriptions(ctx: Context, given: dict[str, Any]) -> Obj:
    wanted = given.pop("status", None)
    running = ["active", "incomplete", "incomplete_expired", "past_due"]
    where: dict[str, Any] = {} if wanted == "all" else {"status": wanted or running}
    if "customer" in given:
        where["customer"] = given["customer"]
    return _page(ctx, "subscription", "/v1/subscriptions", given, where, None)


def _invoices(ctx: Context, given: dict[str, Any]) -> Obj:
    where: dict[str, Any] = {name: given[name] for name in ("customer", "status") if name in given}
    return _page(ctx, "invoice", "/v1/invoices", given, where, given.get("subscription"))


def _invoice_payments(ctx: Context, given: dict[str, Any]) -> Obj:
    where: dict[str, Any] = {name: given[name] for name in ("invoice", "status") if name in given}
    if "payment" in given:
        where["payment.payment_intent"] = given["payment"].get("payment_intent")
    return _page(ctx, "invoice_payment", "/v1/invoice_payments", given, where, None)


def _balance(ctx: Context, given: dict[str, Any]) -> Obj:
    where: dict[str, Any] = {name: given[name] for name in ("currency", "source", "type") if name in given}
    return _page(ctx, "balance_transaction", "/v1/balance_transactions", given, where, given.get("payout"))


def _confirm_intent(ctx: Context, given: dict[str, Any], intent_id: str) -> Obj:
    known = ctx.store.private(intent_id)
    if known.get("session"):
        raise StripeFault("You cannot confirm a PaymentIntent of a Checkout Session; its page does.",
                          code="payment_intent_unexpected_state")  # fmt: skip
    return payments.confirm_intent(ctx, given, intent_id, session_flow.follow_up)


# fmt: off
ENDPOINTS: list[Endpoint] = [
    *_resource("product", "/products", params.PRODUCT_LIST),
    _endpoint("POST", "/products", params.PRODUCT_CREATE, catalog_api.create_product),
    _endpoint("POST", "/products/*", params.PRODUCT_UPDATE, catalog_api.update_product),
    *_resource("price", "/prices", params.PRICE_LIST),
    _endpoint("POST", "/prices", params.PRICE_CREATE, catalog_api.create_price),
    _endpoint("POST", "/prices/*", params.PRICE_UPDATE, catalog_api.update_price),
    *_resource("customer", "/customers", params.CUSTOMER_LIST),
    _endpoint("POST", "/customers", params.CUSTOMER_CREATE, methods.create_customer),
    _endpoint("POST", "/customers/*", params.CUSTOMER_UPDATE, methods.update_customer),
    _endpoint("GET", "/customers/*/payment_methods", params.METHODS_OF_CUSTOMER,
              _children("payment_method", "customer", "/v1/customers/{}/payment_methods")),
    *_resource("payment_method", "/payment_methods", params.METHOD_LIST),
    _endpoint("POST", "/payment_methods/*/attach", params.METHOD_ATTACH, methods.attach),
    _endpoint("POST", "/payment_methods/*/detach", params.EXPAND, methods.detach),
    *_resource("setup_intent", "/setup_intents", params.SETUP_LIST),
    *_resource("checkout.session", "/checkout/sessions", params.SESSION_LIST),
    _endpoint("POST", "/checkout/sessions", params.SESSION_CREATE, sessions.create_session),
    _endpoint("POST", "/checkout/sessions/*/expire", params.EXPAND, sessions.expire_session),
    _endpoint("GET", "/checkout/sessions/*/line_items", params.PAGE,
              _children("item", "checkout.session", "/v1/checkout/sessions/{}/line_items")),
    *_resource("payment_intent", "/payment_intents", params.INTENT_LIST),
    _endpoint("POST", "/payment_intents", params.INTENT_CREATE, payments.create_intent),
    _endpoint("POST", "/payment_intents/*/confirm", params.INTENT_CONFIRM, _confirm_intent),
    _endpoint("POST", "/payment_intents/*/cancel", params.INTENT_CANCEL, payments.cancel_intent),
    *_resource("charge", "/charges", params.CHARGE_LIST),
    *_resource("refund", "/refunds", params.OF_PAYMENT_LIST),
    _endpoint("POST", "/refunds", params.REFUND_CREATE, refunds.create_refund),
    _endpoint("POST", "/refunds/*", params.REFUND_UPDATE, refunds.update_refund),
    *_resource("dispute", "/disputes", params.OF_PAYMENT_LIST),
    _endpoint("POST", "/disputes/*/close", params.EXPAND, disputes.accept_loss),
    _endpoint("POST", "/disputes/*", params.DISPUTE_UPDATE, disputes.update_dispute),
    _endpoint("GET", "/balance_transactions", billed.BALANCE_LIST, _balance),
    _endpoint("GET", "/balance_transactions/*", params.EXPAND, _retrieve("balance_transaction")),
    *_resource("payout", "/payouts", billed.PAYOUT_LIST),
    _endpoint("GET", "/subscriptions", billed.SUBSCRIPTION_LIST, _subscriptions),
    _endpoint("GET", "/subscriptions/*", params.EXPAND, _retrieve("subscription")),
    _endpoint("POST", "/subscriptions", billed.SUBSCRIPTION_CREATE, subscriptions.create),
    _endpoint("POST", "/subscriptions/*", billed.SUBSCRIPTION_UPDATE, subscriptions.update),
    _endpoint("DELETE", "/subscriptions/*", billed.SUBSCRIPTION_CANCEL, subscriptions.cancel),
    _endpoint("GET", "/invoices", billed.INVOICE_LIST, _invoices),
    _endpoint("GET", "/invoices/*", params.EXPAND, _retrieve("invoice")),
    _endpoint("POST", "/invoices/*/pay", billed.INVOICE_PAY, billing.pay),
    _endpoint("POST", "/invoices/*/void", params.EXPAND, invoices.void),
    _endpoint("GET", "/invoice_payments", billed.INVOICE_PAYMENT_LIST, _invoice_payments),
    _endpoint("POST", "/billing_portal/sessions", billed.PORTAL_CREATE, portal.create_portal),
    *_resource("coupon", "/coupons", billed.COUPON_LIST),
    _endpoint("POST", "/coupons", billed.COUPON_CREATE, discounts.create_coupon),
    *_resource("promotion_code", "/promotion_codes", billed.CODE_LIST),
    _endpoint("POST", "/promotion_codes", billed.CODE_CREATE, discounts.create_code),
    _endpoint("POST", "/promotion_codes/*", billed.CODE_UPDATE, discounts.update_code),
    *_resource("event", "/events", params.EVENT_LIST),
]
# fmt: on
