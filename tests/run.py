"""The one test command: `python -m tests.run` (all) or `python -m tests.run lint`. Stops at the first that fails."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent

LINT: dict[str, list[str]] = {
    "ruff": [str(BIN / "ruff"), "check", "--quiet", "."],
    "format": [str(BIN / "ruff"), "format", "--quiet", "--check", "."],
    "mypy": [str(BIN / "mypy"), "--no-error-summary"],
    "sqlfluff": [str(BIN / "sqlfluff"), "lint", "--disable-progress-bar", "supabase/migrations"],
}
SUITE: dict[str, list[str]] = {
    "pytest": [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        str(max(os.cpu_count() or 1, 2)),
        "--dist",
        "loadfile",
    ],
}


def main() -> int:
    """Run the steps in order; the exit code of the first that fails, or 0."""
    steps = LINT if sys.argv[1:] == ["lint"] else LINT | SUITE
    for name, command in steps.items():
        start = time.monotonic()
        print(f"== {name}", flush=True)
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        print(
            f"== {name}: {'ok' if code == 0 else f'failed ({code})'} in {time.monotonic() - start:.1f} s",
            flush=True,
        )
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
