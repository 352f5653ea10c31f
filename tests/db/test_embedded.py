"""The embedded server (L1): durable, shared by processes, found again after a kill -9."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from credits_core.db import embedded
from credits_core.db.embedded import EmbeddedServer
from credits_core.db.migrations import bootstrap
from credits_core.db.postmaster import Postmaster
from credits_core.errors import ConfigError

START_AND_WAIT = """
import sys, time
from pathlib import Path
from credits_core.db.embedded import EmbeddedServer
from credits_core.db.migrations import bootstrap
server = EmbeddedServer.start(Path(sys.argv[1]))
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """A folder for a database; whatever server runs there is stopped in the end."""
    folder = tmp_path / "data"
    yield folder
    embedded.stop(folder)


@pytest.fixture
def another_process(data_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """A second process that uses the database of `data_dir`."""
    command = [sys.executable, "-c", START_AND_WAIT, str(data_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def setting(server: EmbeddedServer, name: str) -> str:
    return query(server, f"show {name}")


def query(server: EmbeddedServer, statement: str) -> str:
    with psycopg.connect(server.superuser_dsn(), autocommit=True) as connection:
        rows = connection.execute(statement.encode())
        return str(rows.fetchall()[0][0]) if rows.description else ""


def running(data_dir: Path) -> Postmaster | None:
    return Postmaster.running(data_dir / "postgres")


def test_l1_what_is_committed_is_on_disk(data_dir: Path) -> None:
    with EmbeddedServer.start(data_dir) as server:
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            assert setting(server, name) == "on"
        assert setting(server, "listen_addresses") == ""
        assert setting(server, "data_checksums") == "on"


def test_l1_a_second_start_is_fast_and_finds_the_data(data_dir: Path) -> None:
    with EmbeddedServer.start(data_dir) as server:
        query(server, "create table kept as select 42 as answer")
    started = time.monotonic()
    with EmbeddedServer.start(data_dir) as server:
        assert query(server, "select answer from kept") == "42"
    assert time.monotonic() - started < 5


def test_l1_the_last_process_to_leave_stops_the_server(
    data_dir: Path, another_process: subprocess.Popen[str]
) -> None:
    server = EmbeddedServer.start(data_dir)
    server.close()
    assert running(data_dir), "another process still uses it"
    server = EmbeddedServer.start(data_dir)
    another_process.kill()
    another_process.wait()
    assert query(server, "select 1") == "1"
    server.close()
    server.close()
    assert running(data_dir) is None


def test_l1_a_server_left_behind_by_kill_9_is_used_again(
    data_dir: Path, another_process: subprocess.Popen[str]
) -> None:
    left_behind = running(data_dir)
    another_process.send_signal(signal.SIGKILL)
    another_process.wait()
    with EmbeddedServer.start(data_dir):
        assert running(data_dir) == left_behind
    assert running(data_dir) is None


def test_l1_data_survive_kill_9_of_the_server_itself(data_dir: Path) -> None:
    server = EmbeddedServer.start(data_dir)
    query(server, "create table kept as select 42 as answer")
    killed = running(data_dir)
    assert killed
    os.kill(killed.pid, signal.SIGKILL)
    while running(data_dir):
        time.sleep(0.01)
    with EmbeddedServer.start(data_dir) as again:
        assert query(again, "select answer from kept") == "42"
    server.close()


def test_l1_a_process_that_got_the_number_of_a_killed_server_is_not_mistaken_for_it(data_dir: Path) -> None:
    EmbeddedServer.start(data_dir).close()
    folder = data_dir / "postgres"
    stale = [str(os.getpid()), str(folder), "1700000000", "5432", str(folder), "", "1 1", "ready"]
    (folder / "postmaster.pid").write_text("\n".join(stale) + "\n")
    with EmbeddedServer.start(data_dir) as server:
        assert query(server, "select 1") == "1"


def test_l1_a_start_that_was_killed_during_initdb_leaves_nothing_in_the_way(data_dir: Path) -> None:
    (data_dir / "postgres.new").mkdir(parents=True)
    (data_dir / "postgres.new" / "PG_VERSION").write_text("18\n")
    with EmbeddedServer.start(data_dir) as server:
        assert query(server, "select 1") == "1"


def test_l1_a_folder_too_long_for_a_socket_works(tmp_path: Path) -> None:
    data_dir = tmp_path / ("long" * 30)
    with EmbeddedServer.start(data_dir) as server:
        assert len(str(server.socket_dir)) < 100
        assert server.socket_dir.stat().st_mode & 0o077 == 0
        assert query(server, "select 1") == "1"
    assert not server.socket_dir.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run the server as another user")
def test_l1_root_runs_it_in_a_folder_closed_to_others(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with EmbeddedServer.start(closed / "with 'quotes' and spaces") as server:
        assert query(server, "select 1") == "1"
    assert closed.stat().st_mode & 0o007 == 0, "nothing is opened to everybody"


def test_l2_other_programs_reach_it_by_password_on_loopback_until_it_is_stopped(data_dir: Path) -> None:
    with embedded.start_on_loopback(data_dir) as server:
        bootstrap(server.superuser_dsn())
        first, second = server.new_owner_url(), server.new_owner_url()
    assert running(data_dir), "it stays when the command ends"
    with psycopg.connect(second) as connection:
        assert connection.execute("select current_user, inet_server_addr()::text").fetchone() == (
            "postgres",
            "127.0.0.1/32",
        )
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(first)
    assert embedded.stop(data_dir) is True
    assert embedded.stop(data_dir) is False


def test_l2_a_running_server_without_a_port_is_not_opened_to_the_network(data_dir: Path) -> None:
    with EmbeddedServer.start(data_dir), pytest.raises(ConfigError, match="stop it"):
        embedded.start_on_loopback(data_dir)


def test_the_product_never_logs_in_as_superuser(server: EmbeddedServer, template: str) -> None:
    """K1: the login of all traffic owns nothing and may only become the three API roles."""
    with psycopg.connect(server.dsn(database="postgres")) as connection:
        row = connection.execute(
            "select rolsuper or rolcreaterole or rolcreatedb or rolbypassrls or rolinherit from pg_roles"
            " where rolname = current_user"
        ).fetchone()
    assert row == (False,)


def test_a_folder_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="set DATA_DIR"):
        EmbeddedServer.start(tmp_path / "file")


def test_a_failing_start_shows_the_servers_last_words(data_dir: Path) -> None:
    with pytest.raises(ConfigError, match="shared_buffers"):
        EmbeddedServer.start(data_dir, settings={"shared_buffers": "nonsense"})
