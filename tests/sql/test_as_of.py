"""Balances of the past (B4), expiry as the books have it (B9), and the check that finds what does not add up (B10)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg.rows import dict_row

from credits_core import errors
from credits_core.db.embedded import EmbeddedServer
from credits_core.units import parse_credits as micros
from tests.sql.conftest import Call, Clock, Person, Rows, new_key, refused

MINUTE = 60


def test_the_balance_of_any_past_moment(
    clock: Clock, holder: Callable[..., Person], give: Call, buy: Call, service: Call
) -> None:
    """B4: what the balance said then is what it says of then, whatever happened afterwards."""
    anna = holder()
    said: list[tuple[datetime, int]] = []

    def look() -> None:
        clock.advance(seconds=1)
        said.append((clock.now, anna.balance["posted_micros"]))
        clock.advance(hours=6)

    look()
    buy(anna, "usd_10")
    look()
    give(anna, "2.00", expires_at=clock.now + timedelta(days=1))
    look()
    charge = anna.use("call", 4 * MINUTE)
    look()
    hold = anna.call("place_hold", operation="call", quantity=6 * MINUTE, idempotency_key="h")["hold_id"]
    look()
    clock.advance(days=1)  # the gift expires; nobody books it for a while
    look()
    anna.use("call", MINUTE, occurred_at=clock.now - timedelta(days=2))
    look()
    service("reverse", transaction_id=charge["transaction_id"], reason="mistake", idempotency_key="r")
    look()
    anna.call("release_hold", hold_id=hold)
    look()
    service("expire_grants")
    look()
    assert [amount for _, amount in said] == [
        micros(credits)
        for credits in ("0", "10", "12", "11.40", "11.40", "10.90", "10.75", "10.75", "9.85", "9.85")
    ]
    for moment, posted in said:
        assert (moment, anna.call("balance_as_of", at=moment)["posted_micros"]) == (moment, posted)


def test_a_moment_includes_what_happened_in_it(clock: Clock, holder: Callable[..., Person]) -> None:
    """B4: to the microsecond; before the account there was nothing."""
    anna = holder("1.00")
    given = clock.now
    for moment, posted in [(given - timedelta(microseconds=1), 0), (given, micros("1.00"))]:
        assert anna.call("balance_as_of", at=moment)["posted_micros"] == posted
    assert anna.call("balance_as_of", at=datetime(1970, 1, 1, tzinfo=UTC))["posted_micros"] == 0


def test_the_future_has_no_balance(clock: Clock, holder: Callable[..., Person]) -> None:
    """B4: and neither has a moment that is none."""
    anna = holder("1.00")
    for moment in (clock.now + timedelta(seconds=1), "infinity", "noon", None):
        refusal = refused(lambda moment=moment: anna.call("balance_as_of", at=moment))
        assert (moment, type(refusal)) == (moment, errors.InvalidRequest)


def test_an_expiry_is_booked_once_as_an_entry_of_its_grant(
    clock: Clock, holder: Callable[..., Person], give: Call, service: Call, ledger: Call, grants: Call
) -> None:
    """B9, B3: by the job, late or not, with the moment at which the credits were gone."""
    anna, ben = holder(), holder("1.00")
    end = clock.now + timedelta(days=1)
    give(anna, "1.00", expires_at=end)
    anna.use("call", MINUTE)
    clock.set(end + timedelta(hours=5))
    assert service("expire_grants") == {"accounts": 1}
    assert service("expire_grants") == {"accounts": 0}
    booked = ledger(anna)[-1]
    assert (booked["kind"], booked["amount_micros"], booked["occurred_at"]) == (
        "expiry",
        -micros("0.85"),
        end,
    )
    assert booked["grant_id"] == grants(anna)[0]["id"]
    assert [row["kind"] for row in ledger(ben)] == ["adjustment"]


def test_rolled_up_usage_equals_the_ledger(
    clock: Clock,
    holder: Callable[..., Person],
    person: Callable[..., Person],
    catalog: Call,
    service: Call,
    owner_sql: Callable[..., Rows],
) -> None:
    """B10: by account, quarter of an hour and operation; the part not rolled up yet is added live; twice adds nothing."""
    catalog("ai_services")
    people = [holder("1000"), holder("1000"), person("super_admin")]
    usage = (
        "select account_id, bucket, operation_id, sum(events)::int as events, sum(quantity) as quantity,"
        " sum(charged_micros)::bigint as charged, sum(rated_micros)::bigint as rated from {} group by 1, 2, 3 order by 1, 2, 3"
    )
    of_ledger = """(
        select account_id, date_bin('15 minutes', coalesce(occurred_at, created_at), '2000-01-01 00:00+00') as bucket, operation_id,
               case kind when 'reversal' then -1 else 1 end as events, quantity, -amount_micros as charged_micros,
               coalesce(rated_micros, -amount_micros) as rated_micros
          from credits.transactions where operation_id is not null) as t"""
    for step in range(30):
        somebody = people[step % 3]
        used = somebody.use(("gpt_4", "sms", "voice_call")[step % 2], 1 + step)
        somebody.use("claude", 100, occurred_at=clock.now - timedelta(hours=step))
        clock.advance(minutes=4)
        if step % 5 == 0:
            service(
                "reverse", transaction_id=used["transaction_id"], reason="mistake", idempotency_key=new_key()
            )
        if step % 7 == 3:
            assert service("rollup_usage")["rows"] > 0
            assert service("rollup_usage")["rows"] == 0
        assert owner_sql(usage.format("credits.usage_live")) == owner_sql(usage.format(of_ledger))
    service("rollup_usage")
    assert owner_sql(usage.format("credits.usage_rollup")) == owner_sql(usage.format(of_ledger))


# What to break, and what the check must call it.
PLANTED = {
    "update credits.accounts set posted_micros = posted_micros + 1 where id = {account}": {
        "posted balance against the sum of transactions",
        "posted balance against the last transaction",
        "posted balance against grants, holds and debt",
    },
    "update credits.accounts set posted_micros = posted_micros - 7, debt_micros = debt_micros + 7 where id = {account}": {
        "posted balance against the sum of transactions",
        "posted balance against the last transaction",
    },
    "update credits.accounts set held_micros = held_micros - 1 where id = {account}": {
        "held against open holds"
    },
    "update credits.accounts set seq = seq + 1 where id = {account}": {
        "number of transactions",
        "posted balance against the last transaction",
    },
    "update credits.accounts set used_micros = 0 where id = {account}": {"total used"},
    "update credits.accounts set purchased_micros = 0 where id = {account}": {"total purchased"},
    "update credits.accounts set grant_left_micros = grant_left_micros - 1 where id = {account}": {
        "posted balance against grants, holds and debt",
        "grant against its entries",
    },
    "update credits.transactions set amount_micros = amount_micros - 1 where account_id = {account} and seq = 3": {
        "posted balance against the sum of transactions",
        "total used",
        "grant against its entries",
        "rolled up usage",
        "usage by days",
    },
    "delete from credits.transactions where account_id = {account} and seq = 3": {
        "posted balance against the sum of transactions",
        "number of transactions",
        "total used",
        "grant against its entries",
        "rolled up usage",
        "number of rolled up uses",
        "usage by days",
        "number of uses by days",
    },
    "update credits.entries set amount_micros = amount_micros - 1 where account_id = {account}": {
        "grant against its entries"
    },
    "update credits.hold_grants set amount_micros = amount_micros + 1": {
        "held against open holds",
        "posted balance against grants, holds and debt",
        "grant against its entries",
    },
    "update credits.usage_rollup set charged_micros = charged_micros + 1 where account_id = {account}": {
        "rolled up usage"
    },
    "delete from credits.usage_rollup where account_id = {account}": {
        "rolled up usage",
        "number of rolled up uses",
    },
}
# Sums of everybody name no account; a wrong sum of an account's day is wrong against both sides.
PLANTED_SUMS = {
    "update credits.usage_totals set charged_micros = charged_micros + 1": {"usage of everybody on"},
    "delete from credits.usage_totals": {"usage of everybody on"},
    "update credits.usage_days set charged_micros = charged_micros + 1 where account_id = {account}": {
        "usage by days",
        "usage of everybody on",
    },
}


@pytest.fixture
def by_force(server: EmbeddedServer, database_name: str) -> Iterator[Callable[[str], Rows]]:
    """`by_force("update ...")`: what the check says of a change that no trigger stops; undone afterwards."""
    with psycopg.connect(server.superuser_dsn(database_name), row_factory=dict_row) as superuser:

        def differences(statement: str) -> Rows:
            with superuser.transaction(force_rollback=True):
                superuser.execute("set local session_replication_role = replica")
                superuser.execute(
                    "select set_config('request.jwt.claims', '{\"role\": \"service_role\"}', true)"
                )
                superuser.execute(statement.encode())
                (answer,) = superuser.execute("select credits.verify() as found").fetchall()
                return list(answer["found"]["differences"])

        yield differences


def test_the_check_finds_every_planted_difference(
    clock: Clock, holder: Callable[..., Person], buy: Call, service: Call, by_force: Callable[[str], Rows]
) -> None:
    """B10: each table broken in turn; each time the account is named, and what is wrong."""
    anna, ben = holder("1.00"), holder("1.00")
    buy(anna, "usd_5")
    anna.use("call", MINUTE)
    anna.use("call", 10 * MINUTE)  # of two grants
    anna.call("place_hold", operation="call", quantity=MINUTE, idempotency_key="h")
    ben.use("call", MINUTE)
    service("rollup_usage")
    assert service("verify") == {"differences": [], "accounts": 2, "transactions": 6}
    for statement, expected in PLANTED.items():
        found = by_force(statement.format(account=anna.account_id))
        whats = {" ".join(word for word in row["what"].split() if not word.isdigit()) for row in found}
        assert (statement, whats) == (statement, expected)
        assert {row["account_id"] for row in found} == {anna.account_id}
        assert all(row["expected_micros"] != row["found_micros"] for row in found)
    for statement, expected in PLANTED_SUMS.items():
        found = by_force(statement.format(account=anna.account_id))
        assert {re.sub(r" [\d-]+$", "", row["what"]) for row in found} == expected, statement
