"""The contract of the database port: the same calls give the same answers and refusals over both transports (L2)."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import jwt
import psycopg
import pytest

from credits_core import errors
from credits_core.db.embedded import EmbeddedServer
from credits_core.db.port import ANONYMOUS, SERVICE, Database, Identity
from credits_core.db.psycopg_transport import PsycopgDatabase
from credits_core.db.supabase_transport import SupabaseDatabase
from tests.supabase_lite import SupabaseLite

VALUES: list[Any] = [
    None,
    True,
    0,
    -7,
    2**53 - 1,  # the small Supabase is JavaScript and keeps no larger ones; test_psycopg_transport has them
    1.5,
    "",
    "text",
    "0012",
    "Ünïcödé — 漢字 🎉 \u202e \\u0041 \\ \" ' ; -- $1 %s",
    "line\nbreak\ttab",
    [],
    {},
    [1, [2, [3, {"deep": [None, False, {"er": "x"}]}]]],
    {"b": 1, "a": {"c": [1, 2, 3]}, "": "empty key"},
]


def exactly(value: Any) -> Any:
    """A value with its types spelt out: 1, 1.0 and True differ."""
    if isinstance(value, dict):
        return {key: exactly(item) for key, item in value.items()}
    if isinstance(value, list):
        return [exactly(item) for item in value]
    return type(value).__name__, value


# Answers and arguments


def test_values_come_back_as_they_are(db: Database) -> None:
    """L2: integers stay integers, text stays text, nesting stays."""
    for value in VALUES:
        answer = db.call("probe_echo", ANONYMOUS, value={"value": value})
        assert exactly(answer) == exactly({"value": value})


def test_arguments_of_every_kind(db: Database) -> None:
    """L2: decimals, times, UUIDs and JSON reach their parameter unchanged."""
    at = datetime(2026, 2, 28, 23, 30, 0, 123456, tzinfo=timezone(timedelta(hours=-5)))
    answer = db.call(
        "probe_types",
        ANONYMOUS,
        text="123",
        int=2**53 - 1,
        decimal=Decimal("0.1000000000000000000001"),
        bool=False,
        at=at,
        uuid=UUID("00000000-0000-4000-8000-00000000000f"),
        json=[{"at": at, "price": Decimal("0.30")}],
    )
    assert answer == {
        "text": "123",
        "int": 2**53 - 1,
        "decimal": "0.1000000000000000000001",
        "bool": False,
        "at": "2026-03-01T04:30:00.123456",
        "uuid": "00000000-0000-4000-8000-00000000000f",
        "json": [{"at": at.isoformat(), "price": "0.30"}],
    }


def test_none_leaves_an_argument_out(db: Database) -> None:
    assert set(db.call("probe_types", ANONYMOUS, text=None, int=None).values()) == {None}
    assert db.call("probe_echo", ANONYMOUS, value={"x": None}) == {"x": None}


@pytest.mark.parametrize("value", [1.5, b"bytes", object(), {1, 2}])
def test_values_that_money_must_not_use_are_a_mistake_of_the_program(db: Database, value: object) -> None:
    with pytest.raises(TypeError):
        db.call("probe_types", ANONYMOUS, decimal=value)


def test_names_come_from_the_program_alone(db: Database) -> None:
    for name in ("probe_echo()--", "Probe", "", "a.b", "probe echo"):
        with pytest.raises(ValueError, match="not the name"):
            db.call(name, ANONYMOUS)
        with pytest.raises(ValueError, match="not the name"):
            db.call("probe_echo", ANONYMOUS, **{name: 1})


@pytest.mark.parametrize("text", ["nul\x00", "half a pair \ud800"])
def test_text_that_cannot_be_stored_is_refused(db: Database, text: str) -> None:
    for arguments in ({"text": text}, {"json": {"deep": [text]}}):
        with pytest.raises(errors.InvalidRequest, match="cannot be stored"):
            db.call("probe_types", ANONYMOUS, **arguments)


def test_numbers_that_are_none_are_refused(db: Database) -> None:
    with pytest.raises(errors.InvalidRequest, match="finite"):
        db.call("probe_types", ANONYMOUS, json={"x": float("nan")})


def test_long_lists_arrive_whole(db: Database) -> None:
    """L2: PostgREST cuts at 1,000 rows; one jsonb answer is one row."""
    rows = db.call("probe_rows", SERVICE, count=1500)
    assert [row["n"] for row in rows] == list(range(1, 1501))


def test_large_arguments_arrive_whole(db: Database) -> None:
    events = [{"n": n, "text": "x" * 50} for n in range(5000)]
    assert db.call("probe_echo", SERVICE, value=events) == events


# Refusals


@pytest.mark.parametrize("cls", errors.BY_SQLSTATE.values())
def test_refusals_are_the_products_own_errors(db: Database, cls: type[errors.CreditsError]) -> None:
    """One table maps code to class; the sentence and the JSON detail arrive."""
    with pytest.raises(errors.CreditsError) as caught:
        db.call("probe_raise", ANONYMOUS, code=cls.sqlstate, detail='{"needed_micros": 9007199254740991}')
    assert type(caught.value) is cls
    assert str(caught.value) == "A sentence."
    assert exactly(caught.value.detail) == exactly({"needed_micros": 9007199254740991})


@pytest.mark.parametrize(
    ("code", "cls"),
    [
        ("22P02", errors.InvalidRequest),
        ("22003", errors.InvalidRequest),
        ("23514", errors.InvalidRequest),
        ("42501", errors.NotAllowed),
        ("53300", errors.DatabaseUnavailable),
        ("57014", errors.DatabaseUnavailable),
        ("55P03", errors.DatabaseUnavailable),
        ("40P01", errors.DatabaseUnavailable),
        ("XX000", errors.CreditsError),
        ("P0001", errors.CreditsError),
    ],
)
def test_other_refusals_do_not_quote_the_database(
    db: Database, code: str, cls: type[errors.CreditsError]
) -> None:
    with pytest.raises(errors.CreditsError) as caught:
        db.call("probe_raise", ANONYMOUS, code=code, detail="Key (email)=(somebody@example.test) exists.")
    assert type(caught.value) is cls
    assert "A sentence" not in str(caught.value)
    assert "somebody" not in repr(caught.value.detail)


def test_unreadable_values_are_invalid_requests(db: Database) -> None:
    for arguments in ({"int": "many"}, {"int": "1.5"}, {"uuid": "x"}, {"at": "yesterdayish"}, {"int": 2**70}):
        with pytest.raises(errors.InvalidRequest):
            db.call("probe_types", ANONYMOUS, **arguments)


def test_unknown_functions_and_arguments_are_invalid_requests(db: Database) -> None:
    with pytest.raises(errors.InvalidRequest):
        db.call("no_such_function", SERVICE)
    with pytest.raises(errors.InvalidRequest):
        db.call("probe_echo", SERVICE, value={}, more=1)


@pytest.fixture
def reset_race(server: EmbeddedServer, contract_database: str) -> None:
    with psycopg.connect(server.owner_dsn(contract_database)) as owner:
        owner.execute("select setval('credits.probe_runs', 1, false)")
        owner.execute("update credits.probe_race set times = 0")


def test_a_lost_race_runs_once_more_and_counts_once(db: Database, reset_race: None) -> None:
    assert db.call("probe_lose", ANONYMOUS, losses=1) == 1


def test_a_race_lost_twice_says_try_again(db: Database, reset_race: None) -> None:
    with pytest.raises(errors.DatabaseUnavailable):
        db.call("probe_lose", ANONYMOUS, losses=2)


# Identity


def test_k1_identity_reaches_sql(db: Database, sign_up: Callable[..., Identity]) -> None:
    person = sign_up(role="finance")
    assert db.call("probe_whoami", person) == {
        "uid": person.claims["sub"],
        "role": "authenticated",
        "database_role": "authenticated",
        "app_role": "finance",
        "email": person.claims["email"],
    }
    nobody = {"uid": None, "app_role": None, "email": None}
    assert db.call("probe_whoami", ANONYMOUS) == {"role": "anon", "database_role": "anon", **nobody}
    service = {"role": "service_role", "database_role": "service_role", **nobody}
    assert db.call("probe_whoami", SERVICE) == service


def test_k1_identity_never_stays_on_a_connection(db: Database, sign_up: Callable[..., Identity]) -> None:
    """Many people take turns on few connections; each call is its own caller's, also after refusals."""
    people = [sign_up() for _ in range(4)]

    def ask(turn: int) -> bool:
        person = people[turn % len(people)]
        if turn % 5 == 0:
            with pytest.raises(errors.CreditsError):
                db.call("probe_raise", person, code="LC409", detail="{}")
        if turn % 7 == 0:
            return bool(db.call("probe_whoami", ANONYMOUS)["uid"] is None)
        return bool(db.call("probe_whoami", person)["uid"] == person.claims["sub"])

    with ThreadPoolExecutor(20) as threads:
        assert all(threads.map(ask, range(120)))


