"""Customers, saved cards, and charging them, with their owner there or not; part of the gateway: `gateway.cards`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from credits_core.errors import InvalidRequest, NotFound
from credits_core.stripe_shapes import intent_params, purchase_of
from credits_core.stripe_states import CardSetup, ChargeState, SavedCard


@dataclass(frozen=True)
class Declined:
    """A card was declined: Stripe's error as JSON (`code`, `decline_code`, `message`, `payment_intent`)."""

    error: dict[str, Any]


class Caller(Protocol):
    """The gateway, as its parts use it. `call` retries and translates errors; `attempt` also answers declines."""

    def call(self, request: Callable[[Any], Any]) -> Any: ...

    def attempt(self, request: Callable[[Any], Any]) -> Any: ...


class StripeCards:
    """Every `key` is an idempotency key, made of a row's id by the caller: asking again with it answers the same."""

    def __init__(self, stripe: Caller) -> None:
        self._stripe = stripe

    def create_customer(self, account_id: int, email: str | None, key: str) -> str:
        """The id of a new customer for an account (`metadata.account_id`)."""
        params: dict[str, Any] = {"metadata": {"account_id": str(account_id)}}
        params |= {"email": email} if email else {}
        made = self._stripe.call(lambda v1: v1.customers.create(params, {"idempotency_key": key}))
        return str(made.id)

    def saved_cards(self, customer_id: str) -> list[SavedCard]:
        """The customer's cards, the default one first. NotFound for a customer Stripe does not know in this mode."""
        customer = self._stripe.call(lambda v1: v1.customers.retrieve(customer_id)).to_dict()
        if customer.get("deleted"):
            raise NotFound("This customer was deleted at Stripe; save a card again to start anew.")
        default = customer["invoice_settings"]["default_payment_method"]
        params = {"type": "card", "limit": 100}
        found = self._stripe.call(lambda v1: v1.customers.payment_methods.list(customer_id, params)).to_dict()
        cards = [_card(method, default) for method in found["data"]]
        return sorted(cards, key=lambda card: not card.is_default)

    def saved_card(self, customer_id: str | None, payment_method_id: str) -> SavedCard:
        """One card of this customer. NotFound for a card that is anybody else's or nobody's."""
        unknown = NotFound("There is no such saved card of yours; choose another one or save a card.")
        try:
            method = self._stripe.call(lambda v1: v1.payment_methods.retrieve(payment_method_id)).to_dict()
        except NotFound as error:
            raise unknown from error
        if customer_id is None or method["customer"] != customer_id or method["type"] != "card":
            raise unknown
        return _card(method, None)

    def use_by_default(self, customer_id: str, payment_method_id: str) -> None:
        """Let invoices of this customer be paid with this card."""
        settings = {"invoice_settings": {"default_payment_method": payment_method_id}}
        self._stripe.call(lambda v1: v1.customers.update(customer_id, settings))

    def forget(self, payment_method_id: str) -> None:
        """Take a card from its customer; a card that is already gone is no error."""
        try:
            self._stripe.call(lambda v1: v1.payment_methods.detach(payment_method_id))
        except (InvalidRequest, NotFound):
            method = self._stripe.call(lambda v1: v1.payment_methods.retrieve(payment_method_id)).to_dict()
            if method["customer"] is not None:
                raise

    def portal(self, customer_id: str, return_url: str) -> str:
        """The address of a fresh billing portal page, good for a short time: make one per visit, never store it."""
        params = {"customer": customer_id, "return_url": return_url}
        return str(self._stripe.call(lambda v1: v1.billing_portal.sessions.create(params)).url)

    def setup_session(
        self, customer_id: str, account_id: int, currency: str, success_url: str, cancel_url: str, key: str
    ) -> CardSetup:
        """A page where the customer saves a card for later payments without being there; nothing is charged."""
        reference = {"account_id": str(account_id), "type": "card_setup"}
        params: dict[str, Any] = {
            "mode": "setup",
            "customer": customer_id,
            "currency": currency,
            "success_url": success_url,
            "cancel_url": cancel_url,
            "metadata": reference,
            "setup_intent_data": {"metadata": reference},
        }
        made = self._stripe.call(lambda v1: v1.checkout.sessions.create(params, {"idempotency_key": key}))
        return _setup(made.to_dict())

    def setup_state(self, session_id: str) -> CardSetup:
        """What became of a page for saving a card. InvalidRequest when the session is for something else."""
        expand = {"expand": ["setup_intent"]}
        found = self._stripe.call(lambda v1: v1.checkout.sessions.retrieve(session_id, expand)).to_dict()
        if found["mode"] != "setup":
            raise InvalidRequest("This session is for paying, not for saving a card.")
        return _setup(found)

    def charge_off_session(
        self,
        customer_id: str,
        payment_method_id: str,
        amount_cents: int,
        currency: str,
        metadata: Mapping[str, str],
        key: str,
        *,
        description: str | None = None,
        receipt_email: str | None = None,
    ) -> ChargeState:
        """Charge a saved card while its owner is away. A decline, or a card that is gone, is a state, not an error.

        With `metadata` of `purchase_id` and a `flow` of its own the intent is a purchase like any other (`retrieve`,
        `find`). StripeUnavailable says nothing about whether the money was taken: ask again with the same key.
        """
        params: dict[str, Any] = {
            "amount": amount_cents,
            "currency": currency,
            "customer": customer_id,
            "payment_method": payment_method_id,
            "off_session": True,
            "metadata": dict(metadata),
        }
        params |= {"description": description} if description else {}
        params |= {"receipt_email": receipt_email} if receipt_email else {}
        return self._charge_saved(params, key)

    def charge_on_session(
        self, customer_id: str, purchase: Mapping[str, Any], terms_url: str | None = None
    ) -> ChargeState:
        """Charge the saved card of a purchase row (`payment_method_id`) while its owner is there, who may be asked by the bank.

        Asking again for the same row answers the same charge. The rest is as in `charge_off_session`; `terms_url` are the terms
        that the buyer accepted.
        """
        params = {
            **intent_params(purchase),
            "customer": customer_id,
            "payment_method": purchase["payment_method_id"],
        }
        del params["automatic_payment_methods"]
        if terms_url:
            params["metadata"] = params["metadata"] | {"terms_url": terms_url}
        return self._charge_saved(params, f"purchase-{purchase['purchase_id']}-card")

    def _charge_saved(self, params: dict[str, Any], key: str) -> ChargeState:
        """Make and confirm a PaymentIntent with a saved card, once for each key."""
        # Without the kind Stripe wants an address to return to, for payments that leave the page.
        params = {**params, "confirm": True, "allowed_payment_method_types": ["card"]}
        gone = ChargeState(
            None, "declined", params["amount"], params["currency"], params["metadata"].get("purchase_id"),
            code="payment_method_gone", message="This card is no longer saved; save a card again.",
        )  # fmt: skip
        try:
            made = self._stripe.attempt(
                lambda v1: v1.payment_intents.create(params, {"idempotency_key": key})
            )
        except NotFound as error:
            return replace(gone, message=f"{gone.message} {error.message}")
        except InvalidRequest as error:
            gone_codes = ("payment_method_unexpected_state", "payment_method_unactivated")
            if (
                error.detail.get("param") != "payment_method"
                and error.detail["stripe_code"] not in gone_codes
            ):
                raise
            return gone
        return self._charge(made, gone)

    def authenticate(
        self, payment_intent_id: str, payment_method_id: str, return_url: str, key: str
    ) -> ChargeState:
        """Start the confirmation an off-session charge asked for, now that the owner is here: send them to `url`.
        The intent is the same one, so it is paid at most once."""
        params = {"payment_method": payment_method_id, "return_url": return_url}
        options = {"idempotency_key": key}
        made = self._stripe.attempt(lambda v1: v1.payment_intents.confirm(payment_intent_id, params, options))
        return self._charge(made, None)

    def charge_state(self, payment_intent_id: str) -> ChargeState:
        """What Stripe says now of an earlier charge."""
        expand = {"expand": ["latest_charge"]}
        found = self._stripe.call(lambda v1: v1.payment_intents.retrieve(payment_intent_id, expand))
        return charge_state(found.to_dict())

    def _charge(self, made: Any, gone: ChargeState | None) -> ChargeState:
        if not isinstance(made, Declined):
            # The answer to a creation has the charge's id only; the receipt is in the charge.
            return self.charge_state(made.id) if made.status == "succeeded" else charge_state(made.to_dict())
        if made.error.get("payment_intent"):
            return charge_state(made.error["payment_intent"])
        if gone is None:
            raise InvalidRequest(f"Stripe refuses this: {made.error.get('message')}")
        error = made.error
        return replace(
            gone, code=error.get("code"), decline_code=error.get("decline_code"), message=error.get("message")
        )


