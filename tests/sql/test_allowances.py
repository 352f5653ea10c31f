"""Plans (E1, E2): what is included each month pays first, credits pay the rest, and every row says which of them did."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from credits_core import errors
from credits_core.units import parse_credits as micros
from tests.sql.conftest import Call, Clock, Person, Rows, new_key, refused

INSTANT = timedelta(microseconds=1)
# Ten minutes of calls a month; beyond them 0.15 for each minute begun.
VOICE_PLAN: dict[str, Any] = {
    "code": "voice_plan",
    "name": "Voice with minutes included",
    "currency": "usd",
    "packages": [],
    "operations": [
        {
            "code": "call",
            "name": "Call",
            "measure": "seconds",
            "components": [{"unit": "minute", "price_micros": 150_000, "initial": 60, "following": 60}],
        },
        {
            "code": "sms",
            "name": "SMS",
            "measure": "count",
            "components": [{"unit": "message", "price_micros": 500_000}],
        },
    ],
    "plans": [
        {"code": "basic", "name": "Basic", "allowances": {"call": 600, "sms": 3}},
        {"code": "plus", "name": "Plus", "allowances": {"call": 6000}},
    ],
}


@pytest.fixture
def subscriber(
    clock: Clock, catalog: Call, holder: Callable[..., Person], service: Call
) -> Callable[..., Person]:
    """`subscriber("10.00")`: somebody on the plan `free`, with 100 requests a month; more cost 1.00 each."""
    catalog("metered_plan")

    def make(credits: str = "0", plan: str = "free", **settings: object) -> Person:
        somebody = holder(credits)
        if settings:
            service("set_account_settings", account_id=somebody.account_id, **settings)
        service("set_plan", account_id=somebody.account_id, plan=plan)
        return somebody

    return make


@pytest.fixture
def caller(clock: Clock, holder: Callable[..., Person], service: Call) -> Callable[..., Person]:
    """`caller("1.00")`: somebody on the plan `basic` of VOICE_PLAN."""
    service("load_catalog", catalog=VOICE_PLAN)

    def make(credits: str = "0") -> Person:
        somebody = holder(credits)
        service("set_plan", account_id=somebody.account_id, plan="basic")
        return somebody

    return make


def included(somebody: Person, operation: str = "api_request") -> dict[str, Any]:
    """What `limits` says of the allowance for an operation."""
    found = {row["operation"]: row for row in somebody.call("limits")["allowances"]}
    return dict(found[operation])


def used(somebody: Person, operation: str = "api_request") -> float:
    return float(included(somebody, operation)["used"])


def iso(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def paid_by(rows: Rows) -> list[tuple[str, int | None, int, int | None]]:
    """Of each use: what paid, how much the allowance paid of the quantity, what was charged, and the full price."""
    return [
        (row["paid_by"] or "credits", row["allowance_quantity"], -row["amount_micros"], row["rated_micros"])
        for row in rows
        if row["kind"] == "use"
    ]


# --- what pays ---------------------------------------------------------------------------------------------------


def test_the_allowance_pays_first_then_both_then_credits(
    subscriber: Callable[..., Person], ledger: Call
) -> None:
    """E1: with 3 left, 5 requests take the 3 and 2.00; the rows tell which paid, and how much."""
    anna = subscriber("10.00")
    charged = [anna.use("api_request", quantity)["charged_micros"] for quantity in (97, 5, 1)]
    assert charged == [0, micros("2"), micros("1")]
    assert paid_by(ledger(anna)) == [
        ("allowance", 97, 0, micros("97")),
        ("mixed", 3, micros("2"), micros("5")),
        ("credits", None, micros("1"), None),
    ]
    assert (anna.available, anna.balance["total_used_micros"]) == (micros("7"), micros("3"))


def test_the_last_unit_and_a_fraction_of_one_count_exactly(
    subscriber: Callable[..., Person], ledger: Call
) -> None:
    """E1: 99.5 of 100 used, half a unit is included, and a half is charged."""
    anna = subscriber("1.00")
    anna.use("api_request", "99.5")
    assert anna.use("api_request", 1)["charged_micros"] == 500_000
    assert paid_by(ledger(anna))[-1] == ("mixed", 0.5, 500_000, 1_000_000)
    assert included(anna)["remaining"] == 0


def test_explain_tells_what_paid(subscriber: Callable[..., Person]) -> None:
    """G5: the gate, the units it paid, the full price and the grants drawn on."""
    anna = subscriber("10.00")
    for quantity, gate, units, charged in [
        (98, "allowance", 98, "0"),
        (4, "mixed", 2, "2"),
        (3, "credits", None, "3"),
    ]:
        told = anna.call("explain", transaction_id=anna.use("api_request", quantity)["transaction_id"])
        assert (told["paid_by"], told["allowance_quantity"], told["quantity"]) == (gate, units, quantity)
        assert told["rated_micros"] == (None if gate == "credits" else micros(str(quantity)))
        assert sum(entry["amount_micros"] for entry in told["entries"]) == -micros(charged)
        assert told["posted_before_micros"] - told["posted_after_micros"] == micros(charged)


def test_a_refused_charge_keeps_the_allowance(subscriber: Callable[..., Person], ledger: Call) -> None:
    """E1, B5: 3 left and 1.00: ten are refused for what the credits lack, and the 3 are still there."""
    anna = subscriber("1.00")
    anna.use("api_request", 97)
    refusal = refused(lambda: anna.use("api_request", 10))
    assert isinstance(refusal, errors.InsufficientCredits)
    assert refusal.detail == {"needed_micros": micros("7"), "available_micros": micros("1")}
    assert used(anna) == 97
    assert anna.use("api_request", 4)["charged_micros"] == micros("1")
    assert len(ledger(anna)) == 3


def test_the_same_key_takes_the_allowance_once(subscriber: Callable[..., Person]) -> None:
    """B6: the answer is the first one, and nothing more of the month is gone."""
    anna = subscriber("10.00")
    first = anna.use("api_request", 60, "k1")
    assert anna.use("api_request", 60, "k1") == first | {"replayed": True}
    assert isinstance(refused(lambda: anna.use("api_request", 61, "k1")), errors.IdempotencyKeyReused)
    assert used(anna) == 60


def test_an_allowance_is_for_its_operation_alone(caller: Callable[..., Person]) -> None:
    """E1: seconds and messages each have their own; the other's is not touched."""
    anna = caller("10.00")
    assert anna.use("sms", 5)["charged_micros"] == micros("1")
    assert anna.use("call", 90)["charged_micros"] == 0
    assert (used(anna, "sms"), used(anna, "call")) == (3, 90)


