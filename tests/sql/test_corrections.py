"""Corrections: adjustments (I1), reversals to the very grants (B7), and a ledger that nobody rewrites (B1)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import psycopg
import pytest

from credits_core import errors
from credits_core.units import parse_credits as micros
from tests.sql.conftest import Call, Clock, Person, Rows, new_key, refused

MINUTE = 60


def remaining(grants: Rows) -> list[int]:
    return [grant["remaining_micros"] for grant in grants]


@pytest.fixture
def reverse(service: Call) -> Call:
    """`reverse(transaction_id)`: take a charge or an adjustment back, with a new key."""
    return lambda transaction_id, **more: service(
        "reverse",
        **{"transaction_id": transaction_id, "reason": "a mistake", "idempotency_key": new_key()} | more,
    )


def test_an_administrator_gives_and_takes_credits_with_a_reason(
    holder: Callable[..., Person],
    person: Callable[..., Person],
    ledger: Call,
    grants: Call,
    owner_sql: Callable[..., Rows],
) -> None:
    """I1: a row of the ledger each, naming who and why; and a line in the audit trail (I5)."""
    anna, admin = holder(), person("admin")
    target = {"account_id": anna.account_id}
    given = admin.call(
        "adjust", amount_micros=micros("5"), reason="  goodwill  ", idempotency_key="k1", **target
    )
    taken = admin.call(
        "adjust", amount_micros=-micros("2"), reason="too much", idempotency_key="k2", **target
    )
    assert (given["available_micros"], taken["available_micros"]) == (micros("5"), micros("3"))
    me = str(admin.identity.claims["sub"])
    assert [(row["kind"], row["amount_micros"], row["reason"], row["actor"]) for row in ledger(anna)] == [
        ("adjustment", micros("5"), "goodwill", me),
        ("adjustment", -micros("2"), "too much", me),
    ]
    assert (grants(anna)[0]["source"], remaining(grants(anna))) == ("adjustment", [micros("3")])
    audit = owner_sql(
        "select actor, account_id, detail ->> 'reason' as reason from credits.audit_log where action = 'adjust'"
    )
    assert audit == [
        {"actor": me, "account_id": anna.account_id, "reason": why} for why in ("goodwill", "too much")
    ]


def test_no_more_is_taken_than_there_is(
    holder: Callable[..., Person], person: Callable[..., Person], owner_sql: Callable[..., Rows]
) -> None:
    """I1: not what is held, not the overdraft; the preview says so first and changes nothing."""
    anna, admin = holder("3.00"), person("admin")
    owner_sql("update credits.accounts set overdraft_micros = 5000000 where id = %s", anna.account_id)
    anna.call("place_hold", operation="call", quantity=4 * MINUTE, idempotency_key="h1")
    before = anna.balance
    for credits, allowed in [("1", True), ("-2.40", True), ("-2.400001", False), ("-3.00", False)]:
        amount = {"account_id": anna.account_id, "amount_micros": micros(credits)}
        preview = admin.call("adjust_preview", **amount)
        assert (credits, preview["allowed"], preview["reason"] is None) == (credits, allowed, allowed)
        after = preview["available_before_micros"] + micros(credits)
        assert (preview["available_before_micros"], preview["available_after_micros"]) == (
            anna.available,
            after,
        )
        if not allowed:
            refusal = refused(
                lambda a=amount: admin.call("adjust", reason="take", idempotency_key=new_key(), **a)
            )
            assert refusal.detail == {"needed_micros": -micros(credits), "available_micros": micros("2.40")}
    assert anna.balance | {"as_of": ""} == before | {"as_of": ""}


def test_an_adjustment_is_made_once_per_key(
    clock: Clock, holder: Callable[..., Person], service: Call
) -> None:
    """B6: same arguments, same answer; others are refused."""
    anna = holder()
    later = clock.now + timedelta(days=9)
    request = {"account_id": anna.account_id, "amount_micros": 5, "reason": "gift", "idempotency_key": "k1"}
    first = service("adjust", expires_at=later, **request)
    assert service("adjust", expires_at=later, **request) == first | {"replayed": True}
    for other in ({"amount_micros": 6}, {"reason": "another gift"}, {"expires_at": None}):
        refusal = refused(lambda other=other: service("adjust", **{"expires_at": later} | request | other))
        assert (other, type(refusal)) == (other, errors.IdempotencyKeyReused)
    taken = {"amount_micros": -3, "reason": "taken", "idempotency_key": "k2", "account_id": anna.account_id}
    assert service("adjust", **taken) | {"replayed": True} == service("adjust", **taken)
    assert anna.available == 2


def test_bad_adjustments_are_refused(
    clock: Clock, holder: Callable[..., Person], person: Callable[..., Person], ledger: Call
) -> None:
    """I1: amount, reason, key, expiry, account; and only administrators may."""
    anna, admin, finance = holder("1.00"), person("admin"), person("finance")
    good = {"account_id": anna.account_id, "amount_micros": 5, "reason": "gift", "idempotency_key": "k1"}
    for who, wrong, error in [
        (admin, {"amount_micros": 0}, errors.InvalidRequest),
        (admin, {"amount_micros": 10**15 + 1}, errors.InvalidRequest),
        (admin, {"amount_micros": "1.5"}, errors.InvalidRequest),
        (admin, {"amount_micros": "NaN"}, errors.InvalidRequest),
        (admin, {"amount_micros": 10**30}, errors.InvalidRequest),
        (admin, {"reason": " a "}, errors.InvalidRequest),
        (admin, {"reason": "x" * 501}, errors.InvalidRequest),
        (admin, {"idempotency_key": ""}, errors.InvalidRequest),
        (admin, {"expires_at": clock.now}, errors.InvalidRequest),
        (admin, {"expires_at": clock.now - timedelta(days=1)}, errors.InvalidRequest),
        (admin, {"account_id": 10**12}, errors.NotFound),
        (finance, {}, errors.NotAllowed),
        (anna, {}, errors.NotAllowed),
    ]:
        refusal = refused(lambda who=who, wrong=wrong: who.call("adjust", **good | wrong))
        assert (wrong, type(refusal)) == (wrong, error)
    assert len(ledger(anna)) == 1


def test_a_reversal_gives_back_to_the_very_grants(
    clock: Clock, holder: Callable[..., Person], give: Call, grants: Call, reverse: Call, ledger: Call
) -> None:
    """B7, B1: as a new row that points to the old one."""
    anna = holder()
    for days in (1, 2, 3):
        give(anna, "0.20", expires_at=clock.now + timedelta(days=days))
    charge = anna.use("call", 3 * MINUTE)  # 0.20, 0.20 and 0.05
    anna.use("call", MINUTE)
    answer = reverse(charge["transaction_id"])
    assert remaining(grants(anna)) == [micros("0.20"), micros("0.20"), micros("0.05")]
    assert (answer["amount_micros"], answer["available_micros"]) == (450_000, anna.available)
    last = ledger(anna)[-1]
    assert (last["kind"], last["reverses_seq"], last["reason"], last["quantity"]) == (
        "reversal",
        4,
        "a mistake",
        -180,
    )
    assert anna.balance["total_used_micros"] == 150_000


def test_a_charge_is_reversed_once(holder: Callable[..., Person], reverse: Call, ledger: Call) -> None:
    """B6, B7: the same key answers as before; any other attempt is told which row did it."""
    anna = holder("1.00")
    charge = anna.use("call", MINUTE)["transaction_id"]
    first = reverse(charge, idempotency_key="r1")
    assert reverse(charge, idempotency_key="r1") == first | {"replayed": True}
    second = refused(lambda: reverse(charge))
    assert (type(second), second.detail) == (errors.Conflict, {"reversal": first["transaction_id"]})
    other = anna.use("call", MINUTE)["transaction_id"]
    for wrong in ({"transaction_id": other}, {"reason": "another mistake"}):
        refusal = refused(
            lambda wrong=wrong: reverse(**{"transaction_id": charge, "idempotency_key": "r1"} | wrong)
        )
        assert (wrong, type(refusal)) == (wrong, errors.IdempotencyKeyReused)
    assert isinstance(refused(lambda: reverse(first["transaction_id"])), errors.Conflict)
    assert (len(ledger(anna)), anna.available) == (4, micros("0.85"))


def test_a_repeated_reversal_does_not_lose_what_happened_meanwhile(
    clock: Clock, holder: Callable[..., Person], give: Call, reverse: Call
) -> None:
    """B6, B9: a grant that expired between the two is booked, and the account goes on."""
    anna = holder("5.00")
    give(anna, "1.00", expires_at=clock.now + timedelta(days=1))
    charge = anna.use("call", MINUTE)["transaction_id"]
    first = reverse(charge, idempotency_key="r1")
    clock.advance(days=2)
    assert reverse(charge, idempotency_key="r1") == first | {"replayed": True}
    assert anna.use("call", MINUTE)["available_micros"] == micros("4.85")


def test_what_comes_back_to_an_expired_grant_expires_again(
    clock: Clock, holder: Callable[..., Person], give: Call, reverse: Call, ledger: Call
) -> None:
    """B7, B9: when it comes back, so that the balance of the days between is what it was."""
    anna = holder()
    give(anna, "1.00", expires_at=clock.now + timedelta(days=1))
    charge = anna.use("call", 4 * MINUTE)["transaction_id"]
    clock.advance(days=3)
    between = clock.now
    assert anna.available == 0
    clock.advance(days=1)
    reverse(charge)
    assert anna.available == 0
    assert [row["kind"] for row in ledger(anna)] == ["adjustment", "use", "expiry", "reversal", "expiry"]
    assert [row["posted_after_micros"] for row in ledger(anna)[2:]] == [0, 600_000, 0]
    clock.advance(days=1)
    assert anna.call("balance_as_of", at=between)["posted_micros"] == 0


def test_a_gift_is_reversed_only_while_it_is_there(
    holder: Callable[..., Person], give: Call, reverse: Call, grants: Call
) -> None:
    """B7: taken from the grant it made, never from others; a removal that is reversed comes back."""
    anna = holder("5.00")
    gift = give(anna, "1.00")["transaction_id"]
    removal = give(anna, "-5.50")["transaction_id"]  # all of the first, half of the gift
    assert isinstance(refused(lambda: reverse(gift)), errors.InsufficientCredits)
    reverse(removal)
    reverse(gift)
    assert remaining(grants(anna)) == [micros("5.00"), 0]


def test_reversing_a_debt_forgives_what_is_still_owed(
    clock: Clock, holder: Callable[..., Person], give: Call, reverse: Call
) -> None:
    """B7: and gives back, as new credits, what was recovered since."""
    anna = holder("0.15")
    call = anna.call("start_call", operation="call", idempotency_key="c1")["call_id"]
    clock.advance(minutes=4)
    charge = anna.call("end_call", call_id=call)["transaction_id"]
    assert anna.balance["debt_micros"] == 450_000
    give(anna, "0.20")
    assert (anna.balance["debt_micros"], anna.available) == (250_000, -250_000)
    reverse(charge)
    balance = anna.balance
    assert (balance["debt_micros"], balance["posted_micros"], balance["available_micros"]) == (
        0,
        350_000,
        350_000,
    )
    assert anna.use("call", 2 * MINUTE)["available_micros"] == 50_000


def test_only_charges_and_adjustments_are_reversed(
    holder: Callable[..., Person], buy: Call, reverse: Call, person: Callable[..., Person]
) -> None:
    """A8: a purchase is refunded instead; nonsense is not found; a holder may not."""
    anna = holder()
    bought = buy(anna, "usd_5")["transaction_id"]
    assert isinstance(refused(lambda: reverse(bought)), errors.Conflict)
    for unknown in ("", "x", "1", "1-", "-1", "1-99", "99-1", "1-1e3", "9" * 40 + "-1"):
        assert isinstance(refused(lambda unknown=unknown: reverse(unknown)), errors.NotFound)
    request = {"transaction_id": bought, "reason": "for me", "idempotency_key": "r"}
    for somebody in (anna, person("finance")):
        assert isinstance(refused(lambda s=somebody: s.call("reverse", **request)), errors.NotAllowed)


def test_the_ledger_is_never_rewritten(
    holder: Callable[..., Person], service: Call, owner_sql: Callable[..., Rows]
) -> None:
    """B1, I5: update, delete and truncate are refused even for the owner of the tables."""
    anna = holder("1.00")
    anna.call("place_hold", operation="call", quantity=MINUTE, idempotency_key="h")
    append_only = {
        row["name"]
        for row in owner_sql(
            "select c.relname as name from pg_trigger as t join pg_class as c on c.oid = t.tgrelid"
            " where t.tgfoid = 'credits._append_only'::regproc"
        )
    }
    assert append_only >= {
        "transactions",
        "entries",
        "hold_events",
        "audit_log",
        "prices",
        "price_components",
    }
    for table in sorted(append_only):
        for statement in (
            "delete from credits.{}",
            "truncate credits.{} cascade",
            "update credits.{0} set {1} = {1}",
        ):
            (column,) = owner_sql(
                "select attname as name from pg_attribute where attrelid = %s::regclass and attnum > 0"
                " and attidentity = '' limit 1",
                f"credits.{table}",
            )
            with pytest.raises(psycopg.Error) as caught:
                owner_sql(statement.format(table, column["name"]))
            assert (table, statement, caught.value.sqlstate) == (table, statement, "LC403")
