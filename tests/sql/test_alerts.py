"""Alerts (F1): told once for every crossing of a level, armed again above it; never to who had nothing to lose."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from credits_core import errors
from credits_core.units import parse_credits as micros
from tests.sql.conftest import Call, Clock, Person, Rows, refused

Alert = tuple[str, int]
LEVELS = "{10000000,5000000,1000000}"  # 10, 5 and 1, as for everybody who chose no others


@pytest.fixture
def credit(clock: Clock, service: Call) -> None:
    """A `call` costs 1.00 for each item."""
    operation = {"code": "call", "name": "Call", "measure": "count"}
    components = [{"unit": "item", "price_micros": 1_000_000}]
    catalog = {"code": "items", "name": "Items", "currency": "usd", "packages": []}
    plan = {"code": "free", "name": "Free", "allowances": {"call": 10}}
    service(
        "load_catalog",
        catalog=catalog | {"operations": [operation | {"components": components}], "plans": [plan]},
    )


@pytest.fixture
def anna(credit: None, holder: Callable[..., Person]) -> Person:
    """Somebody with 20.00."""
    return holder("20.00")


@pytest.fixture
def look(clock: Clock, service: Call) -> Callable[..., list[Alert]]:
    """`look(anna)`: run the job twice, a minute after whatever was last, and answer what it newly told: kind and level."""
    told: dict[int, int] = {}

    def run(somebody: Person) -> list[Alert]:
        clock.advance(minutes=1)
        service("detect_alerts")
        assert service("detect_alerts") == {"alerts": 0}
        items = somebody.call("alerts", limit=500)["items"][::-1]
        new, told[somebody.account_id] = items[told.get(somebody.account_id, 0) :], len(items)
        return [(item["kind"], item["detail"].get("level_micros", 0)) for item in new]

    return run


def low(credits: str) -> list[Alert]:
    return [("low_balance", micros(credits))]


OUT = [("out_of_credits", 0)]


def test_each_level_is_told_once(anna: Person, look: Call) -> None:
    """F1: below the level, not at it; nothing more until the next one."""
    for quantity, told in [
        (10, []),  # 10.00: at the level
        ("0.000001", low("10")),
        (1, []),
        ("3.999999", []),  # 5.00
        (1, low("5")),
        (3, []),  # 1.00
        ("0.5", low("1")),
        ("0.4", []),
        ("0.1", OUT),
    ]:
        anna.use("call", quantity)
        assert (quantity, look(anna)) == (quantity, told)
    assert look(anna) == []


def test_several_levels_at_once_are_one_alert(anna: Person, look: Call) -> None:
    """F1: the lowest that was crossed; what is there is told with it."""
    anna.use("call", "19.5")
    assert look(anna) == low("1")
    (alert,) = anna.call("alerts")["items"]
    assert alert["detail"] == {"level_micros": micros("1"), "available_micros": 500_000}
    assert alert["read_at"] is None
    anna.use("call", "0.5")
    assert look(anna) == OUT


def test_a_level_is_armed_again_above_it(clock: Clock, anna: Person, give: Call, look: Call) -> None:
    """F1: by any credits that come; and told again at the next crossing, also if both happen between two looks."""
    anna.use("call", 16)
    assert look(anna) == low("5")
    give(anna, "0.50")  # 4.50: still below
    assert look(anna) == []
    give(anna, "3.00")  # 7.50: above 5, below 10
    assert look(anna) == []
    anna.use("call", 3)
    assert look(anna) == low("5")
    give(anna, "10.00")
    clock.advance(seconds=1)
    anna.use("call", 10)
    assert look(anna) == low("5")
    give(anna, "10.00")
    clock.advance(seconds=1)
    anna.use("call", 5)
    assert look(anna) == low("10")


def test_all_that_happens_before_the_first_look_is_seen(
    clock: Clock, anna: Person, holder: Callable[..., Person], look: Call
) -> None:
    """F1: a new account that spent everything is told so; one that was never above a level is not told of it."""
    anna.use("call", 20)
    assert look(anna) == OUT
    ben, cleo = holder("7.00"), holder("0.50")
    assert (look(ben), look(cleo)) == ([], [])
    ben.use("call", 1)
    cleo.use("call", "0.1")
    assert (look(ben), look(cleo)) == ([], [])
    ben.use("call", 2)
    cleo.use("call", "0.4")
    assert (look(ben), look(cleo)) == (low("5"), OUT)


def test_who_never_had_credits_is_not_told(credit: None, holder: Callable[..., Person], look: Call) -> None:
    """F1: neither without any usage nor after usage that cost nothing or was refused."""
    anna, ben = holder(), holder()
    ben.use("call", 0)
    refused(lambda: anna.use("call", 1))
    assert (look(anna), look(ben)) == ([], [])


def test_a_super_admin_is_not_told(
    credit: None, person: Callable[..., Person], give: Call, look: Call
) -> None:
    """F1, E5: whose balance nobody spends."""
    root = person("super_admin")
    give(root, "2.00")
    root.use("call", 500)
    give(root, "-2.00")
    assert look(root) == []


def test_expiry_debt_and_removal_cross_levels_too(
    clock: Clock, credit: None, holder: Callable[..., Person], give: Call, service: Call, look: Call
) -> None:
    """F1, B9: whatever takes the credits away."""
    anna = holder("12.00")
    give(anna, "5.00", expires_at=clock.now + timedelta(days=1))
    assert look(anna) == []
    clock.advance(days=2)
    service("expire_grants")
    give(anna, "-4.00")
    assert look(anna) == low("10")
    hold = anna.call("place_hold", operation="call", quantity=8, idempotency_key="h")["hold_id"]
    anna.call("capture_hold", hold_id=hold, quantity=9)
    assert look(anna) == [*OUT, ("debt", 0)]
    assert anna.call("alerts")["items"][0]["detail"] == {"debt_micros": micros("1")}
    give(anna, "0.50")  # all of it goes into the debt
    assert look(anna) == []


def test_credits_that_come_back_only_to_expire_arm_nothing(
    clock: Clock, credit: None, holder: Callable[..., Person], give: Call, service: Call, look: Call
) -> None:
    """F1, B7: they were never to be had."""
    anna = holder("4.00")
    give(anna, "8.00", expires_at=clock.now + timedelta(days=1))
    charge = anna.use("call", 8)["transaction_id"]
    assert look(anna) == low("5")
    clock.advance(days=2)
    service("reverse", transaction_id=charge, reason="a mistake", idempotency_key="r")
    assert (anna.available, look(anna)) == (micros("4"), [])


def test_levels_are_the_accounts_own(
    clock: Clock, anna: Person, holder: Callable[..., Person], look: Call
) -> None:
    """F1: any number up to ten, in any order, or none: being out of credits is told always."""
    ben, cleo = holder("20.00"), holder("20.00")
    anna.call("set_account_settings", low_balance_micros="{2000000,15000000}")
    ben.call("set_account_settings", low_balance_micros="{}")
    for somebody in (anna, ben, cleo):
        somebody.use("call", 6)
    assert (look(anna), look(ben), look(cleo)) == (low("15"), [], [])
    for somebody in (anna, ben, cleo):
        somebody.use("call", "12.5")
    assert (look(anna), look(ben), look(cleo)) == (low("2"), [], low("5"))
    ben.use("call", "1.5")
    assert look(ben) == OUT
    anna.call("set_account_settings", low_balance_micros=LEVELS)
    anna.use("call", 1)
    assert look(anna) == low("1")


def test_levels_are_checked(anna: Person, holder: Callable[..., Person]) -> None:
    """F1: ten at most, each above nothing; nobody sets another's."""
    for wrong in ("{" + ",".join(["1"] * 11) + "}", "{-1}", "{0}", "{NULL}", "{1000000,NULL}", "{x}", "5"):
        refusal = refused(lambda wrong=wrong: anna.call("set_account_settings", low_balance_micros=wrong))
        assert (wrong, type(refusal)) == (wrong, errors.InvalidRequest)
    ben = holder()
    attempt = {"low_balance_micros": "{}", "account_id": anna.account_id}
    assert isinstance(refused(lambda: ben.call("set_account_settings", **attempt)), errors.NotAllowed)


