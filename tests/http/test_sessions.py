"""Sessions with tokens that run out: renewal, its failure, what is stored (K3, L2), and all of it on a small Supabase."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jwt
import psycopg
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from credits_core.auth import current_identity
from credits_core.auth.attempts import Attempts
from credits_core.auth.providers import SignedIn
from credits_core.auth.sessions import Sessions
from credits_core.config import Settings
from credits_core.db.embedded import EmbeddedServer
from credits_core.db.port import Identity
from credits_core.db.psycopg_transport import PsycopgDatabase
from credits_core.db.supabase_auth import SupabaseAuth
from credits_core.db.supabase_transport import SupabaseDatabase
from credits_core.errors import DatabaseUnavailable, NotSignedIn
from credits_core.http import site
from credits_core.runtime import Runtime, make_runtime, set_runtime
from tests.conftest import new_database
from tests.http.conftest import BASE, INDEX, Api, TestClient, sign_in
from tests.supabase_lite import SupabaseLite, supabase_lite

SECRET = "s" * 32
PASSWORD = "a long enough password"


class Provider:
    """Gives out tokens that are numbered, and counts."""

    def __init__(self, claims: dict[str, Any]) -> None:
        self.claims = claims
        self.renewals = 0
        self.signed_out: list[str] = []
        self.failure: Exception | None = None

    def sign_in(self, email: str, password: str) -> SignedIn:
        return self.tokens(seconds=3600)

    def tokens(self, *, seconds: int) -> SignedIn:
        claims = self.claims | {"exp": int(time.time()) + seconds}
        return SignedIn(claims, f"access-{self.renewals}", f"refresh-{self.renewals}")

    def refresh(self, refresh_token: str) -> SignedIn:
        assert refresh_token == f"refresh-{self.renewals}", "a refresh token works once"
        if self.failure:
            raise self.failure
        time.sleep(0.02)
        self.renewals += 1
        return self.tokens(seconds=3600)

    def sign_out(self, access_token: str) -> None:
        self.signed_out.append(access_token)


@pytest.fixture
def provider(make_user: Callable[..., Identity]) -> Provider:
    return Provider(dict(make_user("person@example.test").claims))


@pytest.fixture
def sessions(database: PsycopgDatabase, provider: Provider) -> Sessions:
    return Sessions(database, provider, SECRET)


def test_a_token_that_lasts_is_left_alone(sessions: Sessions, provider: Provider) -> None:
    identity = sessions.identity(sessions.create(provider.tokens(seconds=3600)))
    assert identity is not None and identity.token == "access-0"
    assert provider.renewals == 0


def test_a_token_that_runs_out_is_renewed_once_for_all_that_ask(
    sessions: Sessions, provider: Provider
) -> None:
    token = sessions.create(provider.tokens(seconds=30))
    barrier = threading.Barrier(6)

    def ask(_: int) -> Identity | None:
        barrier.wait(10)
        return sessions.identity(token)

    with ThreadPoolExecutor(6) as pool:
        identities = list(pool.map(ask, range(6)))
    assert provider.renewals == 1
    assert {identity.token for identity in identities if identity} == {"access-1"}


def test_a_session_the_provider_ended_is_over(sessions: Sessions, provider: Provider) -> None:
    token = sessions.create(provider.tokens(seconds=-10))
    provider.failure = NotSignedIn("Your sign-in has ended; sign in again.")
    assert sessions.identity(token) is None
    provider.failure = None
    assert sessions.identity(token) is None


def test_a_provider_that_does_not_answer_ends_nothing(sessions: Sessions, provider: Provider) -> None:
    token = sessions.create(provider.tokens(seconds=-10))
    provider.failure = DatabaseUnavailable("Signing in is not possible right now; try again in a moment.")
    with pytest.raises(DatabaseUnavailable):
        sessions.identity(token)
    provider.failure = None
    assert sessions.identity(token) is not None


def test_sign_out_ends_it_at_the_provider_too(sessions: Sessions, provider: Provider) -> None:
    token = sessions.create(provider.tokens(seconds=3600))
    sessions.end(token, everywhere=True)
    assert provider.signed_out == ["access-0"]
    assert sessions.identity(token) is None
    sessions.end(token, everywhere=True)


def test_tokens_are_stored_encrypted(
    sessions: Sessions,
    provider: Provider,
    database: PsycopgDatabase,
    owner_sql: Callable[..., list[dict[str, Any]]],
) -> None:
    token = sessions.create(provider.tokens(seconds=3600))
    stored = str(owner_sql("select * from credits.sessions"))
    assert "access-0" not in stored and "refresh-0" not in stored and token not in stored
    with_another_secret = Sessions(database, provider, "t" * 32).identity(token)
    assert with_another_secret is not None and with_another_secret.token is None


@pytest.fixture(scope="module")
def supabase(
    server: EmbeddedServer,
    template: str,
    superuser_sql: Callable[[Any], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[SupabaseLite, str]]:
    for name in new_database(superuser_sql, template):
        with supabase_lite(server, name) as running:
            yield running, name


@pytest.fixture
def on_supabase(supabase: tuple[SupabaseLite, str], tmp_path: Path) -> Iterator[Runtime]:
    """The program's own runtime, started by environment variables alone."""
    project, _ = supabase
    settings = Settings.from_env(
        {
            "SUPABASE_URL": project.url,
            "SUPABASE_ANON_KEY": project.anon_key,
            "SUPABASE_SERVICE_ROLE_KEY": project.service_role_key,
            "SUPABASE_JWT_SECRET": project.jwt_secret,
            "COOKIE_SECRET": SECRET,
            "STRIPE_SIMULATOR": "1",
            "DATA_DIR": str(tmp_path),
            "PORT": "8501",
        }
    )
    runtime = make_runtime(settings)
    set_runtime(runtime)
    yield runtime
    set_runtime(None)
    runtime.close()


