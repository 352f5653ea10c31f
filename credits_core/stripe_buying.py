"""Buying at Stripe: the hosted page and PaymentIntents of purchase rows; part of the gateway."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from credits_core.errors import InvalidRequest
from credits_core.stripe_shapes import (
    CheckoutOptions,
    SessionState,
    intent_params,
    intent_state,
    session_params,
    session_state,
)

_MAX_PAGES = 10


class StripeBuying:
    """What the gateway does for purchases."""

    options = CheckoutOptions()

    @abstractmethod
    def call(self, request: Callable[[Any], Any]) -> Any:
        """Make one call to Stripe; see the gateway."""

    def create_checkout_session(
        self, purchase: Mapping[str, Any], success_url: str, cancel_url: str
    ) -> SessionState:
        """Open the hosted page for a purchase row. Asking again for the same row answers the same session;
        IdempotencyKeyReused when it was asked before with other addresses (use `find` then)."""
        params: Any = session_params(purchase, success_url, cancel_url, self.options)
        key = f"purchase-{purchase['purchase_id']}-session"
        session = self.call(lambda v1: v1.checkout.sessions.create(params, {"idempotency_key": key}))
        return session_state(session.to_dict())

    def create_payment_intent(self, purchase: Mapping[str, Any]) -> SessionState:
        """A PaymentIntent for a purchase row, with its `client_secret`; asking again answers the same one."""
        params: Any = intent_params(purchase)
        key = f"purchase-{purchase['purchase_id']}-intent"
        intent = self.call(lambda v1: v1.payment_intents.create(params, {"idempotency_key": key}))
        return intent_state(intent.to_dict())

    def retrieve(self, object_id: str) -> SessionState:
        """What Stripe says now of a session (`cs_...`) or PaymentIntent (`pi_...`). NotFound if unknown."""
        if object_id.startswith("pi_"):
            intent = self.call(
                lambda v1: v1.payment_intents.retrieve(object_id, {"expand": ["latest_charge"]})
            )
            return intent_state(intent.to_dict())
        session = self.call(
            lambda v1: v1.checkout.sessions.retrieve(
                object_id, {"expand": ["line_items", "payment_intent.latest_charge", "invoice"]}
            )
        )
        return session_state(session.to_dict())

    def session_of_intent(self, intent_id: str) -> str | None:
        """The id of the Checkout Session a PaymentIntent belongs to, or None."""
        found = self.call(lambda v1: v1.checkout.sessions.list({"payment_intent": intent_id, "limit": 1}))
        return found.data[0].id if found.data else None

    def find(self, purchase_id: str, flow: str, created_after: int) -> SessionState | None:
        """The session (or intent) made for a purchase, among those created since then (seconds), or None. For
        purchases whose answer from Stripe was lost."""
        state = session_state if flow == "checkout" else intent_state
        params: Any = {"created": {"gte": created_after}, "limit": 100}
        for _ in range(_MAX_PAGES):
            page = self._page(flow, params)
            for found in page.data:
                if (answer := state(found.to_dict())).purchase_id == purchase_id:
                    return answer
            if not page.has_more:
                return None
            params = params | {"starting_after": page.data[-1].id}
        return None

    def _page(self, flow: str, params: Any) -> Any:
        if flow == "checkout":
            return self.call(lambda v1: v1.checkout.sessions.list(params))
        return self.call(lambda v1: v1.payment_intents.list(params))

    def expire_session(self, session_id: str) -> None:
        """Close a session that is still open, so that nobody can pay it; others are left as they are."""
        with suppress(InvalidRequest):
            self.call(lambda v1: v1.checkout.sessions.expire(session_id))

    def cancel_payment_intent(self, intent_id: str) -> None:
        """Cancel an intent that is not paid; others are left as they are."""
        with suppress(InvalidRequest):
            self.call(lambda v1: v1.payment_intents.cancel(intent_id, {"cancellation_reason": "abandoned"}))
