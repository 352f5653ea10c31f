"""Pages of the account holder: data, filters, empty states, errors (G1, G4, G5, A1)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import plotly.graph_objects as go
import pytest
from streamlit.testing.v1 import AppTest

from credits_core import fulfillment
from credits_core.db.port import Identity
from credits_core.db.psycopg_transport import PsycopgDatabase
from credits_core.errors import DatabaseUnavailable
from pages.common import charts

from .conftest import Browser, texts


@pytest.fixture
def holder(
    browser: Browser,
    make_user: Callable[..., Identity],
    buy: Callable[..., dict[str, Any]],
    database: PsycopgDatabase,
) -> Identity:
    """A signed-in person who bought 20 credits and made three calls: of 90 s, of 30 s, and one nobody answered."""
    person = make_user(name="Dana")
    buy(person, "usd_20")
    now = dt.datetime.now(dt.UTC)
    for number, (minutes, seconds) in enumerate(((30, 90), (20, 30), (10, 0))):
        begin = now - dt.timedelta(minutes=minutes)
        database.call(
            "start_call",
            person,
            operation="call",
            idempotency_key=f"call-{number}",
            started_at=begin,
            ended_at=begin + dt.timedelta(seconds=seconds),
            to=f"+4420794600{number}",
            reason="hangup",
        )
    browser.sign_in(person)
    return person


def metrics(tab: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in tab.metric}


def column(tab: AppTest, name: str, table: int = 0) -> list[Any]:
    return list(tab.dataframe[table].value[name])


def test_the_overview_shows_balance_spend_and_recent_rows(browser: Browser, holder: Identity) -> None:
    tab = browser.open("account/overview.py")
    assert not tab.exception
    shown = metrics(tab)
    assert shown["Available credits"] == "19.55"
    assert shown["Spent this month"] == "0.45"
    assert shown["Calls this month"] == "3"
    assert shown["Avg. cost per call"] == "0.15"
    assert shown["Credits last"] == "43 days"
    assert column(tab, "To") == ["+44207946002", "+44207946001", "+44207946000"]
    assert column(tab, "Paid", table=1) == ["$20.00"]
    assert "19.55" in "".join(str(html.body) for html in tab.sidebar.get("html") or tab.html)


def test_a_new_account_is_told_what_to_do(browser: Browser, make_user: Callable[..., Identity]) -> None:
    browser.sign_in(make_user())
    tab = browser.open("account/overview.py")
    assert "Buy your first credits" in tab.info[0].value
    for words in ("Nothing spent in these days", "No purchases yet", "No calls yet"):
        assert words in texts(tab)
    for file, words in (
        ("account/transactions.py", "No transactions match"),
        ("account/calls.py", "No calls match"),
        ("account/checkout_return.py", "No purchase to show"),
    ):
        assert words in texts(browser.open(file))


def test_the_banner_warns_before_credits_run_out(
    browser: Browser,
    make_user: Callable[..., Identity],
    account_of: Callable[..., int],
    service: Callable[..., Any],
    database: PsycopgDatabase,
) -> None:
    person = make_user()
    service(
        "adjust",
        account_id=account_of(person),
        amount_micros=600_000,
        reason="Start",
        idempotency_key="start",
    )
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    database.call(
        "use", person, operation="call", quantity=120, idempotency_key="call", occurred_at=yesterday
    )
    browser.sign_in(person)
    tab = browser.open("account/overview.py")
    assert "cover about 1 day" in tab.warning[0].value
    assert any(link.label == "Buy credits" for link in tab.page_link)


def test_daily_spend_follows_the_chosen_days_and_the_zone(
    browser: Browser, holder: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[str]] = []
    monkeypatch.setattr(charts, "stacked_days", lambda days, *_, **__: drawn.append(days) or go.Figure())
    tab = browser.open("account/overview.py", zone="Pacific/Kiritimati")
    assert len(drawn[-1]) == 30
    tab.segmented_control(key="days").set_value("7d").run()
    today = dt.datetime.now(ZoneInfo("Pacific/Kiritimati")).date()
    assert drawn[-1] == [(today - dt.timedelta(days=ago)).isoformat() for ago in range(6, -1, -1)]
    assert "+14" in texts(tab)


def test_packages_show_what_is_paid_and_received(browser: Browser, holder: Identity) -> None:
    tab = browser.open("account/buy.py")
    page = texts(tab)
    forms = [html.body for html in tab.html if 'action="/auth/checkout"' in html.body]
    assert [
        code in form
        for code, form in zip(("usd_5", "usd_10", "usd_20", "usd_50", "usd_100"), forms, strict=True)
    ] == [True] * 5
    assert "Buy for $20.00" in forms[2]
    assert 'method="post"' in forms[2]
    assert "<dt>Per credit</dt><dd>$1.00</dd>" in page
    keys = {form.split('name="idempotency_key" value="')[1].split('"')[0] for form in forms}
    assert len(keys) == 5


def test_bonus_and_popular_mark(browser: Browser, holder: Identity, service: Callable[..., Any]) -> None:
    from credits_core import catalog

    service("load_catalog", catalog=catalog.read("recruitment"))
    page = texts(browser.open("account/buy.py"))
    assert "<dt>Bonus</dt><dd>+50.00</dd>" in page
    assert "Popular" in page
    assert "$0.081818" in page


def test_a_custom_amount_is_quoted_by_the_database(browser: Browser, holder: Identity) -> None:
    tab = browser.open("account/buy.py")
    tab.number_input(key="amount").set_value(25).run()
    assert "<dt>You get</dt><dd>25.00 credits</dd>" in texts(tab)
    assert any('name="amount_cents" value="2500"' in html.body for html in tab.html)


def test_transactions_filter_by_the_url(browser: Browser, holder: Identity) -> None:
    everything = browser.open("account/transactions.py")
    assert column(everything, "Kind") == [["Use"], ["Use"], ["Use"], ["Purchase"]]
    assert column(everything, "Amount") == [0.0, -0.15, -0.3, 20.0]
    only = browser.open("account/transactions.py", kind="Purchase")
    assert column(only, "What") == ["$20 package"]
    found = browser.open("account/transactions.py", q="package")
    assert column(found, "Kind") == [["Purchase"]]
    long_ago = browser.open("account/transactions.py", period="Custom", dates="2020-01-01")
    assert "No transactions match" in texts(long_ago)


def test_transactions_are_paged_by_key(browser: Browser, holder: Identity, database: PsycopgDatabase) -> None:
    for number in range(30):
        database.call("use", holder, operation="call", quantity=1, idempotency_key=f"many-{number}")
    tab = browser.open("account/transactions.py")
    first = column(tab, "Number")
    assert len(first) == 25
    tab.button(key="transactions_older").click().run()
    assert tab.query_params["after"] == first[-1].split("-")[1]
    second = column(tab, "Number")
    assert len(second) == 34 - 25
    assert not set(first) & set(second)
    assert tab.button(key="transactions_older").disabled
    tab.button(key="transactions_newer").click().run()
    assert column(tab, "Number") == first


def test_a_selected_transaction_is_explained(browser: Browser, holder: Identity) -> None:
    from pages.common.explain import table_key

    tab = browser.open("account/transactions.py", period="All time")
    number = column(tab, "Number")[2]
    no_filter = {"kind": None, "search": None, "from_": None, "to": None}
    key = table_key(f"transactions_None_{no_filter}")
    tab.session_state[key] = {"selection": {"rows": [2], "columns": [], "cells": []}}
    tab.run()
    page = texts(tab)
    assert f"<dt>Number</dt><dd>{number}</dd>" in page
    assert "<dt>Measured</dt><dd>01:30</dd><dt>Billed</dt><dd>02:00</dd>" in page
    assert "0.15 per minute" in page
    assert column(tab, "Credits", table=1)[0].startswith("Purchase, paid")


def test_calls_filter_by_number_and_status(browser: Browser, holder: Identity) -> None:
    tab = browser.open("account/calls.py")
    assert column(tab, "Billed") == ["00:00", "01:00", "02:00"]
    assert column(tab, "Cost") == [0.0, 0.15, 0.3]
    assert column(browser.open("account/calls.py", number="46001"), "To") == ["+44207946001"]
    assert "No calls match" in texts(browser.open("account/calls.py", status="Failed"))


def test_a_phone_gets_the_columns_that_fit(browser: Browser, holder: Identity) -> None:
    browser.use_a_phone()
    assert list(browser.open("account/calls.py").dataframe[0].value) == ["Started", "To", "Billed", "Cost"]


def test_the_menu_of_files_has_the_filters_of_the_page(browser: Browser, holder: Identity) -> None:
    """G7: the whole of what is shown, whatever page of it: filters and days travel to the file, times are the viewer's."""
    tab = browser.open(
        "account/transactions.py", zone="Asia/Kolkata", kind="Use", q="call & more", period="All time"
    )
    shown = texts(tab)
    for format in ("csv", "xlsx", "parquet"):
        assert (
            f'href="/auth/export/transactions?format={format}&amp;time_zone=Asia%2FKolkata&amp;kind=use'
            '&amp;search=call+%26+more"' in shown
        )
    days = texts(browser.open("account/calls.py", period="7 days", number='4"><script>'))
    assert "&amp;from=20" in days and "&amp;to=20" in days and "&amp;number=4%22%3E%3Cscript%3E" in days


