"""Spending caps (E3, E4): of an account and of an API key, by day and by month; nobody passes them, whoever is in a hurry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from credits_core import errors
from credits_core.units import parse_credits as micros
from tests.sql.conftest import Call, Clock, Person, Rows, new_key, refused
from tests.sql.programs import program

MINUTE = 60  # seconds: 0.15 credits in the catalog `voice`
TODAY_ENDS = "2027-01-05T00:00:00.000000Z"
MONTH_ENDS = "2027-02-01T00:00:00.000000Z"


@pytest.fixture
def credit(clock: Clock, service: Call) -> None:
    """A `call` costs 1.00 for each item, so that caps are easy to read."""
    operation = {"code": "call", "name": "Call", "measure": "count"}
    package = {"code": "usd_10", "name": "$10", "credits_micros": 10_000_000, "price_cents": 1000}
    components = [{"unit": "item", "price_micros": 1_000_000}]
    catalog = {"code": "items", "name": "Items", "currency": "usd", "packages": [package]}
    service("load_catalog", catalog=catalog | {"operations": [operation | {"components": components}]})


@pytest.fixture
def spender(clock: Clock, credit: None, holder: Callable[..., Person]) -> Person:
    """Somebody with 100.00."""
    return holder("100.00")


@pytest.fixture
def place(clock: Clock) -> Call:
    """`place(anna, 3)`: a hold of 3.00; answers its id."""
    return lambda somebody, quantity, **more: somebody.call(
        "place_hold", operation="call", quantity=quantity, idempotency_key=new_key("hold"), **more
    )["hold_id"]


def cap(somebody: Person, period: str, credits: str | None, **more: object) -> dict[str, Any]:
    amount = None if credits is None else micros(credits)
    return dict(somebody.call("set_cap", period=period, cap_micros=amount, **more))


def spent(somebody: Person, period: str = "day", key: int | None = None) -> int:
    """What counts against a cap now, as `limits` says."""
    (found,) = [
        row["spent_micros"]
        for row in somebody.call("limits")["caps"]
        if (row["period"], row["api_key_id"]) == (period, key)
    ]
    return int(found)


def capped(run: Callable[[], object]) -> dict[str, Any]:
    """The detail of the refusal that a cap was the reason of."""
    refusal = refused(run)
    assert isinstance(refusal, errors.LimitReached)
    assert refusal.http_status == 429
    return refusal.detail


# --- the rule ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("period", "ends"), [("day", TODAY_ENDS), ("month", MONTH_ENDS)])
def test_a_cap_refuses_what_would_pass_it(spender: Person, ledger: Call, period: str, ends: str) -> None:
    """E3: with what was spent, the cap and when it begins anew; up to the cap itself everything goes."""
    cap(spender, period, "5.00")
    spender.use("call", 3)
    detail = capped(lambda: spender.use("call", "2.000001"))
    assert detail == {
        "cap_micros": micros("5"),
        "spent_micros": micros("3"),
        "period": period,
        "resets_at": ends,
        "api_key_id": None,
    }
    spender.use("call", 2)
    assert capped(lambda: spender.use("call", "0.000001"))["spent_micros"] == micros("5")
    assert spender.use("call", 0)["charged_micros"] == 0
    assert (spender.available, spent(spender, period), len(ledger(spender))) == (
        micros("95"),
        micros("5"),
        4,
    )


def test_the_narrowest_cap_decides_and_refusals_count_nowhere(spender: Person) -> None:
    """E3: day and month together; what the day refuses is not spent of the month."""
    cap(spender, "day", "5.00")
    cap(spender, "month", "6.00")
    spender.use("call", 4)
    assert capped(lambda: spender.use("call", 2))["period"] == "day"
    assert (spent(spender, "day"), spent(spender, "month")) == (micros("4"), micros("4"))
    cap(spender, "day", "50.00")
    assert capped(lambda: spender.use("call", 3))["period"] == "month"
    assert (spent(spender, "day"), spent(spender, "month")) == (micros("4"), micros("4"))


def test_a_cap_of_nothing_stops_all_spending(spender: Person) -> None:
    """E3: 0 is a cap; what costs nothing goes on."""
    told = cap(spender, "day", "0")
    assert told["caps"][0]["level"] == "reached"
    assert capped(lambda: spender.use("call", 1))["cap_micros"] == 0
    assert spender.use("call", 0)["charged_micros"] == 0
    assert cap(spender, "day", None)["caps"] == []
    assert spender.use("call", 1)["charged_micros"] == micros("1")


def test_a_quote_knows_the_caps(spender: Person) -> None:
    """E4: allowed or not, why, and what is left; asking spends nothing."""
    cap(spender, "day", "5.00")
    spender.use("call", 4)
    fine = spender.call("check_use", operation="call", quantity=1)
    assert (fine["allowed"], fine["cap"]) == (True, None)
    told = spender.call("check_use", operation="call", quantity=2)
    assert (told["allowed"], told["reason"], told["pays_from"]) == (False, "limit_reached", None)
    assert told["cap"] == capped(lambda: spender.use("call", 2))
    assert spent(spender) == micros("4")


def test_limits_show_how_near_a_cap_is(spender: Person) -> None:
    """E2: ok, warning from 80 %, reached."""
    cap(spender, "day", "10.00")
    for quantity, level in [("7.999999", "ok"), ("0.000001", "warning"), ("2", "reached")]:
        spender.use("call", quantity)
        (row,) = spender.call("limits")["caps"]
        assert (quantity, row["level"]) == (quantity, level)
    assert row == {
        "api_key_id": None,
        "period": "day",
        "cap_micros": micros("10"),
        "spent_micros": micros("10"),
        "resets_at": TODAY_ENDS,
        "level": "reached",
    }


def test_the_same_key_counts_once(spender: Person) -> None:
    """B6: a retry of the charge that reached the cap is answered, not refused."""
    cap(spender, "day", "5.00")
    first = spender.use("call", 5, "k1")
    assert spender.use("call", 5, "k1") == first | {"replayed": True}
    assert spent(spender) == micros("5")


def test_a_purchase_an_adjustment_and_an_expiry_are_no_spending(
    clock: Clock, spender: Person, give: Call, buy: Call, service: Call
) -> None:
    """E3: only uses count."""
    cap(spender, "month", "5.00")
    buy(spender, "usd_10")
    give(spender, "10.00", expires_at=clock.now + timedelta(days=1))
    give(spender, "-3.00")
    clock.advance(days=2)
    service("expire_grants")
    assert spent(spender, "month") == 0
    assert cap(spender, "month", "4.00")["caps"][0]["spent_micros"] == 0


# --- what was before ---------------------------------------------------------------------------------------------


def test_what_was_spent_before_the_cap_counts(clock: Clock, spender: Person, service: Call) -> None:
    """E3: of the running day and month; what was reversed does not, whenever that was done."""
    spender.use("call", 50)
    clock.advance(days=1)
    undone = spender.use("call", 20)["transaction_id"]
    clock.advance(days=1)
    service("reverse", transaction_id=undone, reason="a mistake", idempotency_key="r")
    spender.use("call", 3)
    cap(spender, "day", "4.00")
    cap(spender, "month", "60.00")
    assert (spent(spender, "day"), spent(spender, "month")) == (micros("3"), micros("53"))
    assert capped(lambda: spender.use("call", 2))["spent_micros"] == micros("3")


def test_what_is_held_when_the_cap_is_set_counts(spender: Person, place: Call) -> None:
    """E3, D2: whether it is captured or released later."""
    spender.use("call", 2)
    first, second = place(spender, 3), place(spender, 4)
    cap(spender, "day", "10.00")
    assert spent(spender) == micros("9")
    spender.call("capture_hold", hold_id=first, quantity=1)
    assert spent(spender) == micros("7")
    spender.call("release_hold", hold_id=second)
    assert spent(spender) == micros("3")


def test_a_cap_set_again_counts_the_same(clock: Clock, spender: Person, place: Call, service: Call) -> None:
    """E3: whatever happened, counting anew gives what counting along gave."""
    cap(spender, "day", "50.00")
    cap(spender, "month", "50.00")
    over_midnight = place(spender, 5, expires_in_seconds=86_400)
    clock.advance(hours=20)
    spender.use("call", 1)
    spender.use("call", 2, occurred_at=clock.now - timedelta(days=1))  # late, of yesterday
    captured = spender.call("capture_hold", hold_id=over_midnight, quantity=4)["transaction_id"]
    undone = spender.use("call", 3)["transaction_id"]
    service("reverse", transaction_id=undone, reason="a mistake", idempotency_key="r1")
    place(spender, 6)
    before = (spent(spender, "day"), spent(spender, "month"))
    assert before == (micros("7"), micros("13"))  # today 1 and 6 held; of the month also 2 and 4
    cap(spender, "day", "50.00")
    cap(spender, "month", "50.00")
    assert (spent(spender, "day"), spent(spender, "month")) == before
    service("reverse", transaction_id=captured, reason="a mistake", idempotency_key="r2")
    assert (spent(spender, "day"), spent(spender, "month")) == (micros("7"), micros("9"))


def test_a_lowered_cap_refuses_from_now_on(spender: Person) -> None:
    """E3: what is spent stays spent; nothing is taken back."""
    cap(spender, "day", "10.00")
    spender.use("call", 8)
    (row,) = cap(spender, "day", "5.00")["caps"]
    assert (row["spent_micros"], row["level"]) == (micros("8"), "reached")
    assert capped(lambda: spender.use("call", 1))["spent_micros"] == micros("8")


# --- holds, calls, reversals -------------------------------------------------------------------------------------


def test_holds_count_and_give_back(clock: Clock, spender: Person, place: Call, service: Call) -> None:
    """E3, D2: what is held is spoken for; captured less, released or expired it is free again."""
    cap(spender, "day", "10.00")
    hold = place(spender, 6)
    assert spent(spender) == micros("6")
    assert capped(lambda: place(spender, 5))["spent_micros"] == micros("6")
    assert capped(lambda: spender.use("call", 5))["spent_micros"] == micros("6")
    assert capped(lambda: spender.call("extend_hold", hold_id=hold, quantity=11))["spent_micros"] == micros(
        "6"
    )
    spender.call("extend_hold", hold_id=hold, quantity=8)
    assert spent(spender) == micros("8")
    spender.call("capture_hold", hold_id=hold, quantity=2)
    assert spent(spender) == micros("2")
    released = place(spender, 8)
    spender.call("release_hold", hold_id=released)
    spender.call("release_hold", hold_id=released)
    place(spender, 8, expires_in_seconds=60)
    assert spent(spender) == micros("10")
    clock.advance(minutes=2)
    service("expire_holds")
    assert spent(spender) == micros("2")


def test_a_capture_beyond_hold_and_cap_is_charged_and_counted_everywhere(
    spender: Person, place: Call
) -> None:
    """E3, D2: the work was done; day and month both know, and refuse what comes next."""
    cap(spender, "day", "5.00")
    cap(spender, "month", "50.00")
    hold = place(spender, 4)
    assert spender.call("capture_hold", hold_id=hold, quantity=9)["charged_micros"] == micros("9")
    assert (spent(spender, "day"), spent(spender, "month")) == (micros("9"), micros("9"))
    assert capped(lambda: spender.use("call", 1))["spent_micros"] == micros("9")


def test_a_reversal_gives_back(clock: Clock, spender: Person, place: Call, service: Call) -> None:
    """E3, B7: to the day it was spent on."""
    cap(spender, "day", "10.00")
    cap(spender, "month", "20.00")
    first, second = spender.use("call", 4), spender.use("call", 5)
    service("reverse", transaction_id=first["transaction_id"], reason="a mistake", idempotency_key="r1")
    assert (spent(spender, "day"), spent(spender, "month")) == (micros("5"), micros("5"))
    clock.advance(days=1)
    spender.use("call", 3)
    service("reverse", transaction_id=second["transaction_id"], reason="a mistake", idempotency_key="r2")
    assert (spent(spender, "day"), spent(spender, "month")) == (micros("3"), micros("3"))


def test_a_running_call_ends_where_the_cap_does(clock: Clock, holder: Callable[..., Person]) -> None:
    """E3, D3: with 10.00 there and a cap of 0.45: three minutes, and no second call beside it."""
    anna = holder("10.00")
    cap(anna, "day", "0.45")
    call = anna.call("start_call", operation="call", idempotency_key="c1")
    assert call["max_duration_seconds"] == 180
    clock.advance(minutes=2)
    assert anna.call("heartbeat", call_id=call["call_id"])["max_duration_seconds"] == 180
    assert capped(lambda: anna.call("start_call", operation="call", idempotency_key="c2"))["period"] == "day"
    clock.advance(seconds=30)
    assert anna.call("end_call", call_id=call["call_id"])["charged_micros"] == 450_000
    assert spent(anna) == 450_000


def test_a_call_that_is_over_is_refused_beyond_the_cap(clock: Clock, holder: Callable[..., Person]) -> None:
    """E3: nothing is recorded of it."""
    anna = holder("10.00")
    cap(anna, "day", "0.20")
    times = {"started_at": clock.now - timedelta(minutes=5), "ended_at": clock.now - timedelta(minutes=3)}
    assert capped(lambda: anna.call("start_call", operation="call", idempotency_key="c1", **times))
    assert anna.call("calls")["items"] == []
    assert spent(anna) == 0


# --- when it begins anew -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "midnight"),
    [
        ("UTC", "2027-01-05T00:00Z"),
        ("Asia/Tokyo", "2027-01-04T15:00Z"),
        ("America/New_York", "2027-01-05T05:00Z"),
        ("Asia/Kathmandu", "2027-01-04T18:15Z"),
        ("Europe/Berlin", "2027-03-28T22:00Z"),  # the end of the day that has 23 hours
        ("Europe/Berlin", "2027-10-31T23:00Z"),  # and of the one that has 25
    ],
)
def test_a_day_ends_at_midnight_where_the_account_is(
    clock: Clock, spender: Person, zone: str, midnight: str
) -> None:
    """E3: an instant before it the cap is reached, at the instant the day is new."""
    end = datetime.fromisoformat(midnight).astimezone(UTC)
    spender.call("set_account_settings", time_zone=zone)
    cap(spender, "day", "5.00")
    clock.set(end - timedelta(hours=22))
    spender.use("call", 5)
    clock.set(end - timedelta(microseconds=1))
    assert capped(lambda: spender.use("call", 1))["resets_at"] == end.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    clock.set(end)
    assert spent(spender) == 0
    spender.use("call", 5)
    assert capped(lambda: spender.use("call", 1))


def test_the_month_of_a_cap_begins_on_the_anchor_day(clock: Clock, spender: Person, service: Call) -> None:
    """E3: on the same day as the month of the plan."""
    service("set_account_settings", account_id=spender.account_id, anchor_day=15)
    cap(spender, "month", "5.00")
    spender.use("call", 5)
    assert capped(lambda: spender.use("call", 1))["resets_at"] == "2027-01-15T00:00:00.000000Z"
    clock.set(datetime(2027, 1, 15, tzinfo=UTC))
    assert spender.use("call", 5)["charged_micros"] == micros("5")


def test_moving_to_another_time_zone_frees_no_cap(spender: Person) -> None:
    """E3: it is Monday in both, and 5.00 are spent of it."""
    cap(spender, "day", "5.00")
    cap(spender, "month", "6.00")
    spender.use("call", 5)
    for zone in ("Asia/Tokyo", "America/New_York"):
        spender.call("set_account_settings", time_zone=zone)
        assert (zone, spent(spender, "day"), spent(spender, "month")) == (zone, micros("5"), micros("5"))
        assert capped(lambda: spender.use("call", 1))


# --- API keys ----------------------------------------------------------------------------------------------------


def test_a_cap_of_a_key_stops_that_key_alone(spender: Person, service: Call) -> None:
    """E3, J3: its owner and its other keys go on."""
    first, second = program(service, spender, "use"), program(service, spender, "use")
    cap(spender, "day", "5.00", api_key_id=first.key_id)
    first.use("call", 4)
    detail = capped(lambda: first.use("call", 2))
    assert detail == {
        "cap_micros": micros("5"),
        "spent_micros": micros("4"),
        "period": "day",
        "resets_at": TODAY_ENDS,
        "api_key_id": first.key_id,
    }
    second.use("call", 20)
    spender.use("call", 30)
    assert spent(spender, key=first.key_id) == micros("4")
    first.use("call", 1)
    assert capped(lambda: first.use("call", 1))


def test_what_keys_spend_counts_for_the_account(spender: Person, service: Call) -> None:
    """E3: the account's cap holds for all of them together."""
    first, second = program(service, spender, "use"), program(service, spender, "use")
    cap(spender, "day", "10.00")
    cap(spender, "day", "8.00", api_key_id=first.key_id)
    first.use("call", 6)
    second.use("call", 3)
    assert capped(lambda: first.use("call", 2))["api_key_id"] is None
    assert capped(lambda: spender.use("call", 2))["spent_micros"] == micros("9")
    assert (spent(spender), spent(spender, key=first.key_id)) == (micros("9"), micros("6"))