@pytest.fixture
def people(on_supabase: Runtime, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr("credits_core.auth.routes.attempts", Attempts())
    app = Starlette(
        routes=[*site.routes(on_supabase.settings), Route("/", lambda request: PlainTextResponse("page"))],
        middleware=site.middleware(on_supabase.settings, INDEX),
        exception_handlers=dict(site.exception_handlers()),
    )
    with TestClient(app, base_url=BASE, follow_redirects=False, client=("127.0.0.1", 50000)) as client:
        yield client


def sign_up(runtime: Runtime, email: str) -> SignedIn:
    assert isinstance(runtime.identity_provider, SupabaseAuth)
    person = runtime.identity_provider.sign_up(email, PASSWORD, "A Person")
    assert person is not None
    return person


def test_on_supabase_people_sign_in_buy_spend_and_sign_out(people: TestClient, on_supabase: Runtime) -> None:
    """L2: the same program on Supabase, with Supabase Auth and supabase-py."""
    sign_up(on_supabase, "buyer@example.test")
    assert "demo" not in people.get("/auth/sign-in").text.lower()
    assert sign_in(people, "buyer@example.test", "wrong password").status_code == 401
    assert sign_in(people, "buyer@example.test", PASSWORD).status_code == 303
    assert people.get("/").text == "page"
    session = dict(people.cookies)
    person = current_identity(session)
    assert person is not None and (person.email, person.role, person.name) == (
        "buyer@example.test",
        "holder",
        "A Person",
    )
    started = people.post("/auth/checkout", data={"package": "usd_10"}, headers={"Origin": BASE})
    session_id = started.headers["location"].rsplit("/", 1)[-1]
    assert (
        people.post(f"/sim/control/sessions/{session_id}/pay", json={"card": "4242424242424242"}).status_code
        == 200
    )
    done = people.get("/api/credits/success", params={"session_id": session_id}).json()
    assert (done["status"], done["available"]) == ("credited", "10.00")
    people.post("/auth/sign-out", headers={"Origin": BASE})
    assert current_identity(session) is None


def test_on_supabase_access_tokens_are_bearers(people: TestClient, on_supabase: Runtime) -> None:
    person = sign_up(on_supabase, "caller@example.test")
    # A project writes its address into `iss`; @supabase/lite leaves that out.
    issued = dict(person.claims) | {"iss": f"{on_supabase.settings.supabase_url}/auth/v1"}
    api = Api(people, jwt.encode(issued, on_supabase.settings.supabase_jwt_secret or ""))
    people.cookies.clear()
    assert api.available() == "0.00"
    program = Api(people, on_supabase.settings.supabase_service_role_key)
    body = {"account": "caller@example.test", "amount": "3.00", "reason": "for a test"}
    assert program.post("admin/adjust", body).status_code == 200
    assert api.post("use", {"operation": "call", "quantity": 90}).json()["available"] == "2.70"


def test_on_supabase_a_session_outlives_its_access_token(
    people: TestClient, on_supabase: Runtime, supabase: tuple[SupabaseLite, str], server: EmbeddedServer
) -> None:
    sign_up(on_supabase, "stays@example.test")
    sign_in(people, "stays@example.test", PASSWORD)
    before = current_identity(dict(people.cookies))
    assert before is not None
    run_out = "update credits.sessions set claims = claims || jsonb_build_object('exp', 1) where user_id = %s"
    with psycopg.connect(server.owner_dsn(supabase[1]), autocommit=True) as owner:
        owner.execute(run_out, (before.user_id,))
    time.sleep(1.1)  # a token of the same second would be the same text
    after = current_identity(dict(people.cookies))
    assert after is not None and after.identity.token != before.identity.token
    assert people.get("/api/credits/balance").json()["available"] == "0.00"


def test_the_end_of_the_program_gives_back_the_connections_to_supabase(on_supabase: Runtime) -> None:
    """L2: of its data and of Supabase Auth."""
    provider, db = on_supabase.identity_provider, on_supabase.db
    assert isinstance(provider, SupabaseAuth) and isinstance(db, SupabaseDatabase)
    on_supabase.close()
    assert provider._connections.is_closed and db._connections.is_closed
