"""Stripe, as far as the product needs it: the only module that imports `stripe`.

Answers are plain dataclasses; refusals are the product's own errors. Keys never appear in a repr, a log or a
message.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
import stripe

from credits_core.errors import (
    ConfigError,
    CreditsError,
    IdempotencyKeyReused,
    InvalidRequest,
    NotFound,
    StripeUnavailable,
    WebhookRejected,
)
from credits_core.stripe_types import (
    PriceState,
    ProductState,
    SessionState,
    StripeEvent,
    intent_state,
    session_state,
)

if TYPE_CHECKING:
    from credits_core.config import Settings
    from credits_core.stripe_sim import Simulator

stripe.enable_telemetry = False

T = TypeVar("T")

TIMEOUT_SECONDS = 20.0
NETWORK_RETRIES = 2
_BUSY_PAUSES = (0.5, 1.0, 2.0)
_TOLERANCE_SECONDS = 300
_MAX_LISTED = 1000
_SECRET = re.compile(r"\b(sk|rk|whsec)_\w+")
_RETRY_LATER = "Nothing was charged by this request; try again in a minute."


class StripeGateway:
    """One Stripe account in one mode. Safe to use from many threads.

    `base_url` (the simulator's, such as `http://127.0.0.1:8501/sim`) goes with an `sk_sim_` key and only with
    one: a real key is never sent anywhere but to Stripe.
    """

    def __init__(
        self, api_key: str, *, base_url: str | None = None, webhook_secret: str | None = None,
        http_client: stripe.HTTPClient | None = None, timeout: float = TIMEOUT_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if api_key.startswith("sk_sim_") != (base_url is not None):
            raise ConfigError(
                "A Stripe key goes to Stripe and the simulator's key to the simulator; check the base URL.")
        self.livemode = api_key.startswith(("sk_live_", "rk_live_"))
        self.simulator: Simulator | None = None
        self._webhook_secret = webhook_secret
        self._sleep = sleep
        self._http = http_client or stripe.RequestsClient(timeout=timeout)
        self._client = stripe.StripeClient(
            api_key, max_network_retries=NETWORK_RETRIES, http_client=self._http,
            base_addresses={"api": base_url} if base_url else {},
        )

    @classmethod
    def for_simulator(
        cls, simulator: Simulator, base_url: str, *, webhook_secret: str | None = None
    ) -> StripeGateway:
        """A gateway to a simulator in this process. It needs no server, so commands and the first start can
        use it;
        `base_url` is where browsers will find the simulator's pages."""
        from credits_core.stripe_sim import API_KEY

        gateway = cls(API_KEY, base_url=base_url, http_client=_InProcess(simulator),
                      webhook_secret=webhook_secret or simulator.webhook_secret())
        gateway.simulator = simulator
        return gateway

    def __repr__(self) -> str:
        mode = "live" if self.livemode else "simulator" if self.simulator else "test"
        return f"StripeGateway({mode})"

    def close(self) -> None:
        """Close this thread's connection to Stripe, and the simulator in this process if there is one."""
        self._http.close()
        if self.simulator is not None:
            self.simulator.close()

    @property
    def webhooks_on(self) -> bool:
        """Whether there is a signing secret; without one the endpoint is off and the poll does the work."""
        return self._webhook_secret is not None

    # buying

    def create_checkout_session(
        self, purchase: Mapping[str, Any], success_url: str, cancel_url: str
    ) -> SessionState:
        """Open the hosted page for a purchase row. Asking again for the same row answers the same session;
        IdempotencyKeyReused when it was asked before with other addresses (use `find_session` then)."""
        reference = _reference(purchase)
        params: dict[str, Any] = {
            "mode": "payment", "success_url": success_url, "cancel_url": cancel_url,
            "client_reference_id": purchase["purchase_id"], "metadata": reference,
            "payment_intent_data": {"metadata": reference, "description": purchase["package_name"]},
            # Without this Checkout may show and charge another currency than the row's.
            "adaptive_pricing": {"enabled": False},
            "line_items": [{"quantity": 1, **_price(purchase)}],
        }
        if purchase.get("email"):
            params["customer_email"] = purchase["email"]
        session = self._call(lambda: self._client.v1.checkout.sessions.create(
            _params(params), {"idempotency_key": f"purchase-{purchase['purchase_id']}-session"}))
        return session_state(session.to_dict())

    def create_payment_intent(self, purchase: Mapping[str, Any]) -> SessionState:
        """A PaymentIntent for a purchase row, with its `client_secret`; asking again answers the same one."""
        params: dict[str, Any] = {
            "amount": purchase["price_cents"], "currency": purchase["currency"],
            "metadata": _reference(purchase),
            "description": purchase["package_name"], "automatic_payment_methods": {"enabled": True},
        }
        if purchase.get("email"):
            params["receipt_email"] = purchase["email"]
        intent = self._call(lambda: self._client.v1.payment_intents.create(
            _params(params), {"idempotency_key": f"purchase-{purchase['purchase_id']}-intent"}))
        return intent_state(intent.to_dict())

    def retrieve(self, object_id: str) -> SessionState:
        """What Stripe says now of a Checkout Session (`cs_...`) or PaymentIntent (`pi_...`). NotFound if
        unknown."""
        if object_id.startswith("pi_"):
            intent = self._call(lambda: self._client.v1.payment_intents.retrieve(
                object_id, {"expand": ["latest_charge"]}))
            return intent_state(intent.to_dict())
        session = self._call(lambda: self._client.v1.checkout.sessions.retrieve(
            object_id, {"expand": ["line_items", "payment_intent.latest_charge"]}))
        return session_state(session.to_dict())

    def session_of_intent(self, intent_id: str) -> str | None:
        """The id of the Checkout Session a PaymentIntent belongs to, or None."""
        found = self._call(lambda: self._client.v1.checkout.sessions.list(
            {"payment_intent": intent_id, "limit": 1}))
        return found.data[0].id if found.data else None

    def find(self, purchase_id: str, flow: str, created_after: int) -> SessionState | None:
        """The session (or intent) made for a purchase, among those created since then (seconds), or None.
        For purchases whose answer from Stripe was lost."""
        api = self._client.v1
        service: Any = api.checkout.sessions if flow == "checkout" else api.payment_intents
        listed = self._call(lambda: service.list({"created": {"gte": created_after}, "limit": 100}))
        state = session_state if flow == "checkout" else intent_state
        for number, found in enumerate(self._walk(listed)):
            if number >= _MAX_LISTED:
                break
            if (answer := state(found.to_dict())).purchase_id == purchase_id:
                return answer
        return None

    def expire_session(self, session_id: str) -> None:
        """Close a session that is still open, so that nobody can pay it; others are left as they are."""
        with suppress(InvalidRequest):
            self._call(lambda: self._client.v1.checkout.sessions.expire(session_id))

    def cancel_payment_intent(self, intent_id: str) -> None:
        """Cancel an intent that is not paid; others are left as they are."""
        with suppress(InvalidRequest):
            self._call(lambda: self._client.v1.payment_intents.cancel(
                intent_id, {"cancellation_reason": "abandoned"}))

    # catalog

    def product(self, product_id: str) -> ProductState | None:
        """The product with that id, or None."""
        try:
            found = self._call(lambda: self._client.v1.products.retrieve(product_id)).to_dict()
        except NotFound:
            return None
        return ProductState(found["id"], found["name"], found["active"], dict(found["metadata"]))

    def create_product(self, product_id: str, name: str, metadata: Mapping[str, str]) -> None:
        """A new product under an id of our own."""
        self._call(lambda: self._client.v1.products.create(
            {"id": product_id, "name": name, "metadata": dict(metadata)}))

    def update_product(self, product_id: str, name: str, metadata: Mapping[str, str]) -> None:
        """Give a product this name and metadata, and offer it again if it was archived."""
        self._call(lambda: self._client.v1.products.update(
            product_id, {"name": name, "metadata": dict(metadata), "active": True}))

    def price(self, lookup_key: str) -> PriceState | None:
        """The price that holds a lookup key, or None."""
        listed = self._call(lambda: self._client.v1.prices.list({"lookup_keys": [lookup_key], "limit": 1}))
        if not listed.data:
            return None
        found = listed.data[0].to_dict()
        return PriceState(found["id"], found["product"], found["currency"], found["unit_amount"],
            found["active"],
                          dict(found["metadata"]))

    def create_price(
        self, product_id: str, currency: str, amount: int, lookup_key: str, metadata: Mapping[str, str]
    ) -> str:
        """A new price of `amount` minor units; the lookup key moves to it. Answers its id."""
        price = self._call(lambda: self._client.v1.prices.create({
            "product": product_id, "currency": currency, "unit_amount": amount, "lookup_key": lookup_key,
            "transfer_lookup_key": True, "metadata": dict(metadata),
        }))
        return price.id

    def update_price(self, price_id: str, metadata: Mapping[str, str]) -> None:
        """Give a price this metadata and offer it again if it was archived; its amount can never change."""
        self._call(lambda: self._client.v1.prices.update(price_id,
            {"metadata": dict(metadata), "active": True}))

    def archive_price(self, price_id: str) -> None:
        """Offer a price no longer."""
        self._call(lambda: self._client.v1.prices.update(price_id, {"active": False}))

    # webhooks

    def construct_event(self, payload: bytes, signature: str | None) -> StripeEvent:
        """The event of a signed webhook body, byte for byte as it arrived. WebhookRejected for every other
        body:
        unsigned, signed long ago or by somebody else, changed on its way, or of the other mode."""
        if self._webhook_secret is None:
            raise NotFound(
                "Webhooks are off; set STRIPE_WEBHOOK_SECRET to turn them on. Purchases are credited anyway.")
        try:
            event = self._client.construct_event(payload, signature, self._webhook_secret, _TOLERANCE_SECONDS)
            obj = event.data.object
            found = StripeEvent(event.id, event.type, event.livemode, obj.to_dict().get("id"),
                json.loads(payload))
        except stripe.SignatureVerificationError:
            raise WebhookRejected(
                "The signature does not belong to this body and our signing secret, or it is too old; send"
                " the event again from Stripe, and check STRIPE_WEBHOOK_SECRET if this goes on."
            ) from None
        except (ValueError, TypeError, AttributeError, KeyError):
            raise WebhookRejected("The body is not a Stripe event; send events as Stripe does.") from None
        if found.livemode is not self.livemode:
            ours, theirs = ("live", "test") if self.livemode else ("test", "live")
            raise WebhookRejected(
                f"This is an event of {theirs} mode, but we are in {ours} mode; check the endpoint.")
        return found

    # calling

    def _walk(self, listed: Any) -> Iterator[Any]:
        pages = iter(listed.auto_paging_iter())
        while (found := self._call(lambda: next(pages, None))) is not None:
            yield found

    def _call(self, request: Callable[[], T]) -> T:
        for pause in (*_BUSY_PAUSES, None):
            try:
                return request()
            except stripe.RateLimitError as error:
                if pause is None:
                    raise StripeUnavailable(f"Stripe has too much to do. {_RETRY_LATER}") from error
                # Stripe's library does not repeat these itself; jitter keeps many callers from returning at
                # once.
                self._sleep(pause * random.uniform(0.75, 1.25))  # noqa: S311  not a secret
            except stripe.StripeError as error:
                raise _translated(error) from error
        raise AssertionError("unreachable")


def make_gateway(settings: Settings) -> StripeGateway:
    """The gateway that the settings ask for: Stripe with a key, the simulator of this data folder without
    one."""
    if settings.stripe_secret_key is not None:
        return StripeGateway(settings.stripe_secret_key, webhook_secret=settings.stripe_webhook_secret)
    from credits_core.stripe_sim import Simulator

    return StripeGateway.for_simulator(
        Simulator(settings.data_dir), f"{settings.base_url}/sim",
        webhook_secret=settings.stripe_webhook_secret)


class _InProcess(stripe.HTTPClient):
    """Carries the library's requests to a simulator in this process instead of over the network."""

    name = "in-process"

    def __init__(self, simulator: Simulator) -> None:
        super().__init__()
        self._simulator = simulator

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None, **_: Any
    ) -> tuple[Any, int, Mapping[str, str]]:
        lower = {name.lower(): value for name, value in (headers or {}).items()}
        body = post_data.encode() if isinstance(post_data, str) else post_data or b""
        answer = self._simulator.handle(method.upper(), url, lower, body)
        if answer.hang_seconds:
            silence: Any = stripe.APIConnectionError  # the library leaves its errors' constructors untyped
            raise silence("The simulator does not answer.", should_retry=True)
        return answer.body, answer.status, httpx.Headers(answer.headers)

    def close(self) -> None:
        """Nothing is held open."""


