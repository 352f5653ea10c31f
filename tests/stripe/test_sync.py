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
    assert (first.products_created, first.prices_created, first.unchanged) == (7, 7, 0)
    before = simulator.store.find("product", {}) + prices(simulator)
    second = stripe_sync.sync(parts.db, parts.stripe)
    assert (second.changes, second.unchanged) == (0, 7)
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
    assert (report.prices_replaced, report.changes, report.unchanged) == (1, 1, 6)
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


def test_subscription_plans_carry_all_their_terms(parts: Parts, simulator: Simulator) -> None:
    """A5, A11."""
    catalog.load(parts.db, SERVICE, "metered_plan")
    stripe_sync.sync(parts.db, parts.stripe)
    (price,) = prices(simulator, lookup_key="plan_metered_plan_team")
    assert (price["unit_amount"], price["recurring"]["interval"], price["type"]) == (
        19900,
        "month",
        "recurring",
    )
    assert price["metadata"] == {
        "type": "subscription_plan", "catalog": "metered_plan", "plan": "team", "interval": "month", "credits": "5000",
        "roll_over": "5000", "allowances": "team",
    }  # fmt: skip
    offer = parts.db.call("subscription_plans", SERVICE)["plans"]
    assert [plan["stripe_price_id"] is not None for plan in offer] == [True, True]


def test_other_terms_of_a_plan_make_another_price(
    parts: Parts, simulator: Simulator, owner_sql: Callable[..., Any]
) -> None:
    """A11: also when the amount stays; the old price keeps what was agreed on it."""
    stripe_sync.sync(parts.db, parts.stripe)
    (old,) = prices(simulator, lookup_key="plan_voice_monthly_20")
    owner_sql("update credits.subscription_plans set credits_micros = 25000000 where code = 'monthly_20'")
    report = stripe_sync.sync(parts.db, parts.stripe)
    assert (report.prices_replaced, report.products_updated, report.unchanged) == (1, 1, 6)
    (new,) = prices(simulator, lookup_key="plan_voice_monthly_20")
    assert (new["unit_amount"], new["metadata"]["credits"]) == (2000, "25")
    terms = owner_sql(
        "select price_id, credits_micros, is_current from credits.subscription_prices where code = 'monthly_20' order by 2"
    )
    assert [tuple(row.values()) for row in terms] == [
        (old["id"], 22_000_000, False), (new["id"], 25_000_000, True),
    ]  # fmt: skip
    assert stripe_sync.sync(parts.db, parts.stripe).changes == 0
