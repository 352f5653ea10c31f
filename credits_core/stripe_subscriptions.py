"""Subscriptions and their invoices; part of the gateway: `gateway.subscriptions`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from credits_core.stripe_cards import Caller, Declined, charge_state
from credits_core.stripe_shapes import SessionState, card_fingerprint, session_state
from credits_core.stripe_states import ChargeState, InvoiceState, SubscriptionState

_PAGE = 100


class StripeSubscriptions:
    """Every `key` is an idempotency key, made of a row's id by the caller: asking again with it answers the same."""

    def __init__(self, stripe: Caller) -> None:
        self._stripe = stripe

    def create_price(
        self, product_id: str, currency: str, amount: int, interval: str, lookup_key: str,
        metadata: Mapping[str, str],
    ) -> str:  # fmt: skip
        """A price of `amount` minor units each `interval` (day, week, month, year); the lookup key moves to it.
        Answers its id."""
        params = {
            "product": product_id,
            "currency": currency,
            "unit_amount": amount,
            "recurring": {"interval": interval},
            "lookup_key": lookup_key,
            "transfer_lookup_key": True,
            "metadata": dict(metadata),
        }
        return str(self._stripe.call(lambda v1: v1.prices.create(params)).id)

    def create_session(
        self, customer_id: str, price_id: str, reference: Mapping[str, str], success_url: str, cancel_url: str,
        key: str, *, automatic_tax: bool = False,
    ) -> SessionState:  # fmt: skip
        """A page where the customer subscribes. `reference` becomes the metadata of session and subscription, its
        `subscription_id` (our row's) also the session's reference."""
        params: dict[str, Any] = {
            "mode": "subscription",
            "customer": customer_id,
            "success_url": success_url,
            "cancel_url": cancel_url,
            "line_items": [{"price": price_id, "quantity": 1}],
            # Without this Checkout may show and charge another currency than the price's.
            "adaptive_pricing": {"enabled": False},
            "metadata": dict(reference),
            "subscription_data": {"metadata": dict(reference)},
        }
        params |= (
            {"client_reference_id": reference["subscription_id"]} if "subscription_id" in reference else {}
        )
        params |= {"automatic_tax": {"enabled": True}} if automatic_tax else {}
        made = self._stripe.call(lambda v1: v1.checkout.sessions.create(params, {"idempotency_key": key}))
        return session_state(made.to_dict())

    def of_session(self, session_id: str) -> SubscriptionState | None:
        """The subscription a completed session made, or None."""
        expand = {"expand": ["subscription"]}
        found = self._stripe.call(lambda v1: v1.checkout.sessions.retrieve(session_id, expand)).to_dict()
        return None if found["subscription"] is None else subscription_state(found["subscription"])

    def subscription(self, subscription_id: str) -> SubscriptionState:
        """What Stripe says now of a subscription."""
        found = self._stripe.call(lambda v1: v1.subscriptions.retrieve(subscription_id))
        return subscription_state(found.to_dict())

    def of_customer(self, customer_id: str) -> list[SubscriptionState]:
        """All subscriptions of a customer, ended ones too, newest first."""
        params = {"customer": customer_id, "status": "all", "limit": _PAGE}
        found = self._stripe.call(lambda v1: v1.subscriptions.list(params)).to_dict()
        return [subscription_state(one) for one in found["data"]]

    def change_price(
        self, subscription_id: str, price_id: str, key: str, *, now: bool = False
    ) -> SubscriptionState | ChargeState:
        """Another price, without proration. By default from the next period on (a downgrade); `now` begins a new
        period at once and charges it in full (an upgrade). A card that does not pay changes nothing; the answer then is
        the ChargeState that says why."""
        item_id = self.subscription(subscription_id).item_id
        params: dict[str, Any] = {
            "items": [{"id": item_id, "price": price_id}],
            "proration_behavior": "none",
        }
        params |= (
            {"billing_cycle_anchor": {"type": "now"}, "payment_behavior": "error_if_incomplete"}
            if now
            else {}
        )
        options = {"idempotency_key": key}
        made = self._stripe.attempt(lambda v1: v1.subscriptions.update(subscription_id, params, options))
        if not isinstance(made, Declined):
            return subscription_state(made.to_dict())
        return _declined(made.error)

    def cancel(self, subscription_id: str, key: str, *, now: bool = False) -> SubscriptionState:
        """End a subscription with its period, or at once; one that has ended stays as it is. Nothing is given back."""
        state = self.subscription(subscription_id)
        if state.status in ("canceled", "incomplete_expired"):
            return state
        options = {"idempotency_key": key}
        if now:
            made = self._stripe.call(lambda v1: v1.subscriptions.cancel(subscription_id))
        else:
            params = {"cancel_at_period_end": True}
            made = self._stripe.call(lambda v1: v1.subscriptions.update(subscription_id, params, options))
        return subscription_state(made.to_dict())

    def keep(self, subscription_id: str, key: str) -> SubscriptionState:
        """Take back a cancellation at the end of the period."""
        params, options = {"cancel_at_period_end": False}, {"idempotency_key": key}
        made = self._stripe.call(lambda v1: v1.subscriptions.update(subscription_id, params, options))
        return subscription_state(made.to_dict())

    def use_card(self, subscription_id: str, payment_method_id: str) -> None:
        """Let the next invoices of a subscription be paid with this card."""
        params = {"default_payment_method": payment_method_id}
        self._stripe.call(lambda v1: v1.subscriptions.update(subscription_id, params))

    # invoices

    def invoice(self, invoice_id: str) -> InvoiceState:
        """What Stripe says now of an invoice, with the payment it was paid by."""
        expand = {"expand": ["payments"]}
        found = self._stripe.call(lambda v1: v1.invoices.retrieve(invoice_id, expand)).to_dict()
        intent_id = _intent_of(found)
        intent: dict[str, Any] | None = None
        if intent_id:
            charge = {"expand": ["latest_charge"]}
            intent = self._stripe.call(lambda v1: v1.payment_intents.retrieve(intent_id, charge)).to_dict()
        return invoice_state(found, intent)

    def invoice_of_payment(self, payment_intent_id: str) -> str | None:
        """The id of the invoice a payment is for, or None."""
        payment = {"type": "payment_intent", "payment_intent": payment_intent_id}
        found = self._stripe.call(lambda v1: v1.invoice_payments.list({"payment": payment, "limit": 1}))
        return str(found.data[0].invoice) if found.data else None

    def invoices(
        self, since: int, until: int | None = None, *, subscription_id: str | None = None
    ) -> Iterator[InvoiceState]:
        """Invoices made in that time (of one subscription, if named), newest first, without their payments."""
        params: dict[str, Any] = {"created": {"gte": since} | ({"lt": until} if until is not None else {})}
        params |= {"subscription": subscription_id} if subscription_id else {}
        params["limit"] = _PAGE
        while True:
            asked = dict(params)
            page = self._stripe.call(lambda v1, asked=asked: v1.invoices.list(asked)).to_dict()  # type: ignore[misc]
            yield from (invoice_state(found, None) for found in page["data"])
            if not page["has_more"]:
                return
            params["starting_after"] = page["data"][-1]["id"]

    def pay_invoice(self, invoice_id: str, payment_method_id: str, key: str) -> InvoiceState | ChargeState:
        """Pay an open invoice with a saved card; a card that does not pay is answered as a ChargeState."""
        params, options = {"payment_method": payment_method_id}, {"idempotency_key": key}
        made = self._stripe.attempt(lambda v1: v1.invoices.pay(invoice_id, params, options))
        return _declined(made.error) if isinstance(made, Declined) else self.invoice(invoice_id)


