"""What a role may do, and what makes somebody have it (I4, K1); whose clock it is (L1)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from credits_core import errors
from credits_core.db.port import ANONYMOUS, Identity, user_identity
from credits_core.db.psycopg_transport import PsycopgDatabase
from tests.sql.conftest import Call, Person, Rows, new_key, refused
from tests.sql.test_access import SIGNED_IN


def test_somebody_not_signed_in_is_asked_to_sign_in(database: PsycopgDatabase) -> None:
    """K1: for what belongs to people; packages and prices are for everybody."""
    for name in ("health", "packages", "plans", "pricing"):
        assert database.call(name, ANONYMOUS)
    for name in SIGNED_IN.split():
        if not name.startswith("_"):
            assert isinstance(refused(lambda name=name: database.call(name, ANONYMOUS)), errors.CreditsError)


PRETENSIONS: list[dict[str, object]] = [
    {"user_metadata": {"role": "super_admin"}},
    {"user_metadata": {"role": "admin"}, "app_metadata": {"role": "holder"}},
    {"app_metadata": {"role": "service_role"}},
    {"app_metadata": {"role": "service"}},
    {"app_metadata": {"roles": ["admin"]}},
    {"app_metadata": {"role": "ADMIN"}},
    {"app_metadata": {"role": ["admin"]}},
    {"app_metadata": "admin"},
    {"role": "service_role", "user_role": "admin"},
]


def test_only_the_role_in_app_metadata_counts(make_user: Call, database: PsycopgDatabase) -> None:
    """I4: what people can write into their own profile, or claim, makes nobody an administrator."""
    somebody = make_user()
    for claims in PRETENSIONS:
        pretender = user_identity({**somebody.claims, "app_metadata": {}, **claims})
        assert (claims, database.call("me", pretender)["role"]) == (claims, "holder")
        for name in ("accounts_list", "jobs_status", "verify", "rollup_usage"):
            refusal = refused(lambda p=pretender, name=name: database.call(name, p))
            assert (claims, name, type(refusal)) == (claims, name, errors.NotAllowed)


def test_roles_may_do_what_their_work_needs(
    person: Callable[..., Person], holder: Callable[..., Person]
) -> None:
    """I4: finance reads everybody, administrators also write, holders have their own account."""
    anna = holder("1.00")
    target = {"account_id": anna.account_id}
    adjustment = {"amount_micros": 1, "reason": "for a test", **target}
    charge = {"operation": "call", "quantity": 0, **target}
    for role, reads, writes in [
        ("holder", False, False),
        ("finance", True, False),
        ("admin", True, True),
        ("super_admin", True, True),
    ]:
        somebody = person(role)
        attempts: list[tuple[Callable[[], object], bool]] = [
            (lambda s=somebody: s.call("balance", **target), reads),
            (lambda s=somebody: s.call("transactions", **target), reads),
            (lambda s=somebody: s.call("accounts_list"), reads),
            (lambda s=somebody: s.call("adjust", idempotency_key=new_key(), **adjustment), writes),
            (lambda s=somebody: s.call("use", idempotency_key=new_key(), **charge), writes),
            (
                lambda s=somebody: s.call("set_provider_cost", operation="call", cost_cents=1),
                writes,
            ),
        ]
        for number, (attempt, allowed) in enumerate(attempts):
            if allowed:
                attempt()
            else:
                assert (role, number, type(refused(attempt))) == (role, number, errors.NotAllowed)


def test_nobody_but_the_owner_moves_the_clock(as_person: Call) -> None:
    """L1: no setting does it, no function of one's own, and no role may touch ours."""
    body = "returns timestamptz language sql as $$ select timestamptz '2001-01-01' $$"
    for role in ("anon", "authenticated", "service_role"):
        somebody = Identity({"role": role})
        for statement in (
            f"create or replace function credits._now() {body}",
            f"create function credits.clock_timestamp() {body}",
            "alter function credits._now() owner to current_user",
            "alter function credits._now() set timezone to 'Asia/Tokyo'",
            "drop function credits._now()",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                as_person(somebody, statement)
        for setting in ("credits.demo_clock", "credits.now", "request.clock", "timezone", "search_path"):
            value = {"timezone": "Asia/Tokyo", "search_path": "pg_temp"}.get(setting, "2001-01-01")
            moved = f"select credits._now() from (select set_config('{setting}', '{value}', true)) as x"
            (told,) = as_person(somebody, moved)
            assert abs(told - datetime.now(UTC)) < timedelta(minutes=1)


def test_there_is_one_clock(owner_sql: Callable[..., Rows]) -> None:
    """L1: every rule about time asks `_now()`. (`_zone` only tries whether a time zone exists.)"""
    clocks = r"\m(now|(clock|statement|transaction)_timestamp)\(|\m(current_(timestamp|date|time)|localtime(stamp)?)\M"
    rows = owner_sql(
        "select proname from pg_proc where pronamespace = 'credits'::regnamespace"
        " and regexp_replace(prosrc, 'credits[.]_now|--[^\n]*', '', 'g') ~ %s order by 1",
        clocks,
    )
    assert [row["proname"] for row in rows] == ["_now", "_zone"]
    defaults = owner_sql(
        "select a.attrelid::regclass::text as name from pg_attrdef as d join pg_attribute as a"
        " on (a.attrelid, a.attnum) = (d.adrelid, d.adnum) join pg_class as c on c.oid = a.attrelid"
        " where c.relnamespace = 'credits'::regnamespace and replace(pg_get_expr(adbin, adrelid), 'credits._now', '') ~ %s",
        clocks,
    )
    assert defaults == []
