"""Finance overview and the administration of accounts (G2, G3, H1, I1)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from credits_core.db.port import SERVICE, Identity
from credits_core.db.psycopg_transport import PsycopgDatabase

from .conftest import Browser, texts

KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def customer(
    make_user: Callable[..., Identity], buy: Callable[..., dict[str, Any]], database: PsycopgDatabase
) -> Identity:
    """Somebody who bought 10 and 20 credits and used 0.45 yesterday."""
    person = make_user("dana@example.test", name="Dana")
    buy(person, "usd_10")
    buy(person, "usd_20")
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    database.call(
        "use", person, operation="call", quantity=180, idempotency_key="call", occurred_at=yesterday
    )
    return person


def metrics(tab: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in tab.metric}


def balance(database: PsycopgDatabase, account_id: int) -> int:
    available: int = database.call("balance", SERVICE, account_id=account_id)["available_micros"]
    return available


def test_finance_sees_sales_and_usage(
    browser: Browser, make_user: Callable[..., Identity], customer: Identity
) -> None:
    browser.sign_in(make_user(role="finance"))
    tab = browser.open("finance/finance.py")
    assert not tab.exception
    shown = metrics(tab)
    assert shown["Sales in USD"] == "$30.00"
    assert shown["Purchases"] == "2"
    assert shown["Average purchase"] == "$15.00"
    assert shown["Credits used"] == "0.45"
    packages, operations, users = (table.value for table in tab.dataframe)
    assert list(packages["Package"]) == ["$20 package", "$10 package"]
    assert list(packages["Sales"]) == ["$20.00", "$10.00"]
    assert list(operations["Credits"]) == [0.45]
    assert list(users["Account"]) == ["Dana"]


def test_finance_without_figures_says_what_to_do(
    browser: Browser, make_user: Callable[..., Identity], customer: Identity
) -> None:
    browser.sign_in(make_user(role="finance"))
    tab = browser.start()
    tab.segmented_control(key="period").set_value("custom").run()
    tab.date_input(key="dates").set_value((dt.date(2020, 1, 1), dt.date(2020, 1, 31))).run()
    assert not tab.exception
    for words in (
        "Nothing sold in these days",
        "Nothing used in these days",
        "Nobody used anything in these days",
    ):
        assert words in texts(tab)


def test_accounts_are_found_and_listed(
    browser: Browser, make_user: Callable[..., Identity], customer: Identity
) -> None:
    browser.sign_in(make_user(role="admin"))
    tab = browser.open("admin/accounts.py")
    assert "dana@example.test" in list(tab.dataframe[0].value["E-mail"])
    tab.text_input(key="q").set_value("DANA").run()
    assert list(tab.dataframe[0].value["Available"]) == [29.55]
    tab.text_input(key="q").set_value("nobody at all").run()
    assert "No account matches" in texts(tab)


@pytest.mark.parametrize(
    ("part", "label", "value"),
    [("Transactions", "Kind", ["Use"]), ("Grants", "Source", "Purchase"), ("Purchases", "Paid", "$20.00")],
)
def test_everything_about_one_account(
    browser: Browser,
    make_user: Callable[..., Identity],
    customer: Identity,
    account_of: Callable[..., int],
    part: str,
    label: str,
    value: Any,
) -> None:
    browser.sign_in(make_user(role="admin"))
    tab = browser.open("admin/accounts.py", account=str(account_of(customer)), part=part)
    assert not tab.exception
    assert metrics(tab) == {
        "Available": "29.55",
        "Held": "0.00",
        "Debt": "0.00",
        "Bought in all": "30.00",
        "Used in all": "0.45",
    }
    assert tab.dataframe[0].value[label].iloc[0] == value


def test_an_unknown_account_is_a_sentence(browser: Browser, make_user: Callable[..., Identity]) -> None:
    browser.sign_in(make_user(role="admin"))
    tab = browser.open("admin/accounts.py", account="nobody@example.test")
    assert "There is no account" in tab.error[0].value
    assert not tab.exception


@pytest.fixture
def dialog(
    browser: Browser, make_user: Callable[..., Identity], customer: Identity, account_of: Callable[..., int]
) -> AppTest:
    """The dialog in which an administrator adjusts the customer's credits."""
    browser.sign_in(make_user(role="admin"))
    return browser.open("admin/accounts.py", account=str(account_of(customer)), adjust=KEY)


def test_an_adjustment_is_previewed_confirmed_and_booked_once(
    browser: Browser,
    dialog: AppTest,
    database: PsycopgDatabase,
    customer: Identity,
    account_of: Callable[..., int],
) -> None:
    account = account_of(customer)
    dialog.text_input(key="adjust_amount").set_value("12.5").run()
    assert "<dt>Available afterwards</dt><dd>42.05</dd>" in texts(dialog)
    assert dialog.button(key="adjust_confirm").disabled  # no reason yet
    dialog.text_input(key="adjust_reason").set_value("Goodwill").run()
    dialog.button(key="adjust_confirm").click().run()
    assert balance(database, account) == 42_050_000
    assert "adjust" not in dialog.query_params
    assert [toast.value for toast in dialog.toast] == ["+12.50 credits for Dana\\: 42.05 available."]
    # A restarted server forgets the session but gets the click again: the address still holds the same key.
    again = browser.open("admin/accounts.py", account=str(account), adjust=KEY)
    again.text_input(key="adjust_amount").set_value("12.5").run()
    again.text_input(key="adjust_reason").set_value("Goodwill").run()
    again.button(key="adjust_confirm").click().run()
    assert balance(database, account) == 42_050_000


def test_removing_more_than_there_is_cannot_be_confirmed(dialog: AppTest) -> None:
    dialog.segmented_control(key="adjust_direction").set_value("remove").run()
    dialog.text_input(key="adjust_amount").set_value("1000").run()
    dialog.text_input(key="adjust_reason").set_value("Correction").run()
    assert dialog.button(key="adjust_confirm").disabled
    assert "fewer credits" in dialog.error[0].value


@pytest.mark.parametrize("amount", ["abc", "0", "1e30", "0.0000001", "nan"])
def test_an_amount_that_is_none_gets_a_sentence(
    dialog: AppTest,
    database: PsycopgDatabase,
    customer: Identity,
    account_of: Callable[..., int],
    amount: str,
) -> None:
    dialog.text_input(key="adjust_amount").set_value(amount).run()
    assert dialog.error[0].value
    assert not dialog.exception
    assert balance(database, account_of(customer)) == 29_550_000


def test_a_made_up_key_opens_no_dialog(
    browser: Browser, make_user: Callable[..., Identity], customer: Identity, account_of: Callable[..., int]
) -> None:
    browser.sign_in(make_user(role="admin"))
    tab = browser.open("admin/accounts.py", account=str(account_of(customer)), adjust="anything")
    assert not [field for field in tab.text_input if field.key == "adjust_amount"]
