"""Usage, limits, API keys, the forecast and alerts as their owner sees them (G1, G6, E2, E3, J3)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest

from credits_core import api_keys
from credits_core.db.port import Identity
from credits_core.db.psycopg_transport import PsycopgDatabase

from .conftest import Browser, texts

KEYS, USAGE = "account/api_keys.py", "account/usage.py"
REQUEST = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def holder(
    browser: Browser, make_user: Callable[..., Identity], buy: Callable[..., Any], database: PsycopgDatabase
) -> Identity:
    """Somebody signed in who bought 20 credits and used 0.45 today and 0.15 forty days ago."""
    person = make_user()
    buy(person, "usd_20")
    now = dt.datetime.now(dt.UTC)
    for key, seconds, ago in (("a", 90, 0), ("b", 30, 0), ("c", 60, 40)):
        at = now - dt.timedelta(days=ago, seconds=1)
        database.call("use", person, operation="call", quantity=seconds, idempotency_key=key, occurred_at=at)
    browser.sign_in(person)
    return person


def test_usage_shows_the_period_and_the_one_before(browser: Browser, holder: Identity) -> None:
    tab = browser.open(USAGE)
    assert not tab.exception
    shown = {metric.label: (metric.value, metric.delta) for metric in tab.metric}
    assert shown["Credits used"] == ("0.45", "+200.0%")
    assert shown["Uses"][0] == "2"
    assert list(tab.dataframe[0].value["Quantity"]) == ["02:00"]
    assert list(tab.dataframe[1].value["Credits"]) == [0.45, 0.0]
    assert list(tab.dataframe[1].value["Before"]) == [0.0, 0.15]
    assert "0.45 in all" in texts(tab)


@pytest.mark.parametrize("unit", ["Day", "Week", "Month"])
def test_usage_by_any_unit_is_the_same_in_all(browser: Browser, holder: Identity, unit: str) -> None:
    """H1"""
    tab = browser.open(USAGE, unit=unit, period="90 days")
    assert round(sum(tab.dataframe[1].value["Credits"]), 6) == 0.6
    assert {metric.label: metric.value for metric in tab.metric}["Credits used"] == "0.60"


def test_the_file_of_usage_is_cut_as_the_page_is(browser: Browser, holder: Identity) -> None:
    """G7: unit, operation and days of the page, in every format."""
    shown = texts(browser.open(USAGE, unit="Week", operation="Call", zone="Asia/Kolkata"))
    for format in ("csv", "xlsx", "parquet"):
        assert f"/auth/export/usage_report?format={format}&amp;time_zone=Asia%2FKolkata&amp;from=20" in shown
    assert "&amp;unit=week&amp;operation=call" in shown


def test_usage_of_days_without_use_says_what_to_do(browser: Browser, holder: Identity) -> None:
    tab = browser.open(USAGE, period="Custom", dates="2020-01-01")
    assert "Nothing used in these days" in texts(tab)


def test_caps_are_set_shown_and_taken_away(
    browser: Browser, holder: Identity, database: PsycopgDatabase
) -> None:
    """E2, E3: what was spent counts at once; 0.45 of 0.50 is a warning; an empty field is no cap."""
    tab = browser.open(USAGE)
    assert "No limits" in texts(tab)
    tab.button(key="set_caps").click().run()
    tab.text_input(key="cap_month_account").set_value("lots").run()
    tab.button(key="caps_save").click().run()
    assert tab.error
    assert not database.call("limits", holder)["caps"]
    tab.text_input(key="cap_month_account").set_value("0.70").run()
    tab.button(key="caps_save").click().run()
    (cap,) = database.call("limits", holder)["caps"]
    assert (cap["period"], cap["cap_micros"]) == ("month", 700_000)
    page = texts(tab)
    assert "of 0.70" in page
    assert 'role="progressbar"' in page
    database.call("set_cap", holder, period="month", cap_micros=500_000)
    assert "pc-warning" in texts(browser.open(USAGE))
    database.call("set_cap", holder, period="month", cap_micros=450_000)
    assert "Used up" in texts(browser.open("account/overview.py"))
    tab = browser.open(USAGE)
    tab.button(key="set_caps").click().run()
    tab.text_input(key="cap_month_account").set_value("").run()
    tab.button(key="caps_save").click().run()
    assert not database.call("limits", holder)["caps"]


def test_without_keys_there_is_a_first_request(browser: Browser, holder: Identity) -> None:
    tab = browser.open(KEYS)
    assert "No API keys yet" in texts(tab)
    assert "/api/credits/balance" in tab.code[0].value


def test_a_key_is_shown_once_and_works(browser: Browser, holder: Identity, database: PsycopgDatabase) -> None:
    """J3"""
    tab = browser.open(KEYS, new=REQUEST)
    assert tab.button(key="key_make").disabled
    tab.text_input(key="key_name").set_value("Phone system").run()
    tab.checkbox(key="scope_use").check().run()
    tab.text_input(key="key_cap_day").set_value("a lot").run()
    tab.button(key="key_make").click().run()
    assert tab.error
    assert not database.call("api_keys", holder)["items"]
    tab.text_input(key="key_cap_day").set_value("2.50").run()
    tab.button(key="key_make").click().run()
    key = next(code.value for code in tab.code if code.value.startswith("ck_test_"))
    assert key in tab.code[-1].value or any(key in code.value and "curl" in code.value for code in tab.code)
    claims = api_keys.authenticate(database, key)
    assert claims is not None
    assert claims["scopes"] == ["read", "use"]
    again = browser.open(KEYS)
    assert key not in "".join(code.value for code in again.code) + texts(again)
    assert list(again.dataframe[0].value["Name"]) == ["Phone system"]
    assert list(again.dataframe[0].value["Cap"]) == ["2.50 a day"]


def test_the_same_request_again_makes_no_second_key(
    browser: Browser, holder: Identity, database: PsycopgDatabase
) -> None:
    """B6, J3: after a lost answer or a reload: one key, and it says that it was shown."""
    for _ in range(2):
        tab = browser.open(KEYS, new=REQUEST)
        tab.text_input(key="key_name").set_value("Twice").run()
        tab.button(key="key_make").click().run()
    assert "shown already" in texts(tab)
    assert len(database.call("api_keys", holder)["items"]) == 1


def test_only_administrators_are_offered_the_scope_admin(
    browser: Browser, holder: Identity, make_user: Callable[..., Identity]
) -> None:
    """I4"""
    assert not [box for box in browser.open(KEYS, new=REQUEST).checkbox if "admin" in box.label]
    browser.sign_in(make_user(role="admin"))
    assert [box for box in browser.open(KEYS, new=REQUEST).checkbox if "admin" in box.label]


def test_revoking_asks_first(browser: Browser, holder: Identity, database: PsycopgDatabase) -> None:
    made = api_keys.create_api_key(database, holder, "Old program", ["read"], livemode=False)
    tab = browser.open(KEYS)
    tab.session_state["keys_0"] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    tab.run()
    tab.button(key="revoke").click().run()
    assert api_keys.authenticate(database, made["key"]) is not None
    tab.button(key="revoke_confirm").click().run()
    assert api_keys.authenticate(database, made["key"]) is None
    assert list(tab.dataframe[0].value["Status"]) == [["Revoked"]]


def test_a_german_reads_german_numbers(browser: Browser, holder: Identity) -> None:
    """G4: money, credits and tables; the browser writes the cells in its own language."""
    tab = browser.open("account/buy.py", locale="de-DE")
    assert "Buy for 20,00\xa0$" in "".join(html.body for html in tab.html)
    tab = browser.open(USAGE, locale="de-DE")
    assert {metric.label: metric.value for metric in tab.metric}["Credits used"] == "0,45"


def test_the_overview_has_a_date_with_a_range_and_the_record(browser: Browser, holder: Identity) -> None:
    """G6"""
    tab = browser.open("account/overview.py")
    assert not tab.exception
    assert "How long it lasts" in texts(tab)
    assert "days of use" in texts(tab)
    tab.button(key="forecast_check").click().run()
    assert not tab.exception
    assert "holds 8 times in 10" in texts(tab)


def test_alerts_are_told_until_they_are_read(
    browser: Browser, holder: Identity, database: PsycopgDatabase, service: Callable[..., Any]
) -> None:
    """F2"""
    database.call("mark_alerts_read", holder)
    assert "Alerts" not in [heading.value for heading in browser.open("account/overview.py").subheader]
    service("detect_alerts")
    database.call("use", holder, operation="call", quantity=60 * 100, idempotency_key="long")
    service("detect_alerts")
    tab = browser.open("account/overview.py")
    assert "Alerts" in [heading.value for heading in tab.subheader]
    tab.button(key="alerts_read").click().run()
    assert "Alerts" not in [heading.value for heading in tab.subheader]


def test_volume_steps_are_said_before_anybody_pays(
    browser: Browser, holder: Identity, owner_sql: Callable[..., Any]
) -> None:
    """A14"""
    assert "bonus from" not in texts(browser.open("account/buy.py"))
    owner_sql("""update credits.catalogs set volume_steps = '[{"min_cents": 20000, "bonus_percent": 5}]'""")
    assert "5% bonus from \\$200.00 on" in texts(browser.open("account/buy.py"))
