"""The embedded PostgreSQL under `DATA_DIR/postgres`: the first process starts it, the last stops it.

Every process that uses the server holds a shared lock on `postgres.users`; the system gives it back even
after a kill -9. Starting and stopping happen under an exclusive lock on `postgres.lock`. A server left behind
by a killed process is simply used again. Linux and macOS.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shlex
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from credits_core.db.postgres_programs import ServerUser, run_program, server_user
from credits_core.db.postmaster import Postmaster
from credits_core.errors import ConfigError

SUPERUSER = "supabase_admin"  # as on Supabase, where the owner of the schema is none
OWNER = "postgres"
LOGIN = "authenticator"
DATABASE = "postgres"
_LONGEST_SOCKET_PATH = 100  # the system's limit is 107 bytes (Linux) or 103 (macOS), with the file's name
_OLD_PROCESSES_SECONDS = 10
_START_SECONDS = 300  # recovery after a crash may have to replay a lot

_SETTINGS: Mapping[str, str] = {
    # What is committed is on disk: money is recorded here.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "unix_socket_permissions": "0700",
    "timezone": "UTC",
    "jit": "off",  # short statements: compiling costs more than it saves
    # Refusals are errors to PostgreSQL and ordinary answers to us; its log keeps what concerns the server.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_checkpoints": "off",
}


class EmbeddedServer:
    """A running server. `with EmbeddedServer.start(data_dir) as server:` or call `close()` in the end."""

    def __init__(self, data_dir: Path, users_lock: int, postmaster: Postmaster) -> None:
        self.data_dir = data_dir
        self.socket_dir = postmaster.socket_dir
        self.port = postmaster.port
        self._users_lock: int | None = users_lock

    @classmethod
    def start(cls, data_dir: Path, *, settings: Mapping[str, str] | None = None) -> EmbeddedServer:
        """The server of `data_dir` (created if new), running; `settings` count only if it has to be started.

        ConfigError, with the server's last words, when it cannot start.
        """
        data_dir = data_dir.expanduser().resolve()
        with _starting_or_stopping(data_dir):
            postmaster = Postmaster.running(data_dir / "postgres") or _start(data_dir, settings or {})
            users_lock = os.open(data_dir / "postgres.users", os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(users_lock, fcntl.LOCK_SH)
        return cls(data_dir, users_lock, postmaster)

    def dsn(self, *, user: str = LOGIN, database: str = DATABASE) -> str:
        """Connection text for a login role; `authenticator` for all traffic of the product."""
        return make_conninfo(user=user, dbname=database, host=str(self.socket_dir), port=self.port)

    def owner_dsn(self, database: str = DATABASE) -> str:
        """Connection text of the schema's owner: migrations and demo data, never the product's traffic."""
        return self.dsn(user=OWNER, database=database)

    def superuser_dsn(self, database: str = DATABASE) -> str:
        """Connection text of the server's superuser: for the bootstrap alone."""
        return self.dsn(user=SUPERUSER, database=database)

    def new_owner_url(self) -> str:
        """A URL of the owner for TCP, with a new random password; earlier ones stop working."""
        password = secrets.token_urlsafe(24)
        change = sql.SQL("alter role {} password {}").format(sql.Identifier(OWNER), password)
        with psycopg.connect(self.superuser_dsn(), autocommit=True) as superuser:
            superuser.execute(change)
        return f"postgresql://{OWNER}:{password}@127.0.0.1:{self.port}/{DATABASE}"

    def close(self) -> None:
        """Leave the server; the last process to leave stops it. May be called twice."""
        if self._users_lock is None:
            return
        with _starting_or_stopping(self.data_dir):
            lock, self._users_lock = self._users_lock, None
            last = _upgrade(lock)
            os.close(lock)
            if last and not _kept_mark(self.data_dir).exists():
                _stop_running(self.data_dir)

    def __enter__(self) -> EmbeddedServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def start_on_loopback(data_dir: Path) -> EmbeddedServer:
    """The server of `data_dir`, on 127.0.0.1 too, for tools that speak TCP only (the Supabase CLI).

    It keeps running when the last user leaves, until `stop`. ConfigError if it runs already without TCP.
    """
    loopback = {"listen_addresses": "127.0.0.1", "port": str(_free_port())}
    server = EmbeddedServer.start(data_dir, settings=loopback)
    with psycopg.connect(server.superuser_dsn(), autocommit=True) as superuser:
        (listening,) = superuser.execute("select current_setting('listen_addresses')").fetchall()[0]
    if not listening:
        server.close()
        raise ConfigError(f"The program is using {data_dir} already; stop it, or name another folder.")
    _kept_mark(server.data_dir).touch()
    return server