_STATUS = {"succeeded": "succeeded", "processing": "processing", "canceled": "canceled",
           "requires_action": "requires_action"}  # fmt: skip


def charge_state(intent: Mapping[str, Any]) -> ChargeState:
    """The state in a PaymentIntent's JSON."""
    error, charge = intent.get("last_payment_error") or {}, intent.get("latest_charge")
    action = (intent.get("next_action") or {}).get("redirect_to_url") or {}
    status = _STATUS.get(intent["status"], "declined" if error else "requires_action")
    codes = {error.get("code"), error.get("decline_code")}
    if status == "declined" and "authentication_required" in codes:
        status = "requires_action"
    return ChargeState(
        payment_intent_id=intent["id"],
        status=status,
        amount_cents=intent["amount"],
        currency=intent["currency"],
        purchase_id=purchase_of(intent["metadata"]),
        charge_id=charge["id"] if isinstance(charge, Mapping) else charge,
        receipt_url=charge["receipt_url"] if isinstance(charge, Mapping) else None,
        code=error.get("code"),
        decline_code=error.get("decline_code"),
        message=error.get("message"),
        url=action.get("url"),
        client_secret=intent["client_secret"],
        livemode=intent["livemode"],
    )


def _card(method: Mapping[str, Any], default: str | None) -> SavedCard:
    card = method["card"]
    return SavedCard(
        method["id"],
        card["brand"],
        card["last4"],
        card["exp_month"],
        card["exp_year"],
        method["id"] == default,
    )


def _setup(session: Mapping[str, Any]) -> CardSetup:
    setup = session["setup_intent"]
    saved = setup["payment_method"] if isinstance(setup, Mapping) and setup["status"] == "succeeded" else None
    return CardSetup(
        session["id"], session["status"], session["customer"], session["url"], saved,
        (session["metadata"] or {}).get("account_id"), session["livemode"],
    )  # fmt: skip
