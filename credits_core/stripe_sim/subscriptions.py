"""Subscriptions as the API shows and changes them; `billing` collects what they owe."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta
from typing import Any

from credits_core.stripe_sim import billing, methods
from credits_core.stripe_sim.errors import StripeFault, missing
from credits_core.stripe_sim.events import Context
from credits_core.stripe_sim.store import Obj, merged, new_id

Params = dict[str, Any]
_ENDED = ("canceled", "incomplete_expired")


def create(ctx: Context, params: Params) -> Obj:
    """A subscription of a customer, its first invoice paid at once with the saved card; when that fails it is
    incomplete, or refused with `error_if_incomplete`."""
    customer = methods.existing(ctx, params["customer"])
    items = params.get("items") or []
    prices = [_price(ctx, item.get("price")) for item in items]
    subscription = _add(
        ctx, params, customer["id"], [(p, i.get("quantity", 1)) for p, i in zip(prices, items, strict=True)]
    )
    ctx.emit("customer.subscription.created", subscription)
    return billing.charge_period(ctx, subscription, "subscription_create", params.get("payment_behavior"))


def start_from_session(ctx: Context, session: Obj, items: list[Obj]) -> None:
    """The subscription of a completed session: its first period is paid by the session's intent."""
    known = ctx.store.private(session["id"])
    intent = ctx.store.get("payment_intent", known["intent"])
    asked = {
        **known["asked"]["subscription_data"],
        "automatic_tax": {"enabled": session["automatic_tax"]["enabled"]},
    }
    if intent:
        asked["default_payment_method"] = intent["payment_method"]
    wanted = [(item["price"], item["quantity"]) for item in items]
    subscription = _add(ctx, asked, session["customer"], wanted)
    ctx.emit("customer.subscription.created", subscription)
    subscription, invoice = billing.first_of_session(ctx, subscription, intent)
    session.update(subscription=subscription["id"], invoice=invoice["id"])


def update(ctx: Context, params: Params, subscription_id: str) -> Obj:
    """Change price, card, metadata, or whether it ends with its period. A new price counts from the next period,
    or from now with `billing_cycle_anchor` now: then a new period begins and is charged at once."""
    subscription = existing(ctx, subscription_id)
    if subscription["status"] in _ENDED:
        raise StripeFault("A canceled subscription can only update its cancellation_details and metadata.")
    items = params.pop("items", [])
    anchor, behavior = (
        params.pop("billing_cycle_anchor", {}).get("type"),
        params.pop("payment_behavior", None),
    )
    if (items or anchor == "now") and params.get("proration_behavior") != "none":
        raise StripeFault("This simulator knows only proration_behavior none.", param="proration_behavior")
    params.pop("proration_behavior", None)
    for asked in items:
        _replace(ctx, subscription, asked)
    if "cancel_at_period_end" in params:
        ends = params["cancel_at_period_end"]
        period_end = subscription["items"]["data"][0]["current_period_end"]
        subscription.update(
            cancel_at=period_end if ends else None, canceled_at=ctx.store.now() if ends else None
        )
        subscription["cancellation_details"]["reason"] = "cancellation_requested" if ends else None
    subscription["cancellation_details"] |= params.pop("cancellation_details", {})
    if params.get("default_payment_method"):
        methods.resolve(ctx, params["default_payment_method"], subscription["customer"])
    subscription.update(merged(subscription, params))
    ctx.store.save(subscription)
    if anchor == "now":
        set_period(ctx, subscription, ctx.store.now(), 1)
        return billing.charge_period(ctx, subscription, "subscription_update", behavior)
    ctx.emit("customer.subscription.updated", subscription)
    return subscription


def cancel(ctx: Context, params: Params, subscription_id: str) -> Obj:
    """End it now; nothing is given back."""
    subscription = existing(ctx, subscription_id)
    if subscription["status"] in _ENDED:
        raise missing("subscription", subscription_id)
    subscription["cancellation_details"] |= params.get("cancellation_details", {})
    return billing.end(ctx, subscription, "cancellation_requested")


def existing(ctx: Context, subscription_id: str) -> Obj:
    """The subscription with that id, or 404."""
    found = ctx.store.get("subscription", subscription_id)
    if found is None:
        raise missing("subscription", subscription_id)
    return found


def set_period(ctx: Context, subscription: Obj, anchor: int, number: int) -> None:
    """Let the subscription be in its period of that number, counted from the anchor, and renew at its end."""
    for item in subscription["items"]["data"]:
        recurring = item["price"]["recurring"]
        item["current_period_start"] = period_end(anchor, recurring, number - 1)
        item["current_period_end"] = period_end(anchor, recurring, number)
    subscription["billing_cycle_anchor"] = anchor
    ctx.store.save(subscription)
    end = subscription["items"]["data"][0]["current_period_end"]
    ctx.store.set_private(subscription["id"], number=number, renews_at=end)
    ctx.at(end, "renew", subscription["id"])


