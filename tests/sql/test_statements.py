"""Monthly statements (A6): opening + movements = closing, always, and a month that is over never changes."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from credits_core import errors
from credits_core.units import parse_credits as micros
from tests.sql.conftest import Call, Clock, Person, new_key, paid, refused

MINUTE = 60
BERLIN = "Europe/Berlin"


@pytest.fixture
def summer(clock: Clock) -> Clock:
    """The clock on the last day of August 2026."""
    clock.set(datetime(2026, 8, 31, 12, tzinfo=UTC))
    return clock


@pytest.fixture
def anna(summer: Clock, holder: Callable[..., Person]) -> Person:
    """Somebody new in Berlin, where summer time ends on 25 October."""
    somebody = holder()
    somebody.call("set_account_settings", time_zone=BERLIN)
    return somebody


def adds_up(statement: dict[str, Any]) -> bool:
    moved = sum(line["amount_micros"] for line in statement["movements"])
    assert statement["in_micros"] + statement["out_micros"] == moved
    return bool(statement["opening_micros"] + moved == statement["closing_micros"])


def lines(statement: dict[str, Any]) -> dict[str, tuple[int, int]]:
    return {
        line["kind"] + (f" {line['operation']}" if line["operation"] else ""): (
            line["count"],
            line["amount_micros"],
        )
        for line in statement["movements"]
    }


def test_a_month_by_the_clocks_of_the_account(
    summer: Clock, anna: Person, give: Call, buy: Call, service: Call
) -> None:
    """A6: what happened at 23:30 belongs to October, at 00:30 to November; late usage counts when it arrives, expired credits
    when they expired."""
    summer.set(datetime(2026, 10, 31, 22, 30, tzinfo=UTC))  # 23:30 in Berlin, winter time
    buy(anna, "usd_10")
    give(anna, "3.00", expires_at=summer.now + timedelta(minutes=15))
    used = anna.use("call", 4 * MINUTE)  # of what expires first
    summer.set(datetime(2026, 10, 31, 23, 30, tzinfo=UTC))  # 00:30 on 1 November
    buy(anna, "usd_5")
    anna.use("call", MINUTE, occurred_at=datetime(2026, 10, 15, 12, tzinfo=UTC))
    service("reverse", transaction_id=used["transaction_id"], reason="mistake", idempotency_key="r")
    october, november = (anna.call("statement", month=f"2026-{month}") for month in (10, 11))
    assert (october["from"], october["to"]) == ("2026-09-30T22:00:00.000000Z", "2026-10-31T23:00:00.000000Z")
    assert (october["complete"], november["complete"]) == (True, False)
    assert lines(october) == {
        "purchase": (1, micros("10")),
        "adjustment": (1, micros("3")),
        "use call": (1, -micros("0.60")),
        "expiry": (1, -micros("2.40")),
    }
    assert lines(november) == {
        "purchase": (1, micros("5")),
        "use call": (1, -micros("0.15")),
        "reversal call": (1, micros("0.60")),
        "expiry": (1, -micros("0.60")),  # came back to a grant that was gone, and went at once
    }
    assert (october["opening_micros"], october["closing_micros"]) == (0, micros("10"))
    assert (november["opening_micros"], november["closing_micros"]) == (micros("10"), micros("14.85"))
    assert adds_up(october) and adds_up(november)
    assert [p["package_name"] for p in october["purchases"] + november["purchases"]] == [
        "$10 package",
        "$5 package",
    ]


def test_an_expiry_that_nobody_booked_counts_already(
    summer: Clock, anna: Person, give: Call, service: Call
) -> None:
    """A6, B9: booking it later changes nothing."""
    give(anna, "2.00", expires_at=datetime(2026, 9, 10, tzinfo=UTC))
    summer.set(datetime(2026, 10, 5, tzinfo=UTC))
    before = [anna.call("statement", month=month) for month in ("2026-08", "2026-09", "2026-10")]
    assert [statement["closing_micros"] for statement in before] == [micros("2"), 0, 0]
    assert lines(before[1]) == {"expiry": (1, -micros("2"))}
    service("expire_grants")
    after = [anna.call("statement", month=month) for month in ("2026-08", "2026-09", "2026-10")]
    assert [lines(statement) for statement in after] == [lines(statement) for statement in before]


@pytest.mark.parametrize("seed", range(4))
def test_opening_and_movements_are_closing_whatever_happens(
    seed: int, summer: Clock, anna: Person, give: Call, buy: Call, service: Call
) -> None:
    """A6: four months with the end of summer time in them, at random; each month begins with what the one before left, equals
    the balance of that moment, and is the same when it is looked at again later."""
    chance = random.Random(seed)
    seen: dict[str, dict[str, Any]] = {}
    uses: list[str] = []
    bought: list[str] = []
    while summer.now < datetime(2027, 1, 2, tzinfo=UTC):
        summer.advance(hours=chance.randrange(1, 60), minutes=chance.randrange(60))
        action = chance.randrange(8)
        if action <= 1:
            bought.append(buy(anna, chance.choice(["usd_5", "usd_10"]))["purchase_id"])
        elif action == 2:
            give(anna, "1.50", expires_at=summer.now + timedelta(hours=chance.randrange(1, 900)))
        elif action <= 4 and anna.available > micros("2"):
            late = summer.now - timedelta(days=chance.randrange(20))
            uses.append(anna.use("call", chance.randrange(1, 600), occurred_at=late)["transaction_id"])
        elif action == 5 and uses:
            undone = uses.pop(chance.randrange(len(uses)))
            service("reverse", transaction_id=undone, reason="mistake", idempotency_key=new_key())
        elif action == 6 and bought:
            dispute = {"id": new_key("du"), "amount_cents": 200, "status": chance.choice(["lost", "won"])}
            service("converge_purchase", purchase_id=chance.choice(bought), totals={"disputes": [dispute]})
        elif action == 7:
            service("expire_grants")
        for item in anna.call("statements")["items"]:
            if item["complete"] and item["month"] not in seen:
                seen[item["month"]] = anna.call("statement", month=item["month"])
    assert set(seen) - {"2026-08"} == {"2026-09", "2026-10", "2026-11", "2026-12"}
    before = 0
    for month, first_seen in sorted(seen.items()):
        statement = anna.call("statement", month=month)
        assert adds_up(statement) and statement == first_seen
        assert statement["opening_micros"] == before
        before = statement["closing_micros"]
        moment = datetime.fromisoformat(statement["to"]) - timedelta(microseconds=1)
        assert anna.call("balance_as_of", at=moment)["posted_micros"] == before
    now = anna.call("statement")
    assert adds_up(now) and now["opening_micros"] == before
    assert now["closing_micros"] == anna.call("balance_as_of", at=summer.now)["posted_micros"]
    listed = {
        item["month"]: (item["opening_micros"], item["closing_micros"])
        for item in anna.call("statements")["items"]
    }
    assert listed == {
        statement["month"]: (statement["opening_micros"], statement["closing_micros"])
        for statement in [*seen.values(), now]
    }


def test_what_was_paid_with_discount_and_tax(summer: Clock, anna: Person, service: Call) -> None:
    """A6: list price less discount plus tax is what was paid; receipt, invoice and accepted terms stay with the purchase."""
    service("create_campaign", code="TENTH", name="A tenth", kind="discount_percent", amount=10)
    made = anna.call(
        "create_purchase", idempotency_key="p", livemode=False, package="usd_10", promo_code="tenth"
    )
    opened = service("open_purchase", purchase_id=made["purchase_id"], session_id="cs_1")
    links = {
        "receipt_url": "https://pay.test/receipt",
        "invoice_url": "https://pay.test/invoice",
        "terms_url": "https://shop.test/terms",
    }
    taxed = {"amount_tax": 171, "amount_total": 1071}
    service("fulfill_purchase", session=paid(opened, **taxed, **links))
    statement = anna.call("statement")
    (bought,) = statement["purchases"]
    money = {name: bought[f"{name}_cents"] for name in ("list_price", "discount", "price", "tax", "paid")}
    assert money == {"list_price": 1000, "discount": 100, "price": 900, "tax": 171, "paid": 1071}
    assert {name: bought[name] for name in links} == links
    assert bought["terms_accepted_at"] == summer.now.isoformat(timespec="microseconds").replace("+00:00", "Z")
    assert statement["payments"] == [
        {
            "currency": "usd", "purchases": 1, "list_price_cents": 1000, "discount_cents": 100, "tax_cents": 171,
            "total_cents": 1071, "refunded_cents": 0,
        }
    ]  # fmt: skip


def test_a_refund_counts_in_the_month_it_went_through(
    summer: Clock, anna: Person, buy: Call, service: Call
) -> None:
    bought = buy(anna, "usd_10")
    summer.set(datetime(2026, 9, 3, tzinfo=UTC))
    asked = service(
        "request_refund",
        purchase_id=bought["purchase_id"],
        reason="unused",
        idempotency_key="r",
        amount_cents=400,
    )
    service("record_refund", refund_id=asked["refund_id"], status="succeeded", stripe_refund_id="re_1")
    august, september = (anna.call("statement", month=month) for month in ("2026-08", "2026-09"))
    assert august["payments"][0]["refunded_cents"] == 0
    assert lines(september) == {"refund": (1, -micros("4"))}
    (paid_back,) = september["payments"]
    assert (paid_back["purchases"], paid_back["total_cents"], paid_back["refunded_cents"]) == (0, 0, 400)


def test_months_are_listed_from_the_first_to_now_and_paged(summer: Clock, anna: Person, give: Call) -> None:
    give(anna, "1.00")
    summer.set(datetime(2027, 1, 5, tzinfo=UTC))
    page = anna.call("statements", limit=4)
    assert [item["month"] for item in page["items"]] == ["2027-01", "2026-12", "2026-11", "2026-10"]
    rest = anna.call("statements", limit=4, cursor=page["next_cursor"])
    assert [item["month"] for item in rest["items"]] == ["2026-09", "2026-08"]
    assert (page["next_cursor"], rest["next_cursor"]) == ("2026-10", None)
    assert {item["closing_micros"] for item in page["items"] + rest["items"]} == {micros("1")}


def test_a_new_account_has_the_statement_of_this_month(summer: Clock, anna: Person) -> None:
    (item,) = anna.call("statements")["items"]
    assert (item["month"], item["complete"], item["closing_micros"]) == ("2026-08", False, 0)
    statement = anna.call("statement")
    assert (statement["movements"], statement["purchases"], statement["payments"]) == ([], [], [])
    assert anna.call("statement", month="1999-12")["closing_micros"] == 0


@pytest.mark.parametrize("month", ["2026-13", "2026-00", "august", "2026-08-01", "", "99999-01"])
def test_what_is_no_month_is_refused(summer: Clock, anna: Person, month: str) -> None:
    assert isinstance(refused(lambda: anna.call("statement", month=month)), errors.InvalidRequest)
    if month:
        assert isinstance(refused(lambda: anna.call("statements", cursor=month)), errors.InvalidRequest)


def test_a_month_to_come_has_no_statement_and_others_months_are_closed(
    summer: Clock, anna: Person, holder: Callable[..., Person], person: Callable[..., Person]
) -> None:
    """K1: neither another account's, nor whether there is one; finance reads them."""
    assert isinstance(refused(lambda: anna.call("statement", month="2026-09")), errors.NotFound)
    ben = holder("7.00")
    for function in ("statement", "statements"):
        for account in (ben.account_id, 999_999):
            denial = refused(lambda f=function, a=account: anna.call(f, account_id=a))
            assert isinstance(denial, errors.NotAllowed)
    assert person("finance").call("statement", account_id=ben.account_id)["closing_micros"] == micros("7")


