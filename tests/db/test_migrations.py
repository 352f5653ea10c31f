"""The migrations runner: in order, each file whole or not at all, the same history as the Supabase CLI."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from credits_core.db.embedded import EmbeddedServer
from credits_core.db.migrations import MIGRATIONS, bootstrap, migrate, prepare, read_migrations
from credits_core.errors import ConfigError

FIRST = "20260101000000_first.sql"
SECOND = "20260102000000_second.sql"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two small migrations."""
    (tmp_path / FIRST).write_text("create table one (id int primary key);\n\ninsert into one values (1);\n")
    (tmp_path / SECOND).write_text("alter table one add column name text;")
    (tmp_path / "notes.txt").write_text("not a migration")
    return tmp_path


@pytest.fixture
def dsn(server: EmbeddedServer, empty_database: str) -> str:
    """The owner of a database with the bootstrap alone."""
    bootstrap(server.superuser_dsn(empty_database))
    return server.owner_dsn(empty_database)


@pytest.fixture
def rows(dsn: str) -> Callable[[str], list[tuple[Any, ...]]]:
    def run(statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(dsn, autocommit=True) as connection:
            return connection.execute(statement.encode()).fetchall()

    return run


def test_files_apply_in_order_once(
    dsn: str, folder: Path, rows: Callable[[str], list[tuple[Any, ...]]]
) -> None:
    assert migrate(dsn, folder) == ["20260101000000", "20260102000000"]
    assert migrate(dsn, folder) == []
    assert rows("select * from one") == [(1, None)]
    assert rows(
        "select version, name, statements from supabase_migrations.schema_migrations order by version"
    ) == [
        ("20260101000000", "first", ["create table one (id int primary key)", "insert into one values (1)"]),
        ("20260102000000", "second", ["alter table one add column name text"]),
    ]


def test_of_several_processes_one_migrates_and_the_others_wait(dsn: str, folder: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        applied = list(threads.map(lambda _: migrate(dsn, folder), range(4)))
    assert sorted(applied, key=len) == [[], [], [], ["20260101000000", "20260102000000"]]


def test_a_failing_file_leaves_nothing_of_itself_and_names_its_line(
    dsn: str, folder: Path, rows: Callable[[str], list[tuple[Any, ...]]]
) -> None:
    (folder / SECOND).write_text("create table two (id int);\nselect nonsense;\n")
    with pytest.raises(ConfigError, match=rf"{SECOND} failed \(line 2\): column"):
        migrate(dsn, folder)
    assert rows("select to_regclass('one'), to_regclass('two')") == [("one", None)]
    (folder / SECOND).write_text("create table two (id int);")
    assert migrate(dsn, folder) == ["20260102000000"]


def test_a_changed_file_is_refused(dsn: str, folder: Path) -> None:
    migrate(dsn, folder)
    for changed in ("create table one (id bigint primary key);", "", "insert into one values (2);"):
        (folder / FIRST).write_text(changed)
        with pytest.raises(ConfigError, match=f"{FIRST} was changed after it was applied"):
            migrate(dsn, folder)


def test_only_space_between_statements_may_change(dsn: str, folder: Path) -> None:
    migrate(dsn, folder)
    (folder / FIRST).write_text("\ncreate table one (id int primary key)\n;insert into one values (1)")
    assert migrate(dsn, folder) == []


def test_a_migration_the_program_does_not_know_is_refused(dsn: str, folder: Path) -> None:
    migrate(dsn, folder)
    (folder / SECOND).unlink()
    with pytest.raises(ConfigError, match="20260102000000, which this version of the program does not know"):
        migrate(dsn, folder)


def test_a_migration_that_comes_too_late_is_refused(dsn: str, folder: Path) -> None:
    migrate(dsn, folder)
    (folder / "20260101120000_between.sql").write_text("select 1;")
    with pytest.raises(ConfigError, match="older than 20260102000000"):
        migrate(dsn, folder)


def test_two_files_of_one_version_are_refused(folder: Path) -> None:
    (folder / "20260101000000_again.sql").write_text("select 1;")
    with pytest.raises(ConfigError, match="20260101000000"):
        read_migrations(folder)


def test_versions_of_the_product_are_in_order_and_named() -> None:
    """L2: what `supabase db push` applies is what we apply."""
    files = read_migrations(MIGRATIONS)
    assert len(files) == len(list(MIGRATIONS.glob("*.sql")))
    assert all(len(file.version) == 14 and file.name for file in files)


def test_the_bootstrap_may_run_again_and_brings_no_privileges(
    server: EmbeddedServer, dsn: str, rows: Callable[[str], list[tuple[Any, ...]]]
) -> None:
    """K1: as on Supabase, the owner of the migrations is no superuser, and people cannot read auth.users."""
    with psycopg.connect(dsn) as connection:
        database = connection.info.dbname
        connection.execute("select auth.uid(), auth.role(), auth.jwt(), auth.email()")
    with psycopg.connect(server.superuser_dsn(database), autocommit=True) as superuser:
        superuser.execute("comment on schema auth is 'as if it were older'")
    bootstrap(server.superuser_dsn(database))
    assert rows("select rolsuper from pg_roles where rolname = 'postgres'") == [(False,)]
    assert rows(
        "select has_table_privilege(r, 'auth.users', 'select') from unnest('{anon,authenticated}'::text[]) r"
    ) == [
        (False,),
        (False,),
    ]


def test_preparing_twice_changes_nothing(server: EmbeddedServer, empty_database: str) -> None:
    assert prepare(server, empty_database)
    assert prepare(server, empty_database) == []
