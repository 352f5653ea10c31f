"""Commands of `python -m credits_core`. Each is a module with `add_arguments(parser)` and `run(arguments) -> int`.

They read the same environment as the app (DATA_DIR above all) and work beside it: the embedded database takes
any number of processes.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from credits_core.config import Settings
from credits_core.errors import CreditsError
from credits_core.logs import set_up_logs
from credits_core.runtime import Runtime, make_runtime

COMMANDS = {
    "serve": ("serve", "start pages and API"),
    "token": ("token", "print a bearer token of a demo person or of a program (embedded mode)"),
    "verify": ("verify", "recompute every balance from the ledger; exit 1 when something differs"),
    "catalog": ("catalog", "load a catalog of packages and prices"),
    "price": ("price", "show prices, or set one from now on"),
    "jobs": ("jobs", "list background jobs, or run one now"),
    "reconcile": ("reconcile", "compare our books with Stripe's over a range; exit 1 when something differs"),
    "stripe-sync": ("stripe_sync", "create or update the Stripe products and prices of the catalog"),
    "local-db": ("local_db", "start the embedded database for other tools and print its address"),
}


def main(argv: Sequence[str]) -> int:
    """Run a command; answers the exit status (2: wrong use or settings, 1: it found or met a problem)."""
    parser = argparse.ArgumentParser(
        prog="python -m credits_core",
        description="Prepaid credits from the command line. Settings come from the environment, as for the app.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    asked_for = next((word for word in argv if not word.startswith("-")), None)
    for name, (module, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        if name == asked_for:  # the others are not even imported: a command answers quickly
            chosen = importlib.import_module(f"credits_core.cli.{module}")
            chosen.add_arguments(command)
            command.set_defaults(run=chosen.run)
    arguments = parser.parse_args(argv)
    set_up_logs("WARNING")
    try:
        return int(arguments.run(arguments))
    except CreditsError as error:
        logging.getLogger(__name__).debug("failed", exc_info=error)
        print(error.message, file=sys.stderr)
        return 2 if error.code == "configuration" else 1


@contextmanager
def runtime_of_environment() -> Iterator[Runtime]:
    """The runtime a command works with; closed at the end, and the database stopped if nobody else uses it."""
    runtime = make_runtime(Settings.from_env())
    try:
        yield runtime
    finally:
        runtime.close()
