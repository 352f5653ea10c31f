"""The same database behind both transports: psycopg straight to it, supabase-py through a small Supabase over it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg import sql

from credits_core.auth.providers import SignedIn
from credits_core.db.embedded import EmbeddedServer
from credits_core.db.port import SERVICE, Database, Identity, user_identity
from credits_core.db.psycopg_transport import PsycopgDatabase
from credits_core.db.supabase_auth import SupabaseAuth
from credits_core.db.supabase_transport import SupabaseDatabase
from tests.conftest import new_database
from tests.supabase_lite import SupabaseLite, supabase_lite

# What no function of the product does, but the contract must settle; in a schema of the test database alone.
PROBES = """
create function credits.probe_echo(p_value jsonb) returns jsonb language sql as 'select p_value';
create function credits.probe_types(
  p_text text default null, p_int bigint default null, p_decimal numeric default null, p_bool boolean default null,
  p_at timestamptz default null, p_uuid uuid default null, p_json jsonb default null
) returns jsonb language sql as $$
  select jsonb_build_object('text', p_text, 'int', p_int, 'decimal', p_decimal::text, 'bool', p_bool,
    'at', p_at at time zone 'utc', 'uuid', p_uuid, 'json', p_json)
$$;
create function credits.probe_whoami() returns jsonb language sql as $$
  select jsonb_build_object('uid', auth.uid(), 'role', auth.role(), 'database_role', current_user,
    'app_role', auth.jwt() -> 'app_metadata' ->> 'role', 'email', auth.email())
$$;
create function credits.probe_raise(p_code text, p_detail text) returns jsonb language plpgsql as $$
begin
  raise exception using errcode = p_code, message = 'A sentence.', detail = p_detail;
end $$;
create function credits.probe_rows(p_count int) returns jsonb language sql as $$
  select jsonb_agg(jsonb_build_object('n', n)) from generate_series(1, p_count) as n
$$;
create function credits.probe_sleep(p_seconds numeric) returns jsonb language plpgsql as $$
begin perform pg_sleep(p_seconds); return 'true'; end $$;
create table credits.probe_race (id int primary key, times int not null);
insert into credits.probe_race values (1, 0);
create sequence credits.probe_runs;
create function credits.probe_lose(p_losses int) returns jsonb language plpgsql security definer as $$
begin
  update credits.probe_race set times = times + 1;
  if nextval('credits.probe_runs') <= p_losses then
    raise exception using errcode = '40001', message = 'could not serialize';
  end if;
  return (select to_jsonb(times) from credits.probe_race);
end $$;
grant execute on all functions in schema credits to service_role;
grant execute on function credits.probe_echo, credits.probe_types, credits.probe_whoami, credits.probe_raise,
  credits.probe_rows, credits.probe_sleep, credits.probe_lose to anon, authenticated;
"""


@pytest.fixture(scope="session")
def contract_database(
    server: EmbeddedServer, template: str, superuser_sql: Callable[[sql.Composed], None]
) -> Iterator[str]:
    """One database for all tests of the contract: people are new in each test, so they do not meet."""
    for name in new_database(superuser_sql, template):
        with psycopg.connect(server.owner_dsn(name), autocommit=True) as owner:
            owner.execute(PROBES.encode())
        yield name


@pytest.fixture(scope="session")
def lite(server: EmbeddedServer, contract_database: str) -> Iterator[SupabaseLite]:
    """A small Supabase on the contract's database."""
    with supabase_lite(server, contract_database) as running:
        yield running


@pytest.fixture(scope="session")
def auth(lite: SupabaseLite) -> Iterator[SupabaseAuth]:
    """Supabase Auth of `lite`: people sign up and sign in for real."""
    provider = SupabaseAuth(lite.url, lite.anon_key)
    yield provider
    provider.close()


@pytest.fixture(scope="session")
def over_psycopg(server: EmbeddedServer, contract_database: str) -> Iterator[Database]:
    database = PsycopgDatabase(server.dsn(database=contract_database))
    yield database
    database.close()


@pytest.fixture(scope="session")
def over_supabase(lite: SupabaseLite) -> Iterator[Database]:
    database = SupabaseDatabase(lite.url, lite.anon_key, lite.service_role_key)
    yield database
    database.close()


@pytest.fixture(params=["psycopg", "supabase"])
def db(request: pytest.FixtureRequest) -> Database:
    """The port, by each transport in turn."""
    database: Database = request.getfixturevalue(f"over_{request.param}")
    return database


@pytest.fixture
def sign_up(auth: SupabaseAuth, server: EmbeddedServer, contract_database: str) -> Callable[..., Identity]:
    """`sign_up(role="admin")`: a new person who signed up and signed in at Supabase Auth; works over both transports."""

    def make(role: str = "holder") -> Identity:
        email, password = f"{secrets.token_hex(6)}@example.test", secrets.token_urlsafe(12)
        assert auth.sign_up(email, password, "Someone") is not None
        if role != "holder":
            grant = "update auth.users set raw_app_meta_data = raw_app_meta_data || jsonb_build_object('role', %s::text)"
            with psycopg.connect(server.owner_dsn(contract_database)) as owner:
                owner.execute(f"{grant} where email = %s", (role, email))
        return identity_of(auth.sign_in(email, password))

    return make


@pytest.fixture
def funded(over_psycopg: Database, sign_up: Callable[..., Identity]) -> Callable[[int], Identity]:
    """`funded(10_000_000)`: a new person whose account holds that many micros."""

    def make(micros: int) -> Identity:
        identity = sign_up()
        account = over_psycopg.call("find_account", SERVICE, account=identity.claims["sub"])["account_id"]
        over_psycopg.call(
            "adjust",
            SERVICE,
            account_id=account,
            amount_micros=micros,
            reason="Credits for a test",
            idempotency_key=secrets.token_hex(8),
        )
        return identity

    return make


def identity_of(signed_in: SignedIn) -> Identity:
    return user_identity(signed_in.claims, signed_in.access_token)
