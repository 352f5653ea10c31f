"""Revenue and margins as finance sees them (C5, H6): the figures of what was bought and used, empty states, who may set costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from credits_core.db.port import SERVICE, Identity
from credits_core.db.psycopg_transport import PsycopgDatabase

from .conftest import Browser, texts


@pytest.fixture
def customer(
    make_user: Callable[..., Identity], buy: Callable[..., dict[str, Any]], database: PsycopgDatabase
) -> Identity:
    """Somebody who bought 10 and 20 credits, left a page unpaid, and used 3 minutes (0.45) just now."""
    person = make_user("dana@example.test", name="Dana")
    buy(person, "usd_10")
    buy(person, "usd_20")
    buy(person, "usd_50", paid=False)
    database.call("use", person, operation="call", quantity=180, idempotency_key="call")
    return person


def test_revenue_shows_the_month(
    browser: Browser, make_user: Callable[..., Identity], customer: Identity
) -> None:
    browser.sign_in(make_user(role="finance"))
    tab = browser.open("finance/revenue.py")
    assert not tab.exception
    shown = {metric.label.partition(" in ")[0]: metric.value for metric in tab.metric}
    assert shown == {
        "Net sales": "$30.00", "Sales": "$30.00", "Returned": "$0.00", "Paying accounts": "1", "Per paying account": "$30.00",
    }  # fmt: skip
    tables = {next(iter(table.value.columns)): table.value for table in tab.dataframe}
    assert list(tables["Month"]["Net"]) == ["$30.00"]
    assert dict(zip(tables["Package"]["Package"], tables["Package"]["Paid"], strict=True)) == {
        "$10 package": 1, "$20 package": 1, "$50 package": 0,
    }  # fmt: skip
    assert "66.7%" in texts(tab)
    assert "No subscriptions yet" in texts(tab)
    assert "No failures" in texts(tab)


def test_before_the_first_sale_it_says_what_starts_the_figures(
    browser: Browser, make_user: Callable[..., Identity]
) -> None:
    browser.sign_in(make_user(role="finance"))
    tab = browser.open("finance/revenue.py")
    assert not tab.exception
    assert "Nothing sold yet" in texts(tab)
    assert "No purchases begun in these days" in texts(tab)
    tab = browser.open("finance/margins.py")
    assert not tab.exception
    assert "Nothing used in these days" in texts(tab)


def test_a_cost_gives_operations_a_margin(
    browser: Browser, make_user: Callable[..., Identity], customer: Identity, database: PsycopgDatabase
) -> None:
    """0.45 credits at $1 earn 45 cents; 180 seconds at 1.4 cents a minute cost 4.2."""
    browser.sign_in(make_user(role="admin"))
    tab = browser.open("finance/margins.py")
    assert {metric.label: metric.value for metric in tab.metric}["Margin in per cent"] == "–"
    tab.text_input[0].set_value("not a number")
    tab.button(key="FormSubmitter:provider_cost-Set from now on").click().run()
    assert "as numbers" in texts(tab)
    tab.text_input[0].set_value("-1")
    tab.button(key="FormSubmitter:provider_cost-Set from now on").click().run()
    assert "below 0" in texts(tab)
    database.call(
        "set_provider_cost", SERVICE, operation="call", cost_cents="1.4", unit_size=60,
        effective_from="2026-01-01T00:00:00Z",
    )  # fmt: skip
    tab = browser.open("finance/margins.py")
    assert not tab.exception
    (row,) = tab.dataframe[0].value.to_dict("records")
    assert row == {
        "Operation": "Call", "Uses": 1, "Credits": 0.45, "Earned": "$0.45", "Cost": "$0.04", "Margin": "$0.41", "Share": "90.7%",
    }  # fmt: skip


def test_finance_sees_margins_but_sets_no_costs(
    browser: Browser, make_user: Callable[..., Identity], customer: Identity
) -> None:
    browser.sign_in(make_user(role="finance"))
    tab = browser.open("finance/margins.py")
    assert "Set a provider cost" not in [button.label for button in tab.button]
