"""What tests stand on: one embedded server for the whole run, a migrated database of its own for each test.

The server is shared by all pytest-xdist workers. A database is a copy of a template that holds the bootstrap,
the migrations and the catalog `voice`; copying takes some milliseconds, so no test cleans up after itself.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from credits_core.db.embedded import EmbeddedServer
from credits_core.db.migrations import MIGRATIONS, bootstrap, prepare
from credits_core.db.port import SERVICE, Identity, user_identity
from credits_core.db.psycopg_transport import PsycopgDatabase

CATALOGS = MIGRATIONS.parent / "catalogs"
TEMPLATE = "template_credits"
# Tests of durability start servers of their own; the shared one need not survive anything.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "300"}

MEMORY_BYTES = 6 * 1024**3  # free, before a run keeps its databases in memory; it needs about a third of it

_numbers = itertools.count(1)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give each run a temporary folder of its own, and remove it afterwards.

    pytest's usual one is common to all runs of a user, and each run closes it to others; started by root, our
    servers are such others and would lose their data in the middle of a run.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ and not config.option.basetemp:
        folder = tempfile.mkdtemp(prefix="credits-tests-", dir=_folder_in_memory())
        config.option.basetemp = folder
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def _folder_in_memory() -> str | None:
    """Where files live in memory, if there is room enough: 3,000 copied databases keep a disk busier than the tests."""
    memory = Path("/dev/shm")
    try:
        left = os.statvfs(memory)
        available = re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text("ascii"))
    except OSError:  # not Linux
        return None
    available_bytes = int(available[1]) * 1024 if available else 0
    enough = min(left.f_bavail * left.f_frsize, available_bytes) > MEMORY_BYTES
    return str(memory) if enough and os.access(memory, os.W_OK) else None


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder common to all workers of this run."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@contextmanager
def one_worker_at_a_time(path: Path) -> Iterator[None]:
    """Hold a lock file while something shared by all workers is made once."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def server(run_folder: Path) -> Iterator[EmbeddedServer]:
    """The embedded server of this run: it has the roles of the bootstrap, and no database a test may rely on."""
    with EmbeddedServer.start(run_folder / "database", settings=FAST) as running:
        bootstrap(running.superuser_dsn())
        yield running


@pytest.fixture(scope="session")
def superuser_sql(server: EmbeddedServer) -> Iterator[Callable[[sql.Composed], None]]:
    """Run a statement that creates or drops databases."""
    with psycopg.connect(server.superuser_dsn(), autocommit=True) as connection:
        yield lambda statement: (connection.execute(statement), None)[1]


@pytest.fixture(scope="session")
def template(server: EmbeddedServer, run_folder: Path, superuser_sql: Callable[[sql.Composed], None]) -> str:
    """Name of the database that tests copy: bootstrap, migrations, catalog `voice` loaded, nobody in it."""
    done = run_folder / "template.done"
    with one_worker_at_a_time(run_folder / "template.lock"):
        if not done.exists():
            superuser_sql(_sql("drop database if exists {}", TEMPLATE))
            superuser_sql(_sql("create database {}", TEMPLATE))
            prepare(server, TEMPLATE)
            database = PsycopgDatabase(server.dsn(database=TEMPLATE), max_size=1)
            database.call("load_catalog", SERVICE, catalog=json.loads((CATALOGS / "voice.json").read_text()))
            database.close()
            with psycopg.connect(server.superuser_dsn(TEMPLATE), autocommit=True) as connection:
                # Less to copy. Not of our own tables: one that was vacuumed empty is planned for as if it stayed so.
                connection.execute("vacuum full pg_proc, pg_attribute, pg_rewrite, pg_depend, pg_description")
            superuser_sql(_sql("alter database {} allow_connections false is_template true", TEMPLATE))
            done.touch()
    return TEMPLATE


@pytest.fixture
def empty_database(server: EmbeddedServer, superuser_sql: Callable[[sql.Composed], None]) -> Iterator[str]:
    """Name of a new database with nothing in it, not even the bootstrap."""
    yield from new_database(superuser_sql, "template0")


@pytest.fixture
def database_name(template: str, superuser_sql: Callable[[sql.Composed], None]) -> Iterator[str]:
    """Name of this test's own migrated database on `server`."""
    yield from new_database(superuser_sql, template)


@pytest.fixture
def database(server: EmbeddedServer, database_name: str) -> Iterator[PsycopgDatabase]:
    """The port by psycopg on this test's own migrated database: `database.call(function, identity, ...)`."""
    port = PsycopgDatabase(server.dsn(database=database_name))
    yield port
    port.close()


@pytest.fixture
def service(database: PsycopgDatabase) -> Callable[..., Any]:
    """`service("adjust", account_id=1, ...)`: call a function of `database` as the service."""
    return lambda function, **arguments: database.call(function, SERVICE, **arguments)


@pytest.fixture
def make_user(service: Callable[..., Any]) -> Callable[..., Identity]:
    """`make_user("a@example.test", role="admin", name="A")`: a person with an account, as an identity.

    Roles: holder (default), finance, admin, super_admin. Without an e-mail address it gets a new one.
    """

    def make(email: str = "", role: str = "holder", name: str = "") -> Identity:
        email = email or f"person{next(_numbers)}@example.test"
        name = name or email.partition("@")[0]
        made = service("create_demo_user", email=email, name=name, role=role, is_demo=False)
        return person(made["user_id"], email, role, name)

    return make


@pytest.fixture
def account_of(service: Callable[..., Any]) -> Callable[[Identity], int]:
    """`account_of(identity)`: the id of a person's account."""
    return lambda identity: service("find_account", account=str(identity.claims["sub"]))["account_id"]


@pytest.fixture
def owner_sql(server: EmbeddedServer, database_name: str) -> Iterator[Callable[..., list[dict[str, Any]]]]:
    """`owner_sql("select ... where id = %s", 7)`: rows as the owner, whom no policy restrains; committed.

    For assertions about what is stored, and for states no function can produce. Not a way to set up a test.
    """
    with psycopg.connect(
        server.owner_dsn(database_name), autocommit=True, row_factory=dict_row
    ) as connection:

        def run(statement: str, *values: object) -> list[dict[str, Any]]:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

        yield run


def person(user_id: str | UUID, email: str, role: str = "holder", name: str = "") -> Identity:
    """An identity with the claims that Supabase Auth puts into an access token."""
    return user_identity(
        {
            "sub": str(user_id),
            "aud": "authenticated",
            "role": "authenticated",
            "email": email,
            "app_metadata": {"role": role},
            "user_metadata": {"name": name},
        }
    )


def new_database(superuser_sql: Callable[[sql.Composed], None], template: str) -> Iterator[str]:
    """Name of a new copy of a database, dropped when the iterator is exhausted: `yield from` it in a fixture."""
    name = f"test_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_{next(_numbers)}"
    # Copying files writes no log; the other way of making a database logs every page of it.
    superuser_sql(_sql("create database {} template {} owner postgres strategy file_copy", name, template))
    yield name
    superuser_sql(_sql("drop database {} with (force)", name))


def _sql(text: str, *names: str) -> sql.Composed:
    return sql.SQL(text).format(*(sql.Identifier(name) for name in names))
