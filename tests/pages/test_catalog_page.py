"""The catalog as administrators change it (I3, C6, I2): drafted, rehearsed, asked for; nothing valid changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from credits_core.db.port import Identity
from credits_core.db.psycopg_transport import PsycopgDatabase

from .conftest import Browser, texts


@pytest.fixture
def page(browser: Browser, make_user: Callable[..., Identity]) -> Callable[..., AppTest]:
    browser.sign_in(make_user(role="admin"))
    return lambda **query: browser.open("admin/catalog.py", **query)


def press(tab: AppTest, label: str) -> AppTest:
    (button,) = [button for button in tab.button if button.label == label]
    return button.click().run()


def table(tab: AppTest, first: str) -> Any:
    return next(frame.value for frame in tab.dataframe if next(iter(frame.value.columns)) == first)


def test_a_price_is_drafted_and_its_release_asked_for(
    page: Callable[..., AppTest], database: PsycopgDatabase, make_user: Callable[..., Identity]
) -> None:
    tab = page()
    assert not tab.exception
    assert list(table(tab, "Operation")["Now"]) == ["0.15 per minute, billed 60/60 s"]
    assert "The draft is empty" in texts(tab)
    tab.text_input(key="credits_call_0").set_value("0.30")
    tab.text_input(key="steps_call_0").set_value("1/1")
    tab = press(tab, "Put into the draft")
    assert not tab.exception
    assert list(table(tab, "Operation")["In the draft"]) == ["0.30 per minute, billed 1/1 s"]
    tab.text_input(key="release_reason").set_value("The provider raised its price")
    tab = press(tab, "Ask for the release")
    assert "Another administrator decides" in texts(tab)
    (asked,) = database.call("approvals", make_user(role="finance"))["items"]
    assert (asked["kind"], asked["preview"]["prices"]["call"]["components"][0]["price_micros"]) == (
        "catalog_release",
        300_000,
    )
    assert list(table(page(), "Operation")["Now"]) == ["0.15 per minute, billed 60/60 s"]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("steps_call_0", "often", "two numbers of seconds"),
        ("credits_call_0", "much", "credits"),
        ("credits_call_0", "-1", "not below 0"),
    ],
)
def test_what_is_no_price_is_told_and_not_drafted(
    page: Callable[..., AppTest], field: str, value: str, said: str
) -> None:
    tab = page()
    tab.text_input(key=field).set_value(value)
    tab = press(tab, "Put into the draft")
    assert said in texts(tab)
    assert "The draft is empty" in texts(page())


def test_a_package_goes_in_and_out(page: Callable[..., AppTest]) -> None:
    tab = page(part="Packages")
    tab.selectbox(key="package_of").set_value("usd_10").run()
    tab.text_input(key="bonus_usd_10").set_value("1.5")
    tab.checkbox(key="offered_usd_10").set_value(True)
    tab = press(tab, "Put into the draft")
    drafted = dict(zip(table(tab, "Package")["Package"], table(tab, "Package")["In the draft"], strict=True))
    assert drafted["$10 package"] == "10.00 + 1.50 for $10.00"
    tab = press(tab, "Take out")
    assert "The draft is empty" in texts(tab)


def test_a_new_plan_is_drafted_and_discarded(page: Callable[..., AppTest]) -> None:
    tab = page(part="Plans")
    tab.text_input(key="new_plan").set_value("Starter")
    tab.text_input(key="plan_name_new").set_value("Starter")
    tab.text_input(key="included_new_call").set_value("600")
    tab = press(tab, "Put into the draft")
    assert not tab.exception
    assert "**starter** · plan" in texts(tab)
    tab = press(tab, "Discard the draft")
    assert list(table(tab, "Status")["Changes"]) == ["starter"]