def test_the_rest_is_rated_as_if_it_were_all(caller: Callable[..., Person]) -> None:
    """E1, C2: 10 minutes included, 12:10 used: what is beyond is billed by the minute begun."""
    anna = caller("10.00")
    anna.use("call", 590)
    assert anna.use("call", 10 + 130)["charged_micros"] == 450_000


def test_a_batch_goes_from_the_allowance_to_credits(subscriber: Callable[..., Person], ledger: Call) -> None:
    """E1: event by event, as one by one."""
    anna = subscriber("3.00")
    events = [
        {"operation": "api_request", "quantity": quantity, "idempotency_key": new_key()}
        for quantity in (60, 41, 2, 5, 0)
    ]
    results = anna.call("use_batch", events=events)["results"]
    assert [result["status"] for result in results] == ["charged", "charged", "charged", "error", "charged"]
    assert [result["charged_micros"] for result in results] == [0, micros("1"), micros("2"), 0, 0]
    assert [row[0] for row in paid_by(ledger(anna))] == ["allowance", "mixed", "credits", "credits"]


def test_everybody_at_once_takes_exactly_what_is_included(
    subscriber: Callable[..., Person], ledger: Call
) -> None:
    """E1, B5: 30 uses of 7 on 100 units and 20.00: 17 fit, and the last of them is paid by both."""
    anna = subscriber("20.00")

    def use(_: int) -> bool:
        try:
            anna.use("api_request", 7)
        except errors.InsufficientCredits:
            return False
        return True

    with ThreadPoolExecutor(15) as threads:
        done = list(threads.map(use, range(30)))
    assert done.count(True) == 17
    rows = paid_by(ledger(anna))
    assert sum(row[1] or 0 for row in rows) == used(anna) == 100
    assert anna.available == micros("20") - sum(row[2] for row in rows) == micros("1")


