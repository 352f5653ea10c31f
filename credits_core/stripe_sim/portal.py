"""The billing portal: a short-lived page where a customer looks after saved cards and subscriptions."""

from __future__ import annotations

from typing import Any

from credits_core.stripe_sim import methods, subscriptions
from credits_core.stripe_sim.errors import StripeFault, missing
from credits_core.stripe_sim.events import Context
from credits_core.stripe_sim.store import Obj, new_id

Params = dict[str, Any]
_OPEN_SECONDS = 3_600


# fmt: off
def create_portal(ctx: Context, params: Params) -> Obj:
    """A portal session for a customer, good for an hour."""
    methods.existing(ctx, params["customer"])
    session_id, return_url = new_id("bps_1"), params.get("return_url")
    secret = new_id("", 40)
    session = ctx.store.add({
        "id": session_id, "object": "billing_portal.session", "configuration": "bpc_simulator",
        "created": ctx.store.now(), "customer": params["customer"], "customer_account": None, "flow": None,
        "livemode": False, "locale": None, "on_behalf_of": None, "return_url": return_url,
        "url": f"{ctx.hosted_base(return_url)}/portal/{secret}",
    })
    ctx.store.set_setting(f"portal:{secret}", session_id)
    ctx.emit("billing_portal.session.created", session)
    return session
# fmt: on


def session_of(ctx: Context, secret: str) -> Obj:
    """The portal session behind a page's address; 404 when it is unknown or over."""
    session = ctx.store.get("billing_portal.session", ctx.store.setting(f"portal:{secret}"))
    if session is None or session["created"] + _OPEN_SECONDS < ctx.store.now():
        raise missing("portal session", "…")
    return session


def contents(ctx: Context, session: Obj) -> tuple[list[Obj], str | None, list[Obj]]:
    """What the page shows: saved cards, the default one's id, and subscriptions that run."""
    customer = methods.existing(ctx, session["customer"])
    theirs = {"customer": customer["id"]}
    cards = ctx.store.find("payment_method", theirs)
    running = ctx.store.find("subscription", {**theirs, "status": ["active", "past_due", "incomplete"]})
    return cards, customer["invoice_settings"]["default_payment_method"], running


def act(ctx: Context, session: Obj, action: str, object_id: str) -> None:
    """Do what a button of the page says, to an object of this customer only."""
    found = ctx.store.any(object_id)
    if found is None or found.get("customer") != session["customer"]:
        raise StripeFault("This is not yours, or is no longer there.", status=404)
    if action == "remove" and found["object"] == "payment_method":
        methods.detach(ctx, {}, object_id)
    elif action == "default" and found["object"] == "payment_method":
        settings = {"default_payment_method": object_id}
        methods.update_customer(ctx, {"invoice_settings": settings}, session["customer"])
    elif action in ("cancel", "resume") and found["object"] == "subscription":
        subscriptions.update(ctx, {"cancel_at_period_end": action == "cancel"}, object_id)
    else:
        raise StripeFault("This page cannot do that.")
