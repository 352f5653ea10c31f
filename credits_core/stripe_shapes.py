"""Between our values and Stripe's JSON: what the gateway asks for a purchase, and the plain values it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

_NOT_FOR_SQL = ("created", "url", "client_secret", "expires_at", "charge_id")
# The owner did not let it be paid yet, or nobody came in time: that is no failure.
_WAITS_FOR_OWNER = "authentication_required"
_NOBODY_CAME = ("abandoned", "automatic", "expired")


@dataclass(frozen=True)
class CheckoutOptions:
    """What every payment page has besides the purchase: terms to accept, an invoice for each payment, tax by Stripe Tax."""

    terms_url: str | None = None
    invoices: bool = False
    automatic_tax: bool = False


@dataclass(frozen=True)
class SessionState:
    """What Stripe says of a Checkout Session, or of a PaymentIntent in the same words (its id is `session_id`
    then).

    Amounts are minor units of `currency`; `created` and `expires_at` seconds since 1970. `status` is open,
    complete or expired, `payment_status` paid, unpaid or no_payment_required. `failure` says why the last attempt to
    pay did not succeed (a card was declined, a bank debit came back, somebody canceled), while nothing else is under way.
    `card_fingerprint` is Stripe's name for the card that paid: the same in all payments with it.
    """

    session_id: str
    purchase_id: str | None
    status: str
    payment_status: str
    mode: str
    currency: str
    amount_subtotal: int
    amount_total: int
    amount_tax: int
    amount_discount: int
    price_id: str | None
    payment_intent_id: str | None
    customer_id: str | None
    receipt_url: str | None
    livemode: bool
    created: int
    url: str | None = None
    expires_at: int | None = None
    client_secret: str | None = field(default=None, repr=False)
    charge_id: str | None = None
    failure: str | None = None
    card_fingerprint: str | None = None
    invoice_url: str | None = None
    invoice_pdf_url: str | None = None
    terms_url: str | None = None  # of the terms that the buyer has accepted

    def as_sql(self) -> dict[str, Any]:
        """The `p_session` of `fulfill_purchase`."""
        known = {name: value for name, value in self.__dict__.items() if name not in _NOT_FOR_SQL}
        return known | {"failure": self.failure if self.failed else None}

    @property
    def failed(self) -> bool:
        """Whether an attempt to pay has come to nothing. A page that is still open shows its own declines and takes
        another card; a page that was completed has failed for good when its debit came back. An intent has no page."""
        over = self.status == "complete" or self.session_id.startswith("pi_")
        return over and self.payment_status == "unpaid" and self.failure is not None

    @property
    def expires(self) -> datetime | None:
        """When the page closes, with its time zone."""
        return None if self.expires_at is None else datetime.fromtimestamp(self.expires_at, UTC)


@dataclass(frozen=True)
class StripeEvent:
    """A verified webhook event; `payload` is the whole event as JSON."""

    event_id: str
    type: str
    livemode: bool
    object_id: str | None
    payload: dict[str, Any] = field(repr=False)

    @property
    def payment_intent_id(self) -> str | None:
        """The payment the event is about: of an intent, a session, a charge, a refund or a dispute."""
        if (self.object_id or "").startswith("pi_"):
            return self.object_id
        return self._named("payment_intent")

    @property
    def customer_id(self) -> str | None:
        """The customer the event is about, if any."""
        return self.object_id if (self.object_id or "").startswith("cus_") else self._named("customer")

    @property
    def subscription_id(self) -> str | None:
        """The subscription the event is about: of itself, an invoice or a session."""
        if (self.object_id or "").startswith("sub_"):
            return self.object_id
        parent = self.payload["data"]["object"].get("parent")
        details = parent.get("subscription_details") if isinstance(parent, dict) else None
        found = details.get("subscription") if isinstance(details, dict) else None
        return found if isinstance(found, str) else self._named("subscription")

    def _named(self, name: str) -> str | None:
        found = self.payload["data"]["object"].get(name)
        return found if isinstance(found, str) else None


def session_params(
    purchase: Mapping[str, Any], success_url: str, cancel_url: str, options: CheckoutOptions | None = None
) -> dict[str, Any]:
    """What Stripe is asked for a purchase row with the hosted page. The price is the row's, or the synced one.

    Also heeded when the row has them: `customer_id` (in place of `email`), `save_card` (for later payments),
    `stripe_coupon_id` or `stripe_promotion_code_id` (a discount), `automatic_tax`.
    """
    reference = _reference(purchase)
    params: dict[str, Any] = {
        "mode": "payment",
        "success_url": success_url,
        "cancel_url": cancel_url,
        "client_reference_id": reference["purchase_id"],
        "metadata": reference,
        "payment_intent_data": {"metadata": reference, "description": purchase["package_name"]},
        # Without this Checkout may show and charge another currency than the row's.
        "adaptive_pricing": {"enabled": False},
        "line_items": [{"quantity": 1, **_price(purchase)}],
    }
    if purchase.get("save_card"):
        params["payment_intent_data"]["setup_future_usage"] = "off_session"
    if purchase.get("stripe_promotion_code_id"):
        params["discounts"] = [{"promotion_code": purchase["stripe_promotion_code_id"]}]
    elif purchase.get("stripe_coupon_id"):
        params["discounts"] = [{"coupon": purchase["stripe_coupon_id"]}]
    params |= _extras(options or CheckoutOptions(), purchase, reference)
    if purchase.get("customer_id"):
        return params | {"customer": purchase["customer_id"]}
    return params | ({"customer_email": purchase["email"]} if purchase.get("email") else {})


def _extras(
    options: CheckoutOptions, purchase: Mapping[str, Any], reference: dict[str, str]
) -> dict[str, Any]:
    """Terms, invoice and tax of a payment page; `metadata` is the reference with the terms that were shown."""
    extras: dict[str, Any] = {}
    if options.terms_url:
        words = f"I agree to the [terms]({options.terms_url})."
        extras["consent_collection"] = {"terms_of_service": "required"}
        extras["custom_text"] = {"terms_of_service_acceptance": {"message": words}}
        extras["metadata"] = reference | {"terms_url": options.terms_url}
    if options.invoices:
        described = {"description": purchase["package_name"], "metadata": reference}
        extras["invoice_creation"] = {"enabled": True, "invoice_data": described}
    if options.automatic_tax or purchase.get("automatic_tax"):
        extras["automatic_tax"] = {"enabled": True}
        if purchase.get(
            "customer_id"
        ):  # tax needs an address: the one that is entered becomes the customer's
            extras["customer_update"] = {"address": "auto"}
    return extras


def intent_params(purchase: Mapping[str, Any]) -> dict[str, Any]:
    """What Stripe is asked for a purchase row with a PaymentIntent."""
    params: dict[str, Any] = {
        "amount": purchase["price_cents"],
        "currency": purchase["currency"],
        "metadata": _reference(purchase),
        "description": purchase["package_name"],
        "automatic_payment_methods": {"enabled": True},
    }
    return params | ({"receipt_email": purchase["email"]} if purchase.get("email") else {})


def _reference(purchase: Mapping[str, Any]) -> dict[str, str]:
    return {
        "purchase_id": str(purchase["purchase_id"]),
        "account_id": str(purchase["account_id"]),
        "type": "credit_purchase",
        "flow": purchase["flow"],
    }


def _price(purchase: Mapping[str, Any]) -> dict[str, Any]:
    if purchase.get("stripe_price_id"):
        return {"price": purchase["stripe_price_id"]}
    product = {"name": purchase["package_name"], "metadata": {"type": "credit_package"}}
    money = {"currency": purchase["currency"], "unit_amount": purchase["price_cents"]}
    return {"price_data": {**money, "product_data": product}}


def session_state(session: Mapping[str, Any]) -> SessionState:
    """The state in a Checkout Session's JSON; the price and the receipt are known when they were expanded."""
    intent = session["payment_intent"]
    totals = session.get("total_details") or {}
    items = (session.get("line_items") or {}).get("data") or []
    return SessionState(
        session_id=session["id"],
        purchase_id=session["client_reference_id"] or (session["metadata"] or {}).get("purchase_id"),
        status=session["status"],
        payment_status=session["payment_status"],
        mode=session["mode"],
        currency=session["currency"] or "",
        amount_subtotal=session["amount_subtotal"] or 0,
        amount_total=session["amount_total"] or 0,
        amount_tax=totals.get("amount_tax") or 0,
        amount_discount=totals.get("amount_discount") or 0,
        price_id=items[0]["price"]["id"] if len(items) == 1 else None,
        payment_intent_id=intent["id"] if isinstance(intent, Mapping) else intent,
        customer_id=session["customer"],
        receipt_url=_receipt(intent),
        livemode=session["livemode"],
        created=session["created"],
        url=session["url"],
        expires_at=session["expires_at"],
        charge_id=_charge(intent),
        failure=_failure(intent),
        card_fingerprint=card_fingerprint(intent),
        **_papers(session),
    )


