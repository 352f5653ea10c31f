"""Nobody sees or changes what belongs to somebody else (K1): every function and every table, tried one by one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from credits_core.db.port import ANONYMOUS, Identity
from credits_core.errors import NotFound
from credits_core.units import parse_credits as micros
from tests.sql.conftest import Call, Clock, Person, Rows, new_key, paid
from tests.sql.test_access import EVERYBODY, PUBLIC_TABLES, SIGNED_IN, STAFF, STAFF_TABLES

SECRET = "for ben alone"
FORBIDDEN = "LC403"
AMOUNT = micros("7.654321")
AMOUNTS = re.compile(
    r"(654321|504321)\b"
)  # what of it is left when whole credits are bought, used and held, and a minute
# Mandatory arguments, by name or by type; those that name something of Ben's come from `ben_things`.
VALUES: dict[str, object] = {
    "p_operation": "call",
    "p_quantity": 60,
    "p_amount_micros": 5,
    "p_amount_cents": 500,
    "p_reason": "curious",
    "p_right": "read",
    "p_livemode": False,
    "p_period": "day",
    "p_cap_micros": 1,
    "p_plan": None,
    "p_zone": "UTC",
    "p_time_zone": "UTC",
    "p_scopes": ["use"],
    "p_components": Jsonb([{"unit": "call", "price_micros": 1}]),
    "p_draft": Jsonb({"operations": []}),
}
BY_TYPE: dict[str, object] = {
    "text": "x",
    "numeric": 1,
    "bigint": 1,
    "integer": 1,
    "smallint": 1,
    "boolean": False,
    "jsonb": Jsonb({}),
    "date": "2027-01-04",
    "timestamp with time zone": "2027-01-04T09:00:00Z",
    "timestamp without time zone": "2027-01-04T09:00:00",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


@pytest.fixture
def ben(clock: Clock, person: Callable[..., Person]) -> Person:
    return person()


@pytest.fixture
def ben_things(ben: Person, service: Call, clock: Clock) -> dict[str, object]:
    """One of everything an account can have, marked; the arguments by which a function could reach it."""
    account = {"account_id": ben.account_id}
    given = service("adjust", amount_micros=AMOUNT, reason=SECRET, idempotency_key=SECRET, **account)
    made = ben.call("create_purchase", idempotency_key=SECRET, livemode=False, package="usd_20")
    opened = service("open_purchase", purchase_id=made["purchase_id"], session_id=SECRET)
    service("fulfill_purchase", session=paid(opened))
    ben.use("call", 1200, metadata={"note": SECRET})
    hold = ben.call("place_hold", operation="call", quantity=1200, idempotency_key=SECRET)
    call = ben.call("start_call", operation="call", idempotency_key=SECRET, to=SECRET)
    key = ben.call("create_api_key", name=SECRET, scopes="{read}", prefix="ck_test_abcd", key_hash="0" * 64)
    ben.call("set_cap", period="day", cap_micros=AMOUNT)
    address = {"name": SECRET, "address": SECRET, "sealed": SECRET}
    target = ben.call("add_notice_target", channel="webhook", idempotency_key=SECRET, **address)
    message = ben.call("send_test_notice", target_id=target["target_id"])
    service("rollup_usage")
    things = {
        "p_account_id": ben.account_id,
        "p_account": str(ben.identity.claims["email"]),
        "p_transaction_id": given["transaction_id"],
        "p_purchase_id": made["purchase_id"],
        "p_session_id": SECRET,
        "p_hold_id": hold["hold_id"],
        "p_call_id": call["call_id"],
        "p_api_key_id": key["api_key_id"],
        "p_grant_id": 1,
        "p_target_id": target["target_id"],
        "p_message_id": message["message_id"],
        "p_channel": "webhook",
        "p_sealed": SECRET,
        "p_choices": Jsonb({"debt": False}),
        "p_idempotency_key": SECRET,
    }
    event = {"operation": "call", "quantity": 60, "idempotency_key": new_key(), "account_id": ben.account_id}
    return things | {"p_events": Jsonb([event])}


def tells_of_ben(value: object, ben: Person) -> bool:
    text = json.dumps(value, default=str)
    return SECRET in text or str(ben.identity.claims["email"]) in text or bool(AMOUNTS.search(text))


def functions(owner_sql: Callable[..., Rows], names: str) -> Rows:
    """Names and arguments (name, type, whether it can be left out) of functions that take plain values."""
    return owner_sql(
        """select p.proname as name, array(
                 select jsonb_build_object('name', p.proargnames[n], 'type', p.proargtypes[n - 1]::regtype::text,
                                           'optional', n > p.pronargs - p.pronargdefaults)
                   from generate_series(1, p.pronargs) as n) as arguments
             from pg_proc as p
            where p.pronamespace = 'credits'::regnamespace and p.proname = any (%s) and not exists (
                  select from unnest(p.proargtypes) as a join pg_type as t on t.oid = a where t.typtype = 'c')
            order by 1""",
        names.split(),
    )


def attempts(rows: Rows, things: dict[str, object]) -> list[tuple[str, str, list[object]]]:
    """A statement for each function that reaches for Ben's things wherever an argument allows it."""
    found = []
    for function in rows:
        texts: list[str] = []
        values: list[object] = []
        for argument in function["arguments"]:
            name, type_ = argument["name"], argument["type"]
            if name in things or not argument["optional"]:
                texts.append(f"{name} => %s::{type_}" if name != "p_roles" else f"variadic %s::{type_}")
                values.append(things.get(name, VALUES.get(name, BY_TYPE.get(type_))))
        call = f"select to_jsonb(x) from credits.{function['name']}({', '.join(texts)}) as x"
        found.append((function["name"], call, values))
    return found


