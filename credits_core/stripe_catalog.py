"""Products and prices at Stripe, part of the gateway: `gateway.catalog`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from credits_core.errors import NotFound

Call = Callable[[Callable[[Any], Any]], Any]


@dataclass(frozen=True)
class ProductState:
    """A product at Stripe."""

    product_id: str
    name: str
    active: bool
    metadata: dict[str, str]


@dataclass(frozen=True)
class PriceState:
    """A price at Stripe; `amount` in minor units of `currency`."""

    price_id: str
    product_id: str
    currency: str
    amount: int
    active: bool
    metadata: dict[str, str]


class StripeCatalog:
    """What a catalog needs of Stripe. `call` is the gateway's: it retries and translates errors."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def product(self, product_id: str) -> ProductState | None:
        """The product with that id, or None."""
        try:
            found = self._call(lambda v1: v1.products.retrieve(product_id)).to_dict()
        except NotFound:
            return None
        return ProductState(found["id"], found["name"], found["active"], found["metadata"])

    def create_product(self, product_id: str, name: str, metadata: Mapping[str, str]) -> None:
        """A new product under an id of our own."""
        params = {"id": product_id, "name": name, "metadata": dict(metadata)}
        self._call(lambda v1: v1.products.create(params))

    def update_product(self, product_id: str, name: str, metadata: Mapping[str, str]) -> None:
        """Give a product this name and metadata, and offer it again if it was archived."""
        params = {"name": name, "metadata": dict(metadata), "active": True}
        self._call(lambda v1: v1.products.update(product_id, params))

    def price(self, lookup_key: str) -> PriceState | None:
        """The price that holds a lookup key, or None."""
        listed = self._call(lambda v1: v1.prices.list({"lookup_keys": [lookup_key], "limit": 1}))
        if not listed.data:
            return None
        found = listed.data[0].to_dict()
        return PriceState(
            price_id=found["id"],
            product_id=found["product"],
            currency=found["currency"],
            amount=found["unit_amount"],
            active=found["active"],
            metadata=found["metadata"],
        )

    def create_price(
        self, product_id: str, currency: str, amount: int, lookup_key: str, metadata: Mapping[str, str]
    ) -> str:
        """A new price of `amount` minor units; the lookup key moves to it. Answers its id."""
        params = {
            "product": product_id,
            "currency": currency,
            "unit_amount": amount,
            "lookup_key": lookup_key,
            "transfer_lookup_key": True,
            "metadata": dict(metadata),
        }
        return str(self._call(lambda v1: v1.prices.create(params)).id)

    def update_price(self, price_id: str, metadata: Mapping[str, str]) -> None:
        """Give a price this metadata and offer it again if it was archived; its amount can never change."""
        self._call(lambda v1: v1.prices.update(price_id, {"metadata": dict(metadata), "active": True}))

    def archive_price(self, price_id: str) -> None:
        """Offer a price no longer."""
        self._call(lambda v1: v1.prices.update(price_id, {"active": False}))
