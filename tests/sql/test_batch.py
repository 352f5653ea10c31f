"""use_batch: many events in one call are the same as the same events one by one; one bad event spoils nothing."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from credits_core import errors
from credits_core.units import parse_credits as micros
from tests.sql.conftest import Call, Clock, Person, Rows, new_key, refused

Event = dict[str, Any]


def mixed_events(count: int, strangers_account: int) -> list[Event]:
    """Good events, repeated ones, reused keys, and every way to be wrong; the same list every time."""
    chance = random.Random(7)
    events: list[Event] = []
    for n in range(count):
        event: Event = {"operation": "call", "quantity": chance.randint(1, 200), "idempotency_key": f"e{n}"}
        kind = chance.random()
        if events and kind < 0.10:
            event = dict(chance.choice(events))  # a retry within the batch
        elif events and kind < 0.15:
            event["idempotency_key"] = chance.choice(events)["idempotency_key"]  # a key for something else
        elif kind < 0.20:
            event["operation"] = "teleport"
        elif kind < 0.25:
            event["quantity"] = chance.choice(["NaN", "-1", "1e300", "many", None, "0.0000001"])
        elif kind < 0.30:
            event["quantity"] = 10**9  # more than there is
        elif kind < 0.35:
            event["account_id"] = strangers_account
        elif kind < 0.40:
            event["idempotency_key"] = chance.choice(["", None, "k" * 256])
        elif kind < 0.45:
            event["occurred_at"] = chance.choice(["2099-01-01T00:00:00Z", "at noon", "2026-11-01T00:00:00Z"])
        elif kind < 0.55:
            event["metadata"] = {"n": n}
        events.append(event)
    return events


def one_by_one(person: Person, events: list[Event]) -> list[dict[str, Any]]:
    """The results that a batch of these events must have."""
    results: list[dict[str, Any]] = []
    for event in events:
        try:
            answer = person.call("use", **event)
        except errors.CreditsError as refusal:
            results.append(
                {"status": "error", "charged_micros": 0, "transaction": None, "error": refusal.code}
            )
        else:
            results.append(
                {
                    "status": "replayed" if answer["replayed"] else "charged",
                    "charged_micros": answer["charged_micros"],
                    "transaction": answer["transaction_id"].partition("-")[2],
                    "available_micros": answer["available_micros"],
                    "error": None,
                }
            )
    return results


def in_one_batch(person: Person, events: list[Event]) -> list[dict[str, Any]]:
    return [as_one_by_one(result) for result in person.call("use_batch", events=events)["results"]]


def as_one_by_one(result: dict[str, Any]) -> dict[str, Any]:
    same = {key: result[key] for key in ("status", "charged_micros")}
    same["transaction"] = (result["transaction_id"] or "").partition("-")[2] or None
    same["error"] = result["error"] and result["error"]["code"]
    if result["error"] is None:
        same["available_micros"] = result["available_micros"]
    return same


def booked(rows: Rows) -> list[tuple[object, ...]]:
    fields = (
        "seq",
        "kind",
        "amount_micros",
        "posted_after_micros",
        "idempotency_key",
        "quantity",
        "metadata",
        "occurred_at",
    )
    return [tuple(row[field] for field in fields) for row in rows if row["kind"] == "use"]


def test_a_batch_equals_its_events_one_by_one(holder: Callable[..., Person], ledger: Call) -> None:
    """B5, B6: 1,000 mixed events, result by result and row by row, also when the credits run out in the middle."""
    anna, ben, stranger = holder("150.00"), holder("150.00"), holder("5.00")
    events = mixed_events(1_000, stranger.account_id)
    expected = one_by_one(anna, events)
    assert in_one_batch(ben, events) == expected
    assert booked(ledger(ben)) == booked(ledger(anna))
    codes = {"insufficient_credits", "not_found", "invalid_request", "not_allowed", "idempotency_key_reused"}
    assert {result["error"] for result in expected} == codes | {None}
    assert {result["status"] for result in expected} == {"charged", "replayed", "error"}
    assert any(
        result["status"] == "charged"
        for result in expected[[r["error"] for r in expected].index("insufficient_credits") :]
    )


def small_grants(clock: Clock, somebody: Person, give: Call) -> None:
    for hours in range(1, 40):
        give(somebody, "0.40", expires_at=clock.now + timedelta(hours=hours % 7 or 500))
    clock.advance(hours=2)  # some have expired, and nobody booked them


def capped(clock: Clock, somebody: Person, give: Call) -> None:
    give(somebody, "100.00")
    somebody.call("set_cap", period="day", cap_micros=micros("12.00"))


def in_debt(clock: Clock, somebody: Person, give: Call) -> None:
    give(somebody, "0.30")
    call = somebody.call("start_call", operation="call", idempotency_key="long")["call_id"]
    clock.advance(minutes=20)
    somebody.call("end_call", call_id=call)
    give(somebody, "5.00")


def holding(clock: Clock, somebody: Person, give: Call) -> None:
    give(somebody, "9.00", expires_at=clock.now + timedelta(days=1))
    give(somebody, "9.00")
    somebody.call("place_hold", operation="call", quantity=1200, idempotency_key="h")


@pytest.mark.parametrize("prepare", [small_grants, capped, in_debt, holding])
def test_a_batch_equals_its_events_on_accounts_of_every_kind(
    clock: Clock,
    holder: Callable[..., Person],
    give: Call,
    ledger: Call,
    grants: Call,
    prepare: Callable[..., None],
) -> None:
    """B5, B8, B9, E3: many grants, some expired; a cap; a debt; a hold: the same charges from the same grants."""
    start = clock.now
    anna, ben, stranger = holder(), holder(), holder("5.00")
    events = mixed_events(200, stranger.account_id)
    found = []
    for somebody, charge in [(anna, one_by_one), (ben, in_one_batch)]:
        clock.set(start)
        prepare(clock, somebody, give)
        results = charge(somebody, events)
        left = [grant["remaining_micros"] for grant in grants(somebody)]
        found.append((results, booked(ledger(somebody)), left, somebody.balance | {"account_id": 0}))
    assert found[0] == found[1]
    assert {result["status"] for result in found[0][0]} == {"charged", "replayed", "error"}


def test_events_beyond_all_numbers_spoil_nothing(holder: Callable[..., Person], service: Call) -> None:
    """B5: 9,999 times the most that can be asked for is more than a sum can hold; the one good event is charged."""
    anna = holder("1.00")
    events = [{"operation": "call", "quantity": 10**12, "idempotency_key": f"e{n}"} for n in range(9_999)]
    events.insert(5_000, {"operation": "call", "quantity": 60, "idempotency_key": "good"})
    results = service("use_batch", events=[event | {"account_id": anna.account_id} for event in events])[
        "results"
    ]
    assert [place for place, result in enumerate(results) if result["status"] == "charged"] == [5_000]
    assert {result["error"]["code"] for result in results if result["error"]} == {"insufficient_credits"}
    assert anna.available == micros("0.85")


def test_a_batch_sent_again_charges_nothing_again(holder: Callable[..., Person], ledger: Call) -> None:
    """B6: every event answers as the first time."""
    anna = holder("10.00")
    events = [{"operation": "call", "quantity": 60, "idempotency_key": f"e{n}"} for n in range(20)]
    first = anna.call("use_batch", events=events)["results"]
    again = anna.call("use_batch", events=events)["results"]
    assert again == [result | {"status": "replayed"} for result in first]
    assert anna.available == micros("7.00")
    assert len(ledger(anna)) == 21


def test_things_that_are_no_events_are_answered_in_their_place(holder: Callable[..., Person]) -> None:
    """B5: numbers, texts, nothing: each has its error, and the good event between them is charged."""
    anna = holder("1.00")
    good = {"operation": "call", "quantity": 60, "idempotency_key": new_key()}
    results = anna.call("use_batch", events=[5, "x", None, [], {}, good, {"quantity": {}}])["results"]
    assert [result["status"] for result in results] == ["error"] * 5 + ["charged", "error"]
    assert all(result["error"]["message"].endswith(".") for result in results if result["error"])


def test_more_than_ten_thousand_events_are_refused_as_a_whole(holder: Callable[..., Person]) -> None:
    """B5: and nothing of it is charged; an empty batch is answered."""
    anna = holder("1.00")
    events = [{"operation": "call", "quantity": 0, "idempotency_key": str(n)} for n in range(10_001)]
    for wrong in (events, {"operation": "call"}, None):
        assert isinstance(
            refused(lambda wrong=wrong: anna.call("use_batch", events=wrong)), errors.InvalidRequest
        )
    assert anna.call("transactions", kind="use")["items"] == []
    assert anna.call("use_batch", events=[]) == {"results": []}


def test_a_program_charges_many_accounts_in_one_batch(
    service: Call, person: Callable[..., Person], holder: Callable[..., Person], ledger: Call
) -> None:
    """E5: each its own; an unlimited account among them is metered; an unknown one is answered in its place."""
    anna, ben, root = holder("1.00"), holder("0.10"), person("super_admin")
    accounts = [anna.account_id, ben.account_id, root.account_id, 10**12, None]
    events = [
        {"operation": "call", "quantity": 60, "idempotency_key": "k", "account_id": account}
        for account in accounts
    ]
    results = service("use_batch", events=events)["results"]
    assert [(result["status"], result["charged_micros"]) for result in results] == [
        ("charged", 150_000),
        ("error", 0),
        ("charged", 0),
        ("error", 0),
        ("error", 0),
    ]
    assert [result["error"]["code"] for result in results[1::2]] == ["insufficient_credits", "not_found"]
    assert (anna.available, ben.available) == (micros("0.85"), micros("0.10"))
    assert ledger(anna)[-1]["actor"] == "service"


def test_batches_over_the_same_accounts_in_opposite_order_never_wait_in_a_circle(
    service: Call, holder: Callable[..., Person], no_second_attempt: None
) -> None:
    """B5: accounts are locked in the order of their ids, however the events are sorted."""
    accounts = [holder("10.00").account_id for _ in range(8)]

    def run(n: int) -> list[str]:
        order = accounts if n % 2 else accounts[::-1]
        events = [
            {"operation": "call", "quantity": 1, "idempotency_key": f"{n}-{m}", "account_id": order[m % 8]}
            for m in range(64)
        ]
        return [result["status"] for result in service("use_batch", events=events)["results"]]

    with ThreadPoolExecutor(8) as threads:
        statuses = [status for result in threads.map(run, range(16)) for status in result]
    charged = statuses.count("charged")
    left = sum(service("balance", account_id=account)["available_micros"] for account in accounts)
    assert charged == 8 * 66  # 10.00 pays for 66 calls
    assert left == 8 * micros("10.00") - charged * 150_000
