"""Receipt, invoice, tax and terms of a purchase (A6), as Stripe's page collects them and as the row keeps them."""

from __future__ import annotations

from typing import Any

import pytest

from credits_core.config import Settings
from credits_core.errors import ConfigError
from credits_core.stripe_shapes import CheckoutOptions
from tests.stripe.conftest import web
from tests.stripe.test_buying import Shop, shop

__all__ = ["shop"]
TERMS = "https://shop.test/terms"


def bought(shop: Shop, **what: Any) -> dict[str, Any]:
    purchase = shop.buy(**what)
    shop.pay(purchase)
    credited = shop.look(purchase)
    assert credited["status"] == "credited"
    return credited


def session_of(shop: Shop, purchase: dict[str, Any]) -> dict[str, Any]:
    session = shop.simulator.store.get("checkout.session", purchase["session_id"])
    assert session is not None
    return session


def test_without_settings_nothing_is_collected(shop: Shop) -> None:
    credited = bought(shop)
    session = session_of(shop, credited)
    assert (session["invoice_creation"], session["consent_collection"], session["customer"]) == (
        None,
        None,
        None,
    )
    assert credited["receipt_url"] and not credited["invoice_url"] and not credited["terms_accepted_at"]


def test_each_payment_has_its_invoice_and_the_portal_lists_one_customers(shop: Shop) -> None:
    """A6, A7: the invoice is paid, belongs to the account's one customer, and its page opens."""
    shop.stripe.options = CheckoutOptions(invoices=True)
    first, second = bought(shop), bought(shop, package="usd_5")
    invoices = [
        shop.simulator.store.get("invoice", session_of(shop, each)["invoice"]) for each in (first, second)
    ]
    assert [(found["status"], found["total"]) for found in invoices if found] == [
        ("paid", 1000),
        ("paid", 500),
    ]
    assert len({session_of(shop, each)["customer"] for each in (first, second)}) == 1
    assert first["invoice_url"] != second["invoice_url"]
    page = web.get(first["invoice_url"])
    assert page.status_code == 200 and "$10.00" in page.text and "paid" in page.text
    assert len(shop.events("invoice.paid")) == 2
    shop.look(first)
    assert len(shop.simulator.store.find("invoice", {})) == 2, "looking again makes none"


def test_tax_is_kept_with_the_purchase_and_on_the_invoice(shop: Shop) -> None:
    """A6: 19 % on top: the price stays ours, the tax is told apart."""
    shop.control("tax", basis_points=1900, inclusive=False)
    shop.stripe.options = CheckoutOptions(invoices=True, automatic_tax=True)
    credited = bought(shop)
    assert (credited["price_cents"], credited["tax_cents"], credited["paid_cents"]) == (1000, 190, 1190)
    (invoice,) = shop.simulator.store.find("invoice", {})
    assert (invoice["subtotal"], invoice["total"], invoice["total_taxes"][0]["amount"]) == (1000, 1190, 190)


def test_terms_must_be_accepted_and_are_remembered(shop: Shop) -> None:
    """A6: which terms, and when; a purchase that is not paid has none."""
    shop.stripe.options = CheckoutOptions(terms_url=TERMS)
    waiting = shop.buy()
    session = session_of(shop, waiting)
    assert session["consent_collection"]["terms_of_service"] == "required"
    assert TERMS in session["custom_text"]["terms_of_service_acceptance"]["message"]
    assert shop.look(waiting)["terms_accepted_at"] is None
    credited = bought(shop)
    assert credited["terms_url"] == TERMS and credited["terms_accepted_at"]
    assert shop.look(credited)["terms_accepted_at"] == credited["terms_accepted_at"]


def test_a_wrong_address_of_the_terms_is_told_at_start() -> None:
    with pytest.raises(ConfigError, match="TERMS_URL"):
        Settings.from_env({"TERMS_URL": "our terms"})
    settings = Settings.from_env({"TERMS_URL": TERMS, "STRIPE_INVOICES": "1", "STRIPE_TAX": "1"})
    assert (settings.terms_url, settings.stripe_invoices, settings.stripe_tax) == (TERMS, True, True)
