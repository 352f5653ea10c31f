"""`price show` and `price set`: what operations cost. A change counts from its moment on, never for the past."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from credits_core import catalog
from credits_core.cli import runtime_of_environment
from credits_core.db.port import ANONYMOUS, SERVICE
from credits_core.errors import InvalidRequest, NotFound
from credits_core.units import format_credits, parse_credits

INCREMENTS = {"second": 1, "minute": 60}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("show", help="list the prices valid now", description="List the prices valid now.")
    change = actions.add_parser(
        "set",
        help="set the price of an operation from now on",
        description="Set the price of an operation from now on. What is not named stays as it is.",
        epilog="Example: price set call --bill-by second (partial minutes by the second instead of rounded up)",
    )
    change.add_argument("operation", help="its code, such as call")
    change.add_argument(
        "--bill-by", choices=INCREMENTS, help="for time: the steps that partial minutes are billed in"
    )
    change.add_argument(
        "--credits", help="credits per unit, for an operation with one component, such as 0.15"
    )
    change.add_argument("--components", help="all components as JSON, as `price show` prints them")
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
        changed = catalog.set_price(
            runtime.db,
            SERVICE,
            arguments.operation,
            _components(arguments, current),
            rounding=arguments.rounding or current["rounding"],
            minimum_charge_micros=current["minimum_charge_micros"],
        )
    print(_line({**current, **changed}))
    return 0


def _components(arguments: argparse.Namespace, current: Mapping[str, Any]) -> list[dict[str, Any]]:
    if arguments.components is not None:
        try:
            given: list[dict[str, Any]] = json.loads(arguments.components, parse_float=Decimal)
        except ValueError:
            raise InvalidRequest(
                "--components is not JSON; copy what `price show` prints and change it."
            ) from None
        return given
    components: list[dict[str, Any]] = [dict(component) for component in current["components"]]
    if arguments.credits is not None:
        if len(components) != 1:
            raise InvalidRequest("This operation has several components; name them all with --components.")
        components[0]["price_micros"] = parse_credits(arguments.credits)
    if arguments.bill_by is not None:
        timed = [component for component in components if component["unit"] in ("minute", "second")]
        if not timed:
            raise InvalidRequest("This operation is not priced by time; --bill-by does not apply.")
        for component in timed:
            component["initial"] = component["following"] = INCREMENTS[arguments.bill_by]
    return components


def _line(price: Mapping[str, Any]) -> str:
    parts = [f"{format_credits(c['price_micros'])} per {c['unit']}" for c in price["components"]]
    return f"{price['operation']}: {' + '.join(parts)}; components {json.dumps(price['components'])}"
