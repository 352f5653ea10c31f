"""Catalogs: packages to buy and prices to pay. The rules are in supabase/migrations/*_catalog.sql and *_rating.sql."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from credits_core.db.port import Database, Identity
from credits_core.errors import NotFound

CATALOGS = Path(__file__).resolve().parent.parent / "supabase" / "catalogs"


def names() -> list[str]:
    """Codes of the catalogs that come with the product."""
    return sorted(path.stem for path in CATALOGS.glob("*.json"))


def read(name: str) -> dict[str, Any]:
    """A catalog file as data. NotFound, with the names there are, for another name."""
    if name not in names():
        raise NotFound(f"There is no catalog “{name}”; choose one of {', '.join(names())}.")
    return cast(dict[str, Any], json.loads((CATALOGS / f"{name}.json").read_text("utf-8")))


def load(db: Database, identity: Identity, name: str) -> dict[str, Any]:
    """Load a catalog and make it the active one; the same again changes nothing. Answers catalog, first_load."""
    return cast(dict[str, Any], db.call("load_catalog", identity, catalog=read(name)))


def packages(db: Database, identity: Identity) -> dict[str, Any]:
    """Packages of the active catalog: catalog, currency, custom {min_cents, max_cents, micros_per_cent} or None,
    packages [code, name, credits_micros, bonus_micros, price_cents, currency, popular, cents_per_credit]."""
    return cast(dict[str, Any], db.call("packages", identity))


def pricing(db: Database, identity: Identity) -> dict[str, Any]:
    """Prices valid now: catalog, operations [operation, name, measure, price_id, rounding, components [...]]."""
    return cast(dict[str, Any], db.call("pricing", identity))


def set_price(
    db: Database,
    identity: Identity,
    operation: str,
    components: list[dict[str, Any]],
    *,
    rounding: str = "half_up",
    effective_from: datetime | None = None,
    minimum_charge_micros: int = 0,
) -> dict[str, Any]:
    """A new price of an operation, from now or a later moment on. Admins and programs. Answers price_id, components.

    A component: unit, price_micros (per unit), and where they differ from the unit's own: flat, unit_size, initial,
    following (billing increments in the operation's measure), free_quantity.
    """
    return cast(
        dict[str, Any],
        db.call(
            "set_price",
            identity,
            operation=operation,
            components=components,
            rounding=rounding,
            effective_from=effective_from,
            minimum_charge_micros=minimum_charge_micros,
        ),
    )


def plans(db: Database, identity: Identity) -> dict[str, Any]:
    """Plans of the active catalog: catalog, plans [code, name, allowances {operation: units a month}]."""
    return cast(dict[str, Any], db.call("plans", identity))


def set_provider_cost(
    db: Database,
    identity: Identity,
    operation: str,
    cost_cents: Decimal | int,
    *,
    unit_size: Decimal | int = 1,
    effective_from: datetime | None = None,
) -> dict[str, Any]:
    """What the provider charges for `unit_size` of an operation's measure, from a moment on. Admins and programs.

    Conflict when there is a cost from that very moment on.
    """
    return cast(
        dict[str, Any],
        db.call(
            "set_provider_cost",
            identity,
            operation=operation,
            cost_cents=Decimal(cost_cents),
            unit_size=Decimal(unit_size),
            effective_from=effective_from,
        ),
    )


def rehearse_prices(
    db: Database, identity: Identity, draft: list[dict[str, Any]], start: datetime, end: datetime
) -> dict[str, Any]:
    """Past usage under draft prices [operation, components, rounding, minimum_charge_micros]; changes nothing. For staff.

    events, before_micros, after_micros, operations [...], accounts [..., runs_out_at], would_run_out.
    """
    return cast(
        dict[str, Any],
        db.call("rehearse_prices", identity, draft=draft, **{"from": start, "to": end}),
    )
