"""Settings from environment variables, checked before anything starts.

Three modes, by what is set:
    embedded      neither SUPABASE_URL nor DATABASE_URL: Postgres of our own under DATA_DIR, demo people sign in
    supabase      SUPABASE_URL with its keys: data over supabase-py, Supabase Auth signs people in
    database_url  SUPABASE_URL and DATABASE_URL: data straight over Postgres, Supabase Auth signs people in
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from credits_core.errors import ConfigError
from credits_core.mail import Smtp, parse_smtp_url

Mode = Literal["embedded", "supabase", "database_url"]
CATALOGS = ("voice", "ai_services", "recruitment", "metered_plan")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
MIN_SECRET_LENGTH = 32
MIN_VAPI_SECRET_LENGTH = 16


@dataclass(frozen=True)
class Settings:
    """Everything a process needs to know before it starts; secrets never show in `repr`."""

    port: int = 8501
    host: str = "127.0.0.1"
    data_dir: Path = Path("data")
    base_url: str = "http://127.0.0.1:8501"
    base_url_given: bool = False
    catalog: str = "voice"
    demo: bool = True
    log_level: str = "INFO"
    supabase_url: str | None = None
    supabase_anon_key: str | None = field(default=None, repr=False)
    supabase_service_role_key: str | None = field(default=None, repr=False)
    supabase_jwt_secret: str | None = field(default=None, repr=False)
    database_url: str | None = field(default=None, repr=False)
    stripe_secret_key: str | None = field(default=None, repr=False)
    stripe_webhook_secret: str | None = field(default=None, repr=False)
    stripe_invoices: bool = False
    stripe_tax: bool = False
    terms_url: str | None = None
    cookie_secret: str | None = field(default=None, repr=False)
    vapi_secret: str | None = field(default=None, repr=False)
    vapi_operation: str | None = None
    smtp: Smtp | None = field(default=None, repr=False)
    webhook_allow_private: bool = False
    operations_email: str | None = None
    operations_chat: str | None = field(default=None, repr=False)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Settings of this process. Raises ConfigError with a sentence that names the variable to set."""
        env = _Env(os.environ if environ is None else environ)
        port = env.port()
        base_url = env.get("BASE_URL")
        settings = cls(
            port=port,
            host=env.get("HOST") or "127.0.0.1",
            data_dir=Path(env.get("DATA_DIR") or "data").expanduser().absolute(),
            base_url=(base_url or f"http://127.0.0.1:{port}").rstrip("/"),
            base_url_given=base_url is not None,
            catalog=env.one_of("CATALOG", CATALOGS, "voice"),
            demo=env.flag("DEMO", default=True),
            log_level=env.one_of("LOG_LEVEL", LOG_LEVELS, "INFO"),
            supabase_url=(env.get("SUPABASE_URL") or "").rstrip("/") or None,
            supabase_anon_key=env.get("SUPABASE_ANON_KEY"),
            supabase_service_role_key=env.get("SUPABASE_SERVICE_ROLE_KEY"),
            supabase_jwt_secret=env.get("SUPABASE_JWT_SECRET"),
            database_url=env.get("DATABASE_URL"),
            stripe_secret_key=env.get("STRIPE_SECRET_KEY"),
            stripe_webhook_secret=env.get("STRIPE_WEBHOOK_SECRET"),
            stripe_invoices=env.flag("STRIPE_INVOICES", default=False),
            stripe_tax=env.flag("STRIPE_TAX", default=False),
            terms_url=env.get("TERMS_URL"),
            cookie_secret=env.get("COOKIE_SECRET"),
            vapi_secret=env.get("VAPI_SECRET"),
            vapi_operation=env.get("VAPI_OPERATION"),
            smtp=parse_smtp_url(smtp_url) if (smtp_url := env.get("SMTP_URL")) else None,
            webhook_allow_private=env.flag("WEBHOOK_ALLOW_PRIVATE", default=False),
            operations_email=env.get("OPERATIONS_EMAIL"),
            operations_chat=env.get("OPERATIONS_CHAT"),
        )
        _check_urls(settings)
        _check_supabase(settings, demo_asked_for=env.get("DEMO") is not None and settings.demo)
        by_itself = settings.simulator and settings.embedded
        _check_simulator(settings, asked_for=env.flag("STRIPE_SIMULATOR", default=by_itself))
        _check_stripe(settings)
        _check_vapi(settings)
        _check_operations(settings)
        return settings

    @property
    def mode(self) -> Mode:
        if self.supabase_url is None:
            return "embedded"
        return "database_url" if self.database_url else "supabase"

    @property
    def embedded(self) -> bool:
        return self.mode == "embedded"

    @property
    def https(self) -> bool:
        return self.base_url.startswith("https://")

    @property
    def simulator(self) -> bool:
        """Whether the Stripe simulator stands in for Stripe; with any key it cannot be reached."""
        return self.stripe_secret_key is None

    @property
    def stripe_live(self) -> bool:
        return (self.stripe_secret_key or "").startswith(("sk_live_", "rk_live_"))


