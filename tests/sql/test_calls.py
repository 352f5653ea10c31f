"""Calls: never started uncovered (D1), covered slice by slice, sharing one balance (D3, D4), told to end in time (D5), logged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from credits_core import errors
from credits_core.units import parse_credits as micros
from tests.sql.conftest import Call, Clock, Person, Rows, new_key, refused

Answer = dict[str, Any]
BY_SECOND = {"unit": "minute", "price_micros": 150_000, "initial": 1, "following": 1}


@pytest.fixture
def start(clock: Clock) -> Callable[..., Answer]:
    """`start(anna)`: a call at 0.15 a minute begins now."""

    def begin(somebody: Person, **more: object) -> Answer:
        return dict(
            somebody.call("start_call", **{"operation": "call", "idempotency_key": new_key("call")} | more)
        )

    return begin


def ledger_uses(ledger: Rows) -> list[int]:
    return [row["amount_micros"] for row in ledger if row["kind"] == "use"]


def test_a_call_that_is_over_is_charged_at_once(
    clock: Clock, holder: Callable[..., Person], start: Call, set_price: Call
) -> None:
    """D6: 90 s cost 0.30 by the started minute, 0.225 by the second; the log has it all."""
    anna = holder("1.00")
    begun, ended = clock.now - timedelta(seconds=90), clock.now
    times = {"started_at": begun, "ended_at": ended}
    answer = start(anna, to="+1 555 0100", **{"from": "+1 555 0199"}, reason="hangup", **times)
    assert (answer["status"], answer["charged_micros"]) == ("ended", 300_000)
    assert (answer["duration_seconds"], answer["billed_seconds"]) == (90, 120)
    (logged,) = anna.call("calls")["items"]
    expected = {"to": "+1 555 0100", "from": "+1 555 0199", "status": "completed", "ended_reason": "hangup"}
    assert {name: logged[name] for name in expected} == expected
    charge = anna.call("explain", transaction_id=logged["transaction_id"])
    assert (charge["call_id"], charge["amount_micros"]) == (answer["call_id"], -300_000)
    clock.advance(seconds=1)
    set_price("call", BY_SECOND)
    times = {
        "started_at": clock.now,
        "ended_at": clock.now + timedelta(seconds=89.2),
    }  # a second begun is a second
    assert start(anna, **times)["charged_micros"] == 225_000


def test_a_call_beyond_the_balance_is_refused_and_leaves_nothing(
    clock: Clock, holder: Callable[..., Person], start: Call, ledger: Call
) -> None:
    """B5, D1: not even a row in the log."""
    anna = holder("0.40")
    over = {"started_at": clock.now - timedelta(minutes=3), "ended_at": clock.now}
    refusal = refused(lambda: start(anna, **over))
    assert refusal.detail == {"needed_micros": 450_000, "available_micros": 400_000}
    assert anna.call("calls")["items"] == []
    assert (anna.available, len(ledger(anna))) == (400_000, 1)


def test_a_call_does_not_start_without_its_set_up_fee_and_one_increment(
    clock: Clock, holder: Callable[..., Person], start: Call, catalog: Call, give: Call
) -> None:
    """D1: a VAPI call is 1.00 and 0.50 for the first minute."""
    catalog("recruitment")
    anna = holder("1.49")
    refusal = refused(lambda: start(anna, operation="vapi_call"))
    assert refusal.detail == {"needed_micros": 1_500_000, "available_micros": 1_490_000}
    give(anna, "0.01")
    answer = start(anna, operation="vapi_call")
    assert (answer["status"], answer["max_duration_seconds"]) == ("ending", 60)
    assert (anna.available, anna.balance["held_micros"]) == (0, 1_500_000)


def test_a_call_that_began_earlier_must_be_covered_up_to_now(
    clock: Clock, holder: Callable[..., Person], start: Call
) -> None:
    """D1: who reports a running call late cannot start it on the price of its first minute."""
    anna = holder("0.40")
    assert start(anna, started_at=clock.now - timedelta(seconds=70))["max_duration_seconds"] == 120
    ben = holder("0.40")
    late = {"started_at": clock.now - timedelta(minutes=30)}
    assert isinstance(refused(lambda: start(ben, **late)), errors.InsufficientCredits)


def test_a_call_runs_and_is_settled_at_its_end(
    clock: Clock, holder: Callable[..., Person], start: Call, ledger: Call
) -> None:
    """D2, D3, D4: cost so far, time left, warnings; the end charges what it took, and nothing stays held."""
    anna = holder("1.50")
    call = start(anna)
    assert (call["status"], call["max_duration_seconds"]) == ("ok", 600)
    assert call["warn_at_seconds"] == [480, 540]
    seen = []
    for minute in range(1, 10):
        clock.advance(minutes=1)
        beat = anna.call("heartbeat", call_id=call["call_id"])
        seen.append((beat["status"], beat["remaining_seconds"]))
        assert beat["cost_so_far_micros"] == 150_000 * minute
        assert beat["available_micros"] + anna.balance["held_micros"] == 1_500_000
    assert seen == [("ok", 60 * left) for left in range(9, 2, -1)] + [("low", 120), ("ending", 60)]
    clock.advance(seconds=20)
    end = anna.call("end_call", call_id=call["call_id"], reason="hangup")
    assert (end["status"], end["charged_micros"], end["duration_seconds"]) == ("ended", 1_500_000, 560)
    balance = anna.balance
    assert (balance["held_micros"], balance["debt_micros"], balance["available_micros"]) == (0, 0, 0)
    assert ledger_uses(ledger(anna)) == [-1_500_000]


def twenty_calls(
    clock: Clock, anna: Person, start: Call, heartbeat_every: int
) -> Iterator[tuple[int, float]]:
    """20 calls of one account that all go on as long as they may; yields each as it ends: (id, seconds).

    Every caller sends heartbeats and hangs up when told, or when the time it was told last is over.
    """
    begun = clock.now
    told = {answer["call_id"]: answer["max_duration_seconds"] for answer in (start(anna) for _ in range(20))}
    while told:
        next_beat = clock.now + timedelta(seconds=heartbeat_every)
        for call, seconds in sorted(told.items(), key=lambda item: item[1]):
            over = begun + timedelta(seconds=seconds)
            if over <= next_beat:
                clock.set(max(over, clock.now))
                answer = anna.call("end_call", call_id=call, ended_at=over)
                del told[call]
                yield call, answer["duration_seconds"]
        clock.set(next_beat)
        for call in list(told):
            answer = anna.call("heartbeat", call_id=call)
            told[call] = answer["max_duration_seconds"]
            assert answer["status"] in ("ok", "low", "ending")


@pytest.mark.parametrize("heartbeat_every", [10, 30, 55])
@pytest.mark.parametrize("billing", ["minute", "second"])
def test_twenty_calls_on_a_balance_for_ten_never_cost_more_than_there_is(
    clock: Clock,
    holder: Callable[..., Person],
    start: Call,
    set_price: Call,
    billing: str,
    heartbeat_every: int,
) -> None:
    """D3, D5, B5: 10.00 pays for ten calls of six minutes; twenty share it, and each is told to end in time."""
    if billing == "second":
        set_price("call", BY_SECOND)
    anna = holder("10.00")
    lasted = dict(twenty_calls(clock, anna, start, heartbeat_every))
    assert len(lasted) == 20
    balance = anna.balance
    assert (balance["debt_micros"], balance["held_micros"]) == (0, 0)
    assert balance["total_used_micros"] + balance["available_micros"] == micros("10.00")
    if billing == "minute":  # 66 minutes: three for everybody, a fourth for six
        assert sorted(lasted.values()) == [180] * 14 + [240] * 6
    else:  # 4,000 seconds: 200 each, give or take what can happen between two heartbeats
        assert min(lasted.values()) >= 200 - heartbeat_every
        assert balance["available_micros"] <= 20 * heartbeat_every * 2_500


def test_a_top_up_during_a_call_extends_it(
    clock: Clock, holder: Callable[..., Person], start: Call, buy: Call
) -> None:
    """D4: at the next heartbeat, also after it was told to end."""
    anna = holder("0.30")
    call = start(anna)["call_id"]
    clock.advance(seconds=100)
    beat = anna.call("heartbeat", call_id=call)
    assert (beat["status"], beat["remaining_seconds"]) == ("ending", 20)
    clock.advance(seconds=20)
    assert anna.call("heartbeat", call_id=call)["status"] == "end"
    buy(anna, "usd_5")
    beat = anna.call("heartbeat", call_id=call)
    assert (beat["status"], beat["max_duration_seconds"]) == ("ok", 120 + 33 * 60)
    clock.advance(seconds=60)
    assert anna.call("end_call", call_id=call)["charged_micros"] == 450_000
    assert anna.balance["debt_micros"] == 0


def test_heartbeats_late_repeated_or_out_of_order_are_harmless(
    clock: Clock, holder: Callable[..., Person], start: Call
) -> None:
    """D6: time never goes back; after the end they are told that it is over."""
    anna = holder("1.50")
    call = start(anna)["call_id"]
    begun = clock.now
    clock.advance(minutes=4)
    for seconds in (180, 60, 180, 120, 0):
        beat = anna.call("heartbeat", call_id=call, at=begun + timedelta(seconds=seconds))
        assert (beat["cost_so_far_micros"], beat["remaining_seconds"]) == (450_000, 420)
    held = anna.balance["held_micros"]
    assert held == 600_000  # 180 s and a slice: four minutes
    end = anna.call("end_call", call_id=call, ended_at=begun + timedelta(seconds=200))
    assert end["charged_micros"] == 600_000
    late = anna.call("heartbeat", call_id=call, at=begun + timedelta(seconds=230))
    assert (late["status"], late["charged_micros"], late["remaining_seconds"]) == ("ended", 600_000, 0)
    assert anna.balance["held_micros"] == 0


def test_a_call_ends_once(clock: Clock, holder: Callable[..., Person], start: Call, ledger: Call) -> None:
    """D6, B6: a second end, with whatever time, answers as the first."""
    anna = holder("1.50")
    call = start(anna)["call_id"]
    clock.advance(minutes=2)
    first = anna.call("end_call", call_id=call)
    clock.advance(minutes=5)
    for more in ({}, {"ended_at": clock.now}, {"reason": "failed"}):
        assert anna.call("end_call", call_id=call, **more) == first
    assert ledger_uses(ledger(anna)) == [-300_000]


def test_a_call_nobody_hears_of_is_settled_at_its_last_heartbeat(
    clock: Clock, holder: Callable[..., Person], start: Call, service: Call
) -> None:
    """D2, D6: after five minutes of silence; a late end finds it ended."""
    anna = holder("1.50")
    call = start(anna)["call_id"]
    clock.advance(seconds=70)
    anna.call("heartbeat", call_id=call)
    clock.advance(minutes=4, seconds=59)
    assert service("settle_abandoned_calls") == {"settled": 0}
    clock.advance(seconds=1)
    assert service("settle_abandoned_calls") == {"settled": 1}
    (logged,) = anna.call("calls")["items"]
    assert (logged["status"], logged["duration_seconds"], logged["charged_micros"]) == (
        "abandoned",
        70,
        300_000,
    )
    assert anna.call("end_call", call_id=call)["charged_micros"] == 300_000
    assert anna.balance["held_micros"] == 0


def test_a_call_that_never_connected_costs_nothing(
    clock: Clock, holder: Callable[..., Person], catalog: Call, start: Call, service: Call, ledger: Call
) -> None:
    """D6: started and never heard of again, it pays no set-up fee; an end that is told later is charged as it was, once."""
    catalog("recruitment")  # 1.00 a call and 0.50 a minute
    anna = holder("5.00")
    call = start(anna, operation="vapi_call")["call_id"]
    clock.advance(minutes=10)
    assert service("settle_abandoned_calls") == {"settled": 1}
    (logged,) = anna.call("calls")["items"]
    assert (logged["status"], logged["duration_seconds"], logged["charged_micros"]) == ("abandoned", 0, 0)
    assert (ledger_uses(ledger(anna)), anna.balance["held_micros"]) == ([], 0)
    begun = clock.now - timedelta(minutes=10)
    for _ in range(2):
        late = anna.call("end_call", call_id=call, ended_at=begun + timedelta(seconds=70))
        assert (late["call_status"], late["charged_micros"]) == ("completed", 2_000_000)
    assert ledger_uses(ledger(anna)) == [-2_000_000]


def test_a_call_longer_than_its_credits_is_charged_and_leaves_a_debt(
    clock: Clock, holder: Callable[..., Person], start: Call, buy: Call
) -> None:
    """D2, D5: the call did happen although it was told to end; the next purchase pays first."""
    anna = holder("0.30")
    call = start(anna)["call_id"]
    clock.advance(minutes=4)
    assert anna.call("heartbeat", call_id=call)["status"] == "end"
    assert anna.call("end_call", call_id=call)["charged_micros"] == 600_000
    assert anna.balance["debt_micros"] == 300_000
    assert isinstance(refused(lambda: start(anna)), errors.InsufficientCredits)
    buy(anna, "usd_5")
    assert (anna.available, anna.balance["debt_micros"]) == (micros("4.70"), 0)


def test_a_call_finishes_on_credits_that_expire_meanwhile(
    clock: Clock, holder: Callable[..., Person], start: Call, give: Call
) -> None:
    """B9: what it holds is its own; it gets no more of what has expired."""
    anna = holder()
    give(anna, "10.00", expires_at=clock.now + timedelta(seconds=90))
    call = start(anna)["call_id"]
    clock.advance(seconds=50)
    assert anna.call("heartbeat", call_id=call)["status"] == "ok"
    clock.advance(seconds=50)
    beat = anna.call("heartbeat", call_id=call)
    assert (beat["status"], beat["max_duration_seconds"]) == ("ending", 120)
    clock.advance(seconds=20)
    assert anna.call("end_call", call_id=call)["charged_micros"] == 300_000
    assert (anna.available, anna.balance["debt_micros"]) == (0, 0)


def test_the_hold_of_a_call_is_the_calls_own(
    clock: Clock, holder: Callable[..., Person], start: Call
) -> None:
    """D2: it cannot be captured, released or extended beside the call."""
    anna = holder("1.00")
    call = start(anna)
    for function in ("capture_hold", "release_hold", "extend_hold"):
        refusal = refused(lambda f=function: anna.call(f, hold_id=call["hold_id"]))
        assert (type(refusal), refusal.detail) == (errors.Conflict, {"call_id": call["call_id"]})


def test_a_call_is_started_once_per_key(clock: Clock, holder: Callable[..., Person], start: Call) -> None:
    """B6: a retry is the same call; the key for another call is refused."""
    anna = holder("10.00")
    times = {"started_at": clock.now - timedelta(minutes=2), "ended_at": clock.now}
    for name, request in [("over", times), ("running", {})]:
        key = {"idempotency_key": name, "to": "+1", "metadata": {"a": 1}}
        first = start(anna, **key, **request)
        assert start(anna, **key, **request) == first | {"replayed": True}
        for other in ({"to": "+2"}, {"from": "+3"}, {"metadata": {"a": 2}}, {"started_at": clock.now}):
            if name == "running" and "started_at" in other:
                other = {"started_at": clock.now - timedelta(seconds=9)}
            refusal = refused(lambda k=key, r=request, o=other: start(anna, **k | r | o))
            assert (other, type(refusal)) == (other, errors.IdempotencyKeyReused)
    assert len(anna.call("calls")["items"]) == 2


def test_bad_calls_are_refused(
    clock: Clock, holder: Callable[..., Person], start: Call, catalog: Call
) -> None:
    """D6: every line of bad input; nothing is logged, nothing is charged."""
    catalog("ai_services")
    anna, ben = holder("100"), holder("100")
    now = clock.now
    bad: list[tuple[dict[str, Any], type[errors.CreditsError]]] = [
        ({"started_at": now, "ended_at": now - timedelta(seconds=1)}, errors.InvalidRequest),
        ({"ended_at": now}, errors.InvalidRequest),
        ({"started_at": now + timedelta(minutes=6)}, errors.InvalidRequest),
        ({"started_at": now, "ended_at": now + timedelta(minutes=6)}, errors.InvalidRequest),
        ({"started_at": now - timedelta(hours=25), "ended_at": now}, errors.InvalidRequest),
        ({"started_at": now - timedelta(hours=25)}, errors.InvalidRequest),
        ({"started_at": "-infinity"}, errors.InvalidRequest),
        ({"started_at": "noon"}, errors.InvalidRequest),
        ({"operation": "teleport"}, errors.NotFound),
        ({"operation": "gpt_4"}, errors.NotFound),  # not priced by time
        ({"operation": None}, errors.InvalidRequest),
        ({"idempotency_key": ""}, errors.InvalidRequest),
        ({"to": "1" * 101}, errors.InvalidRequest),
        ({"account_id": ben.account_id}, errors.NotAllowed),
    ]
    for wrong, error in bad:
        refusal = refused(lambda wrong=wrong: start(anna, **{"operation": "voice_call"} | wrong))
        assert (wrong, type(refusal)) == (wrong, error)
    assert anna.call("calls")["items"] == []
    call = start(anna, operation="voice_call")["call_id"]
    for function, time in [("heartbeat", "at"), ("end_call", "ended_at")]:
        for moment in (now - timedelta(seconds=1), now + timedelta(minutes=6), now + timedelta(days=9)):
            refusal = refused(lambda f=function, t=time, m=moment: anna.call(f, call_id=call, **{t: m}))
            assert (function, moment, type(refusal)) == (function, moment, errors.InvalidRequest)
        for somebody, wrong_call in [(ben, call), (anna, 10**12)]:
            refusal = refused(lambda s=somebody, f=function, w=wrong_call: s.call(f, call_id=w))
            assert (function, type(refusal)) == (function, errors.NotFound)
    assert anna.call("call", call_id=call)["call_status"] == "running"


def test_the_log_is_found_by_number_status_and_time(
    clock: Clock, holder: Callable[..., Person], start: Call
) -> None:
    """D6: newest first, page by page, each call once."""
    anna = holder("10.00")
    for n in range(6):
        begun = clock.now - timedelta(minutes=10 * n)
        reason = "failed" if n == 2 else None
        start(anna, to=f"+1 555 01{n:02}", started_at=begun, ended_at=begun, reason=reason)

    def numbers(**more: object) -> list[str]:
        return [item["to"][-1] for item in anna.call("calls", **more)["items"]]

    assert numbers() == ["0", "1", "2", "3", "4", "5"]
    assert numbers(number="0104") == ["4"]
    assert numbers(status="failed") == ["2"]
    assert numbers(to=clock.now, **{"from": clock.now - timedelta(minutes=30)}) == ["1", "2", "3"]
    first = anna.call("calls", limit=4)
    assert numbers(limit=4, cursor=first["next_cursor"]) == ["4", "5"]
