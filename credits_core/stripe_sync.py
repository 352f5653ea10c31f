"""Make Stripe's products and prices those of the active catalog. Running it again changes nothing.

Each package has a product (`credits_<catalog>_<package>`) and a price under the lookup key of the same name,
with metadata `type=credit_package` and `credits=<with bonus>`. A Stripe price never changes its amount: a new
price takes over the lookup key and the old one is archived. Subscription plans have products and recurring prices in
the same way (`plan_<catalog>_<plan>`), with all their terms as metadata.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from credits_core.db.port import SERVICE, Database
from credits_core.stripe_gateway import StripeGateway
from credits_core.units import format_credits


@dataclass
class SyncReport:
    """What a run changed at Stripe; `unchanged` counts packages and plans that were right already."""

    products_created: int = 0
    products_updated: int = 0
    prices_created: int = 0
    prices_replaced: int = 0
    prices_updated: int = 0
    unchanged: int = 0

    @property
    def changes(self) -> int:
        """How many things were created or changed."""
        counts: dict[str, int] = asdict(self)
        return sum(counts.values()) - self.unchanged


def sync(db: Database, stripe: StripeGateway) -> SyncReport:
    """Bring Stripe to the active catalog and record its ids, so that checkout uses the synced prices."""
    offer = db.call("packages", SERVICE)
    report = SyncReport()
    for package in offer["packages"]:
        changes_before = report.changes
        key = f"credits_{offer['catalog']}_{package['code']}"
        metadata = _metadata(offer["catalog"], package)
        _sync_product(stripe, key, package["name"], metadata, report)
        price_id = _sync_price(stripe, key, package, metadata, report)
        db.call(
            "set_stripe_price",
            SERVICE,
            catalog=offer["catalog"],
            package=package["code"],
            product_id=key,
            price_id=price_id,
            livemode=stripe.livemode,
        )
        report.unchanged += report.changes == changes_before
    plans = db.call("subscription_plans", SERVICE, livemode=stripe.livemode)
    for plan in plans["plans"]:
        sync_plan(db, stripe, plans["catalog"], plan, report)
    return report


def sync_plan(
    db: Database, stripe: StripeGateway, catalog: str, plan: dict[str, Any], report: SyncReport
) -> None:
    """The product and the recurring price of a subscription plan. Other terms make another price: who pays the old one
    keeps what was agreed."""
    changes_before = report.changes
    key = f"plan_{catalog}_{plan['code']}"
    metadata = _terms(catalog, plan)
    _sync_product(stripe, key, plan["name"], metadata, report)
    price = stripe.catalog.price(key)
    wanted = (key, plan["currency"], plan["price_cents"])
    if (
        price is None
        or (price.product_id, price.currency, price.amount) != wanted
        or not metadata.items() <= price.metadata.items()
    ):
        price_id = stripe.subscriptions.create_price(*wanted, plan["interval"], key, metadata)
        if price is None:
            report.prices_created += 1
        else:
            stripe.catalog.archive_price(price.price_id)
            report.prices_replaced += 1
    else:
        price_id = price.price_id
        if not price.active:
            stripe.catalog.update_price(price_id, metadata)
            report.prices_updated += 1
    names = {"product_id": key, "price_id": price_id, "livemode": stripe.livemode}
    db.call("set_subscription_price", SERVICE, catalog=catalog, code=plan["code"], **names)
    report.unchanged += report.changes == changes_before


def _terms(catalog: str, plan: dict[str, Any]) -> dict[str, str]:
    kept = plan["rollover_cap_micros"]
    return {
        "type": "subscription_plan",
        "catalog": catalog,
        "plan": plan["code"],
        "interval": plan["interval"],
        "credits": format_credits(plan["credits_micros"]).removesuffix(".00"),
        "roll_over": "0" if kept is None else format_credits(kept).removesuffix(".00"),
        "allowances": plan["plan"] or "none",
    }


def _metadata(catalog: str, package: dict[str, Any]) -> dict[str, str]:
    text = format_credits(package["credits_micros"] + package["bonus_micros"]).removesuffix(".00")
    return {"type": "credit_package", "credits": text, "catalog": catalog, "package": package["code"]}


def _sync_product(
    stripe: StripeGateway, key: str, name: str, metadata: dict[str, str], report: SyncReport
) -> None:
    product = stripe.catalog.product(key)
    if product is None:
        stripe.catalog.create_product(key, name, metadata)
        report.products_created += 1
    elif (product.name, product.active) != (name, True) or not metadata.items() <= product.metadata.items():
        stripe.catalog.update_product(key, name, metadata)
        report.products_updated += 1


def _sync_price(
    stripe: StripeGateway, key: str, package: dict[str, Any], metadata: dict[str, str], report: SyncReport
) -> str:
    wanted = (key, package["currency"], package["price_cents"])
    price = stripe.catalog.price(key)
    if price is None or (price.product_id, price.currency, price.amount) != wanted:
        new_id = stripe.catalog.create_price(*wanted, lookup_key=key, metadata=metadata)
        if price is None:
            report.prices_created += 1
        else:
            stripe.catalog.archive_price(price.price_id)
            report.prices_replaced += 1
        return new_id
    if not price.active or not metadata.items() <= price.metadata.items():
        stripe.catalog.update_price(price.price_id, metadata)
        report.prices_updated += 1
    return price.price_id