def test_k2_machine_functions_are_refused_to_people(db: Database, sign_up: Callable[..., Identity]) -> None:
    calls: list[tuple[str, dict[str, Any]]] = [
        ("verify", {}),
        ("load_catalog", {"catalog": {}}),
        ("user_by_email", {"email": "x@example.test"}),
        ("fulfill_purchase", {"session": {}}),
        ("expire_grants", {}),
        ("rollup_usage", {}),
    ]
    for identity in (ANONYMOUS, sign_up(), sign_up(role="super_admin")):
        for function, arguments in calls:
            with pytest.raises(errors.NotAllowed):
                db.call(function, identity, **arguments)


def test_k1_internal_functions_cannot_be_called(db: Database, sign_up: Callable[..., Identity]) -> None:
    with pytest.raises(ValueError, match="not the name"):
        db.call("_now", SERVICE)


def test_k1_the_small_supabase_leaves_the_grants_of_the_migrations_alone(
    over_supabase: Database, server: EmbeddedServer, contract_database: str
) -> None:
    with psycopg.connect(server.owner_dsn(contract_database)) as owner:
        writable = owner.execute(
            "select relname from pg_class where relnamespace = 'credits'::regnamespace and relkind = 'r'"
            " and relname not like 'probe%' and (has_table_privilege('authenticated', oid, 'insert, update, delete')"
            " or has_table_privilege('anon', oid, 'insert, update, delete'))"
        ).fetchall()
    assert writable == []


