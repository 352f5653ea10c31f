"""Bring a database to the schema of `supabase/migrations`, with the same history table as the Supabase CLI.

A database may meet this runner one day and `supabase db push` the next; both see the same history.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import psycopg

from credits_core.db.embedded import DATABASE, EmbeddedServer
from credits_core.db.owner import Connection, connect, run_script
from credits_core.db.statements import split_statements
from credits_core.errors import ConfigError

MIGRATIONS = Path(__file__).resolve().parents[2] / "supabase" / "migrations"
BOOTSTRAP = Path(__file__).with_name("bootstrap.sql")
PEOPLE = Path(__file__).with_name("embedded_people.sql")
_EMBEDDED_PEOPLE = Path(__file__).with_name("embedded_people.sql")
_FILE_NAME = re.compile(r"(?P<version>\d+)_(?P<name>.*)\.sql")
_LOCK = 7_202_611_200  # any number, the same in every process: one of them migrates, the others wait
_HISTORY = """
create schema if not exists supabase_migrations;
create table if not exists supabase_migrations.schema_migrations (version text not null primary key);
alter table supabase_migrations.schema_migrations add column if not exists statements text[];
alter table supabase_migrations.schema_migrations add column if not exists name text;
"""


@dataclass(frozen=True)
class Migration:
    """One file of `supabase/migrations`: `<version>_<name>.sql`."""

    version: str
    name: str
    path: Path
    sql: str


def prepare(server: EmbeddedServer, database: str = DATABASE) -> list[str]:
    """Bootstrap and migrate a database of the embedded server, and let it make people; answers the versions applied."""
    bootstrap(server.superuser_dsn(database))
    applied = migrate(server.owner_dsn(database))
    _run_if_new(server.owner_dsn(database), PEOPLE, "function credits.create_demo_user")
    return applied


def bootstrap(superuser_dsn: str) -> None:
    """Give an empty database what every Supabase project has. Does nothing when it has it already."""
    _run_if_new(superuser_dsn, BOOTSTRAP, "schema auth")


def _run_if_new(dsn: str, script: Path, mark: str) -> None:
    """Run a script unless this very text ran before; its hash is the comment of `mark`, something it creates."""
    text = script.read_text(encoding="utf-8")
    stamp = f"{script.stem} {sha256(text.encode()).hexdigest()[:16]}"
    kind, name = mark.split()
    find = {"schema": "to_regnamespace", "function": "to_regproc"}[kind]
    catalog = {"schema": "pg_namespace", "function": "pg_proc"}[kind]
    with connect(dsn) as connection:
        connection.execute("select pg_advisory_xact_lock(%s)", (_LOCK,))
        current = connection.execute(
            f"select obj_description({find}(%s)::oid, %s)", (name, catalog)
        ).fetchone()
        if current != (stamp,):
            run_script(connection, text)
            run_script(connection, f"comment on {mark} is '{stamp}'")


def migrate(owner_dsn: str, folder: Path = MIGRATIONS) -> list[str]:
    """Apply what is missing, each file in its own transaction, and answer the versions applied just now.

    ConfigError when history and files contradict each other, or when a file fails (nothing of it is kept).
    """
    files = read_migrations(folder)
    with connect(owner_dsn, autocommit=True) as connection:
        connection.execute("select pg_advisory_lock(%s)", (_LOCK,))
        pending = _pending(files, _history(connection))
        if pending:
            run_script(connection, _HISTORY)
        for migration in pending:
            _apply(connection, migration)
    return [migration.version for migration in pending]


def read_migrations(folder: Path = MIGRATIONS) -> list[Migration]:
    """The files of a folder in the order of their versions. ConfigError for two files of one version."""
    named = [(_FILE_NAME.fullmatch(path.name), path) for path in folder.glob("*.sql")]
    files = [Migration(m["version"], m["name"], path, path.read_text("utf-8")) for m, path in named if m]
    files.sort(key=lambda migration: migration.version)
    versions = [migration.version for migration in files]
    if doubled := {version for version in versions if versions.count(version) > 1}:
        raise ConfigError(f"Two migrations have the version {min(doubled)}; rename one of them.")
    return files


def _history(connection: Connection) -> dict[str, list[str] | None]:
    """Statements by version, as recorded; None where only the version is known."""
    table = "supabase_migrations.schema_migrations"
    if connection.execute("select to_regclass(%s)", (table,)).fetchone() == (None,):
        return {}
    rows = connection.execute(f"select version, to_jsonb(m) -> 'statements' from {table} m")  # noqa: S608
    return dict(rows.fetchall())


def _pending(files: Iterable[Migration], history: dict[str, list[str] | None]) -> list[Migration]:
    """The files to apply, after the check that the rest of them is what was applied before."""
    known = {migration.version: migration for migration in files}
    if unknown := history.keys() - known.keys():
        raise ConfigError(
            f"The database has migration {min(unknown)}, which this version of the program does not know; "
            "use the newer program, or another database."
        )
    for version, statements in history.items():
        if statements is not None and not _is_text_of(statements, known[version].sql):
            raise ConfigError(
                f"Migration {known[version].path.name} was changed after it was applied; "
                "undo the change and write a new migration instead."
            )
    pending = [migration for version, migration in sorted(known.items()) if version not in history]
    if pending and history and pending[0].version < max(history):
        raise ConfigError(
            f"Migration {pending[0].path.name} is older than {max(history)}, which is applied already; "
            "give it a newer version."
        )
    return pending


def _is_text_of(statements: list[str], text: str) -> bool:
    """Whether a file consists of these statements, with only semicolons and white space between."""
    position = 0
    for statement in statements:
        start = text.find(statement, position)
        if start < 0 or text[position:start].strip("; \t\r\n"):
            return False
        position = start + len(statement)
    return not text[position:].strip("; \t\r\n")


def _apply(connection: Connection, migration: Migration) -> None:
    try:
        with connection.transaction():
            run_script(connection, migration.sql)
            connection.execute(
                "insert into supabase_migrations.schema_migrations (version, name, statements)"
                " values (%s, %s, %s)",
                (migration.version, migration.name, split_statements(migration.sql)),
            )
    except psycopg.Error as error:
        position = error.diag.statement_position
        line = f" (line {migration.sql.count(chr(10), 0, int(position)) + 1})" if position else ""
        message = f"Migration {migration.path.name} failed{line}: {error.diag.message_primary}"
        raise ConfigError(message) from error