def test_sales_are_listed_by_key_and_usage_by_account(
    summer: Clock,
    anna: Person,
    holder: Callable[..., Person],
    person: Callable[..., Person],
    buy: Call,
    service: Call,
) -> None:
    """G7: whatever the size of a page, each row comes once; only credited purchases of the mode asked for."""
    ben, finance = holder("5.00"), person("finance")
    for _ in range(3):
        buy(anna, "usd_5")
        summer.advance(seconds=1)
        buy(ben, "usd_10")
        summer.advance(seconds=1)
    anna.call("create_purchase", idempotency_key="open", livemode=False, package="usd_5")
    anna.use("call", MINUTE)
    ben.use("call", 3 * MINUTE)
    service("rollup_usage")
    ben.use("call", 3 * MINUTE)
    for size in (1, 4, 500):
        rows, cursor = [], None
        while True:
            page = finance.call("sales", livemode=False, limit=size, cursor=cursor)
            rows += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert [row["price_cents"] for row in rows] == [1000, 500] * 3
        assert len({row["purchase_id"] for row in rows}) == 6
        assert not {"url", "client_secret"} & set(rows[0])
    assert finance.call("sales", livemode=True)["items"] == []
    days = {"from": "2026-08-31", "to": "2026-08-31"}
    found, cursor = [], None
    while True:
        page = finance.call("usage_by_account", limit=1, cursor=cursor, **days)
        found += [(row["account_id"], row["events"], row["charged_micros"]) for row in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == [(anna.account_id, 1, micros("0.15")), (ben.account_id, 2, micros("0.90"))]
    for function, more in (("sales", {"livemode": False}), ("usage_by_account", days)):
        assert isinstance(refused(lambda f=function, m=more: anna.call(f, **m)), errors.NotAllowed)


def test_only_the_owner_signed_in_opens_the_portal(summer: Clock, anna: Person, service: Call) -> None:
    """A7: cards and subscriptions can be ended there, which no key and no program may."""
    assert anna.call("portal_customer", livemode=False)["account_id"] == anna.account_id
    assert isinstance(refused(lambda: service("portal_customer", livemode=False)), errors.NotAllowed)