def stop(data_dir: Path) -> bool:
    """Stop the server of `data_dir`, whoever uses it; False when none was running."""
    data_dir = data_dir.expanduser().resolve()
    if not data_dir.is_dir():
        return False
    with _starting_or_stopping(data_dir):
        _kept_mark(data_dir).unlink(missing_ok=True)
        return _stop_running(data_dir)


def _start(data_dir: Path, settings: Mapping[str, str]) -> Postmaster:
    folder = data_dir / "postgres"
    user = server_user(folder)
    if not (folder / "PG_VERSION").exists():
        _create(folder, user)
    socket_dir = _socket_dir(folder, user)
    Postmaster.forget_dead(folder, socket_dir)
    place = {"listen_addresses": "", "port": "5432", "unix_socket_directories": str(socket_dir)}
    chosen = {**place, **_SETTINGS, **settings}
    options = " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in chosen.items())
    log = folder / "server.log"
    arguments = ("-w", "-t", str(_START_SECONDS), "-D", str(folder), "-l", str(log), "-o", options)
    give_up_at = time.monotonic() + _OLD_PROCESSES_SECONDS
    while True:
        try:
            run_program(user, "pg_ctl", "start", "-s", *arguments, cwd=folder)
        except ConfigError as error:
            said = _last_words(log)
            if "still in use" not in said or time.monotonic() > give_up_at:
                raise ConfigError(f"{error} {said}") from None
            time.sleep(0.2)  # processes of a killed server are on their way out
        else:
            if postmaster := Postmaster.running(folder):
                return postmaster
            raise ConfigError(f"The embedded database stopped at once. {_last_words(log)}")


def _stop_running(data_dir: Path) -> bool:
    """Stop the server unless it is gone already; whether there was one."""
    folder = data_dir / "postgres"
    postmaster = Postmaster.running(folder)
    if postmaster is None:
        return False
    arguments = ("stop", "-s", "-w", "-m", "fast", "-D", str(folder))
    run_program(server_user(folder), "pg_ctl", *arguments, cwd=folder)
    if postmaster.socket_dir != folder:
        with suppress(OSError):
            postmaster.socket_dir.rmdir()
    return True


def _create(folder: Path, user: ServerUser) -> None:
    """initdb beside the final place, then rename: what a killed start leaves behind never looks ready."""
    unfinished = folder.with_name("postgres.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    if user.uid is not None and user.gid is not None:
        os.chown(unfinished, user.uid, user.gid)
    run_program(
        user,
        "initdb",
        *(
            "--locale-provider",
            "builtin",
            "--builtin-locale",
            "C.UTF-8",
            "--locale",
            "C",
            "--encoding",
            "UTF8",
        ),
        *("--auth-local", "trust", "--auth-host", "scram-sha-256", "--username", SUPERUSER),
        *("--no-instructions", "-D", str(unfinished)),
        cwd=unfinished,
    )
    if folder.exists():
        folder.rmdir()
    unfinished.rename(folder)


def _socket_dir(folder: Path, user: ServerUser) -> Path:
    """The data folder itself, or a short one of the same owner where that path is too long for a socket."""
    if len(os.fsencode(folder)) + len("/.s.PGSQL.65535.lock") <= _LONGEST_SOCKET_PATH:
        return folder
    status = folder.stat()
    name = hashlib.sha256(f"{folder}:{status.st_ino}".encode()).hexdigest()[:16]
    short = Path(tempfile.gettempdir()) / f"credits-{name}"
    short.mkdir(mode=0o700, exist_ok=True)
    if user.uid is not None and user.gid is not None and short.stat().st_uid == 0:
        os.chown(short, user.uid, user.gid)
    if short.is_symlink() or short.stat().st_uid != status.st_uid:
        raise ConfigError(f"{short} belongs to somebody else; remove it, or set DATA_DIR to a shorter path.")
    return short


@contextmanager
def _starting_or_stopping(data_dir: Path) -> Iterator[None]:
    """One process at a time looks at the server, starts or stops it."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = os.open(data_dir / "postgres.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigError(
            f"The database cannot be kept in {data_dir} ({error.strerror}); set DATA_DIR to a folder of your own."
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _upgrade(lock: int) -> bool:
    """Whether nobody else holds the users' lock."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _kept_mark(data_dir: Path) -> Path:
    return data_dir / "postgres.keep"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _last_words(log: Path) -> str:
    try:
        return " ".join(log.read_text(errors="replace").splitlines()[-5:])
    except OSError:
        return ""