# The product's functions


def test_b1_balance_use_and_transactions(db: Database, funded: Callable[[int], Identity]) -> None:
    """B1, D6: the same story over both transports, to the micro."""
    person = funded(10_000_000)
    assert db.call("balance", person)["available_micros"] == 10_000_000
    key = secrets.token_hex(8)
    charged = db.call("use", person, operation="call", quantity=Decimal(90), idempotency_key=key)
    assert exactly(charged["charged_micros"]) == ("int", 300_000)
    again = db.call("use", person, operation="call", quantity=90, idempotency_key=key)
    assert again["replayed"] is True
    assert again["transaction_id"] == charged["transaction_id"]
    items = db.call("transactions", person, limit=10)["items"]
    assert [(item["kind"], item["amount_micros"]) for item in items] == [
        ("use", -300_000),
        ("adjustment", 10_000_000),
    ]
    assert datetime.fromisoformat(items[0]["created_at"]).tzinfo == UTC


def test_b5_not_enough_credits_changes_nothing(db: Database, funded: Callable[[int], Identity]) -> None:
    person = funded(100_000)
    with pytest.raises(errors.InsufficientCredits) as caught:
        db.call("use", person, operation="call", quantity=600, idempotency_key=secrets.token_hex(8))
    assert exactly(caught.value.detail["needed_micros"]) == ("int", 1_500_000)
    assert caught.value.detail["available_micros"] == 100_000
    assert db.call("balance", person)["available_micros"] == 100_000


def test_b5_twenty_threads_never_overspend(db: Database, funded: Callable[[int], Identity]) -> None:
    person = funded(1_500_000)

    def spend(_: int) -> bool:
        try:
            db.call("use", person, operation="call", quantity=60, idempotency_key=secrets.token_hex(8))
        except errors.InsufficientCredits:
            return False
        return True

    with ThreadPoolExecutor(20) as threads:
        assert sum(threads.map(spend, range(20))) == 10
    assert db.call("balance", person)["available_micros"] == 0


def test_b6_a_key_with_other_arguments_is_refused(db: Database, funded: Callable[[int], Identity]) -> None:
    person, key = funded(1_000_000), secrets.token_hex(8)
    db.call("use", person, operation="call", quantity=60, idempotency_key=key)
    with pytest.raises(errors.IdempotencyKeyReused):
        db.call("use", person, operation="call", quantity=61, idempotency_key=key)


def test_k1_another_account_is_refused(
    db: Database, funded: Callable[[int], Identity], sign_up: Callable[..., Identity]
) -> None:
    victim = db.call("balance", funded(1_000_000))["account_id"]
    thief = sign_up()
    for function in ("balance", "transactions", "purchases", "calls"):
        with pytest.raises(errors.NotAllowed):
            db.call(function, thief, account_id=victim)
    with pytest.raises(errors.NotAllowed):
        db.call(
            "use",
            thief,
            operation="call",
            quantity=60,
            account_id=victim,
            idempotency_key=secrets.token_hex(8),
        )
    assert db.call("balance", sign_up(role="finance"), account_id=victim)["available_micros"] == 1_000_000


def test_k1_nobody_is_asked_to_sign_in_first(db: Database) -> None:
    with pytest.raises((errors.NotSignedIn, errors.NotAllowed)):
        db.call("balance", ANONYMOUS)


# No answer


def test_no_database_is_said_so(server: EmbeddedServer) -> None:
    """L5: a sentence, not a traceback, when nothing answers."""
    gone = PsycopgDatabase(server.dsn(database="no_such_database"), wait_seconds=0.3)
    nobody = SupabaseDatabase("http://127.0.0.1:9", "anon", "service")
    for database in (gone, nobody):
        with pytest.raises(errors.DatabaseUnavailable):
            database.call("health", ANONYMOUS)
        database.close()


def test_a_person_without_a_good_token_must_sign_in_again(
    over_supabase: Database, lite: SupabaseLite, sign_up: Callable[..., Identity]
) -> None:
    claims = dict(sign_up().claims)
    expired = jwt.encode({**claims, "exp": 1_700_000_000}, lite.jwt_secret)
    forged = jwt.encode(claims, "another secret of at least thirty-two bytes")
    for token in (None, expired, forged):
        with pytest.raises(errors.NotSignedIn):
            over_supabase.call("balance", Identity(claims, token))
