"""Settings: a mistake is one sentence that names the variable and says how to set it (issue 1, "missing key"; L2, L3)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from credits_core.config import Settings
from credits_core.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
SUPABASE = {
    "SUPABASE_URL": "https://project.supabase.co", "SUPABASE_ANON_KEY": "anon", "SUPABASE_SERVICE_ROLE_KEY": "service",
    "COOKIE_SECRET": "c" * 32, "STRIPE_SIMULATOR": "1",
}  # fmt: skip


def without(name: str) -> dict[str, str]:
    return {key: value for key, value in SUPABASE.items() if key != name}


REAL = without("STRIPE_SIMULATOR")


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        (without("SUPABASE_URL"), "SUPABASE_URL"),
        (without("SUPABASE_ANON_KEY"), "SUPABASE_ANON_KEY"),
        (without("SUPABASE_SERVICE_ROLE_KEY"), "SUPABASE_SERVICE_ROLE_KEY"),
        (without("COOKIE_SECRET"), "COOKIE_SECRET"),
        (SUPABASE | {"COOKIE_SECRET": "short"}, "COOKIE_SECRET"),
        ({"COOKIE_SECRET": "short"}, "COOKIE_SECRET"),
        ({"SUPABASE_JWT_SECRET": "x"}, "SUPABASE_URL"),
        ({"DATABASE_URL": "postgresql://h/d"}, "SUPABASE_URL"),
        (SUPABASE | {"DEMO": "1"}, "DEMO"),
        (SUPABASE | {"SUPABASE_URL": "project.supabase.co"}, "SUPABASE_URL"),
        ({"STRIPE_SECRET_KEY": "pk_test_1"}, "STRIPE_SECRET_KEY"),
        ({"STRIPE_SECRET_KEY": "sk_live_1"}, "SUPABASE_URL"),
        (REAL | {"STRIPE_SECRET_KEY": "sk_live_1"}, "BASE_URL"),
        (REAL | {"STRIPE_SECRET_KEY": "rk_live_1", "BASE_URL": "http://x.example"}, "BASE_URL"),
        (without("STRIPE_SIMULATOR"), "STRIPE_SIMULATOR"),
        (SUPABASE | {"STRIPE_SIMULATOR": "0"}, "STRIPE_SECRET_KEY"),
        (SUPABASE | {"STRIPE_SECRET_KEY": "sk_test_1"}, "STRIPE_SIMULATOR"),
        ({"STRIPE_SIMULATOR": "0"}, "STRIPE_SECRET_KEY"),
        ({"STRIPE_SIMULATOR": "1", "STRIPE_SECRET_KEY": "sk_test_1"}, "STRIPE_SIMULATOR"),
        ({"STRIPE_SIMULATOR": "perhaps"}, "STRIPE_SIMULATOR"),
        ({"STRIPE_WEBHOOK_SECRET": "secret"}, "STRIPE_WEBHOOK_SECRET"),
        ({"BASE_URL": "credits.example.com"}, "BASE_URL"),
        ({"BASE_URL": "https://example.com/credits"}, "BASE_URL"),
        ({"PORT": "http"}, "PORT"),
        ({"PORT": "0"}, "PORT"),
        ({"PORT": "99999"}, "PORT"),
        ({"CATALOG": "nope"}, "CATALOG"),
        ({"DEMO": "maybe"}, "DEMO"),
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL"),
        ({"SMTP_URL": "mail.example.com"}, "SMTP_URL"),
        ({"WEBHOOK_ALLOW_PRIVATE": "perhaps"}, "WEBHOOK_ALLOW_PRIVATE"),
    ],
)
def test_a_mistake_names_the_variable(environ: dict[str, str], names: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Settings.from_env(environ)
    assert names in refused.value.message
    assert any(
        word in refused.value.message for word in ("set it to", "set ", "copy", "unset", "use at least")
    )
    assert not any(value in refused.value.message for value in ("sk_live_1", "pk_test_1", "postgresql://"))


def test_modes() -> None:
    assert Settings.from_env({}).mode == "embedded"
    assert Settings.from_env(SUPABASE).mode == "supabase"
    direct = without("SUPABASE_SERVICE_ROLE_KEY") | {"DATABASE_URL": "postgresql://h/d"}
    assert Settings.from_env(direct).mode == "database_url"


def test_real_credits_are_never_bought_with_test_cards_by_oversight() -> None:
    """L3: the simulator stands in for Stripe on a real project only when it is asked for by name."""
    for project in (REAL, without("SUPABASE_SERVICE_ROLE_KEY") | {"DATABASE_URL": "postgresql://h/d"}):
        settings = Settings.from_env(project | {"STRIPE_SIMULATOR": "1"})
        assert settings.simulator and not settings.embedded
        with pytest.raises(ConfigError, match="test cards would buy real credits"):
            Settings.from_env(project | {"STRIPE_SIMULATOR": ""})
        assert not Settings.from_env(
            project | {"STRIPE_SIMULATOR": "", "STRIPE_SECRET_KEY": "sk_test_1"}
        ).simulator


def test_defaults_and_empty_variables() -> None:
    settings = Settings.from_env({"PORT": "", "CATALOG": " ", "SUPABASE_URL": ""})
    assert (settings.port, settings.host, settings.catalog, settings.demo) == (
        8501,
        "127.0.0.1",
        "voice",
        True,
    )
    assert settings.base_url == "http://127.0.0.1:8501" and settings.simulator
    assert Settings.from_env({"PORT": "9000"}).base_url == "http://127.0.0.1:9000"
    assert settings.data_dir.is_absolute()


def test_real_keys_are_taken_where_they_belong() -> None:
    live = REAL | {"STRIPE_SECRET_KEY": "sk_live_1", "BASE_URL": "https://credits.example.com/"}
    settings = Settings.from_env(live)
    assert settings.stripe_live and settings.https and not settings.simulator
    assert settings.base_url == "https://credits.example.com"
    assert not Settings.from_env({"STRIPE_SECRET_KEY": "sk_test_1"}).stripe_live


@pytest.mark.parametrize(
    "command", [["-m", "credits_core", "serve"], ["-m", "uvicorn", "app:app", "--port", "1"]]
)
def test_the_start_says_it_in_one_sentence_without_a_trace(command: list[str], tmp_path: Path) -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "DATA_DIR": str(tmp_path),
        "SUPABASE_URL": "https://project.supabase.co",
    }
    started = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60
    )
    assert started.returncode != 0
    assert "SUPABASE_ANON_KEY is missing" in started.stderr
    assert "Traceback" not in started.stderr
    assert not any(tmp_path.iterdir())
