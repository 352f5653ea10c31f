"""Supabase's own tools on our migrations (L2): db push applies them, db advisors finds nothing, ours does the same."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from credits_core.db.embedded import EmbeddedServer
from credits_core.db.migrations import MIGRATIONS, bootstrap, migrate, read_migrations
from tests import node_tools

ROOT = MIGRATIONS.parents[1]
NOT_OURS = "('pg_catalog', 'information_schema', 'pg_toast', 'supabase_migrations')"

# Everything a migration can make, one line of text each; two schemas are the same if the lines are.
SCHEMA = f"""
with ns as (select * from pg_namespace where nspname not in {NOT_OURS} and nspname not like 'pg_%'),
     relation as (select c.* from pg_class c join ns on ns.oid = relnamespace)
select concat_ws(' ', 'schema', nspname, nspowner::regrole, nspacl) as line from ns
union all
select concat_ws(' ', 'relation', oid::regclass, relkind, relowner::regrole, relacl, relrowsecurity, relforcerowsecurity,
                 reloptions, case when relkind in ('v', 'm') then pg_get_viewdef(oid) end) from relation where relkind <> 'i'
union all
select concat_ws(' ', 'column', attrelid::regclass, attnum, attname, format_type(atttypid, atttypmod), attnotnull,
                 attidentity, attgenerated, pg_get_expr(adbin, adrelid), attacl)
  from pg_attribute join relation on relation.oid = attrelid
  left join pg_attrdef on adrelid = attrelid and adnum = attnum where attnum > 0 and not attisdropped
union all
select concat_ws(' ', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(c.oid))
  from pg_constraint c join ns on ns.oid = connamespace
union all
select concat_ws(' ', 'index', pg_get_indexdef(indexrelid)) from pg_index join relation on relation.oid = indexrelid
union all
select concat_ws(' ', 'function', pg_get_functiondef(p.oid), proowner::regrole, proacl)
  from pg_proc p join ns on ns.oid = pronamespace where prokind in ('f', 'p')
union all
select concat_ws(' ', 'policy', policies::text) from pg_policies as policies
union all
select concat_ws(' ', 'trigger', pg_get_triggerdef(t.oid), tgenabled)
  from pg_trigger t join relation on relation.oid = tgrelid where not tgisinternal
union all
select concat_ws(' ', 'type', t.oid::regtype, typtype, typacl,
                 (select string_agg(enumlabel, ',' order by enumsortorder) from pg_enum where enumtypid = t.oid))
  from pg_type t join ns on ns.oid = typnamespace
union all
select concat_ws(' ', 'comment', pg_describe_object(classoid, objoid, objsubid), description)
  from pg_description where objoid >= 16384
order by 1
"""


def schema_of(dsn: str) -> list[str]:
    with psycopg.connect(dsn) as connection:
        lines = [line for (line,) in connection.execute(SCHEMA.encode())]
    assert len(lines) > 300, "the comparison lost sight of the schema"
    return lines


@contextmanager
def local_database(data_dir: Path, *options: str) -> Iterator[str]:
    """URL of an embedded database for other programs, as the command `local-db` prints it."""
    command = [sys.executable, "-m", "credits_core", "local-db", "--data-dir", str(data_dir)]

    def run(*more: str) -> str:
        return subprocess.run([*command, *more], cwd=ROOT, check=True, capture_output=True, text=True).stdout

    yield run(*options).splitlines()[-1]
    assert "stopped" in run("--stop")


def supabase(url: str, workdir: Path, *arguments: str) -> str:
    """Run the Supabase CLI on a database, with a copy of our folder `supabase`; answers what it says."""
    if not (workdir / "supabase").exists():
        ignore = shutil.ignore_patterns(".temp")
        shutil.copytree(ROOT / "supabase", workdir / "supabase", ignore=ignore)
    done = subprocess.run(
        [str(node_tools.install() / ".bin" / "supabase"), *arguments, f"--remote={url}"],
        cwd=workdir,
        env=node_tools.environment(DO_NOT_TRACK="1", HOME=str(workdir)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("project")


@pytest.fixture(scope="module")
def local_db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a database that has what Supabase itself has, and no migrations."""
    with local_database(tmp_path_factory.mktemp("local-db"), "--empty") as url:
        yield url


@pytest.fixture(scope="module")
def pushed(local_db: str, workdir: Path) -> str:
    """What `supabase db push` said when it applied the migrations to `local_db`."""
    return supabase(local_db, workdir, "db", "push", "--yes")


def test_l2_db_push_applies_every_migration_once(pushed: str, local_db: str, workdir: Path) -> None:
    assert [file.path.name for file in read_migrations() if file.path.name not in pushed] == []
    assert "up to date" in supabase(local_db, workdir, "db", "push", "--yes")


def test_k1_k2_advisors_find_nothing(pushed: str, local_db: str, workdir: Path) -> None:
    """K1, K2: row-level security everywhere, functions with a search path, no index in vain."""
    assert "No issues found" in supabase(local_db, workdir, "db", "advisors", "--level", "info")


def test_l2_our_runner_makes_the_same_schema_and_history(
    pushed: str, local_db: str, server: EmbeddedServer, empty_database: str
) -> None:
    bootstrap(server.superuser_dsn(empty_database))
    assert migrate(server.owner_dsn(empty_database)) == [file.version for file in read_migrations()]
    assert schema_of(server.superuser_dsn(empty_database)) == schema_of(local_db)
    history = "select version, name, statements from supabase_migrations.schema_migrations order by 1"
    with psycopg.connect(local_db) as theirs, psycopg.connect(server.owner_dsn(empty_database)) as ours:
        assert ours.execute(history).fetchall() == theirs.execute(history).fetchall()


def test_l2_each_accepts_what_the_other_did(
    pushed: str, local_db: str, workdir: Path, tmp_path: Path
) -> None:
    assert migrate(local_db) == []
    with local_database(tmp_path) as url:
        assert "up to date" in supabase(url, workdir, "db", "push", "--yes")
