"""Running calls as their owner watches them (D4): cost, time left, what pays, and a top-up that makes the call longer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from credits_core.units import parse_credits as micros
from tests.sql.conftest import Call, Clock, Person, new_key, refused


def start(somebody: Person, **more: object) -> dict[str, Any]:
    return dict(somebody.call("start_call", operation="call", idempotency_key=new_key("call"), **more))


def watched(somebody: Person) -> dict[str, Any]:
    """The only running call of somebody, as it is watched."""
    (call,) = somebody.call("live_calls")["items"]
    return dict(call)


def test_nothing_runs(holder: Callable[..., Person]) -> None:
    told = holder("1.00").call("live_calls")
    assert (told["items"], told["running"], told["available_micros"]) == ([], 0, micros("1.00"))


def test_cost_and_time_left_follow_the_clock_without_heartbeats(
    holder: Callable[..., Person], clock: Clock
) -> None:
    """D4: 1.00 credits are 6 minutes; after 2 minutes and 10 seconds three are begun, and 3 minutes 50 are left."""
    anna = holder("1.00")
    start(anna, to="+15550100")
    clock.advance(seconds=130)
    call = watched(anna)
    assert (call["elapsed_seconds"], call["remaining_seconds"], call["level"]) == (130, 230, "ok")
    assert (call["cost_so_far_micros"], call["silent_seconds"], call["to"]) == (
        micros("0.45"),
        130,
        "+15550100",
    )
    assert watched(anna)["elapsed_seconds"] == 130


def test_levels_come_in_their_order_and_a_top_up_goes_back_to_ok(
    holder: Callable[..., Person], clock: Clock, give: Call
) -> None:
    """D4, D5: low at two minutes, ending in the last one, end at none; a top-up lengthens the same call at once."""
    anna = holder("0.60")
    call_id = start(anna)["call_id"]
    levels = []
    for seconds in (60, 60, 60, 60):
        levels.append(watched(anna)["level"])
        clock.advance(seconds=seconds)
        anna.call("heartbeat", call_id=call_id)
    assert [*levels, watched(anna)["level"]] == ["ok", "ok", "low", "ending", "end"]
    give(anna, "0.45")
    call = watched(anna)
    assert (call["call_id"], call["level"], call["remaining_seconds"]) == (call_id, "ok", 180)
    clock.advance(seconds=100)
    assert anna.call("end_call", call_id=call_id)["charged_micros"] == micros("0.90")


def test_looking_holds_and_writes_nothing(
    holder: Callable[..., Person], clock: Clock, owner_sql: Call
) -> None:
    """D2, D3: a watcher is no heartbeat; the hold stays as it was."""
    anna = holder("1.00")
    start(anna)
    before = owner_sql("select * from credits.holds") + owner_sql("select * from credits.calls")
    clock.advance(seconds=90)
    watched(anna)
    assert owner_sql("select * from credits.holds") + owner_sql("select * from credits.calls") == before


def test_what_pays_is_named_in_spend_order(
    holder: Callable[..., Person], clock: Clock, give: Call, buy: Call
) -> None:
    """D4, B8: first what expires soonest, of which a part is held; then what was bought."""
    anna = holder()
    buy(anna, "usd_5")
    give(anna, "0.20", expires_at=clock.now + timedelta(days=2), reason="A welcome")
    call_id = start(anna)["call_id"]
    clock.advance(seconds=60)
    anna.call("heartbeat", call_id=call_id)
    first, second = watched(anna)["pays"]
    assert (first["source"], first["held_micros"], first["left_micros"], first["reason"]) == (
        "adjustment", micros("0.20"), 0, "A welcome",
    )  # fmt: skip
    assert (second["source"], second["held_micros"], second["left_micros"]) == (
        "purchase", micros("0.10"), micros("4.90"),
    )  # fmt: skip


def test_running_calls_share_what_is_left(holder: Callable[..., Person], clock: Clock) -> None:
    """D3: two calls on 1.80 credits: 6 minutes each, not 12."""
    anna = holder("1.80")
    start(anna)
    start(anna)
    told = anna.call("live_calls")
    assert told["running"] == 2
    assert [call["remaining_seconds"] for call in told["items"]] == [360, 360]


def test_unlimited_accounts_pay_nothing(person: Callable[..., Person], clock: Clock) -> None:
    """E5"""
    boss = person("super_admin")
    start(boss)
    clock.advance(minutes=10)
    call = watched(boss)
    assert (call["cost_so_far_micros"], call["level"], call["unlimited"]) == (0, "ok", True)


def test_a_call_paid_by_the_allowance_costs_nothing_so_far(
    holder: Callable[..., Person], clock: Clock, service: Call, owner_sql: Call
) -> None:
    """E1: ten free minutes a month; the first minute of a call is one of them."""
    owner_sql("insert into credits.plans (catalog, code, name, position) values ('voice', 'talk', 'Talk', 1)")
    owner_sql(
        "insert into credits.plan_allowances select 'voice', 'talk', id, 600 from credits.operations where code = 'call'"
    )
    anna = holder("1.00")
    service("set_plan", account_id=anna.account_id, plan="talk")
    start(anna)
    clock.advance(seconds=50)
    call = watched(anna)
    assert (call["cost_so_far_micros"], call["held_micros"]) == (0, 0)
    assert call["allowance_seconds"] > 50


def test_other_peoples_calls_are_not_seen(
    holder: Callable[..., Person], person: Callable[..., Person]
) -> None:
    """I4, K1"""
    anna, ben = holder("1.00"), holder("1.00")
    start(anna)
    assert ben.call("live_calls")["items"] == []
    assert refused(lambda: ben.call("live_calls", account_id=anna.account_id)).code in (
        "not_allowed",
        "not_found",
    )
    assert len(person("finance").call("live_calls", account_id=anna.account_id)["items"]) == 1