def test_a_super_admin_uses_no_allowance(
    subscriber: Callable[..., Person], person: Callable[..., Person], service: Call, ledger: Call
) -> None:
    """E5: metered at full price, charged nothing, whatever the plan."""
    root = person("super_admin")
    service("set_plan", account_id=root.account_id, plan="free")
    assert root.use("api_request", 130)["charged_micros"] == 0
    assert paid_by(ledger(root)) == [("unlimited", None, 0, micros("130"))]
    assert used(root) == 0
    quote = root.call("check_use", operation="api_request", quantity=130)
    assert (quote["reason"], quote["pays_from"], quote["pays"]["allowance_quantity"]) == (
        "unlimited",
        "unlimited",
        0,
    )


# --- the quote ---------------------------------------------------------------------------------------------------


def test_a_quote_says_what_would_pay(subscriber: Callable[..., Person], give: Call, buy: Call) -> None:
    """C4, E4: allowance, promotional and paid credits, in the order in which they would go."""
    anna = subscriber()
    give(anna, "5.00")
    buy(anna, "starter")  # 100.00, paid
    anna.use("api_request", 90)
    for quantity, gate, units, promotional, paid in [
        (10, "allowance", 10, "0", "0"),
        (14, "mixed", 10, "4", "0"),
        (40, "mixed", 10, "5", "25"),
        (0, "credits", 0, "0", "0"),
    ]:
        quote = anna.call("check_use", operation="api_request", quantity=quantity)
        assert (quantity, quote["allowed"], quote["pays_from"]) == (quantity, True, gate)
        assert quote["pays"] == {
            "allowance_quantity": units,
            "promotional_micros": micros(promotional),
            "paid_micros": micros(paid),
        }
        assert quote["cost_micros"] == micros(promotional) + micros(paid)
        assert quote["reason"] == ("allowance" if gate == "allowance" else "enough_credits")
        assert quote["covers_quantity"] == 10 + 105
    short = anna.call("check_use", operation="api_request", quantity=116)
    assert (short["allowed"], short["reason"], short["pays_from"]) == (False, "insufficient_credits", None)
    assert (short["cost_micros"], short["available_micros"]) == (micros("106"), micros("105"))


def test_a_quote_takes_nothing_and_agrees_with_the_charge(subscriber: Callable[..., Person]) -> None:
    """C4: asked as often as one likes; what it says is what a charge then does."""
    anna = subscriber("50.00")
    for quantity in (0, 0.5, 70, 29.5, 10, 40):
        quotes = [anna.call("check_use", operation="api_request", quantity=str(quantity)) for _ in range(2)]
        assert quotes[0] == quotes[1]
        charge = anna.use("api_request", quantity)
        told = anna.call("explain", transaction_id=charge["transaction_id"])
        assert (quantity, quotes[0]["cost_micros"]) == (quantity, charge["charged_micros"])
        assert (quantity, quotes[0]["pays_from"]) == (quantity, told["paid_by"])


def test_limits_tell_how_much_is_used_and_when_to_worry(subscriber: Callable[..., Person]) -> None:
    """E2: ok, warning from 80 %, reached from 100 %."""
    anna = subscriber("10.00")
    for quantity, level in [
        ("79.999999", "ok"),
        ("0.000001", "warning"),
        ("19.5", "warning"),
        ("2", "reached"),
    ]:
        anna.use("api_request", quantity)
        assert (quantity, included(anna)["level"]) == (quantity, level)
    told = anna.call("limits")
    assert (told["plan"], told["time_zone"], told["anchor_day"], told["caps"]) == ("free", "UTC", 1, [])
    assert included(anna) == {
        "operation": "api_request",
        "name": "API request",
        "included": 100,
        "used": 100,
        "remaining": 0,
        "level": "reached",
        "resets_at": "2027-02-01T00:00:00.000000Z",
    }


# --- months ------------------------------------------------------------------------------------------------------