def _papers(session: Mapping[str, Any]) -> dict[str, str | None]:
    """Pages of the session's invoice, when it was expanded, and the terms that were accepted."""
    invoice, consent = session.get("invoice"), session.get("consent") or {}
    pages = invoice if isinstance(invoice, Mapping) else {}
    accepted = consent.get("terms_of_service") == "accepted"
    return {
        "invoice_url": pages.get("hosted_invoice_url"),
        "invoice_pdf_url": pages.get("invoice_pdf"),
        "terms_url": (session["metadata"] or {}).get("terms_url") if accepted else None,
    }


# An intent that awaits a card or the bank is as open as a session on its page.
_INTENT_STATUS = {
    "succeeded": ("complete", "paid"),
    "processing": ("complete", "unpaid"),
    "requires_capture": ("complete", "unpaid"),
    "canceled": ("expired", "unpaid"),
}


def intent_state(intent: Mapping[str, Any]) -> SessionState:
    """The state in a PaymentIntent's JSON: what was received once it is paid, else what is asked."""
    status, payment_status = _INTENT_STATUS.get(intent["status"], ("open", "unpaid"))
    amount = intent["amount_received"] if payment_status == "paid" else intent["amount"]
    return SessionState(
        session_id=intent["id"],
        purchase_id=purchase_of(intent["metadata"]),
        status=status,
        payment_status=payment_status,
        mode="payment",
        currency=intent["currency"],
        amount_subtotal=amount,
        amount_total=amount,
        amount_tax=0,
        amount_discount=0,
        price_id=None,
        payment_intent_id=intent["id"],
        customer_id=intent["customer"],
        receipt_url=_receipt(intent),
        livemode=intent["livemode"],
        created=intent["created"],
        client_secret=intent["client_secret"],
        charge_id=_charge(intent),
        failure=_failure(intent),
        card_fingerprint=card_fingerprint(intent),
        terms_url=(intent["metadata"] or {}).get("terms_url"),
    )