def state_of(ben: Person, owner_sql: Callable[..., Rows]) -> Rows:
    """Every row of every table that belongs to Ben's account."""
    tables = owner_sql(
        "select relname from pg_class where relnamespace = 'credits'::regnamespace and relkind = 'r'"
    )
    return [
        row
        for table in tables
        for row in owner_sql(
            "select r from (select to_jsonb(t) as r from credits.{0} as t) as x where r ->> 'account_id' = %s::text"
            " or r ->> 'hold_id' = '1' or ('{0}' = 'accounts' and r ->> 'id' = %s::text) order by r::text".format(
                table["relname"]
            ),
            ben.account_id,
            ben.account_id,
        )
    ]


def outcome(
    as_person: Call, identity: Identity, statement: str, values: list[object], keep: bool = False
) -> Any:
    """What the call answered, or None when it was refused."""
    try:
        return as_person(identity, statement, *values, keep=keep)
    except psycopg.Error as refusal:
        assert refusal.sqlstate and refusal.sqlstate[:2] in ("LC", "22", "23", "42"), refusal
        return None


def refusal_of(as_person: Call, identity: Identity, statement: str, values: list[object]) -> str | None:
    """The SQLSTATE of the refusal; None where the answer is nothing."""
    try:
        as_person(identity, statement, *values)
    except psycopg.Error as refusal:
        return refusal.sqlstate
    return None


def test_no_function_reaches_another_account(
    ben: Person,
    ben_things: dict[str, object],
    holder: Callable[..., Person],
    as_person: Call,
    owner_sql: Callable[..., Rows],
) -> None:
    """K1: as a holder who knows every id of Ben's, and as somebody not signed in: nothing is told, nothing changes."""
    anna = holder("5.00")
    tried = attempts(functions(owner_sql, SIGNED_IN + EVERYBODY), ben_things)
    before = state_of(ben, owner_sql)
    for identity in (anna.identity, ANONYMOUS):
        for name, statement, values in tried:
            answer = outcome(as_person, identity, statement, values, keep=True)
            assert (name, tells_of_ben(answer, ben)) == (name, False)
    assert state_of(ben, owner_sql) == before
    assert len(tried) > 60