def test_what_a_key_spent_before_its_cap_counts(
    clock: Clock, spender: Person, service: Call, place: Call
) -> None:
    """E3: its uses and what it holds; not what others did, and not what was reversed."""
    first, second = program(service, spender, "use", "hold"), program(service, spender, "use", "hold")
    first.use("call", 3)
    undone = first.use("call", 4)["transaction_id"]
    service("reverse", transaction_id=undone, reason="a mistake", idempotency_key="r")
    second.use("call", 5)
    held, captured = place(first, 2), place(first, 6)
    spender.call("capture_hold", hold_id=captured, quantity=1)  # by somebody else; the key held it
    place(second, 7)
    cap(spender, "day", "50.00", api_key_id=first.key_id)
    assert spent(spender, key=first.key_id) == micros("6")
    spender.call("release_hold", hold_id=held)
    assert spent(spender, key=first.key_id) == micros("4")


def test_a_capture_by_another_counts_for_the_key_that_held(
    spender: Person, service: Call, place: Call
) -> None:
    """E3, D2: and its reversal gives back to that key."""
    key = program(service, spender, "use", "hold")
    cap(spender, "day", "10.00", api_key_id=key.key_id)
    captured = spender.call("capture_hold", hold_id=place(key, 8), quantity=5)
    assert spent(spender, key=key.key_id) == micros("5")
    service("reverse", transaction_id=captured["transaction_id"], reason="a mistake", idempotency_key="r")
    assert spent(spender, key=key.key_id) == 0


