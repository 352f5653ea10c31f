"""People with a history for page tests, made by the real functions."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from credits_core.db.port import SERVICE, Identity
from credits_core.db.psycopg_transport import PsycopgDatabase

_numbers = itertools.count(1)


@pytest.fixture
def buy(database: PsycopgDatabase) -> Callable[..., dict[str, Any]]:
    """`buy(person, "usd_10")`: a paid and credited purchase, as after Stripe said so."""

    def bought(person: Identity, package: str, *, paid: bool = True) -> dict[str, Any]:
        number = next(_numbers)
        purchase = database.call(
            "create_purchase", person, package=package, livemode=False, idempotency_key=f"buy-{number}"
        )
        session = f"cs_test_{number}"
        database.call(
            "open_purchase",
            SERVICE,
            purchase_id=purchase["purchase_id"],
            session_id=session,
            url="https://checkout.example.test/pay",
        )
        if not paid:
            return {**purchase, "session_id": session}
        answer: dict[str, Any] = database.call(
            "fulfill_purchase",
            SERVICE,
            session={
                "session_id": session,
                "purchase_id": purchase["purchase_id"],
                "status": "complete",
                "payment_status": "paid",
                "mode": "payment",
                "livemode": False,
                "currency": purchase["currency"],
                "amount_subtotal": purchase["price_cents"],
                "amount_total": purchase["price_cents"],
            },
        )
        assert answer["status"] == "credited"
        return answer

    return bought
