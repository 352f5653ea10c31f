"""Nobody alone changes what customers pay, or moves credits worth more than the limit, whichever way they try (I2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from credits_core import errors
from tests.sql.conftest import Call, Clock, Person, refused
from tests.sql.programs import program

DEARER = [{"unit": "minute", "price_micros": 200_000}]


@pytest.fixture
def maker(clock: Clock, person: Callable[..., Person]) -> Person:
    return person("admin")


@pytest.fixture
def checker(clock: Clock, person: Callable[..., Person]) -> Person:
    return person("super_admin")


def decide(somebody: Person, asked: dict[str, Any]) -> Any:
    return somebody.call("decide_approval", approval_id=asked["approval_id"], approve=True, reason="agreed")


def minute_costs(somebody: Person) -> int:
    return int(somebody.call("check_use", operation="call", quantity=60)["cost_micros"])


# --- prices -------------------------------------------------------------------------------------------------------


def test_no_administrator_sets_a_price_alone(
    maker: Person, checker: Person, service: Call, set_price: Call, clock: Clock
) -> None:
    """I2, I3: neither in person nor through a key; the operator's own command still does, and so does what was approved."""
    for somebody in (maker, checker, program(service, maker, "admin")):
        refusal = refused(lambda s=somebody: s.call("set_price", operation="call", components=DEARER))  # type: ignore[misc]
        assert isinstance(refusal, errors.NotAllowed)
        assert "second person" in refusal.message and "draft" in refusal.message
    assert minute_costs(maker) == 150_000
    set_price("call", {"unit": "minute", "price_micros": 100_000})
    assert minute_costs(maker) == 100_000
    clock.advance(minutes=1)
    change = {"operation": "call", "components": DEARER}
    asked = maker.call("request_price_change", change=change, reason="dearer", idempotency_key="dearer")
    assert minute_costs(maker) == 100_000
    assert isinstance(refused(lambda: decide(maker, asked)), errors.NotAllowed)
    assert decide(checker, asked)["result"]["operation"] == "call"
    assert minute_costs(maker) == 200_000


def test_other_prices_for_one_account_wait_too(
    maker: Person,
    checker: Person,
    holder: Callable[..., Person],
    catalog: Call,
    set_price: Call,
    service: Call,
) -> None:
    """I2, C1: a catalog of one's own is a price change for one account."""
    catalog("recruitment")
    catalog("ai_services")
    anna = holder("10.00")
    own = {"account_id": anna.account_id, "catalog": "recruitment"}
    refusal = refused(lambda: maker.call("set_account_settings", **own))
    assert isinstance(refusal, errors.NotAllowed) and "price change" in refusal.message
    anna.use("sms", 1)
    request: dict[str, Any] = {"reason": "as agreed", "idempotency_key": "own"}
    asked = maker.call("request_price_change", change=own, **request)
    assert (asked["account_id"], asked["preview"]) == (
        anna.account_id,
        {"now": "ai_services", "then": "recruitment"},
    )
    again = maker.call("request_price_change", change=own, reason="as agreed", idempotency_key="late")
    assert isinstance(refused(lambda: anna.use("vapi_call", 1)), errors.CreditsError)
    assert decide(checker, asked)["status"] == "done"
    assert anna.use("vapi_call", 60)["charged_micros"] > 0
    assert "price has changed" in refused(lambda: decide(checker, again)).message
    unknown = {"account_id": anna.account_id, "catalog": "nope"}
    for wrong, error in ((unknown, errors.NotFound), (own | {"account_id": 10**9}, errors.NotFound)):
        refusal = refused(
            lambda wrong=wrong: maker.call(
                "request_price_change", change=wrong, reason="no!", idempotency_key="x"
            )  # type: ignore[misc]
        )
        assert isinstance(refusal, error)
    service("set_account_settings", account_id=anna.account_id, catalog="ai_services")  # the operator's own
    anna.use("sms", 1)