def purchase_of(metadata: Mapping[str, str] | None, *, any_flow: bool = False) -> str | None:
    """The purchase that a PaymentIntent is for by itself. The intent of a Checkout Session carries the purchase for
    people to see (`any_flow` answers it, too); it is the session that is fulfilled."""
    known = metadata or {}
    own = known.get("flow") not in (None, "checkout")
    return known.get("purchase_id") if own or any_flow else None


def _charge(intent: Any) -> str | None:
    charge = intent.get("latest_charge") if isinstance(intent, Mapping) else None
    return charge["id"] if isinstance(charge, Mapping) else charge


def _failure(intent: Any) -> str | None:
    if not isinstance(intent, Mapping) or intent["status"] not in ("requires_payment_method", "canceled"):
        return None  # paid, or something is under way: what went wrong before does not count
    error = intent.get("last_payment_error")
    if error and _WAITS_FOR_OWNER not in (error.get("code"), error.get("decline_code")):
        return str(error["message"])
    reason = intent.get("cancellation_reason")
    if intent["status"] != "canceled" or reason in _NOBODY_CAME:
        return None
    return "The payment was canceled" + (f" ({reason.replace('_', ' ')})." if reason else ".")


def _receipt(intent: Any) -> str | None:
    charge = intent.get("latest_charge") if isinstance(intent, Mapping) else None
    return charge.get("receipt_url") if isinstance(charge, Mapping) else None


def card_fingerprint(intent: Any) -> str | None:
    """Stripe's name for the card that paid, the same for every customer who uses it; not a card number."""
    charge = intent.get("latest_charge") if isinstance(intent, Mapping) else None
    details = charge.get("payment_method_details") if isinstance(charge, Mapping) else None
    card = (details or {}).get("card")
    return card.get("fingerprint") if isinstance(card, Mapping) else None
