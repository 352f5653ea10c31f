"""Signed events that are not as they should be (A3, A4, A9, A15): old, incomplete, of things nobody knows. Each is answered once
and for all: never a credit, never an error that makes Stripe send it again for days."""

from __future__ import annotations

import json
import time
from typing import Any

from starlette.applications import Starlette

from credits_core.runtime import Runtime
from tests.http.conftest import BASE, Api, TestClient
from tests.http.test_buying import signature

TYPES = (
    "checkout.session.completed",
    "checkout.session.expired",
    "payment_intent.succeeded",
    "payment_intent.canceled",
    "charge.refunded",
    "refund.updated",
    "charge.dispute.created",
    "charge.dispute.closed",
    "invoice.paid",
    "invoice.payment_failed",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "payout.paid",
    "something.new",
    "",
)
OBJECTS: tuple[dict[str, Any], ...] = (
    {},
    {"id": None},
    {"id": ""},
    {"id": 5},
    {"id": ["pi_1"]},
    {"id": {"id": "pi_1"}},
    {"id": "pi_"},
    {"id": "cs_" + "x" * 300},
    {"id": "cs_test_1"},
    {"id": "cs_test_1", "mode": "subscription"},
    {"id": "cs_test_1", "mode": 5},
    {"id": "pi_1"},
    {"id": "../pi_1"},
    {"id": "ch_1", "payment_intent": None},
    {"id": "ch_1", "payment_intent": 5},
    {"id": "re_1", "payment_intent": {"id": "pi_1"}},
    {"id": "dp_1", "payment_intent": "pi_nobody"},
    {"id": "dp_1", "payment_intent": "pi_" + "x" * 300, "amount": -5},
    {"id": "in_1", "parent": None},
    {"id": "in_1", "parent": []},
    {"id": "in_1", "parent": {"subscription_details": "sub_1"}},
    {"id": "in_1", "parent": {"subscription_details": {"subscription": {"id": "sub_1"}}}},
    {"id": "in_1", "subscription": "sub_nobody"},
    {"id": "sub_1"},
    {"id": "sub_/../x"},
    {"id": "sub_1", "customer": 5, "metadata": None},
)


def test_odd_events_are_settled_at_once(program: Starlette, runtime: Runtime, holder: Api) -> None:
    assert runtime.stripe.simulator is not None
    secret = runtime.stripe.simulator.webhook_secret()
    client = TestClient(program, base_url=BASE, raise_server_exceptions=False)
    wrong: list[str] = []
    for kind in TYPES:
        for number, thing in enumerate(OBJECTS):
            event = {
                "id": f"evt_{kind}_{number}", "object": "event", "type": kind, "livemode": False, "created": 1_300_000_000,
                "api_version": "2011-01-01", "data": {"object": thing}, "pending_webhooks": 1, "request": None,
            }  # fmt: skip
            body = json.dumps(event).encode()
            answers = [
                client.post(
                    "/api/credits/webhook", content=body, headers=signature(body, secret, at=int(time.time()))
                )
                for _ in range(2)
            ]
            if not all(answer.status_code in (200, 400) for answer in answers):
                wrong.append(
                    f"{kind} {thing}: {[(answer.status_code, answer.text[:200]) for answer in answers]}"
                )
    assert wrong == []
    assert holder.available() == "0.00"
