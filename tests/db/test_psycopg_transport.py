"""What only the psycopg transport can show: big numbers, dead connections, time limits, one round trip."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from credits_core import errors
from credits_core.db import psycopg_transport
from credits_core.db.embedded import EmbeddedServer
from credits_core.db.migrations import bootstrap
from credits_core.db.port import ANONYMOUS, SERVICE, Identity
from credits_core.db.psycopg_transport import PsycopgDatabase

PROBES = """
create schema credits;
grant usage on schema credits to anon, service_role;
create table credits.kept (n int);
create function credits.echo(p_value jsonb) returns jsonb language sql as 'select p_value';
create function credits.nap(p_seconds numeric) returns jsonb language plpgsql as
  'begin perform pg_sleep(p_seconds); return to_jsonb(current_setting(''statement_timeout'')); end';
create function credits.keep(p_n int) returns jsonb language plpgsql security definer as
  'begin insert into credits.kept values (p_n); return to_jsonb(pg_backend_pid()); end';
grant execute on all functions in schema credits to anon, service_role;
"""


@pytest.fixture
def owner(server: EmbeddedServer, empty_database: str) -> Iterator[psycopg.Connection[Any]]:
    """The owner of a database that holds the probes alone."""
    bootstrap(server.superuser_dsn(empty_database))
    with psycopg.connect(server.owner_dsn(empty_database), autocommit=True) as connection:
        connection.execute(PROBES.encode())
        yield connection


@pytest.fixture
def probes(
    owner: psycopg.Connection[Any], server: EmbeddedServer, empty_database: str
) -> Iterator[PsycopgDatabase]:
    database = PsycopgDatabase(server.dsn(database=empty_database), max_size=1, wait_seconds=2)
    yield database
    database.close()


def kept(owner: psycopg.Connection[Any]) -> list[int]:
    return [n for (n,) in owner.execute("select n from credits.kept order by n")]


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 2**53 + 1, 10**30])
def test_integers_of_any_size_stay_exact(probes: PsycopgDatabase, number: int) -> None:
    assert probes.call("echo", ANONYMOUS, value={"n": number}) == {"n": number}


def test_a_call_is_one_transaction_that_is_kept(
    probes: PsycopgDatabase, owner: psycopg.Connection[Any]
) -> None:
    for n in range(3):
        probes.call("keep", SERVICE, n=n)
    with pytest.raises(errors.InvalidRequest):
        probes.call("keep", SERVICE, n="three")
    assert kept(owner) == [0, 1, 2]


def test_connections_the_server_closed_are_found_before_anything_is_sent(
    probes: PsycopgDatabase, owner: psycopg.Connection[Any]
) -> None:
    """L5: after a restart of the database the next call works, and no write is sent twice."""
    backend = probes.call("keep", SERVICE, n=1)
    owner.execute("select pg_terminate_backend(%s, 2000)", (backend,))
    assert probes.call("keep", SERVICE, n=2) != backend
    assert kept(owner) == [1, 2]


def test_a_connection_lost_during_a_call_is_not_tried_again(
    probes: PsycopgDatabase, owner: psycopg.Connection[Any], server: EmbeddedServer, empty_database: str
) -> None:
    """Whether the work was done is unknown: the caller decides, with its idempotency key."""
    with psycopg.connect(server.superuser_dsn(empty_database), autocommit=True) as superuser:
        superuser.execute(
            "create function credits.drop_line() returns jsonb language sql security definer as"
            " 'select to_jsonb(pg_terminate_backend(pg_backend_pid()))'"
        )
        superuser.execute("grant execute on function credits.drop_line() to service_role")
    with pytest.raises(errors.DatabaseUnavailable):
        probes.call("drop_line", SERVICE)
    assert probes.call("echo", ANONYMOUS, value=[]) == []


def test_time_limits_follow_the_role(probes: PsycopgDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    assert probes.call("nap", ANONYMOUS, seconds=0) == "3s"
    assert probes.call("nap", SERVICE, seconds=0) == "1min"
    monkeypatch.setitem(psycopg_transport.STATEMENT_TIMEOUT, "anon", "50ms")
    with pytest.raises(errors.DatabaseUnavailable, match="too long"):
        probes.call("nap", ANONYMOUS, seconds=2)


def test_an_invented_role_gets_nothing(probes: PsycopgDatabase) -> None:
    """K1: the login may become the three API roles, and no other."""
    for role in ("postgres", "supabase_admin", "authenticator; drop"):
        with pytest.raises(errors.CreditsError):
            probes.call("echo", Identity({"role": role}), value={})


def test_nobody_waits_for_ever_for_a_connection(
    owner: psycopg.Connection[Any], server: EmbeddedServer, empty_database: str
) -> None:
    database = PsycopgDatabase(server.dsn(database=empty_database), max_size=1, wait_seconds=0.2)
    asleep = "select 1 from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()"
    with ThreadPoolExecutor(1) as threads:
        busy = threads.submit(database.call, "nap", SERVICE, seconds=1)
        while not owner.execute(asleep.encode()).fetchall():
            time.sleep(0.01)
        with pytest.raises(errors.DatabaseUnavailable):
            database.call("echo", ANONYMOUS, value={})
        busy.result()
    database.close()


def test_values_are_values_whatever_they_look_like(probes: PsycopgDatabase) -> None:
    """K1: nothing a person writes is ever read as SQL, nor does it reach another setting of the call."""
    for text in (
        "'; drop table credits.kept; --",
        "\\'; select 1; --",
        "$$ %s %(x)s %",
        "E'\\''",
        "\u02bc",
        "''",
        '"',
    ):
        assert probes.call("echo", ANONYMOUS, value={"text": text, text: 1}) == {"text": text, text: 1}
        person = Identity({"role": "service_role", "sub": text})
        assert probes.call("echo", person, value=[text]) == [text]