class _Env:
    """Reads variables; an empty one counts as not set, as in `VAR= make run`."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def get(self, name: str) -> str | None:
        return self._environ.get(name, "").strip() or None

    def port(self) -> int:
        text = self.get("PORT") or "8501"
        if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
            raise ConfigError(f"PORT is “{text}”; set it to a number from 1 to 65535, for example PORT=8501.")
        return int(text)

    def one_of(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        value = self.get(name) or default
        if value not in allowed:
            raise ConfigError(f"{name} is “{value}”; set it to one of: {', '.join(allowed)}.")
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        value = (self.get(name) or ("1" if default else "0")).lower()
        if value not in ("0", "1", "false", "true", "no", "yes"):
            raise ConfigError(f"{name} is “{value}”; set it to 1 or 0.")
        return value in ("1", "true", "yes")


def _check_urls(settings: Settings) -> None:
    urls = {
        "BASE_URL": settings.base_url,
        "SUPABASE_URL": settings.supabase_url,
        "TERMS_URL": settings.terms_url,
    }
    for name, url in urls.items():
        if url is None:
            continue
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ConfigError(f"{name} is “{url}”; set it to an address such as https://credits.example.com.")
        if name == "BASE_URL" and (parts.path or parts.query or parts.fragment):
            raise ConfigError(
                "BASE_URL has a path; set it to scheme, host and port alone: the app lives at /."
            )


def _check_supabase(settings: Settings, *, demo_asked_for: bool) -> None:
    if settings.supabase_url is None:
        _check_no_half_of_supabase(settings)
        return
    if demo_asked_for:
        raise ConfigError(
            "DEMO=1 is set together with SUPABASE_URL; demo data never goes to Supabase: set DEMO=0."
        )
    if settings.supabase_anon_key is None:
        raise ConfigError(
            "SUPABASE_URL is set but SUPABASE_ANON_KEY is missing; "
            "copy the anon (publishable) key from the project's API settings."
        )
    if settings.database_url is None and settings.supabase_service_role_key is None:
        raise ConfigError(
            "SUPABASE_URL is set but SUPABASE_SERVICE_ROLE_KEY is missing; copy the service role (secret) key "
            "from the project's API settings, or set DATABASE_URL to reach the database directly."
        )
    if settings.cookie_secret is None:
        raise ConfigError(
            "COOKIE_SECRET is missing; it protects sign-in sessions and must be the same on every host: "
            'set it to the output of python -c "import secrets; print(secrets.token_urlsafe(48))".'
        )
    if len(settings.cookie_secret) < MIN_SECRET_LENGTH:
        raise ConfigError(f"COOKIE_SECRET is too short; use at least {MIN_SECRET_LENGTH} random characters.")


def _check_no_half_of_supabase(settings: Settings) -> None:
    halves = {
        "SUPABASE_ANON_KEY": settings.supabase_anon_key,
        "SUPABASE_SERVICE_ROLE_KEY": settings.supabase_service_role_key,
        "SUPABASE_JWT_SECRET": settings.supabase_jwt_secret,
    }
    for name, value in halves.items():
        if value is not None:
            raise ConfigError(
                f"{name} is set but SUPABASE_URL is missing; set SUPABASE_URL to the project's address "
                f"(https://<project>.supabase.co), or unset {name} to use the embedded database."
            )
    if settings.database_url is not None:
        raise ConfigError(
            "DATABASE_URL is set but SUPABASE_URL is missing, so nobody could sign in; set SUPABASE_URL and "
            "SUPABASE_ANON_KEY of the same project, or unset DATABASE_URL to use the embedded database."
        )
    if settings.cookie_secret is not None and len(settings.cookie_secret) < MIN_SECRET_LENGTH:
        raise ConfigError(f"COOKIE_SECRET is too short; use at least {MIN_SECRET_LENGTH} random characters.")


def _check_operations(settings: Settings) -> None:
    address = settings.operations_email
    if address is not None and (address.count("@") != 1 or not address.isascii() or " " in address):
        raise ConfigError("OPERATIONS_EMAIL is not an e-mail address; write one, such as ops@example.com.")
    if address is not None and settings.smtp is None:
        raise ConfigError("OPERATIONS_EMAIL needs a mail server; set SMTP_URL, too, or leave both out.")
    if settings.operations_chat is not None and "://" not in settings.operations_chat:
        raise ConfigError(
            "OPERATIONS_CHAT is not the address of a chat room; write it as Apprise does, such as slack://…"
        )


def _check_vapi(settings: Settings) -> None:
    if settings.vapi_secret is None and settings.vapi_operation is not None:
        raise ConfigError(
            "VAPI_OPERATION is set but VAPI_SECRET is missing, so Vapi's messages are not taken; set VAPI_SECRET to the "
            "secret of your server credential in Vapi, or unset VAPI_OPERATION."
        )
    if settings.vapi_secret is not None and len(settings.vapi_secret) < MIN_VAPI_SECRET_LENGTH:
        raise ConfigError(
            f"VAPI_SECRET is too short; use at least {MIN_VAPI_SECRET_LENGTH} random characters, the same in Vapi."
        )


def _check_simulator(settings: Settings, *, asked_for: bool) -> None:
    """Test cards never buy credits that count, unless somebody says so: the embedded database is for trying out, a
    Supabase project need not be."""
    if settings.simulator and not asked_for:
        raise ConfigError(
            "STRIPE_SECRET_KEY is missing, so test cards would buy real credits; set it to the secret key of your Stripe "
            "account, or set STRIPE_SIMULATOR=1 to try this project out without Stripe."
        )
    if not settings.simulator and asked_for:
        raise ConfigError(
            "STRIPE_SIMULATOR=1 and STRIPE_SECRET_KEY are both set; unset STRIPE_SIMULATOR to take payments with Stripe."
        )


def _check_stripe(settings: Settings) -> None:
    key = settings.stripe_secret_key
    if key is not None and not key.startswith(("sk_test_", "sk_live_", "rk_test_", "rk_live_")):
        raise ConfigError(
            "STRIPE_SECRET_KEY does not look like a secret key; copy the one that starts with sk_test_ or sk_live_ "
            "from Stripe's dashboard (the publishable pk_ key is another one)."
        )
    secret = settings.stripe_webhook_secret
    if secret is not None and not secret.startswith("whsec_"):
        raise ConfigError(
            "STRIPE_WEBHOOK_SECRET does not look like a signing secret; copy the one that starts with whsec_ from "
            "the webhook endpoint's page in Stripe's dashboard, or unset it: the poll credits purchases without it."
        )
    if not settings.stripe_live:
        return
    if settings.embedded:
        raise ConfigError(
            "STRIPE_SECRET_KEY is a live key, but the embedded database has demo people with a public password; "
            "set SUPABASE_URL and its keys, or use a key that starts with sk_test_."
        )
    if not settings.https:
        raise ConfigError(
            "STRIPE_SECRET_KEY is a live key, but BASE_URL is not https; "
            "set BASE_URL to the public https:// address of this app."
        )
