"""`catalog load NAME`: make a catalog the active one."""

from __future__ import annotations

import argparse

from credits_core import catalog
from credits_core.cli import runtime_of_environment
from credits_core.config import CATALOGS
from credits_core.db.port import SERVICE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    load = actions.add_parser(
        "load",
        help="load a catalog and make it the active one",
        description="Load a catalog; twice changes nothing.",
    )
    load.add_argument("name", choices=CATALOGS, help="which catalog")


def run(arguments: argparse.Namespace) -> int:
    with runtime_of_environment() as runtime:
        loaded = catalog.load(runtime.db, SERVICE, arguments.name)
    print(f"Catalog {loaded['catalog']} is active.")
    print(f"The app loads CATALOG at its start: keep CATALOG={arguments.name} in its environment.")
    return 0
