"""The page of monthly statements (A6): figures that add up, what was paid, months of the URL, quiet months."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from credits_core.db.port import SERVICE, Identity
from credits_core.db.psycopg_transport import PsycopgDatabase

from .conftest import Browser, texts

PAGE = "account/statements.py"


@pytest.fixture
def holder(
    browser: Browser,
    database: PsycopgDatabase,
    make_user: Callable[..., Identity],
    buy: Callable[..., dict[str, Any]],
) -> Identity:
    """Somebody who bought $10 and used two minutes."""
    person = make_user(name="Zoë علي 🦊")
    buy(person, "usd_10")
    database.call("use", person, operation="call", quantity=120, idempotency_key="u")
    browser.sign_in(person)
    return person


def figures(tab: Any) -> dict[str, str]:
    return {metric.label: metric.value for metric in tab.metric}


def test_the_month_adds_up_and_tells_what_was_paid(browser: Browser, holder: Identity) -> None:
    tab = browser.open(PAGE)
    assert not tab.exception
    assert figures(tab) == {
        "Opening balance": "0.00", "Came in": "+10.00", "Went out": "-0.30", "Closing balance": "9.70",
    }  # fmt: skip
    movements, purchases = (frame.value for frame in tab.dataframe)
    assert movements["Movement"].tolist() == ["Bought", "Used: Call"]
    assert movements["Credits"].tolist() == [10.0, -0.3]
    assert purchases["Paid"].tolist() == ["$10.00"]
    assert "Discount" not in purchases and "Invoice" not in purchases, "nothing to tell"
    shown = texts(tab)
    assert "<dt>Paid in USD</dt><dd>$10.00</dd>" in shown
    month = tab.selectbox[0].value
    assert f'href="/auth/statement.pdf?month={month}"' in shown
    assert f"/auth/export/statement?format=xlsx&amp;time_zone=UTC&amp;month={month}" in shown
    assert 'action="/auth/portal"' in shown and "is not over" in shown


def test_discount_tax_and_invoice_are_shown_when_there_are_some(
    browser: Browser, holder: Identity, database: PsycopgDatabase
) -> None:
    purchase = database.call(
        "create_purchase", holder, package="usd_5", livemode=False, idempotency_key="taxed"
    )
    database.call("open_purchase", SERVICE, purchase_id=purchase["purchase_id"], session_id="cs_taxed")
    database.call(
        "fulfill_purchase",
        SERVICE,
        session={
            "session_id": "cs_taxed", "status": "complete", "payment_status": "paid", "mode": "payment",
            "livemode": False, "currency": "usd", "amount_subtotal": 500, "amount_total": 495, "amount_tax": 45,
            "amount_discount": 50, "invoice_url": "https://pay.example.test/in_1",
        },
    )  # fmt: skip
    tab = browser.open(PAGE)
    purchases = tab.dataframe[1].value
    assert purchases[["Price", "Discount", "Tax", "Paid"]].values.tolist()[1] == [
        "$5.00",
        "$0.50",
        "$0.45",
        "$4.95",
    ]
    assert purchases["Invoice"].tolist()[1] == "https://pay.example.test/in_1"
    assert "<dt>Discount</dt><dd>-$0.50</dd>" in texts(tab) and "<dd>$14.95</dd>" in texts(tab)
    returned = texts(browser.open("account/checkout_return.py", session_id="cs_taxed"))
    for words in (
        "<dt>Price</dt><dd>$5.00",
        "<dt>Discount</dt><dd>-$0.50",
        "<dt>Tax</dt><dd>$0.45",
        "<dt>Paid</dt><dd>$4.95",
    ):
        assert words in returned


def test_months_are_those_of_the_accounts_clock(
    browser: Browser, holder: Identity, database: PsycopgDatabase
) -> None:
    database.call("set_account_settings", holder, time_zone="Pacific/Kiritimati")
    assert "Pacific/Kiritimati" in texts(browser.open(PAGE, zone="America/New_York"))


def test_a_new_account_has_a_quiet_month(browser: Browser, make_user: Callable[..., Identity]) -> None:
    browser.sign_in(make_user())
    tab = browser.open(PAGE)
    assert "Nothing happened in this month" in texts(tab) and "Nothing was paid" in texts(tab)
    assert not tab.dataframe and not tab.exception


@pytest.mark.parametrize("month", ["1999-01", "2199-01", "x", "'; drop"])
def test_a_wrong_month_in_the_address_shows_the_newest(
    browser: Browser, holder: Identity, month: str
) -> None:
    tab = browser.open(PAGE, month=month)
    assert not tab.exception and figures(tab)["Closing balance"] == "9.70"


def test_a_phone_gets_the_columns_that_fit(browser: Browser, holder: Identity) -> None:
    browser.use_a_phone()
    assert list(browser.open(PAGE).dataframe[1].value) == ["Date", "Purchase", "Paid"]


def test_a_month_with_more_purchases_than_a_table_holds_says_where_they_all_are(
    browser: Browser, holder: Identity, owner_sql: Callable[..., Any]
) -> None:
    """G7: 500 are shown, the files have 600."""
    owner_sql(
        "insert into credits.purchases select (jsonb_populate_record(p, jsonb_build_object('id', gen_random_uuid(),"
        " 'idempotency_key', n, 'session_id', 'cs_' || n, 'payment_intent_id', 'pi_' || n))).*"
        " from credits.purchases as p, generate_series(2, 600) as n"
    )
    tab = browser.open(PAGE)
    assert not tab.exception
    assert len(tab.dataframe[1].value) == 500
    assert "The first 500 of 600; the files hold all of them" in texts(tab)
