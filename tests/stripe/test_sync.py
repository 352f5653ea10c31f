"""Products and prices of the catalog at Stripe: A5."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from credits_core import catalog, checkout, fulfillment, stripe_sync
from credits_core.db.port import SERVICE, Database, Identity
from credits_core.stripe_gateway import StripeGateway
from credits_core.stripe_sim import Simulator


@dataclass
class Parts:
    db: Database
    stripe: StripeGateway


@pytest.fixture
def parts(database: Database, gateway: StripeGateway) -> Parts:
    return Parts(database, gateway)


def prices(simulator: Simulator, **where: Any) -> list[dict[str, Any]]:
    return simulator.store.find("price", where)


def test_twice_is_no_change(parts: Parts, simulator: Simulator) -> None:
    first = stripe_sync.sync(parts.db, parts.stripe)
    assert (first.products_created, first.prices_created, first.unchanged) == (5, 5, 0)
    before = simulator.store.find("product", {}) + prices(simulator)
    second = stripe_sync.sync(parts.db, parts.stripe)
    assert (second.changes, second.unchanged) == (0, 5)
    assert simulator.store.find("product", {}) + prices(simulator) == before


def test_each_package_carries_its_metadata(parts: Parts, simulator: Simulator) -> None:
    catalog.load(parts.db, SERVICE, "recruitment")
    stripe_sync.sync(parts.db, parts.stripe)
    (price,) = prices(simulator, lookup_key="credits_recruitment_professional")
    assert (price["unit_amount"], price["currency"]) == (4500, "usd")
    assert price["metadata"] == {
        "type": "credit_package", "credits": "550", "catalog": "recruitment", "package": "professional",
    }  # fmt: skip
    product = simulator.store.get("product", price["product"])
    assert product is not None
    assert product["metadata"] == price["metadata"]


def test_a_changed_price_becomes_a_new_one(
    parts: Parts, simulator: Simulator, owner_sql: Callable[..., Any]
) -> None:
    stripe_sync.sync(parts.db, parts.stripe)
    (old,) = prices(simulator, lookup_key="credits_voice_usd_10")
    owner_sql("update credits.packages set price_cents = 1200 where catalog = 'voice' and code = 'usd_10'")
    report = stripe_sync.sync(parts.db, parts.stripe)
    assert (report.prices_replaced, report.changes, report.unchanged) == (1, 1, 4)
    (new,) = prices(simulator, lookup_key="credits_voice_usd_10")
    assert (new["unit_amount"], new["active"]) == (1200, True)
    (archived,) = prices(simulator, id=old["id"])
    assert (archived["active"], archived["lookup_key"]) == (False, None)


def test_what_was_changed_at_stripe_is_put_right(parts: Parts, simulator: Simulator) -> None:
    stripe_sync.sync(parts.db, parts.stripe)
    (price,) = prices(simulator, lookup_key="credits_voice_usd_5")
    parts.stripe.catalog.archive_price(price["id"])
    parts.stripe.catalog.update_product("credits_voice_usd_20", "Other", {})
    report = stripe_sync.sync(parts.db, parts.stripe)
    assert (report.prices_updated, report.products_updated, report.changes) == (1, 1, 2)
    assert stripe_sync.sync(parts.db, parts.stripe).changes == 0


def test_checkout_uses_the_synced_price(
    parts: Parts, simulator: Simulator, control: Callable[..., Any], make_user: Callable[..., Identity]
) -> None:
    stripe_sync.sync(parts.db, parts.stripe)
    person = make_user()
    bought = checkout.start_checkout(parts, person, package="usd_20", base_url="https://shop.test")
    assert bought["stripe_price_id"] == prices(simulator, lookup_key="credits_voice_usd_20")[0]["id"]
    control(f"sessions/{bought['session_id']}/pay", card="4242424242424242")
    assert fulfillment.fulfill(parts, person, bought["session_id"])["status"] == "credited"
    assert parts.db.call("balance", person)["available_micros"] == 20_000_000
