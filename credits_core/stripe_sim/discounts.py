"""Coupons, the promotion codes people type, and what they take off."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from credits_core.stripe_sim.catalog_api import checked_currency
from credits_core.stripe_sim.errors import StripeFault, missing
from credits_core.stripe_sim.events import Context
from credits_core.stripe_sim.store import Obj, merged, new_id

Params = dict[str, Any]


# fmt: off
def create_coupon(ctx: Context, params: Params) -> Obj:
    """A coupon that takes off a percentage, or an amount of a currency."""
    percent, amount = params.get("percent_off"), params.get("amount_off")
    if (percent is None) == (amount is None):
        raise StripeFault("You must pass exactly one of percent_off and amount_off.", param="percent_off")
    if percent is not None and not 0 < percent <= 100:
        raise StripeFault("Invalid percent_off: must be greater than 0 and at most 100.", param="percent_off")
    if amount is not None and (amount < 1 or not params.get("currency")):
        raise StripeFault("amount_off must be positive and needs a currency.", param="amount_off")
    duration = params.get("duration", "once")
    if (duration == "repeating") is (params.get("duration_in_months") is None):
        raise StripeFault("duration_in_months belongs to the duration repeating, and only to it.",
                          param="duration_in_months")
    coupon_id = params.get("id") or new_id("", 8)
    if ctx.store.any(coupon_id):
        raise StripeFault("Coupon already exists.", code="resource_already_exists", param="id")
    coupon = ctx.store.add({
        "id": coupon_id, "object": "coupon", "amount_off": amount, "created": ctx.store.now(),
        "currency": checked_currency(params["currency"]) if amount else None, "duration": duration,
        "duration_in_months": params.get("duration_in_months"), "livemode": False,
        "max_redemptions": params.get("max_redemptions"), "metadata": params.get("metadata", {}),
        "name": params.get("name"), "percent_off": percent, "redeem_by": params.get("redeem_by"),
        "times_redeemed": 0, "valid": True,
    })
    ctx.emit("coupon.created", coupon)
    return coupon


def create_code(ctx: Context, params: Params) -> Obj:
    """A promotion code for a coupon; active codes are unique, whatever their case."""
    coupon_id = params["promotion"].get("coupon")
    if ctx.store.get("coupon", coupon_id) is None:
        raise missing("coupon", str(coupon_id), "promotion[coupon]")
    code = params.get("code") or new_id("", 8).upper()
    if _active(ctx, code):
        raise StripeFault("An active promotion code with `code: " + code + "` already exists.", param="code")
    found = ctx.store.add({
        "id": new_id("promo_1"), "object": "promotion_code", "active": params.get("active", True), "code": code,
        "created": ctx.store.now(), "customer": params.get("customer"), "customer_account": None,
        "expires_at": params.get("expires_at"), "livemode": False,
        "max_redemptions": params.get("max_redemptions"), "metadata": params.get("metadata", {}),
        "promotion": {"coupon": coupon_id, "type": "coupon"},
        "restrictions": {"first_time_transaction": False, "minimum_amount": None,
                         "minimum_amount_currency": None, **params.get("restrictions", {})},
        "times_redeemed": 0,
    })
    ctx.emit("promotion_code.created", found)
    return found
# fmt: on


def update_code(ctx: Context, params: Params, code_id: str) -> Obj:
    """Switch a promotion code on or off."""
    found = ctx.store.get("promotion_code", code_id)
    if found is None:
        raise missing("promotion_code", code_id)
    found.update(merged(found, params))
    ctx.emit("promotion_code.updated", ctx.store.save(found))
    return found


def chosen(ctx: Context, asked: list[Params], customer: str | None, subtotal: int) -> list[Obj]:
    """The session's `discounts` for what a request asks: one coupon or promotion code that is valid now."""
    if len(asked) > 1:
        raise StripeFault("You may only pass one discount.", param="discounts")
    if not asked:
        return []
    code_id, coupon_id = asked[0].get("promotion_code"), asked[0].get("coupon")
    if code_id:
        code = ctx.store.get("promotion_code", code_id)
        if code is None:
            raise missing("promotion_code", code_id, "discounts[0][promotion_code]")
        coupon_id = code["promotion"]["coupon"]
        least = code["restrictions"]["minimum_amount"]
        if (
            not code["active"]
            or not _redeemable(ctx, code, code["expires_at"])
            or code["customer"] not in (None, customer)
            or (least is not None and subtotal < least)
        ):
            raise StripeFault("This promotion code cannot be redeemed.", param="discounts[0][promotion_code]")
    coupon = ctx.store.get("coupon", coupon_id)
    if coupon is None:
        raise missing("coupon", str(coupon_id), "discounts[0][coupon]")
    if not _redeemable(ctx, coupon, coupon["redeem_by"]):
        raise StripeFault("Coupon is expired or used up and can no longer be redeemed.", code="coupon_expired",
                          param="discounts[0][coupon]")  # fmt: skip
    return [{"coupon": coupon_id, "promotion_code": code_id}]


def by_typed_code(ctx: Context, text: str) -> list[Params]:
    """What a person typed as a promotion code, as a request would ask for it; 400 when there is no such code."""
    found = _active(ctx, text.strip())
    if not found:
        raise StripeFault("This code is invalid.", param="promotion_code")
    return [{"promotion_code": found[0]["id"]}]


def amount_off(ctx: Context, discounts: list[Obj], subtotal: int, currency: str) -> int:
    """What the discounts take off, never more than there is to pay."""
    coupon = ctx.store.get("coupon", discounts[0]["coupon"]) if discounts else None
    if coupon is None:
        return 0
    if coupon["amount_off"] is not None:
        if coupon["currency"] != currency:
            raise StripeFault(f"This coupon is for {coupon['currency']}.", param="discounts[0][coupon]")
        return min(subtotal, int(coupon["amount_off"]))
    share = Decimal(subtotal) * Decimal(str(coupon["percent_off"])) / 100
    return int(share.quantize(Decimal(1), ROUND_HALF_UP))


def redeem(ctx: Context, discounts: list[Obj]) -> None:
    """Count the use of a paid session's discounts."""
    for discount in discounts:
        for kind in ("coupon", "promotion_code"):
            if found := ctx.store.get(kind, discount[kind]):
                found["times_redeemed"] += 1
                ctx.emit(f"{kind}.updated", ctx.store.save(found))


def _active(ctx: Context, code: str) -> list[Obj]:
    return [
        found
        for found in ctx.store.find("promotion_code", {"active": True})
        if str(found["code"]).lower() == code.lower()
    ]


def _redeemable(ctx: Context, found: Obj, until: int | None) -> bool:
    most = found["max_redemptions"]
    return (until is None or until > ctx.store.now()) and (most is None or found["times_redeemed"] < most)
