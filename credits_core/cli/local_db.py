"""`python -m credits_core local-db`: an embedded database on a local port, for tools like the Supabase CLI.

    URL=$(python -m credits_core local-db --data-dir /path/of/a/folder --empty | tail -1)
    npx supabase db push --remote="$URL"
    npx supabase db advisors --remote="$URL" --level info
    python -m credits_core local-db --data-dir /path/of/a/folder --stop

The server keeps running after the command; the URL holds a new random password each time.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from credits_core.db import embedded, migrations


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.description = "Start an embedded database on a loopback port; its URL is the last line printed."
    parser.add_argument(
        "--data-dir", type=Path, required=True, help="folder of the database, made if it is new"
    )
    task = parser.add_mutually_exclusive_group()
    task.add_argument("--empty", action="store_true", help="only what Supabase itself has: no migrations")
    task.add_argument("--stop", action="store_true", help="stop the database of this folder")


def run(args: argparse.Namespace) -> int:
    """Do it and answer the exit code. Raises ConfigError with a sentence."""
    if args.stop:
        stopped = embedded.stop(args.data_dir)
        print(f"The database of {args.data_dir} is stopped." if stopped else "No database was running there.")
        return 0
    with embedded.start_on_loopback(args.data_dir) as server:
        migrations.bootstrap(server.superuser_dsn())
        if not args.empty:
            migrations.migrate(server.owner_dsn())
        print(f"Running until: python -m credits_core local-db --data-dir {args.data_dir} --stop")
        print(server.new_owner_url())
    return 0
