"""Whether a server runs on a data folder: what its `postmaster.pid` says, checked against the system."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn, Ping

from credits_core.errors import ConfigError

_SETTLE_SECONDS = 300


@dataclass(frozen=True)
class Postmaster:
    """A server that accepts connections."""

    pid: int
    port: int
    socket_dir: Path

    @classmethod
    def running(cls, folder: Path) -> Postmaster | None:
        """The server on `folder`, or None. Waits while one is starting up or shutting down."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        while time.monotonic() < deadline:
            lines = _lines(folder)
            if not lines or not _serves(lines, folder):
                return None
            if len(lines) >= 8 and lines[7] == "ready" and _answers(lines):
                return cls(int(lines[0]), int(lines[3]), Path(lines[4]))
            time.sleep(0.02)
        raise ConfigError(f"The database in {folder} neither starts nor stops; see server.log there.")

    @staticmethod
    def forget_dead(folder: Path, socket_dir: Path) -> None:
        """Remove the lock files of a server that was killed; `socket_dir` is for this server alone.

        PostgreSQL does so itself unless the number went to another process of the same user or its process
        is not buried yet, as happens in containers. It still will not start beside living ones of the old.
        """
        if lines := _lines(folder):
            if _serves(lines, folder):
                return
            (folder / "postmaster.pid").unlink(missing_ok=True)
        for lock in socket_dir.glob(".s.PGSQL.*.lock"):
            lock.unlink(missing_ok=True)


def _lines(folder: Path) -> list[str]:
    try:
        return [line.strip() for line in (folder / "postmaster.pid").read_text().splitlines()]
    except FileNotFoundError:
        return []
    except PermissionError:
        raise ConfigError(
            f"{folder} belongs to another user; start as that user, or set DATA_DIR to a folder of your own."
        ) from None


def _serves(lines: list[str], folder: Path) -> bool:
    """Whether the process named in the file serves this very folder; another may have got its number."""
    return lines[0].isdigit() and str(folder) in _command_line(int(lines[0]))


def _answers(lines: list[str]) -> bool:
    """Whether it takes connections: the file of one that is being killed still says "ready"."""
    place = make_conninfo(host=lines[4], port=lines[3], connect_timeout=5)
    return PGconn.ping(place.encode()) == Ping.OK


def _command_line(pid: int) -> list[str]:
    """Arguments of a process, empty if there is none."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_text(errors="surrogateescape").split("\0")
        except OSError:
            return []
    command = ["ps", "-o", "command=", "-p", str(pid)]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return shown.stdout.split()