# The zone, the anchor day, and instants at which one month ends and the next begins. The clock starts on 2027-01-04.
MONTHS: list[tuple[str, int, list[str]]] = [
    ("UTC", 1, ["2027-02-01T00:00Z", "2027-03-01T00:00Z"]),
    ("UTC", 4, ["2027-02-04T00:00Z", "2027-03-04T00:00Z"]),
    ("UTC", 5, ["2027-01-05T00:00Z", "2027-02-05T00:00Z"]),
    ("UTC", 31, ["2027-01-31T00:00Z", "2027-02-28T00:00Z", "2027-03-31T00:00Z", "2027-04-30T00:00Z"]),
    ("UTC", 30, ["2028-01-30T00:00Z", "2028-02-29T00:00Z", "2028-03-30T00:00Z"]),
    ("UTC", 29, ["2027-02-28T00:00Z", "2027-03-29T00:00Z", "2028-02-29T00:00Z", "2028-03-29T00:00Z"]),
    ("UTC", 28, ["2028-02-28T00:00Z", "2028-03-28T00:00Z"]),
    ("Asia/Tokyo", 1, ["2027-01-31T15:00Z", "2027-02-28T15:00Z"]),
    ("America/New_York", 1, ["2027-02-01T05:00Z", "2027-04-01T04:00Z"]),
    ("Asia/Kathmandu", 15, ["2027-01-14T18:15Z", "2027-02-14T18:15Z"]),
    ("Europe/Berlin", 1, ["2027-03-31T22:00Z", "2027-10-31T23:00Z"]),  # the first has 31 days less an hour
    ("Europe/Berlin", 28, ["2027-03-27T23:00Z", "2027-04-27T22:00Z"]),  # on the very day the clocks change
    ("America/New_York", 7, ["2027-11-07T04:00Z", "2027-12-07T05:00Z"]),
    ("Africa/Cairo", 30, ["2027-04-29T22:00Z", "2027-05-29T21:00Z"]),  # that midnight does not exist
]


@pytest.mark.parametrize(("zone", "day", "ends"), MONTHS)
def test_the_month_begins_on_its_day_in_the_zone_of_the_account(
    clock: Clock, subscriber: Callable[..., Person], zone: str, day: int, ends: list[str]
) -> None:
    """E1: an instant before its end the month is used up, at the instant it is a new one."""
    anna = subscriber("0", time_zone=zone, anchor_day=day)
    for end in map(datetime.fromisoformat, ends):
        clock.set(end - INSTANT)
        assert included(anna)["resets_at"] == iso(end)
        anna.use("api_request", included(anna)["remaining"])
        assert isinstance(refused(lambda: anna.use("api_request", 1)), errors.InsufficientCredits)
        clock.set(end)
        assert (zone, day, used(anna)) == (zone, day, 0)
        assert anna.use("api_request", 1)["charged_micros"] == 0


def test_late_usage_counts_in_the_month_it_happened_in(
    clock: Clock, subscriber: Callable[..., Person], owner_sql: Callable[..., Rows]
) -> None:
    """E1, D6: what is sent in February of January is paid by what was left of January."""
    anna = subscriber("10.00")
    in_january = clock.now
    anna.use("api_request", 95)
    clock.set(datetime(2027, 2, 2, tzinfo=UTC))
    assert anna.use("api_request", 10, occurred_at=in_january)["charged_micros"] == micros("5")
    assert used(anna) == 0


def test_moving_to_another_time_zone_brings_no_second_month(
    clock: Clock, subscriber: Callable[..., Person]
) -> None:
    """E1: people choose their zone themselves; what is used of January stays used wherever they say they are."""
    anna = subscriber()
    anna.use("api_request", 100)
    for zone in ("Asia/Tokyo", "America/Los_Angeles", "Pacific/Kiritimati", "UTC"):
        anna.call("set_account_settings", time_zone=zone)
        assert (zone, used(anna)) == (zone, 100)
        assert isinstance(refused(lambda: anna.use("api_request", 1)), errors.InsufficientCredits)
    clock.set(datetime(2027, 1, 31, 20, tzinfo=UTC))  # February in Tokyo
    anna.call("set_account_settings", time_zone="Asia/Tokyo")
    anna.use("api_request", 100)
    anna.call("set_account_settings", time_zone="UTC")
    assert used(anna) == 100
    clock.set(datetime(2027, 2, 1, tzinfo=UTC))
    assert used(anna) == 100


# --- holds and calls ---------------------------------------------------------------------------------------------


@pytest.fixture
def place(clock: Clock) -> Call:
    """`place(anna, 60)`: a hold for so many requests; answers its id."""
    return lambda somebody, quantity, **more: somebody.call(
        "place_hold", operation="api_request", quantity=quantity, idempotency_key=new_key("hold"), **more
    )["hold_id"]