def test_holds_and_calls_of_a_key_stop_at_its_cap(
    clock: Clock, holder: Callable[..., Person], service: Call
) -> None:
    """E3, D3: as its charges do."""
    anna = holder("10.00")
    key = program(service, anna, "use", "hold")
    cap(anna, "day", "0.30", api_key_id=key.key_id)
    assert key.call("start_call", operation="call", idempotency_key="c1")["max_duration_seconds"] == 120
    hold = {"operation": "call", "quantity": 60 * 2, "idempotency_key": "h1"}
    assert capped(lambda: key.call("place_hold", **hold))["api_key_id"] == key.key_id
    assert anna.call("place_hold", **hold)["held_micros"] == 300_000


# --- everybody at once, and who may ------------------------------------------------------------------------------


def test_twenty_at_once_never_pass_a_cap(spender: Person, service: Call, ledger: Call) -> None:
    """E3, B5: of 60 charges of 1.00 exactly as many succeed as the caps allow."""
    key = program(service, spender, "use")
    cap(spender, "day", "15.00")
    cap(spender, "month", "40.00")
    cap(spender, "day", "7.00", api_key_id=key.key_id)

    def use(n: int) -> type:
        try:
            return type((key if n % 2 else spender).use("call", 1))
        except errors.CreditsError as refusal:
            return type(refusal)

    with ThreadPoolExecutor(20) as threads:
        answers = Counter(threads.map(use, range(60)))
    assert answers == {dict: 15, errors.LimitReached: 45}
    assert (spent(spender), spent(spender, "month")) == (micros("15"), micros("15"))
    by_key = [row for row in ledger(spender) if row["actor"] == f"key:{key.key_id}"]
    assert spent(spender, key=key.key_id) == len(by_key) * micros("1") <= micros("7")


