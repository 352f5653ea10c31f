"""`stripe-sync`: make Stripe's products and prices those of the active catalog."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from credits_core import stripe_sync
from credits_core.cli import runtime_of_environment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No arguments: the catalog is the active one, the Stripe account that of STRIPE_SECRET_KEY."""
    parser.epilog = "Run it after every change of packages or prices; running it again changes nothing."


def run(_arguments: argparse.Namespace) -> int:
    """Print what was created, changed and right already."""
    with runtime_of_environment() as runtime:
        report = stripe_sync.sync(runtime.db, runtime.stripe)
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in asdict(report).items() if count)
    print(f"stripe-sync: {counts or 'the catalog has no packages'}{'' if report.changes else '; no change'}.")
    return 0