def test_everybody_is_looked_at_however_many_move(
    clock: Clock, credit: None, holder: Callable[..., Person], service: Call, owner_sql: Callable[..., Rows]
) -> None:
    """F1: two at a time, with all of them spending all the time: nobody waits for ever."""
    people = [holder("10.00") for _ in range(6)]
    for _ in range(4):
        for somebody in people:
            somebody.use("call", "0.5")
        clock.advance(minutes=1)
        service("detect_alerts", limit=2)
    told = owner_sql("select account_id from credits.alerts order by 1")
    assert [row["account_id"] for row in told] == [somebody.account_id for somebody in people]


def test_allowances_are_told_at_80_per_cent_and_when_they_are_used_up(
    clock: Clock, anna: Person, service: Call, look: Call
) -> None:
    """E2, F1: once each a month, for each operation; both at once are one."""
    service("set_plan", account_id=anna.account_id, plan="free")
    for quantity, told in [
        (7, []),
        (1, [("allowance_warning", 0)]),
        (1, []),
        (1, [("allowance_reached", 0)]),
        (1, []),
    ]:
        anna.use("call", quantity)
        assert (quantity, look(anna)) == (quantity, told)
    newest = anna.call("alerts")["items"][0]
    ends = {"resets_at": "2027-02-01T00:00:00.000000Z"}
    assert newest["detail"] == ends | {"operation": "call", "name": "Call", "included": 10, "used": 10}
    clock.advance(days=30)
    anna.use("call", 10)
    assert look(anna) == [("allowance_reached", 0)]
    undone = anna.use("call", 0)
    assert look(anna) == []
    assert undone["charged_micros"] == 0


def test_alerts_are_the_accounts_own(
    anna: Person, holder: Callable[..., Person], person: Callable[..., Person], look: Call
) -> None:
    """F2, K1: newest first, page by page, marked as read by the owner; staff may read them."""
    for quantity in (11, 5, "3.5"):
        anna.use("call", quantity)
        look(anna)
    ben, finance = holder(), person("finance")
    first = anna.call("alerts", limit=2)
    rest = anna.call("alerts", limit=2, cursor=first["next_cursor"])
    levels = [item["detail"]["level_micros"] for item in first["items"] + rest["items"]]
    assert levels == [micros("1"), micros("5"), micros("10")]
    assert rest["next_cursor"] is None
    for somebody in (ben, finance):
        attempt = refused(lambda s=somebody: s.call("mark_alerts_read", account_id=anna.account_id))
        assert isinstance(attempt, errors.NotAllowed)
    assert isinstance(refused(lambda: ben.call("alerts", account_id=anna.account_id)), errors.NotAllowed)
    assert len(finance.call("alerts", account_id=anna.account_id)["items"]) == 3
    assert anna.call("mark_alerts_read") == {"read": 3}
    assert anna.call("mark_alerts_read") == {"read": 0}
    assert anna.call("alerts", unread_only=True)["items"] == []
    assert isinstance(refused(lambda: anna.call("detect_alerts")), errors.CreditsError)
