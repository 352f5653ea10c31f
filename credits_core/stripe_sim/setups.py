"""SetupIntents: saving a card for later without taking money."""

from __future__ import annotations

from typing import Any

from credits_core.stripe_sim import attempts, cards, methods
from credits_core.stripe_sim.errors import StripeFault, missing
from credits_core.stripe_sim.events import Context
from credits_core.stripe_sim.store import Obj, new_id

Params = dict[str, Any]
_AUTHENTICATION_FAILED: cards.Decline = (
    "setup_intent_authentication_failure",
    None,
    "The latest attempt to set up the payment method has failed because authentication failed.",
)


# fmt: off
def create_setup(ctx: Context, params: Params, **private: Any) -> Obj:
    """A new SetupIntent for later payments when nobody is there; `private`: the `session` it belongs to."""
    setup_id = new_id("seti_1")
    setup = ctx.store.add({
        "id": setup_id, "object": "setup_intent", "application": None, "automatic_payment_methods": None,
        "cancellation_reason": None, "client_secret": f"{setup_id}_secret_{new_id('', 25)}",
        "created": ctx.store.now(), "customer": params.get("customer"), "customer_account": None,
        "description": params.get("description"), "flow_directions": None, "last_setup_error": None,
        "latest_attempt": None, "livemode": False, "mandate": None, "metadata": params.get("metadata", {}),
        "next_action": None, "on_behalf_of": None, "payment_method": None,
        "payment_method_configuration_details": None, "payment_method_options": {},
        "payment_method_types": ["card"], "single_use_mandate": None, "status": "requires_payment_method",
        "usage": "off_session",
    }, private)
    ctx.emit("setup_intent.created", setup)
    return setup
# fmt: on


def present_card(
    ctx: Context, setup_id: str, card: cards.Card, *, return_url: str | None, email: str | None
) -> Obj:
    """Try to save the card: it ends succeeded, in need of 3-D Secure, or awaiting another card."""
    setup = ctx.store.get("setup_intent", setup_id)
    if setup is None:
        raise missing("setup_intent", setup_id)
    if card.delayed:
        raise StripeFault("This simulator saves cards only; pay by bank each time.", param="payment_method")
    method, _ = methods.new(ctx, card, email)
    setup.update(payment_method=method["id"], last_setup_error=None, next_action=None)
    if card.challenge:
        url = f"{ctx.hosted_base(return_url)}/challenge/{setup_id}"
        setup.update(status="requires_action", next_action=attempts.redirect(return_url, url))
        ctx.emit("setup_intent.requires_action", ctx.store.save(setup))
        return setup
    if card.declined and not card.attaches:
        return _refused(ctx, setup, method, card.declined)
    return _saved(ctx, setup, method)


def answer_challenge(ctx: Context, setup_id: str, *, passed: bool) -> Obj:
    """The cardholder completed (or failed) 3-D Secure; answering twice changes nothing."""
    setup = ctx.store.get("setup_intent", setup_id)
    if setup is None:
        raise missing("setup_intent", setup_id)
    if setup["status"] != "requires_action":
        return setup
    method = ctx.store.get("payment_method", setup["payment_method"])
    assert method is not None  # a setup that requires action has one
    setup["next_action"] = None
    return _saved(ctx, setup, method) if passed else _refused(ctx, setup, method, _AUTHENTICATION_FAILED)


def raise_if_declined(setup: Obj) -> None:
    """402 card_error carrying the SetupIntent, when its last attempt was declined."""
    if error := setup["last_setup_error"]:
        raise StripeFault(
            error["message"],
            status=402,
            kind="card_error",
            code=error["code"],
            keeps_effects=True,
            decline_code=error.get("decline_code"),
            setup_intent=setup,
            payment_method=error["payment_method"],
        )


def _saved(ctx: Context, setup: Obj, method: Obj) -> Obj:
    if setup["customer"]:
        methods.save(ctx, method, setup["customer"], confirmed=True)
    setup["status"] = "succeeded"
    ctx.emit("setup_intent.succeeded", ctx.store.save(setup))
    return setup


def _refused(ctx: Context, setup: Obj, method: Obj, reason: cards.Decline) -> Obj:
    code, decline_code, message = reason
    error = {"code": code, "message": message, "payment_method": method, "type": "card_error"}
    if decline_code:
        error["decline_code"] = decline_code
    setup.update(status="requires_payment_method", last_setup_error=error, payment_method=None)
    ctx.emit("setup_intent.setup_failed", ctx.store.save(setup))
    return setup