def test_a_batch_stops_at_the_cap_and_goes_on_with_what_fits(spender: Person) -> None:
    """E3: event by event, in order, as one by one."""
    cap(spender, "day", "5.00")
    events = [
        {"operation": "call", "quantity": quantity, "idempotency_key": new_key()}
        for quantity in (3, 3, 1, 2, 0, 1, 1)
    ]
    results = spender.call("use_batch", events=events)["results"]
    charged = [result["charged_micros"] // 1_000_000 for result in results]
    assert charged == [3, 0, 1, 0, 0, 1, 0]
    refusals = [result["error"] for result in results if result["error"]]
    assert [error["code"] for error in refusals] == ["limit_reached"] * 3
    assert refusals[0]["detail"]["spent_micros"] == micros("3")
    assert spent(spender) == micros("5")


def test_a_batch_of_a_key_counts_for_the_key(spender: Person, service: Call) -> None:
    """E3, J3: as its single charges do."""
    key = program(service, spender, "use")
    cap(spender, "month", "2.00", api_key_id=key.key_id)
    events = [{"operation": "call", "quantity": 1, "idempotency_key": new_key()} for _ in range(3)]
    results = key.call("use_batch", events=events)["results"]
    assert [result["status"] for result in results] == ["charged", "charged", "error"]


def test_a_super_admin_has_nothing_to_cap(credit: None, person: Callable[..., Person], ledger: Call) -> None:
    """E5: charged nothing, so no cap is ever reached; the full price is recorded."""
    root = person("super_admin")
    cap(root, "day", "1.00")
    assert root.use("call", 500)["charged_micros"] == 0
    assert root.call("check_use", operation="call", quantity=500)["reason"] == "unlimited"
    assert spent(root) == 0
    assert ledger(root)[0]["rated_micros"] == micros("500")


def test_caps_are_set_by_the_owner_and_by_administrators(
    spender: Person, holder: Callable[..., Person], person: Callable[..., Person], service: Call
) -> None:
    """E3, J3: nobody else, and no key; of keys only those of the account."""
    ben, admin = holder(), person("admin")
    key = program(service, spender, "read", "use", "hold", "purchase")
    for somebody, error in [
        (ben, errors.NotAllowed),
        (person("finance"), errors.NotAllowed),
        (key, errors.NotAllowed),
    ]:
        refusal = refused(lambda s=somebody: cap(s, "day", "1.00", account_id=spender.account_id))
        assert type(refusal) is error
    for wrong in ("week", "", "DAY"):
        assert isinstance(refused(lambda wrong=wrong: cap(spender, wrong, "1.00")), errors.InvalidRequest)
    below = refused(lambda: spender.call("set_cap", period="day", cap_micros=-1))
    assert isinstance(below, errors.InvalidRequest)
    bens = program(service, ben, "use")
    for wrong_key in (bens.key_id, 10**12, -1):
        refusal = refused(lambda k=wrong_key: cap(spender, "day", "1.00", api_key_id=k))
        assert (wrong_key, type(refusal)) == (wrong_key, errors.NotFound)
    assert spender.call("limits")["caps"] == []
    assert cap(admin, "day", "1.00", account_id=spender.account_id)["caps"][0]["cap_micros"] == micros("1")


def test_without_caps_charges_are_fast_again(spender: Person, owner_sql: Callable[..., Rows]) -> None:
    """E3: the account carries no mark once the last cap is gone."""
    cap(spender, "day", "5.00")
    cap(spender, "month", "5.00")
    flag = "select has_limits from credits.accounts where id = %s"
    cap(spender, "day", None)
    assert owner_sql(flag, spender.account_id) == [{"has_limits": True}]
    cap(spender, "month", None)
    assert owner_sql(flag, spender.account_id) == [{"has_limits": False}]
    assert spender.use("call", 50)["charged_micros"] == micros("50")