def subscription_state(found: Mapping[str, Any]) -> SubscriptionState:
    """The state in a subscription's JSON."""
    item = found["items"]["data"][0]
    return SubscriptionState(
        subscription_id=found["id"],
        customer_id=found["customer"],
        status=found["status"],
        item_id=item["id"],
        price_id=item["price"]["id"],
        quantity=item["quantity"],
        unit_amount_cents=item["price"]["unit_amount"],
        currency=found["currency"],
        current_period_start=item["current_period_start"],
        current_period_end=item["current_period_end"],
        cancel_at_period_end=found["cancel_at_period_end"],
        canceled_at=found["canceled_at"],
        ended_at=found["ended_at"],
        latest_invoice_id=found["latest_invoice"],
        payment_method_id=found["default_payment_method"],
        metadata=found["metadata"],
        livemode=found["livemode"],
        created=found["created"],
    )


def invoice_state(found: Mapping[str, Any], intent: Mapping[str, Any] | None) -> InvoiceState:
    """The state in an invoice's JSON; `intent` is the one that paid it, with its charge."""
    line = found["lines"]["data"][0]
    parent = (found["parent"] or {}).get("subscription_details") or {}
    charge = (intent or {}).get("latest_charge") or {}
    return InvoiceState(
        invoice_id=found["id"],
        subscription_id=parent.get("subscription"),
        customer_id=found["customer"],
        status=found["status"],
        billing_reason=found["billing_reason"],
        currency=found["currency"],
        subtotal_cents=found["subtotal"],
        tax_cents=sum(tax["amount"] for tax in found["total_taxes"] or []),
        discount_cents=sum(one["amount"] for one in found["total_discount_amounts"] or []),
        total_cents=found["total"],
        amount_paid_cents=found["amount_paid"],
        amount_due_cents=found["amount_due"],
        price_id=((line["pricing"] or {}).get("price_details") or {}).get("price"),
        quantity=line["quantity"],
        period_start=line["period"]["start"],
        period_end=line["period"]["end"],
        number=found["number"],
        url=found["hosted_invoice_url"],
        pdf_url=found["invoice_pdf"],
        attempt_count=found["attempt_count"],
        next_attempt=found["next_payment_attempt"],
        paid_at=found["status_transitions"]["paid_at"],
        payment_intent_id=intent["id"] if intent else _intent_of(found),
        charge_id=charge.get("id"),
        receipt_url=charge.get("receipt_url"),
        metadata=parent.get("metadata") or {},
        livemode=found["livemode"],
        created=found["created"],
        card_fingerprint=card_fingerprint(intent),
    )


def _intent_of(invoice: Mapping[str, Any]) -> str | None:
    made = (invoice.get("payments") or {}).get("data") or []
    payment_intent: str | None = made[-1]["payment"]["payment_intent"] if made else None
    return payment_intent


_NEEDS_OWNER = (
    "authentication_required",
    "invoice_payment_intent_requires_action",
    "subscription_payment_intent_requires_action",
)


def _declined(error: Mapping[str, Any]) -> ChargeState:
    if error.get("payment_intent"):
        return charge_state(error["payment_intent"])
    needs_action = error.get("code") in _NEEDS_OWNER
    return ChargeState(
        None, "requires_action" if needs_action else "declined", 0, "", None,
        code=error.get("code"), decline_code=error.get("decline_code"), message=error.get("message"),
    )  # fmt: skip
