"""Stripe, as far as the product needs it: the only module that imports `stripe`.

Answers are plain dataclasses; refusals are the product's own errors. Keys never appear in a repr, a log or a
message.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Mapping
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
from credits_core.stripe_buying import StripeBuying
from credits_core.stripe_cards import Declined, StripeCards
from credits_core.stripe_catalog import StripeCatalog
from credits_core.stripe_money import StripeMoney
from credits_core.stripe_shapes import CheckoutOptions, StripeEvent
from credits_core.stripe_subscriptions import StripeSubscriptions

if TYPE_CHECKING:
    from stripe._v1_services import V1Services

    from credits_core.config import Settings
    from credits_core.stripe_sim import Simulator

stripe.enable_telemetry = False

T = TypeVar("T")

TIMEOUT_SECONDS = 20.0
NETWORK_RETRIES = 2
_BUSY_PAUSES = (0.5, 1.0, 2.0)
# No new attempt begins after this: with the library's own retries a call is over within 90 seconds.
BUDGET_SECONDS = 25.0
_TOLERANCE_SECONDS = 300
_SECRET = re.compile(r"\b(sk|rk|whsec)_\w+")
_RETRY_LATER = "Nothing was charged by this request; try again in a minute."


class StripeGateway(StripeBuying):
    """One Stripe account in one mode. Safe to use from many threads.

    `base_url` (the simulator's, such as `http://127.0.0.1:8501/sim`) goes with an `sk_sim_` key and only with
    one: a real key is never sent anywhere but to Stripe.
    """

    def __init__(
        self,
        api_key: str,
        *,
        base_url: str | None = None,
        webhook_secret: str | None = None,
        http_client: stripe.HTTPClient | None = None,
        timeout: float = TIMEOUT_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if api_key.startswith("sk_sim_") != (base_url is not None):
            raise ConfigError(
                "A Stripe key goes to Stripe and the simulator's key to the simulator; check the base URL."
            )
        self.livemode = api_key.startswith(("sk_live_", "rk_live_"))
        self.simulator: Simulator | None = None
        self._webhook_secret = webhook_secret
        self._sleep, self._clock = sleep, clock
        self._http = http_client or stripe.RequestsClient(timeout=timeout)
        self._client = stripe.StripeClient(
            api_key,
            max_network_retries=NETWORK_RETRIES,
            http_client=self._http,
            base_addresses={"api": base_url} if base_url else {},
        )
        self.catalog = StripeCatalog(self.call)
        self.cards = StripeCards(self)
        self.money = StripeMoney(self)
        self.subscriptions = StripeSubscriptions(self)

    @classmethod
    def for_simulator(
        cls, simulator: Simulator, base_url: str, *, webhook_secret: str | None = None
    ) -> StripeGateway:
        """A gateway to a simulator in this process, without a server, for the app itself and for commands.
        `base_url` is where browsers will find the simulator's pages."""
        from credits_core.stripe_sim import API_KEY

        gateway = cls(
            API_KEY,
            base_url=base_url,
            http_client=_InProcess(simulator),
            webhook_secret=webhook_secret or simulator.webhook_secret(),
        )
        gateway.simulator = simulator
        return gateway

    def __repr__(self) -> str:
        mode = "live" if self.livemode else "simulator" if self.simulator else "test"
        return f"StripeGateway({mode})"

    def close(self) -> None:
        """Close this thread's connection to Stripe, and the simulator in this process if there is one."""
        close: Callable[[], None] = self._http.close
        close()
        if self.simulator is not None:
            self.simulator.close()

    # webhooks

    def construct_event(self, payload: bytes, signature: str | None) -> StripeEvent:
        """The event of a signed webhook body, byte for byte as it arrived. WebhookRejected for every other:
        unsigned, signed long ago or by somebody else, changed on its way, or of the other mode."""
        if self._webhook_secret is None:
            raise NotFound(
                "Webhooks are off; set STRIPE_WEBHOOK_SECRET to turn them on. Purchases are credited anyway."
            )
        try:
            event = self._client.construct_event(payload, signature, self._webhook_secret, _TOLERANCE_SECONDS)
            object_id = event.data.object.to_dict().get("id")
            about = object_id if isinstance(object_id, str) else None
            found = StripeEvent(event.id, event.type, event.livemode, about, json.loads(payload))
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
                f"This is an event of {theirs} mode, but we are in {ours} mode; check the endpoint."
            )
        return found

    # calling

    def call(self, request: Callable[[V1Services], T]) -> T:
        """Make one call to Stripe; busy answers are waited out, others raised as the product's own errors."""
        begun = self._clock()
        for pause in (*_BUSY_PAUSES, None):
            try:
                return request(self._client.v1)
            except stripe.RateLimitError as error:
                if pause is None or self._clock() - begun + pause > BUDGET_SECONDS:
                    raise StripeUnavailable(f"Stripe has too much to do. {_RETRY_LATER}") from error
                # Stripe's library does not repeat these itself; jitter keeps many callers from returning at
                # once.
                self._sleep(pause * random.uniform(0.75, 1.25))  # noqa: S311  not a secret
            except stripe.StripeError as error:
                raise _translated(error) from error
        raise AssertionError("unreachable")

    def attempt(self, request: Callable[[V1Services], T]) -> T | Declined:
        """Like `call`, with a declined card as an answer instead of an error."""
        try:
            return self.call(request)
        except InvalidRequest as error:
            if isinstance(error.__cause__, stripe.CardError):
                body: Any = error.__cause__.json_body
                return Declined(body["error"])
            raise


def make_gateway(settings: Settings) -> StripeGateway:
    """The gateway that the settings ask for: Stripe with a key, the simulator of this data folder without
    one."""
    gateway = _gateway(settings)
    gateway.options = CheckoutOptions(settings.terms_url, settings.stripe_invoices, settings.stripe_tax)
    return gateway


def _gateway(settings: Settings) -> StripeGateway:
    if settings.stripe_secret_key is not None:
        return StripeGateway(settings.stripe_secret_key, webhook_secret=settings.stripe_webhook_secret)
    from credits_core.stripe_sim import Simulator

    return StripeGateway.for_simulator(
        Simulator(settings.data_dir),
        f"{settings.base_url}/sim",
        webhook_secret=settings.stripe_webhook_secret,
    )


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


def _translated(error: stripe.StripeError) -> CreditsError:
    message = _SECRET.sub(r"\1_…", error.user_message or "")
    detail = {"stripe_code": error.code, "request_id": error.request_id}
    if isinstance(error, stripe.InvalidRequestError | stripe.CardError) and error.param:
        detail["param"] = error.param
    if isinstance(error, stripe.IdempotencyError):
        return IdempotencyKeyReused("Stripe was asked for this before, in another way.", detail=detail)
    if isinstance(error, stripe.InvalidRequestError) and error.code == "resource_missing":
        return NotFound(f"Stripe does not know this object in this mode: {message}", detail=detail)
    if isinstance(error, stripe.InvalidRequestError | stripe.CardError):
        return InvalidRequest(f"Stripe refuses this: {message}", detail=detail)
    if isinstance(error, stripe.AuthenticationError | stripe.PermissionError):
        return StripeUnavailable(
            "Stripe refuses our key, so nothing can be bought; an administrator checks STRIPE_SECRET_KEY.",
            detail=detail,
        )
    return StripeUnavailable(f"Stripe does not answer as it should. {_RETRY_LATER}", detail=detail)
