"""`price show` and `price set`: what operations cost. A change counts from its moment on, never for the past."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from credits_core import catalog
from credits_core.cli import runtime_of_environment
from credits_core.db.port import ANONYMOUS, SERVICE
from credits_core.errors import InvalidRequest, NotFound
from credits_core.units import format_credits, parse_credits

UNITS = ("call", "minute", "second", "message", "token", "1k_tokens", "mb", "item")
TIMED = ("minute", "second")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("show", help="list the prices valid now", description="List the prices valid now.")
    change = actions.add_parser(
        "set",
        help="set the price of an operation from now on",
        description="Set the price of an operation from now on. What is not named stays as it is.",
        epilog="Example: price set call --per minute=0.15 --increments 1/1 (by the second instead of rounded up)",
    )
    change.add_argument("operation", help="its code, such as call")
    change.add_argument(
        "--per",
        action="append",
        metavar="UNIT=CREDITS",
        help=f"credits per unit, for each part of the price; units: {', '.join(UNITS)}",
    )
    change.add_argument(
        "--increments",
        metavar="INITIAL/FOLLOWING",
        help="seconds billed at first and after that: 60/60 rounds up to the minute, 1/1 bills by the second",
    )
    change.add_argument("--rounding", help="how a charge is rounded to whole micros, such as half_up")


def run(arguments: argparse.Namespace) -> int:
    with runtime_of_environment() as runtime:
        prices = {item["operation"]: item for item in catalog.pricing(runtime.db, ANONYMOUS)["operations"]}
        if arguments.action == "show":
            for price in prices.values():
                print(_line(price))
            return 0
        current = prices.get(arguments.operation)
        if current is None:
            raise NotFound(
                f"There is no operation {arguments.operation}; the active catalog has: {', '.join(prices)}."
            )
        components = [dict(part) for part in current["components"]]
        if arguments.per:
            components = [_component(text) for text in arguments.per]
        if arguments.increments is not None:
            _set_increments(components, arguments.increments)
        changed = catalog.set_price(
            runtime.db,
            SERVICE,
            arguments.operation,
            components,
            rounding=arguments.rounding or current["rounding"],
            minimum_charge_micros=current["minimum_charge_micros"],
        )
    print(_line({**current, **changed}))
    return 0


def _component(text: str) -> dict[str, Any]:
    unit, _, amount = text.partition("=")
    if unit not in UNITS or not amount:
        raise InvalidRequest(f"“{text}” is not UNIT=CREDITS, such as minute=0.15; units: {', '.join(UNITS)}.")
    return {"unit": unit, "price_micros": parse_credits(amount)}


def _set_increments(components: Sequence[dict[str, Any]], text: str) -> None:
    initial, _, following = text.partition("/")
    if not (initial.isdecimal() and following.isdecimal()):
        raise InvalidRequest(f"“{text}” is not INITIAL/FOLLOWING in seconds, such as 60/60 or 1/1.")
    timed = [part for part in components if part["unit"] in TIMED]
    if not timed:
        raise InvalidRequest("This operation is not priced by time; --increments does not apply.")
    for part in timed:
        part["initial"], part["following"] = int(initial), int(following)


def _line(price: Mapping[str, Any]) -> str:
    parts = " + ".join(_part(part) for part in price["components"])
    return f"{price['operation']}: {parts} (rounding {price['rounding']}, price {price['price_id']})"


def _part(part: Mapping[str, Any]) -> str:
    steps = f", billed {part['initial']}/{part['following']} s" if part["unit"] in TIMED else ""
    return f"{format_credits(part['price_micros'])} per {part['unit']}{steps}"