def period_end(anchor: int, recurring: Obj, number: int) -> int:
    """The end of a period: months keep the anchor's day, or take their last one."""
    moment, count = datetime.fromtimestamp(anchor, UTC), recurring["interval_count"] * number
    if recurring["interval"] in ("day", "week"):
        days = count * (7 if recurring["interval"] == "week" else 1)
        return int((moment + timedelta(days=days)).timestamp())
    months = moment.month - 1 + count * (12 if recurring["interval"] == "year" else 1)
    year, month = moment.year + months // 12, months % 12 + 1
    day = min(moment.day, calendar.monthrange(year, month)[1])
    return int(moment.replace(year=year, month=month, day=day).timestamp())


def _replace(ctx: Context, subscription: Obj, asked: Params) -> None:
    for item in subscription["items"]["data"]:
        if item["id"] == asked.get("id"):
            price = _price(ctx, asked["price"]) if asked.get("price") else item["price"]
            if (
                price["recurring"] != item["price"]["recurring"]
                or price["currency"] != subscription["currency"]
            ):
                raise StripeFault(
                    "This simulator changes prices of the same interval and currency only.", param="items"
                )
            item.update(price=price, plan=_plan(price), quantity=asked.get("quantity", item["quantity"]))
            return
    raise missing("subscription_item", str(asked.get("id")), "items[0][id]")


def _price(ctx: Context, price_id: str | None) -> Obj:
    price = ctx.store.get("price", price_id)
    if price is None:
        raise missing("price", str(price_id), "items[0][price]")
    if price["type"] != "recurring" or not price["active"]:
        raise StripeFault("The price must be active and recurring.", param="items[0][price]")
    return price


# fmt: off
def _add(ctx: Context, params: Params, customer: str, wanted: list[tuple[Obj, int]]) -> Obj:
    if not wanted:
        raise StripeFault("Missing required param: items.", code="parameter_missing", param="items")
    chosen = params.get("default_payment_method")
    if chosen:
        methods.resolve(ctx, chosen, customer)
    subscription_id, now = new_id("sub_1"), ctx.store.now()
    items: list[Obj] = [{
        "id": new_id("si_", 14), "object": "subscription_item", "billing_thresholds": None, "created": now,
        "current_period_end": now, "current_period_start": now, "discounts": [], "metadata": {},
        "plan": _plan(price), "price": price, "quantity": quantity, "subscription": subscription_id, "tax_rates": [],
    } for price, quantity in wanted]
    subscription = ctx.store.add({
        "id": subscription_id, "object": "subscription", "application": None, "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "liability": None,
                          "enabled": params.get("automatic_tax", {}).get("enabled", False)},
        "billing_cycle_anchor": now, "billing_cycle_anchor_config": None,
        "billing_mode": {"type": "flexible", "flexible": None, "updated_at": None}, "billing_schedules": [],
        "billing_thresholds": None, "cancel_at": None,
        "cancel_at_period_end": params.get("cancel_at_period_end", False), "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": "charge_automatically", "created": now, "currency": wanted[0][0]["currency"],
        "customer": customer, "customer_account": None, "days_until_due": None,
        "default_payment_method": chosen, "default_source": None, "default_tax_rates": [],
        "description": params.get("description"), "discounts": [], "ended_at": None,
        "invoice_settings": {"account_tax_ids": None, "issuer": {"account": None, "type": "self"}},
        "items": {"object": "list", "data": items, "has_more": False,
                  "url": f"/v1/subscription_items?subscription={subscription_id}"},
        "latest_invoice": None, "livemode": False, "metadata": params.get("metadata", {}),
        "next_pending_invoice_item_invoice": None, "on_behalf_of": None, "pause_collection": None,
        "payment_settings": {"payment_method_options": None, "payment_method_types": None,
                             "save_default_payment_method": "off"},
        "pending_invoice_item_interval": None, "pending_setup_intent": None, "pending_update": None,
        "schedule": None, "start_date": now, "status": "incomplete", "test_clock": None, "transfer_data": None,
        "trial_end": None, "trial_settings": None, "trial_start": None,
    })
    set_period(ctx, subscription, now, 1)
    return subscription


def _plan(price: Obj) -> Obj:
    return {
        "id": price["id"], "object": "plan", "active": price["active"], "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"], "billing_scheme": "per_unit", "created": price["created"],
        "currency": price["currency"], "interval": price["recurring"]["interval"],
        "interval_count": price["recurring"]["interval_count"], "livemode": False, "metadata": price["metadata"],
        "meter": None, "nickname": price["nickname"], "product": price["product"], "tiers_mode": None,
        "transform_usage": None, "trial_period_days": None, "usage_type": "licensed",
    }
# fmt: on
