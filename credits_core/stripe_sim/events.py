"""Events: the snapshot of an object when something happened to it, and its place in the webhook queue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from credits_core.stripe_sim.store import Obj, Store, new_id

API_VERSION = "2026-10-28.endive"
"""The version whose shapes this simulator speaks; a test compares it with the installed stripe-python."""


@dataclass(frozen=True)
class Context:
    """Who asks for a change: the store, where hosted pages live for a given return address, and the request."""

    store: Store
    hosted_base: Callable[[str | None], str]
    request_id: str | None = None
    idempotency_key: str | None = None

    def emit(self, kind: str, obj: Obj) -> Obj:
        """Record an event about the object as it is now and queue it for the configured webhook endpoint."""
        endpoint = self.store.setting("webhook")
        event = self.store.add(
            {
                "id": new_id("evt_"),
                "object": "event",
                "api_version": API_VERSION,
                "created": self.store.now(),
                "data": {"object": obj},
                "livemode": False,
                "pending_webhooks": 1 if endpoint else 0,
                "type": kind,
                "request": {"id": self.request_id, "idempotency_key": self.idempotency_key},
            }
        )
        if endpoint:
            self.enqueue(event["id"])
        return event

    def enqueue(self, event_id: str) -> None:
        """Queue one more delivery of an event, behind all others."""
        self.store.db.execute(
            "insert into deliveries (event, position, not_before)"
            " select ?, coalesce(max(position), 0) + 1, 0 from deliveries",
            (event_id,),
        )

    def at(self, moment: int, action: str, object_id: str) -> None:
        """Do something (an action of `timers`) with an object when the simulator's clock reaches the moment."""
        self.store.db.execute("insert into timers values (?, ?, ?)", (moment, action, object_id))
