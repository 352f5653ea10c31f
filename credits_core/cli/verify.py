"""`verify`: every balance recomputed from the ledger. Exit 0 and "0 differences", or the list and exit 1."""

from __future__ import annotations

import argparse

from credits_core import ledger
from credits_core.cli import runtime_of_environment
from credits_core.db.port import SERVICE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Exit status: 0 without a difference, 1 with one."


def run(arguments: argparse.Namespace) -> int:  # noqa: ARG001
    with runtime_of_environment() as runtime:
        found = ledger.verify(runtime.db, SERVICE)
    differences = found["differences"]
    for difference in differences:
        print(" ".join(f"{key}={value}" for key, value in difference.items()))
    print(
        f"{len(differences)} differences ({found['accounts']} accounts, {found['transactions']} transactions)"
    )
    return 1 if differences else 0
