"""`reconcile`: our books against Stripe's. Exit 0 and "0 differences", or the list and exit 1."""

from __future__ import annotations

import argparse
import uuid
from datetime import UTC, datetime, timedelta

from credits_core import reconcile
from credits_core.cli import runtime_of_environment
from credits_core.currencies import format_money
from credits_core.db.port import SERVICE
from credits_core.errors import Conflict, InvalidRequest
from credits_core.runtime import Runtime

WHOLE_DAY = timedelta(days=1)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from", dest="first", type=_day, help="first day (UTC), such as 2026-11-01; 7 days ago without it"
    )
    parser.add_argument("--to", dest="last", type=_day, help="last day (UTC); today without it")
    parser.add_argument(
        "--repair", action="store_true", help="repair what is safe to repair, then compare again"
    )
    parser.epilog = "Exit status: 0 without an open difference, 1 with one."


def run(arguments: argparse.Namespace) -> int:
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first, last = arguments.first or today - 7 * WHOLE_DAY, arguments.last or today
    if first > last:
        raise InvalidRequest("--from must not be after --to.")
    with runtime_of_environment() as runtime:
        done = _compare(runtime, first, last)
        if arguments.repair:
            counts = reconcile.repair_all(runtime.db, runtime.stripe, SERVICE)
            print(f"repaired {counts['repaired']}, left {counts['left']}")
            done = _compare(runtime, first, last)
        number = done["reconciliation_id"]
        seen = [one for one in reconcile.every_open(runtime.db, SERVICE) if one["last_seen_in"] == number]
    for total in done["totals"]:
        print(" ".join(f"{name}={value}" for name, value in total.items()))
    for one in seen:
        print(_line(one))
    print(f"{len(seen)} differences (run {number}, {first:%Y-%m-%d} to {last:%Y-%m-%d})")
    return 1 if seen else 0


def _compare(runtime: Runtime, first: datetime, last: datetime) -> reconcile.Answer:
    asked = reconcile.start(
        runtime.db,
        SERVICE,
        first,
        last + WHOLE_DAY,
        livemode=runtime.stripe.livemode,
        idempotency_key=f"command-{uuid.uuid4()}",
    )
    number = asked["reconciliation_id"]
    done = reconcile.run(runtime.db, runtime.stripe, reconciliation_id=number)
    if done is None:
        raise Conflict(
            f"The app itself works on reconciliation {number}; see its result on the page Reconciliation."
        )
    return done


def _day(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)


def _line(one: reconcile.Answer) -> str:
    amounts = [
        "-" if cents is None else format_money(cents, one["currency"] or "usd")
        for cents in (one["expected_cents"], one["found_cents"])
    ]
    can = " [--repair]" if one["repairable"] else ""
    return (
        f"{one['kind']} {one['object_id']}: ours {amounts[0]}, Stripe {amounts[1]}{can}. {one['explanation']}"
    )