def test_the_same_attempts_do_reach_ones_own_account(
    ben: Person, ben_things: dict[str, object], as_person: Call, owner_sql: Callable[..., Rows]
) -> None:
    """K1, I4: they are real attempts: made by Ben they tell of Ben; exactly the functions for the staff are forbidden to him, and
    of the others most are answered."""
    tried = attempts(functions(owner_sql, SIGNED_IN + EVERYBODY), ben_things)
    answers = {name: outcome(as_person, ben.identity, statement, values) for name, statement, values in tried}
    telling = {name for name, answer in answers.items() if tells_of_ben(answer, ben)}
    expected = "balance transactions explain purchases purchase purchase_status calls call api_keys me account_overview"
    assert telling >= {*expected.split(), "account_detail", "limits", "balance_as_of", "_closing_balances"}
    refused = {
        name: refusal_of(as_person, ben.identity, statement, values)
        for name, statement, values in tried
        if answers[name] is None
    }
    forbidden = {name for name, code in refused.items() if code == FORBIDDEN}
    assert forbidden - {"_require"} == {name for name, _, _ in tried} & set(STAFF.split())
    wrong_values = refused.keys() - forbidden
    assert len(wrong_values) < (len(answers) - len(forbidden)) / 3, sorted(wrong_values)


def test_finance_reads_everything_and_changes_nothing_of_others(
    ben: Person,
    ben_things: dict[str, object],
    person: Callable[..., Person],
    as_person: Call,
    owner_sql: Callable[..., Rows],
) -> None:
    """I4: every function, with every id of Ben's."""
    finance = person("finance")
    before = state_of(ben, owner_sql)
    telling = 0
    for _, statement, values in attempts(functions(owner_sql, SIGNED_IN), ben_things):
        telling += tells_of_ben(outcome(as_person, finance.identity, statement, values, keep=True), ben)
    assert telling > 10
    assert state_of(ben, owner_sql) == before


def test_no_table_shows_rows_of_another_account(
    ben: Person,
    ben_things: dict[str, object],
    holder: Callable[..., Person],
    as_person: Call,
    owner_sql: Callable[..., Rows],
) -> None:
    """K1: by the row policies alone, without any function; views too."""
    anna = holder("5.00")
    tables = owner_sql(
        "select relname as name from pg_class as c where relnamespace = 'credits'::regnamespace and relkind in ('r', 'v')"
        " and has_table_privilege('authenticated', c.oid, 'select') order by 1"
    )
    shown_to_ben = set()
    for table in (row["name"] for row in tables):
        everything = f"select to_jsonb(t) from credits.{table} as t"
        own = as_person(ben.identity, everything)
        if own and table not in PUBLIC_TABLES:
            shown_to_ben.add(table)
        for row in as_person(anna.identity, everything):
            assert (table, tells_of_ben(row, ben)) == (table, False)
            assert (table, row.get("account_id", 0) == ben.account_id) == (table, False)
            assert table in PUBLIC_TABLES or row not in own
        assert table not in STAFF_TABLES or not own
        if table not in PUBLIC_TABLES:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                as_person(ANONYMOUS, everything)
    expected = "accounts profiles grants transactions purchases calls holds hold_grants hold_events usage_rollup rollup_state"
    assert shown_to_ben >= {*expected.split(), "usage_live", "grants_now", "all_entries", "spending_caps"}


def test_a_sign_in_without_an_account_has_nothing(database: Any, make_user: Call) -> None:
    """K1: a person whose account is not there yet is told so, and sees nobody's."""
    stranger = make_user()
    claims = {**stranger.claims, "sub": "00000000-0000-4000-8000-000000000000"}
    nobody = Identity(claims)
    assert database.call("me", nobody)["account_id"] is None
    with pytest.raises(NotFound, match="no account yet"):
        database.call("balance", nobody)