def test_a_hold_keeps_the_allowance_first(
    subscriber: Callable[..., Person], place: Call, service: Call
) -> None:
    """E1, D2: nobody else can use what it keeps; what goes beyond is held in credits."""
    anna = subscriber("30.00")
    place(anna, 60)
    second = anna.call("hold", hold_id=place(anna, 50))
    assert second["held_micros"] == micros("10")
    assert (used(anna), anna.available) == (100, micros("20"))
    assert anna.use("api_request", 1)["charged_micros"] == micros("1")
    assert isinstance(refused(lambda: place(anna, 20)), errors.InsufficientCredits)


def test_a_hold_that_is_not_used_gives_the_allowance_back(
    clock: Clock, subscriber: Callable[..., Person], place: Call, service: Call
) -> None:
    """E1, B7: released, or expired; and once."""
    anna = subscriber("50.00")
    hold = place(anna, 120)
    for _ in range(2):
        anna.call("release_hold", hold_id=hold)
        assert (used(anna), anna.available) == (0, micros("50"))
    place(anna, 120, expires_in_seconds=60)
    clock.advance(minutes=2)
    service("expire_holds")
    service("expire_holds")
    assert (used(anna), anna.available) == (0, micros("50"))


def test_a_capture_pays_with_what_the_hold_kept(
    subscriber: Callable[..., Person], place: Call, ledger: Call
) -> None:
    """E1, D2: less, as much, or more than was kept; the rest goes back to where it came from."""
    anna = subscriber("50.00")
    for held, captured, in_allowance, charged in [
        (60, 20, 20, "0"),  # 20 used
        (120, 50, 50, "0"),  # 80 of it from the allowance, 40 held in credits; 70 used
        (40, 40, 30, "10"),  # 100 used
    ]:
        answer = anna.call("capture_hold", hold_id=place(anna, held), quantity=captured)
        assert (held, answer["charged_micros"]) == (held, micros(charged))
        assert paid_by(ledger(anna))[-1][1] == in_allowance
    assert used(anna) == 100
    assert (anna.available, anna.balance["held_micros"]) == (micros("40"), 0)


def test_a_capture_beyond_the_hold_takes_more_of_the_month(
    subscriber: Callable[..., Person], place: Call, ledger: Call
) -> None:
    """E1: first what is included, then credits, as if it had been held."""
    anna = subscriber("50.00")
    anna.call("capture_hold", hold_id=place(anna, 10), quantity=90)
    assert (used(anna), anna.available) == (90, micros("50"))
    anna.call("capture_hold", hold_id=place(anna, 5), quantity=30)
    assert paid_by(ledger(anna)) == [
        ("allowance", 90, 0, micros("90")),
        ("mixed", 10, micros("20"), micros("30")),
    ]


def test_an_extended_hold_takes_allowance_then_credits(
    subscriber: Callable[..., Person], place: Call
) -> None:
    """E1, D2: and a refusal takes neither."""
    anna = subscriber("5.00")
    hold = place(anna, 60)
    assert anna.call("extend_hold", hold_id=hold, quantity=90)["held_micros"] == 0
    assert isinstance(
        refused(lambda: anna.call("extend_hold", hold_id=hold, quantity=106)), errors.InsufficientCredits
    )
    assert used(anna) == 90
    assert anna.call("extend_hold", hold_id=hold, quantity=105)["held_micros"] == micros("5")
    assert anna.call("capture_hold", hold_id=hold)["charged_micros"] == micros("5")


def test_a_call_is_paid_by_the_minutes_included(
    clock: Clock, caller: Callable[..., Person], ledger: Call
) -> None:
    """E1, D3: a call without any credits lasts as long as the allowance; its end takes what it took."""
    anna = caller()
    started = anna.call("start_call", operation="call", idempotency_key="c1")
    assert (started["status"], started["max_duration_seconds"]) == ("ok", 600)
    clock.advance(seconds=90)
    anna.call("heartbeat", call_id=started["call_id"])
    assert used(anna, "call") >= 150  # a slice ahead
    clock.advance(seconds=10)
    ended = anna.call("end_call", call_id=started["call_id"])
    assert (ended["charged_micros"], ended["billed_seconds"]) == (0, 120)
    assert used(anna, "call") == 100
    assert paid_by(ledger(anna)) == [("allowance", 100, 0, 300_000)]