def _params(params: dict[str, Any]) -> Any:
    """Parameters put together step by step; what the library's types say of them is checked in tests."""
    return params


def _reference(purchase: Mapping[str, Any]) -> dict[str, str]:
    return {"purchase_id": str(purchase["purchase_id"]), "account_id": str(purchase["account_id"]),
            "type": "credit_purchase", "flow": purchase["flow"]}


def _price(purchase: Mapping[str, Any]) -> dict[str, Any]:
    if purchase.get("stripe_price_id"):
        return {"price": purchase["stripe_price_id"]}
    return {"price_data": {"currency": purchase["currency"], "unit_amount": purchase["price_cents"],
                           "product_data": {"name": purchase["package_name"],
                                            "metadata": {"type": "credit_package"}}}}


def _translated(error: stripe.StripeError) -> CreditsError:
    message = _SECRET.sub(r"\1_…", error.user_message or "")
    detail = {"stripe_code": error.code, "request_id": error.request_id}
    if isinstance(error, stripe.IdempotencyError):
        return IdempotencyKeyReused("Stripe was asked for this purchase before, in another way.",
            detail=detail)
    if isinstance(error, stripe.InvalidRequestError) and error.code == "resource_missing":
        return NotFound(f"Stripe does not know this object in this mode: {message}", detail=detail)
    if isinstance(error, stripe.InvalidRequestError | stripe.CardError):
        return InvalidRequest(f"Stripe refuses this: {message}", detail=detail)
    if isinstance(error, stripe.AuthenticationError | stripe.PermissionError):
        return StripeUnavailable(
            "Stripe refuses our key, so nothing can be bought; an administrator checks STRIPE_SECRET_KEY.",
            detail=detail)
    return StripeUnavailable(f"Stripe does not answer as it should. {_RETRY_LATER}", detail=detail)
