"""Secrets this machine makes for itself: files under DATA_DIR that only its user can read."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def local_secret(data_dir: Path, name: str) -> str:
    """The secret called `name`, made at first use (64 hex characters, mode 0600).

    Any number of processes may ask at once: the file appears whole and the first one wins.
    """
    folder = data_dir / "secrets"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / name
    if not path.exists():
        draft = folder / f".{name}.{os.getpid()}.{secrets.token_hex(4)}"
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
            file.flush()
            os.fsync(file.fileno())
        # A hard link fails where the name exists already; rename would replace a secret in use.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_text().strip()
