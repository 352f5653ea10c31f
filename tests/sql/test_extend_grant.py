"""Grants that get a later end (B9), and grants for some operations alone (B11): given by administrators, as rows of their own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

from credits_core import errors
from credits_core.units import parse_credits as micros
from tests.sql.conftest import Call, Clock, Person, Rows, new_key, refused

MINUTE = 60  # seconds: 0.15 credits in the catalog `voice`
DAY = timedelta(days=1)


@pytest.fixture
def extend(service: Call) -> Call:
    """`extend(grant_id, at)`: with a new key and a reason unless others are given."""

    def run(grant_id: int, expires_at: object, **more: object) -> Any:
        request = {"reason": "goodwill", "idempotency_key": new_key("extend")} | more
        return service("extend_grant", grant_id=grant_id, expires_at=expires_at, **request)

    return run


@pytest.fixture
def anna(clock: Clock, holder: Callable[..., Person], give: Call) -> Person:
    """Somebody with 1.00 that expires in a day."""
    somebody = holder()
    give(somebody, "1.00", expires_at=clock.now + DAY)
    return somebody


@pytest.fixture
def buyer(
    clock: Clock, holder: Callable[..., Person], buy: Call, give: Call, owner_sql: Callable[..., Rows]
) -> Person:
    """Somebody who bought 10.00 for $10.00 that expire in a day."""
    somebody = holder()
    buy(somebody, "usd_10")
    owner_sql("update credits.grants set expires_at = %s", clock.now + DAY)  # no package ends yet
    give(somebody, "0.01")
    return somebody


def brief(rows: Rows) -> list[tuple[int, datetime | None]]:
    """What is left of each grant, and its end."""
    return [
        (
            row["remaining_micros"],
            None if row["expires_at"] == "infinity" else datetime.fromisoformat(row["expires_at"]),
        )
        for row in rows
    ]


# --- a later end -------------------------------------------------------------------------------------------------


def test_a_later_end_is_a_new_grant(
    clock: Clock, anna: Person, extend: Call, grants: Call, ledger: Call
) -> None:
    """B9: what is left goes over, the old row stays as it was, the balance does not move; the ledger tells of it."""
    anna.use("call", 2 * MINUTE)
    (old,) = grants(anna)
    later = clock.now + 30 * DAY
    answer = extend(old["id"], later, reason="  a good customer  ")
    assert (answer["amount_micros"], answer["posted_micros"], answer["replayed"]) == (0, 700_000, False)
    after, new = grants(anna)
    assert after == old | {"remaining_micros": 0}
    assert (new["id"], new["granted_micros"], new["remaining_micros"]) == (
        answer["grant_id"],
        700_000,
        700_000,
    )
    assert (new["source"], new["is_promotional"], new["reason"]) == ("adjustment", True, "a good customer")
    assert brief([new]) == [(700_000, later)]
    row = ledger(anna)[-1]
    assert (row["kind"], row["amount_micros"], row["reason"]) == ("extension", 0, "a good customer")
    told = anna.call("explain", transaction_id=answer["transaction_id"])
    entries = [(entry["grant_id"], entry["amount_micros"]) for entry in told["entries"]]
    assert entries == [(old["id"], -700_000), (new["id"], 700_000)]


def test_extended_credits_live_to_the_new_end_and_no_longer(
    clock: Clock, anna: Person, extend: Call, grants: Call, service: Call
) -> None:
    """B9: at the instant; nothing expires at the old one."""
    (old,) = grants(anna)
    end = clock.now + 2 * DAY
    extend(old["id"], end)
    clock.advance(days=1, minutes=1)
    service("expire_grants")
    assert anna.available == micros("1.00")
    clock.set(end - timedelta(microseconds=1))
    assert anna.use("call", MINUTE)["available_micros"] == 850_000
    clock.set(end)
    assert anna.available == 0
    service("expire_grants")


def test_the_cost_goes_over_in_proportion(buyer: Person, extend: Call, grants: Call, clock: Clock) -> None:
    """B9, H2: of $10.00 for 10.00, with 3.45 used: $6.55 is what the rest cost; it still names its purchase."""
    buyer.use("call", 23 * MINUTE)
    old = grants(buyer)[0]
    extend(old["id"], clock.now + 30 * DAY)
    new = grants(buyer)[-1]
    assert (new["granted_micros"], new["cost_cents"], new["currency"]) == (micros("6.55"), 655, "usd")
    assert (new["purchase_id"], new["source"], new["is_promotional"]) == (
        old["purchase_id"],
        "purchase",
        False,
    )
    assert new["cost_cents"] / new["granted_micros"] == old["cost_cents"] / old["granted_micros"]


@pytest.mark.parametrize("booked", [False, True])
def test_what_expired_comes_back(
    clock: Clock, anna: Person, extend: Call, grants: Call, ledger: Call, service: Call, booked: bool
) -> None:
    """B9: whether the job had booked it or not; as a row of its own in the ledger."""
    anna.use("call", 2 * MINUTE)
    clock.advance(days=3)
    if booked:
        service("expire_grants")
    assert anna.available == 0
    (old,) = grants(anna)
    answer = extend(old["id"], clock.now + DAY)
    assert (answer["amount_micros"], answer["posted_micros"]) == (700_000, 700_000)
    assert brief(grants(anna)) == [(0, clock.now - 2 * DAY), (700_000, clock.now + DAY)]
    assert [row["kind"] for row in ledger(anna)] == ["adjustment", "use", "expiry", "extension"]
    assert anna.use("call", 4 * MINUTE)["available_micros"] == 100_000
    at = (clock.now - DAY).isoformat()
    assert anna.call("balance_as_of", at=at)["posted_micros"] == 0


def test_what_came_back_once_does_not_come_back_again(
    clock: Clock, anna: Person, extend: Call, grants: Call
) -> None:
    """B9: neither of the old grant nor twice; the new one can get a later end in its turn."""
    clock.advance(days=3)
    old = grants(anna)[0]["id"]
    new = extend(old, clock.now + DAY)["grant_id"]
    assert isinstance(refused(lambda: extend(old, clock.now + 2 * DAY)), errors.Conflict)
    newer = extend(new, clock.now + 3 * DAY)["grant_id"]
    assert isinstance(refused(lambda: extend(new, clock.now + 4 * DAY)), errors.Conflict)
    clock.advance(days=4)
    extend(newer, clock.now + DAY)
    assert [left for left, _ in brief(grants(anna))] == [0, 0, 0, micros("1")]
    assert anna.available == micros("1")


def test_the_spend_order_follows_the_new_end(
    clock: Clock, anna: Person, give: Call, extend: Call, grants: Call
) -> None:
    """B8, B9: what expires sooner now goes first."""
    give(anna, "1.00", expires_at=clock.now + 5 * DAY)
    first, second = (grant["id"] for grant in grants(anna))
    anna.use("call", MINUTE)
    extend(first, clock.now + 10 * DAY)
    anna.use("call", MINUTE)
    assert [left for left, _ in brief(grants(anna))] == [0, 850_000, 850_000]
    assert second == grants(anna)[1]["id"]


def test_what_is_held_stays_with_the_old_grant(
    clock: Clock, anna: Person, extend: Call, grants: Call
) -> None:
    """B7, B9: what comes back from a hold comes back to it, and can get the later end then."""
    hold = anna.call("place_hold", operation="call", quantity=4 * MINUTE, idempotency_key="h")["hold_id"]
    old = grants(anna)[0]["id"]
    later = clock.now + 30 * DAY
    extend(old, later)
    anna.call("release_hold", hold_id=hold)
    assert [left for left, _ in brief(grants(anna))] == [600_000, 400_000]
    extend(old, later)
    assert [left for left, _ in brief(grants(anna))] == [0, 400_000, 600_000]


def test_the_same_key_extends_once(
    clock: Clock, anna: Person, extend: Call, grants: Call, service: Call
) -> None:
    """B6: the same answer; another grant, end or reason with the key is refused."""
    old = grants(anna)[0]["id"]
    later = clock.now + 30 * DAY
    first = extend(old, later, idempotency_key="k")
    assert extend(old, later, idempotency_key="k") == first | {"replayed": True}
    other: list[Callable[[], object]] = [
        lambda: extend(first["grant_id"], later + DAY, idempotency_key="k"),
        lambda: extend(first["grant_id"], later, idempotency_key="k"),
        lambda: extend(old, later + DAY, idempotency_key="k"),
        lambda: extend(old, later, idempotency_key="k", reason="something else"),
    ]
    for attempt in other:
        assert isinstance(refused(attempt), errors.IdempotencyKeyReused)
    assert len(grants(anna)) == 2
    again = {"amount_micros": 5, "reason": "goodwill", "idempotency_key": "k"}
    mixed = refused(lambda: service("adjust", account_id=anna.account_id, **again))
    assert isinstance(mixed, errors.IdempotencyKeyReused)


def test_a_retry_after_something_else_expired_leaves_the_ledger_whole(
    clock: Clock, anna: Person, give: Call, extend: Call, grants: Call, service: Call
) -> None:
    """B6, B9: a replay changes nothing, and what expired meanwhile is booked once, by whoever comes next."""
    give(anna, "1.00", expires_at=clock.now + 2 * DAY)
    old = grants(anna)[0]["id"]
    later = clock.now + 30 * DAY
    first = extend(old, later, idempotency_key="k")
    clock.advance(days=3)
    assert extend(old, later, idempotency_key="k") == first | {"replayed": True}
    assert service("verify")["differences"] == []
    assert anna.use("call", MINUTE)["available_micros"] == 850_000


def test_bad_extensions_are_refused(
    clock: Clock, anna: Person, extend: Call, give: Call, grants: Call, ledger: Call
) -> None:
    """B9: an end that is not later, a grant that is not there or empty, no reason, no key; nothing changes."""
    give(anna, "1.00")
    ending, endless = (grant["id"] for grant in grants(anna))
    before = (grants(anna), ledger(anna))
    later = clock.now + 30 * DAY
    for attempt, error in [
        (lambda: extend(ending, clock.now + DAY), errors.InvalidRequest),
        (lambda: extend(ending, clock.now), errors.InvalidRequest),
        (lambda: extend(ending, clock.now - DAY), errors.InvalidRequest),
        (lambda: extend(ending, None), errors.InvalidRequest),
        (lambda: extend(ending, "soon"), errors.InvalidRequest),
        (lambda: extend(endless, later), errors.InvalidRequest),
        (lambda: extend(10**12, later), errors.NotFound),
        (lambda: extend(-1, later), errors.NotFound),
        (lambda: extend(ending, later, reason=""), errors.InvalidRequest),
        (lambda: extend(ending, later, reason="r" * 501), errors.InvalidRequest),
        (lambda: extend(ending, later, idempotency_key=""), errors.InvalidRequest),
    ]:
        assert type(refused(attempt)) is error
    assert (grants(anna), ledger(anna)) == before
    anna.use("call", 6 * MINUTE)
    anna.use("call", MINUTE)
    assert isinstance(refused(lambda: extend(ending, later)), errors.Conflict)


def test_only_administrators_extend(
    clock: Clock, anna: Person, person: Callable[..., Person], grants: Call, owner_sql: Callable[..., Rows]
) -> None:
    """I4, I5: and it is written down who did."""
    request = {
        "grant_id": grants(anna)[0]["id"],
        "expires_at": clock.now + 30 * DAY,
        "reason": "goodwill",
        "idempotency_key": "k",
    }
    for somebody in (anna, person("finance")):
        assert isinstance(refused(lambda s=somebody: s.call("extend_grant", **request)), errors.NotAllowed)
    admin = person("admin")
    admin.call("extend_grant", **request)
    (row,) = owner_sql("select actor, account_id from credits.audit_log where action = 'extend_grant'")
    assert row == {"actor": admin.identity.claims["sub"], "account_id": anna.account_id}


def test_extending_and_spending_at_once_lose_and_double_nothing(
    clock: Clock, holder: Callable[..., Person], give: Call, extend: Call, grants: Call
) -> None:
    """B5, B9: five extensions and twenty charges race; what is left is what was there less what was charged."""
    anna = holder()
    give(anna, "10.00", expires_at=clock.now + DAY)
    old = grants(anna)[0]["id"]

    def act(n: int) -> str:
        try:
            if n % 5 == 0:
                return str(extend(old, clock.now + (n + 2) * DAY)["replayed"])
            return "charged" if anna.use("call", MINUTE) else ""
        except errors.Conflict:
            return "too late"

    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(act, range(25)))
    assert (answers.count("False"), answers.count("too late"), answers.count("charged")) == (1, 4, 20)
    assert anna.available == micros("10") - 20 * 150_000


# --- for some operations -----------------------------------------------------------------------------------------


@pytest.fixture
def ben(catalog: Call, clock: Clock, holder: Callable[..., Person], give: Call) -> Person:
    """Somebody with 5.00 for everything, and 10.00 for messages alone."""
    catalog("ai_services")
    somebody = holder("5.00")
    give(somebody, "10.00", operations="{sms,whatsapp}")
    return somebody


def test_limited_credits_pay_for_their_operations_alone(ben: Person, grants: Call) -> None:
    """B11: and for these in the usual order; the balance shows them, a quote knows what they may pay."""
    assert ben.available == micros("15")
    assert ben.call("check_use", operation="voice_call", quantity=6 * MINUTE)["allowed"] is False
    assert ben.call("check_use", operation="sms", quantity=15)["allowed"] is True
    refusal = refused(lambda: ben.use("voice_call", 6 * MINUTE))
    assert refusal.detail == {"needed_micros": micros("6"), "available_micros": micros("5")}
    ben.use("voice_call", 5 * MINUTE)
    ben.use("sms", 4)
    ben.use("whatsapp", 6)
    assert [grant["remaining_micros"] for grant in grants(ben)] == [0, 0]
    assert isinstance(refused(lambda: ben.use("sms", 1)), errors.InsufficientCredits)


def test_a_hold_draws_on_limited_credits_too(ben: Person, grants: Call) -> None:
    """B7, B11: and gives back to them."""
    request = {"operation": "sms", "quantity": 12, "idempotency_key": "h"}
    hold = ben.call("place_hold", **request)["hold_id"]
    assert sum(grant["remaining_micros"] for grant in grants(ben)) == micros("3")
    ben.call("capture_hold", hold_id=hold, quantity=2)
    assert [grant["remaining_micros"] for grant in grants(ben)] == [micros("3"), micros("10")]


def test_limited_credits_pay_no_debt(
    catalog: Call, holder: Callable[..., Person], give: Call, owner_sql: Callable[..., Rows]
) -> None:
    """A9, B11: what is owed for calls is not taken from credits for messages."""
    catalog("ai_services")
    cleo = holder("1.00")
    hold = cleo.call("place_hold", operation="voice_call", quantity=MINUTE, idempotency_key="h")["hold_id"]
    cleo.call("capture_hold", hold_id=hold, quantity=3 * MINUTE)
    assert cleo.balance["debt_micros"] == micros("2")
    give(cleo, "10.00", operations="{sms}")
    assert cleo.balance["debt_micros"] == micros("2")
    assert cleo.use("sms", 10)["charged_micros"] == micros("10")
    give(cleo, "3.00")
    assert (cleo.balance["debt_micros"], cleo.available) == (0, micros("1"))


def test_a_later_end_keeps_the_operations(
    clock: Clock, ben: Person, give: Call, extend: Call, grants: Call
) -> None:
    """B9, B11: and so do credits that expired."""
    give(ben, "1.00", operations="{gpt_4}", expires_at=clock.now + DAY)
    clock.advance(days=2)
    extend(grants(ben)[-1]["id"], clock.now + DAY)
    assert (grants(ben)[-1]["operations"], grants(ben)[-1]["remaining_micros"]) == (["gpt_4"], micros("1"))


def test_operations_are_part_of_the_request(ben: Person, give: Call, grants: Call) -> None:
    """B6, B11: the same key with others is refused; no operations, unknown ones, and taking away from some are refused."""
    first = give(ben, "2.00", operations="{sms}", idempotency_key="k")
    assert give(ben, "2.00", operations="{sms}", idempotency_key="k") == first | {"replayed": True}
    for other in ("{whatsapp}", "{sms,whatsapp}", None):
        attempt = refused(lambda other=other: give(ben, "2.00", operations=other, idempotency_key="k"))
        assert (other, type(attempt)) == (other, errors.IdempotencyKeyReused)
    for wrong in ("{}", "{teleport}", "{sms,teleport}", "{NULL}"):
        attempt = refused(lambda wrong=wrong: give(ben, "2.00", operations=wrong))
        assert (wrong, type(attempt)) == (wrong, errors.InvalidRequest)
    assert isinstance(refused(lambda: give(ben, "-1.00", operations="{sms}")), errors.InvalidRequest)
    assert len(grants(ben)) == 3
    assert grants(ben)[-1]["operations"] == ["sms"]


def test_a_gift_for_some_operations_is_taken_back_by_its_reversal(
    ben: Person, give: Call, service: Call
) -> None:
    """B7, B11: an ordinary removal takes what is open to everything; the reversal takes this very gift."""
    gift = give(ben, "2.00", operations="{gpt_4}")["transaction_id"]
    refusal = refused(lambda: give(ben, "-6.00"))
    assert refusal.detail == {"needed_micros": micros("6"), "available_micros": micros("5")}
    service("reverse", transaction_id=gift, reason="a mistake", idempotency_key="r")
    assert ben.available == micros("15")