def test_the_return_page_credits_and_shows_the_new_balance(
    browser: Browser, holder: Identity, buy: Callable[..., dict[str, Any]]
) -> None:
    purchase = buy(holder, "usd_10")
    tab = browser.open("account/checkout_return.py", session_id=purchase["session_id"])
    assert "Payment received." in tab.success[0].value
    assert "<dt>New balance</dt><dd>29.55 credits</dd>" in texts(tab)


def test_the_sidebar_has_the_new_balance_also_when_a_webhook_came_in_between(
    browser: Browser, holder: Identity, buy: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    bought: list[dict[str, Any]] = []

    def credited_by_another(*_: object) -> dict[str, Any]:
        if not bought:  # after the sidebar was drawn
            bought.append({**buy(holder, "usd_10"), "newly_credited": False})
        return bought[0]

    monkeypatch.setattr(fulfillment, "fulfill", credited_by_another)
    tab = browser.open("account/checkout_return.py", session_id="cs_test_1")
    assert "<span>Available</span><b>29.55</b>" in texts(tab)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("processing", "being confirmed"),
        ("open", "Not paid yet"),
        ("expired", "has expired"),
        ("failed", "did not go through"),
        ("review", "being checked"),
    ],
)
def test_the_return_page_says_where_a_purchase_stands(
    browser: Browser,
    holder: Identity,
    buy: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    status: str,
    words: str,
) -> None:
    purchase = {**buy(holder, "usd_10"), "status": status, "newly_credited": False, "credited_at": None}
    monkeypatch.setattr(fulfillment, "fulfill", lambda *_: purchase)
    tab = browser.open("account/checkout_return.py", session_id="cs_test_1")
    assert not tab.exception
    assert words in texts(tab)