def test_a_call_goes_on_with_credits_when_the_minutes_are_over(
    clock: Clock, caller: Callable[..., Person]
) -> None:
    """E1, D3: 10 minutes included and 0.30: twelve minutes, and then it is told to end."""
    anna = caller("0.30")
    call = anna.call("start_call", operation="call", idempotency_key="c1")
    assert call["max_duration_seconds"] == 720
    for minute in range(1, 12):
        clock.advance(minutes=1)
        assert (minute, anna.call("heartbeat", call_id=call["call_id"])["max_duration_seconds"]) == (
            minute,
            720,
        )
    clock.advance(minutes=1)
    assert anna.call("heartbeat", call_id=call["call_id"])["status"] == "end"
    ended = anna.call("end_call", call_id=call["call_id"])
    assert (ended["charged_micros"], anna.available, used(anna, "call")) == (300_000, 0, 600)


def test_a_call_that_nobody_ends_keeps_only_what_it_used(
    clock: Clock, caller: Callable[..., Person], service: Call
) -> None:
    """E1, D5: settled at its last heartbeat; the slice ahead goes back."""
    anna = caller()
    call = anna.call("start_call", operation="call", idempotency_key="c1")["call_id"]
    clock.advance(seconds=45)
    anna.call("heartbeat", call_id=call)
    clock.advance(minutes=10)
    assert service("settle_abandoned_calls") == {"settled": 1}
    assert used(anna, "call") == 45


def test_a_reversal_gives_the_allowance_back(
    clock: Clock, subscriber: Callable[..., Person], place: Call, service: Call
) -> None:
    """E1, B7: the part it paid, to the month it was of."""
    anna = subscriber("10.00")
    uses = [anna.use("api_request", 60), anna.use("api_request", 45)]
    captured = anna.call("capture_hold", hold_id=place(anna, 2))
    for transaction, left in [(uses[1], 60), (uses[0], 0), (captured, 0)]:
        request = {"transaction_id": transaction["transaction_id"], "reason": "a mistake"}
        for _ in range(2):
            service("reverse", idempotency_key=f"r{transaction['transaction_id']}", **request)
        assert (transaction["transaction_id"], used(anna)) == (transaction["transaction_id"], left)
    assert anna.available == micros("10")
    anna.use("api_request", 100)
    late = anna.use("api_request", 1)
    clock.set(datetime(2027, 2, 1, tzinfo=UTC))
    anna.use("api_request", 70)
    service("reverse", transaction_id=late["transaction_id"], reason="a mistake", idempotency_key="late")
    assert used(anna) == 70


# --- plans that change -------------------------------------------------------------------------------------------


def test_an_allowance_edited_in_the_middle_of_its_month_counts_at_once(
    subscriber: Callable[..., Person], service: Call, catalog: Call, ledger: Call
) -> None:
    """Bad input of issue 2: what is used stays used; nothing is charged twice or given back."""
    anna = subscriber("10.00")
    anna.use("api_request", 70)
    plan = {
        "code": "metered_plan",
        "name": "Metered plan",
        "currency": "usd",
        "packages": [],
        "operations": [
            {
                "code": "api_request",
                "name": "API request",
                "measure": "count",
                "components": [{"unit": "item", "price_micros": 1_000_000}],
            }
        ],
    }
    for number, remaining, charged in [(50, 0, "10"), (200, 130, "0"), (100, 20, "0")]:
        allowances = {"api_request": number}
        service(
            "load_catalog",
            catalog=plan | {"plans": [{"code": "free", "name": "F", "allowances": allowances}]},
        )
        assert (included(anna)["included"], included(anna)["remaining"]) == (number, remaining)
        assert (number, anna.use("api_request", 10)["charged_micros"]) == (number, micros(charged))
    assert [row[0] for row in paid_by(ledger(anna))] == ["allowance", "credits", "allowance", "allowance"]
    service("load_catalog", catalog=plan | {"plans": [{"code": "free", "name": "Free", "allowances": {}}]})
    assert anna.call("limits")["allowances"] == []
    assert isinstance(refused(lambda: anna.use("api_request", 1)), errors.InsufficientCredits)


