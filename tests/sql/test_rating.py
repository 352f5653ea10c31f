"""What a quantity costs (C2) and from when on (C3). Expected amounts were worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import groupby
from typing import Any

import psycopg
import pytest

from credits_core import errors
from credits_core.units import parse_credits as micros
from tests.sql.conftest import Call, Clock, Person, Rows, new_key, refused

# catalog, operation, quantity, credits
PRICES = [
    ("voice", "call", "0", "0"),
    ("voice", "call", "1", "0.15"),
    ("voice", "call", "60", "0.15"),
    ("voice", "call", "60.000001", "0.30"),
    ("voice", "call", "90", "0.30"),
    ("voice", "call", "3600", "9.00"),
    ("ai_services", "voice_call", "60", "1"),
    ("ai_services", "voice_call", "61", "2"),
    ("ai_services", "sms", "3", "3"),
    ("ai_services", "whatsapp", "1", "1"),
    ("ai_services", "ai_response", "4", "8"),
    ("ai_services", "gpt_4", "1500", "90"),
    ("ai_services", "gpt_4", "1", "0.06"),
    ("ai_services", "gpt_3_5", "1500", "3"),
    ("ai_services", "gemini_pro", "1500", "1.5"),
    ("ai_services", "claude", "250", "0.5"),
    ("ai_services", "document_upload", "1", "5"),
    ("ai_services", "bundle_creation", "2", "100"),
    ("ai_services", "phone_number", "1", "100"),
    ("recruitment", "vapi_call", "0", "1"),
    ("recruitment", "vapi_call", "60", "1.50"),
    ("recruitment", "vapi_call", "61", "2.00"),
    ("recruitment", "message", "7", "0.70"),
    ("recruitment", "file_upload", "2500000", "0.625"),
    ("recruitment", "file_upload", "1", "0"),  # a quarter of a micro
    ("recruitment", "file_upload", "2", "0.000001"),  # half a micro, rounded up
    ("recruitment", "workflow_execution", "1", "2"),
    ("metered_plan", "api_request", "100", "100"),
]

MINUTE = {"unit": "minute", "price_micros": 150_000}
EXACT = MINUTE | {"initial": 0, "following": 0}
BY_SECOND = MINUTE | {"initial": 1, "following": 1}
BY_THIRTY_SIX = MINUTE | {"initial": 30, "following": 6}
HALF = {"unit": "item", "price_micros": 1, "unit_size": 2}  # half a micro each
FIFTH = {"unit": "item", "price_micros": 1, "unit_size": 5}

# components, other terms, quantity, micros
SHAPES: list[tuple[list[dict[str, Any]], dict[str, Any], str, int]] = [
    ([BY_SECOND], {}, "90", 225_000),
    ([BY_SECOND], {}, "89.2", 225_000),  # a second begun is a second
    ([EXACT], {}, "90.5", 226_250),
    ([{"unit": "second", "price_micros": 2_500}], {}, "90", 225_000),
    ([{"unit": "token", "price_micros": 3}], {}, "1500", 4_500),
    ([{"unit": "call", "price_micros": 1_000_000}, MINUTE | {"price_micros": 500_000}], {}, "61", 1_508_333),
    ([BY_THIRTY_SIX], {}, "1", 75_000),
    ([BY_THIRTY_SIX], {}, "30", 75_000),
    ([BY_THIRTY_SIX], {}, "31", 90_000),  # 30 + 6
    ([BY_THIRTY_SIX], {}, "61", 165_000),  # 30 + 6 x 6
    ([MINUTE | {"initial": 30}], {}, "45", 112_500),  # at least 30, then exactly
    ([BY_SECOND], {"minimum_charge_micros": 50_000}, "1", 50_000),
    ([BY_SECOND], {"minimum_charge_micros": 50_000}, "60", 150_000),
    ([BY_SECOND | {"free_quantity": 60}], {}, "60", 0),
    ([BY_SECOND | {"free_quantity": 60}], {}, "61", 2_500),
    ([BY_SECOND | {"free_quantity": 60}, {"unit": "call", "price_micros": 10_000}], {}, "30", 10_000),
    ([HALF, HALF], {"rounding": "half_up"}, "1", 1),  # two halves are one: rounded once, not twice
    ([HALF, HALF], {"rounding": "down"}, "1", 1),
]
SHAPES += [
    ([part], {"rounding": mode}, quantity, expected)
    for mode, part, row in [
        ("half_up", HALF, {"1": 1, "2": 1, "3": 2, "5": 3}),  # 0.5, 1, 1.5, 2.5
        ("half_even", HALF, {"1": 0, "2": 1, "3": 2, "5": 2}),
        ("up", HALF, {"1": 1, "2": 1, "3": 2, "5": 3}),
        ("down", HALF, {"1": 0, "2": 1, "3": 1, "5": 2}),
        ("half_up", FIFTH, {"2": 0, "3": 1, "5": 1}),  # 0.4, 0.6, 1
        ("half_even", FIFTH, {"2": 0, "3": 1, "5": 1}),
        ("up", FIFTH, {"2": 1, "3": 1, "5": 1}),
        ("down", FIFTH, {"2": 0, "3": 0, "5": 1}),
    ]
    for quantity, expected in row.items()
]


def test_every_price_of_the_four_catalogs(catalog: Call, holder: Callable[..., Person]) -> None:
    """C1, C2: the quote before and the charge itself."""
    anna = holder("1000")
    for name, rows in groupby(PRICES, key=lambda row: row[0]):
        catalog(name)
        for _, operation, quantity, credits in rows:
            quote = anna.call("check_use", operation=operation, quantity=quantity)
            assert (operation, quote["cost_micros"]) == (operation, micros(credits))
            assert anna.use(operation, quantity)["charged_micros"] == micros(credits)


def test_every_shape_of_a_price(clock: Clock, holder: Callable[..., Person], set_price: Call) -> None:
    """C2: components, increments, minimum charge, free units, one rounding per charge in the stated mode."""
    anna = holder("1000")
    for components, terms, quantity, expected in SHAPES:
        clock.advance(seconds=1)
        set_price("call", *components, **terms)
        charged = anna.use("call", quantity)["charged_micros"]
        assert (components, terms, quantity, charged) == (components, terms, quantity, expected)


NONSENSE: list[dict[str, Any]] = [
    {"price_micros": -1},
    {"price_micros": None},
    {"price_micros": "0.5"},
    {"unit": "hour"},
    {"unit": None},
    {"unit_size": 0},
    {"unit_size": -60},
    {"unit_size": "NaN"},
    {"unit_size": "1e300"},
    {"initial": -1},
    {"following": -1},
    {"free_quantity": -1},
    {"free_quantity": "Infinity"},
]


def test_a_price_that_makes_no_sense_is_refused(set_price: Call, service: Call) -> None:
    """C3: by the database, and the price in force stays."""
    before = service("pricing")
    for wrong in NONSENSE:
        refusal = refused(lambda wrong=wrong: set_price("call", MINUTE | wrong))
        assert (wrong, type(refusal)) == (wrong, errors.InvalidRequest)
    assert service("pricing") == before


def test_the_terms_of_a_price_are_checked(set_price: Call, service: Call) -> None:
    """C3: rounding, minimum charge, number of components, operation."""
    before = service("pricing")
    for attempt, error in [
        (lambda: set_price("call", MINUTE, rounding="nearest"), errors.InvalidRequest),
        (lambda: set_price("call", MINUTE, minimum_charge_micros=-1), errors.InvalidRequest),
        (lambda: set_price("call"), errors.InvalidRequest),
        (lambda: set_price("call", *[MINUTE] * 11), errors.InvalidRequest),
        (lambda: service("set_price", operation="call", components={"unit": "call"}), errors.InvalidRequest),
        (lambda: set_price("teleport", MINUTE), errors.NotFound),
    ]:
        assert isinstance(refused(attempt), error)
    assert service("pricing") == before


def test_not_even_the_owner_writes_a_negative_price(owner_sql: Callable[..., Rows]) -> None:
    """C3: a constraint of the table, whatever function writes it."""
    package = "insert into credits.packages (catalog, code, name, position, credits_micros, price_cents)"
    for statement in (
        "insert into credits.price_components (price_id, position, unit, is_flat, price_micros)"
        " values (1, 9, 'item', false, -1)",
        "insert into credits.prices (catalog, operation_id, effective_from, minimum_charge_micros, created_by)"
        " values ('voice', 1, now(), -1, 'x')",
        f"{package} values ('voice', 'x', 'x', 9, -1, 1)",
        f"{package} values ('voice', 'x', 'x', 9, 1, -1)",
    ):
        with pytest.raises(psycopg.errors.CheckViolation):
            owner_sql(statement)


def test_a_price_has_a_date(clock: Clock, holder: Callable[..., Person], set_price: Call) -> None:
    """C3: entered today for next week: until then the old one counts, afterwards the new one; the past stays."""
    anna = holder("10.00")
    next_week = clock.now + timedelta(days=7)
    before = anna.use("call", 60)
    set_price("call", MINUTE | {"price_micros": 200_000}, effective_from=next_week)

    clock.set(next_week - timedelta(microseconds=1))
    assert anna.use("call", 60)["charged_micros"] == micros("0.15")
    clock.set(next_week)
    assert anna.use("call", 60)["charged_micros"] == micros("0.20")

    told = anna.call("explain", transaction_id=before["transaction_id"])
    assert told["amount_micros"] == -micros("0.15")
    assert told["price"]["components"][0]["price_micros"] == 150_000


def test_late_usage_has_the_price_of_its_own_time(
    clock: Clock, holder: Callable[..., Person], set_price: Call
) -> None:
    """C3, D6: a call of last week that is reported today costs what calls cost last week."""
    anna = holder("10.00")
    last_week = clock.now
    clock.advance(days=7)
    set_price("call", MINUTE | {"price_micros": 900_000})
    assert anna.use("call", 60, occurred_at=last_week)["charged_micros"] == micros("0.15")
    assert anna.use("call", 60, occurred_at=clock.now)["charged_micros"] == micros("0.90")
    long_ago = last_week - timedelta(days=3650)  # before the catalog was loaded: its first price
    assert anna.use("call", 60, occurred_at=long_ago)["charged_micros"] == micros("0.15")


def test_two_prices_cannot_start_at_the_same_moment(clock: Clock, set_price: Call, service: Call) -> None:
    """C3: which one would count? The second is refused, the first stays."""
    next_week = clock.now + timedelta(days=7)
    set_price("call", MINUTE | {"price_micros": 200_000}, effective_from=next_week)
    attempt = refused(lambda: set_price("call", MINUTE | {"price_micros": 300_000}, effective_from=next_week))
    assert isinstance(attempt, errors.Conflict)
    clock.set(next_week)
    (call,) = service("pricing")["operations"]
    assert call["components"][0]["price_micros"] == 200_000


def test_the_past_is_not_repriced(clock: Clock, set_price: Call) -> None:
    """C3: a price cannot start yesterday."""
    yesterday = clock.now - timedelta(days=1)
    assert isinstance(
        refused(lambda: set_price("call", MINUTE, effective_from=yesterday)), errors.InvalidRequest
    )


def test_a_million_requests_of_a_millionth_cost_one_credit(
    catalog: Call, holder: Callable[..., Person], set_price: Call
) -> None:
    """C2: no rounding adds up, however small the price. (100,000 here, a tenth of a credit, for the time it takes.)"""
    catalog("metered_plan")
    set_price("api_request", {"unit": "item", "price_micros": 1})
    anna = holder("1.00")
    for _ in range(10):
        events = [
            {"operation": "api_request", "quantity": 1, "idempotency_key": new_key()} for _ in range(10_000)
        ]
        results = anna.call("use_batch", events=events)["results"]
        assert {(each["status"], each["charged_micros"]) for each in results} == {("charged", 1)}
    assert anna.balance["total_used_micros"] == micros("0.10")
    assert anna.available == micros("0.90")