@pytest.mark.parametrize("session_id", ["{CHECKOUT_SESSION_ID}", ""])
def test_a_return_without_a_session_leads_to_buying(
    browser: Browser, holder: Identity, session_id: str
) -> None:
    tab = browser.open("account/checkout_return.py", session_id=session_id)
    assert "No purchase to show" in texts(tab)
    assert any(link.label == "Buy credits" for link in tab.page_link)


def test_somebody_elses_session_is_a_sentence(
    browser: Browser, holder: Identity, make_user: Callable[..., Identity], buy: Callable[..., dict[str, Any]]
) -> None:
    other = buy(make_user(), "usd_10")
    tab = browser.open("account/checkout_return.py", session_id=other["session_id"])
    assert [error.value for error in tab.error] == [
        "No purchase of yours belongs to this session; start again from the buy page."
    ]
    assert not tab.exception


def test_a_database_that_does_not_answer_is_a_sentence(
    browser: Browser, holder: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("The database does not answer; try again in a moment.")

    monkeypatch.setattr(fulfillment, "fulfill", silent)
    from credits_core import ledger

    monkeypatch.setattr(ledger, "transactions", silent)
    tab = browser.open("account/transactions.py")
    assert "The database does not answer; try again in a moment." in [error.value for error in tab.error]
    assert not tab.exception