def test_a_plan_that_is_given_up_goes_on_for_who_has_it(
    clock: Clock, subscriber: Callable[..., Person], service: Call, catalog: Call
) -> None:
    """I3: as with packages: no longer offered to anybody, and what was agreed stays."""
    anna = subscriber()
    plans = service("plans")["plans"]
    assert [plan["code"] for plan in plans] == ["free", "pro", "team"]
    rest = {"code": "metered_plan", "name": "M", "currency": "usd", "packages": [], "operations": []}
    service("load_catalog", catalog=rest | {"plans": [plan for plan in plans if plan["code"] != "free"]})
    assert [plan["code"] for plan in service("plans")["plans"]] == ["pro", "team"]
    assert included(anna)["remaining"] == 100
    clock.advance(seconds=1)
    gone = refused(lambda: service("set_plan", account_id=anna.account_id, plan="free"))
    assert isinstance(gone, errors.NotFound)
    catalog("metered_plan")
    assert len(service("plans")["plans"]) == 3


def test_another_plan_in_the_middle_of_the_month_keeps_what_is_used(
    clock: Clock, subscriber: Callable[..., Person], service: Call
) -> None:
    """E1: up and down again; the larger number counts from the moment on, and never twice."""
    anna = subscriber("10.00")
    anna.use("api_request", 100)
    clock.advance(days=1)
    assert service("set_plan", account_id=anna.account_id, plan="pro")["plan"] == "pro"
    assert (included(anna)["remaining"], included(anna)["level"]) == (4900, "ok")
    anna.use("api_request", 4000)
    clock.advance(days=1)
    service("set_plan", account_id=anna.account_id, plan="free")
    assert (used(anna), included(anna)["remaining"]) == (4100, 0)
    assert anna.use("api_request", 1)["charged_micros"] == micros("1")


def test_off_a_plan_credits_pay_and_late_usage_of_its_time_is_still_included(
    clock: Clock, subscriber: Callable[..., Person], service: Call, ledger: Call
) -> None:
    """E1, D6: from the moment on; what happened before it was included."""
    anna = subscriber("10.00")
    on_the_plan = clock.now
    clock.advance(hours=1)
    told = service("set_plan", account_id=anna.account_id)
    assert (told["plan"], told["allowances"]) == (None, [])
    assert anna.use("api_request", 2)["charged_micros"] == micros("2")
    assert anna.use("api_request", 5, occurred_at=on_the_plan)["charged_micros"] == 0
    batch = [
        {
            "operation": "api_request",
            "quantity": 3,
            "idempotency_key": new_key(),
            "occurred_at": at.isoformat(),
        }
        for at in (on_the_plan, clock.now)
    ]
    results = anna.call("use_batch", events=batch)["results"]
    assert [result["charged_micros"] for result in results] == [0, micros("3")]
    quote = anna.call("check_use", operation="api_request", quantity=1)
    assert (quote["pays_from"], quote["cost_micros"]) == ("credits", micros("1"))


def test_plans_are_given_by_administrators_alone(
    clock: Clock, subscriber: Callable[..., Person], person: Callable[..., Person]
) -> None:
    """E1, I4: and only plans that there are."""
    anna, admin = subscriber(), person("admin")
    for somebody in (anna, person("finance")):
        refusal = refused(lambda s=somebody: s.call("set_plan", account_id=anna.account_id, plan="team"))
        assert isinstance(refusal, errors.NotAllowed)
    assert isinstance(
        refused(lambda: admin.call("set_plan", account_id=anna.account_id, plan="gold")), errors.NotFound
    )
    clock.advance(seconds=1)
    assert admin.call("set_plan", account_id=anna.account_id, plan="team")["plan"] == "team"
    assert included(anna)["included"] == 50_000


def test_settings_of_months_are_checked(
    subscriber: Callable[..., Person], person: Callable[..., Person]
) -> None:
    """E1: a zone that exists, a day there is, and the day is an administrator's to set."""
    anna, admin = subscriber(), person("admin")
    wrong: list[dict[str, object]] = [
        *[{"time_zone": zone} for zone in ("Berlin", "", "+02:00", "europe/berlin")],
        *[{"anchor_day": day} for day in (0, 32, -1)],
    ]
    for settings in wrong:
        refusal = refused(
            lambda s=settings: admin.call("set_account_settings", account_id=anna.account_id, **s)
        )
        assert (settings, type(refusal)) == (settings, errors.InvalidRequest)
    assert isinstance(refused(lambda: anna.call("set_account_settings", anchor_day=15)), errors.NotAllowed)
    assert anna.call("set_account_settings", time_zone="Europe/Berlin")["time_zone"] == "Europe/Berlin"
    admin.call("set_account_settings", account_id=anna.account_id, anchor_day=15)
    assert included(anna)["resets_at"] == "2027-01-14T23:00:00.000000Z"
