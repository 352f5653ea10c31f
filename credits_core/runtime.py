"""One process's parts, wired together: database, identity provider, sessions, tokens, Stripe.

The app builds its runtime in the lifespan; commands and tests build their own with `make_runtime`.
"""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field

from credits_core import catalog
from credits_core.auth.cookies import Cookies
from credits_core.auth.providers import DemoAuth, IdentityProvider
from credits_core.auth.sessions import Sessions
from credits_core.auth.tokens import VerifiedTokens, make_tokens
from credits_core.config import Settings
from credits_core.db import migrations
from credits_core.db.embedded import EmbeddedServer
from credits_core.db.port import ANONYMOUS, SERVICE, Database
from credits_core.db.psycopg_transport import PsycopgDatabase
from credits_core.db.supabase_auth import SupabaseAuth
from credits_core.db.supabase_transport import SupabaseDatabase
from credits_core.errors import ConfigError, CreditsError
from credits_core.local_secrets import local_secret
from credits_core.sealing import Seal
from credits_core.stripe_gateway import StripeGateway, make_gateway

logger = logging.getLogger(__name__)


@dataclass(eq=False)  # one is never another; hashable by identity
class Runtime:
    """What every part of the product needs; safe to share between threads."""

    settings: Settings
    db: Database
    identity_provider: IdentityProvider
    tokens: VerifiedTokens
    sessions: Sessions
    cookies: Cookies
    stripe: StripeGateway
    seal: Seal
    server: EmbeddedServer | None = None
    _closing: ExitStack = field(default_factory=ExitStack, repr=False)

    def close(self) -> None:
        """Give back connections; the last process to leave stops the embedded database."""
        self._closing.close()


def make_runtime(settings: Settings, *, db: Database | None = None) -> Runtime:
    """Start what the settings ask for. Raises ConfigError or DatabaseUnavailable with a sentence.

    With `db` given (tests), no server is started and nothing is migrated or loaded.
    """
    with ExitStack() as closing:
        server = None
        if db is None:
            db, server = _open_database(settings, closing)
        stripe = make_gateway(settings)
        closing.callback(stripe.close)
        secret = settings.cookie_secret or local_secret(settings.data_dir, "cookie")
        provider = _identity_provider(settings, db)
        closing.callback(provider.close)
        runtime = Runtime(
            settings=settings,
            db=db,
            identity_provider=provider,
            tokens=make_tokens(settings),
            sessions=Sessions(db, provider, secret),
            cookies=Cookies(settings, secret),
            stripe=stripe,
            seal=Seal(secret),
            server=server,
        )
        if server is not None or not settings.embedded:
            _prepare(runtime)
        runtime._closing = closing.pop_all()
        return runtime


def _open_database(settings: Settings, closing: ExitStack) -> tuple[Database, EmbeddedServer | None]:
    server: EmbeddedServer | None = None
    db: Database
    if settings.embedded:
        server = closing.enter_context(EmbeddedServer.start(settings.data_dir))
        migrations.prepare(server)
        db = PsycopgDatabase(server.dsn())
    elif settings.database_url:
        db = PsycopgDatabase(settings.database_url)
    else:
        assert settings.supabase_url and settings.supabase_anon_key and settings.supabase_service_role_key
        db = SupabaseDatabase(
            settings.supabase_url, settings.supabase_anon_key, settings.supabase_service_role_key
        )
    closing.callback(db.close)
    return db, server


def _identity_provider(settings: Settings, db: Database) -> IdentityProvider:
    if settings.embedded:
        return DemoAuth(settings, db)
    assert settings.supabase_url and settings.supabase_anon_key
    return SupabaseAuth(settings.supabase_url, settings.supabase_anon_key)


def _prepare(runtime: Runtime) -> None:
    """The catalog of the settings, and the demo people of the embedded mode; both are there already but once."""
    try:
        # Not when it is the active one already: prices that were set since are not taken back by a restart.
        if runtime.db.call("health", ANONYMOUS)["catalog"] != runtime.settings.catalog:
            catalog.load(runtime.db, SERVICE, runtime.settings.catalog)
    except CreditsError as error:
        if runtime.settings.embedded:
            raise
        raise ConfigError(
            f"The database does not answer as it should ({error.message}) If this project is new, apply the "
            "migrations first: npx supabase link, then npx supabase db push, and add the schema “credits” to the "
            "exposed schemas in the project's API settings."
        ) from error
    if isinstance(runtime.identity_provider, DemoAuth):
        runtime.identity_provider.create_people()


_lock = threading.RLock()
_current: Runtime | None = None


def get_runtime() -> Runtime:
    """This process's runtime; made from the environment when nothing made it before."""
    global _current
    with _lock:
        if _current is None:
            _current = make_runtime(Settings.from_env())
        return _current


def set_runtime(runtime: Runtime | None) -> None:
    """Make `runtime` the one of this process (None: forget it, without closing)."""
    global _current
    with _lock:
        _current = runtime
