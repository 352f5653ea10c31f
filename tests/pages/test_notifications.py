"""Alerts and webhooks (F1 to F4, G1): notices, what is sent where, webhooks with a secret shown once, deliveries."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from credits_core import messages, notifications, outbox, outside
from credits_core.db.port import Identity
from credits_core.db.psycopg_transport import PsycopgDatabase
from credits_core.errors import DatabaseUnavailable
from credits_core.runtime import Runtime
from tests.pages.conftest import ROUTER, Browser, texts

FILE = "account/notifications.py"
PUBLIC = "https://8.8.8.8/hook"


@pytest.fixture
def dana(
    browser: Browser, make_user: Callable[..., Identity], buy: Callable[..., dict[str, Any]]
) -> Identity:
    """Somebody who bought credits twice."""
    person = make_user(name="Dana")
    buy(person, "usd_20")
    buy(person, "usd_5")
    browser.sign_in(person)
    return person


def press(tab: AppTest, label: str) -> AppTest:
    (button,) = (button for button in tab.button if button.label == label)
    return button.click().run()


def unread(database: PsycopgDatabase, person: Identity) -> int:
    return int(database.call("unread_alerts", person)["unread"])


def test_notices_say_what_happened(browser: Browser, dana: Identity, database: PsycopgDatabase) -> None:
    """F2: newest first; the bell beside the balance counts what is unread, until all are read."""
    tab = browser.open(FILE)
    assert not tab.exception
    shown = tab.dataframe[0].value
    assert list(shown["Notice"]) == ["5.00 credits are in your account", "20.00 credits are in your account"]
    assert list(shown["State"]) == [["Unread"], ["Unread"]]
    assert "2 unread notices" in [link.label for link in tab.sidebar.get("page_link")]
    tab = press(tab, "Mark all as read")
    assert unread(database, dana) == 0
    assert list(tab.dataframe[0].value["State"]) == [["Read"], ["Read"]]
    assert not [link for link in tab.sidebar.get("page_link") if "unread" in link.label]
    assert "Nothing unread" in texts(browser.open(FILE, unread="true"))


def test_a_new_account_has_nothing_and_is_told_what_comes(
    browser: Browser, make_user: Callable[..., Identity]
) -> None:
    browser.sign_in(make_user())
    for part, words in (
        ("Notices", "No notices yet"),
        ("Connections", "Nothing is connected yet"),
        ("Deliveries", "No messages match"),
    ):
        tab = browser.open(FILE, part=part)
        assert not tab.exception and words in texts(tab)


def test_kinds_sent_by_e_mail_are_chosen(browser: Browser, dana: Identity, database: PsycopgDatabase) -> None:
    """F2: and that no mail server is set is said, with how to set it."""
    tab = browser.open(FILE, part="E-mail")
    assert "SMTP" in tab.info[0].value and dana.claims["email"].split("@")[0] in texts(tab)
    chosen = tab.button_group(key="email_kinds").value
    assert "purchase_credited" in chosen and "call_ending" not in chosen
    tab.button_group(key="email_kinds").set_value([*(k for k in chosen if k != "debt"), "call_ending"]).run()
    press(tab, "Save")
    emails = {kind["kind"]: kind["email"] for kind in database.call("notice_settings", dana)["kinds"]}
    assert (emails["debt"], emails["call_ending"], emails["purchase_credited"]) == (False, True, True)


def test_levels_are_set(browser: Browser, dana: Identity, database: PsycopgDatabase) -> None:
    """F1: and what is no amount is refused with a sentence."""
    tab = browser.open(FILE, part="E-mail")
    assert tab.text_input(key="levels_text").value == "10.00  5.00  1.00"
    tab.text_input(key="levels_text").set_value("1,000  7.5")
    press(tab, "Save levels")
    assert database.call("notice_settings", dana)["low_balance_micros"] == [1_000_000_000, 7_500_000]
    tab = browser.open(FILE, part="E-mail")
    tab.text_input(key="levels_text").set_value("much")
    assert press(tab, "Save levels").error
    assert database.call("notice_settings", dana)["low_balance_micros"] == [1_000_000_000, 7_500_000]


def fill(browser: Browser, channel: str, address: str) -> AppTest:
    tab = browser.open(FILE, part="Connections", add=uuid.uuid4().hex, channel=channel)
    name, where = tab.text_input
    name.set_value("Our dialer")
    where.set_value(address)
    return press(tab, "Connect")


def test_the_secret_of_a_webhook_is_shown_once(
    browser: Browser, dana: Identity, database: PsycopgDatabase
) -> None:
    """F3: in the form that made it; not after a reload, not in the list."""
    tab = fill(browser, "webhook", PUBLIC)
    (secret,) = (code.value for code in tab.code)
    assert secret.startswith("whsec_")
    tab = press(tab, "I have stored it")
    assert not tab.code
    again = browser.open(FILE, part="Connections")
    assert not again.code and secret not in texts(again) and "Our dialer" in texts(again)
    (target,) = database.call("notice_settings", dana)["targets"]
    assert target["address"] == PUBLIC


def test_a_click_that_comes_twice_makes_one_webhook(
    browser: Browser, dana: Identity, runtime: Runtime
) -> None:
    """A restarted server gets the click again: the key is in the address."""
    key = uuid.uuid4().hex
    for _ in range(2):
        tab = browser.open(FILE, part="Connections", add=key, channel="webhook")
        name, where = tab.text_input
        name.set_value("Ours")
        where.set_value(PUBLIC)
        tab = press(tab, "Connect")
    assert not tab.code and not tab.exception
    assert len(notifications.settings(runtime.db, dana)["targets"]) == 1


@pytest.mark.parametrize(
    "address", ["", "http://127.0.0.1/", "https://localhost", "nonsense", "https://169.254.169.254/"]
)
def test_bad_addresses_are_refused_with_a_sentence(
    browser: Browser, dana: Identity, runtime: Runtime, address: str
) -> None:
    """F3: nothing is stored."""
    tab = fill(browser, "webhook", address)
    assert tab.error and not tab.exception
    assert notifications.settings(runtime.db, dana)["targets"] == []


def test_a_chat_room_is_masked(browser: Browser, dana: Identity) -> None:
    """F2: its address is a secret."""
    fill(browser, "chat", "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX")
    shown = texts(browser.open(FILE, part="Connections"))
    assert "slack://" in shown and "XXXXXXXX" not in shown


def test_a_webhook_is_tested_switched_and_removed(browser: Browser, dana: Identity, runtime: Runtime) -> None:
    """F3."""
    notifications.add_webhook(runtime, dana, "Ours", PUBLIC)
    tab = press(browser.open(FILE, part="Connections"), "Send a test")
    assert [
        item["kind"] for item in notifications.deliveries(runtime.db, dana, channel="webhook")["items"]
    ] == ["test"]
    tab = press(tab, "Switch off")
    assert not notifications.settings(runtime.db, dana)["targets"][0]["is_on"]
    tab = press(tab, "Make a new secret")
    assert tab.code[0].value.startswith("whsec_")
    tab = press(browser.open(FILE, part="Connections"), "Remove it")
    assert notifications.settings(runtime.db, dana)["targets"] == []
    assert "Nothing is connected yet" in texts(tab)


def test_a_connection_shows_its_last_deliveries(
    browser: Browser, dana: Identity, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F3: what the receiver answered, without going to the list."""
    made = notifications.add_webhook(runtime, dana, "Ours", PUBLIC)
    notifications.send_test(runtime.db, dana, target_id=made["target_id"])
    monkeypatch.setattr(outside, "post", lambda *a, **k: outside.Answer(503, "busy", 12))
    outbox.run(runtime)
    shown = texts(browser.open(FILE, part="Connections"))
    assert "Waiting · 503" in shown and "1 × in a row" in shown


def test_deliveries_are_listed_and_filtered(browser: Browser, dana: Identity, runtime: Runtime) -> None:
    """F3: with the reason why something is not sent."""
    outbox.run(runtime)
    tab = browser.open(FILE, part="Deliveries")
    shown = tab.dataframe[0].value
    assert list(shown["Status"]) == [["Not sent"], ["Not sent"]]
    assert list(shown["Last answer"]) == ["Not sent: SMTP_URL is not set."] * 2
    assert list(shown["To"]) == [dana.claims["email"]] * 2
    assert "No messages match" in texts(browser.open(FILE, part="Deliveries", by="Webhook"))
    assert len(browser.open(FILE, part="Deliveries", status="Not sent").dataframe[0].value) == 2


def test_an_error_is_a_sentence(
    browser: Browser, dana: Identity, database: PsycopgDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of the page stays."""
    original = database.call

    def call(function: str, identity: Identity, **arguments: object) -> Any:
        if function in ("alerts", "unread_alerts", "deliveries", "notice_settings"):
            raise DatabaseUnavailable("The database does not answer; try again in a moment.")
        return original(function, identity, **arguments)

    monkeypatch.setattr(database, "call", call)
    for part in ("Notices", "E-mail", "Connections", "Deliveries"):
        tab = browser.open(FILE, part=part)
        assert tab.error[0].value.startswith("The database does not answer") and not tab.exception


def test_nobody_sees_other_peoples(
    browser: Browser, dana: Identity, runtime: Runtime, make_user: Callable[..., Identity]
) -> None:
    """K1: not even staff on this page: it is about the own account."""
    notifications.add_webhook(runtime, dana, "Danas dialer", PUBLIC)
    for role in ("holder", "finance", "admin"):
        browser.sign_in(make_user(role=role))
        for part in ("Notices", "Connections", "Deliveries"):
            tab = browser.open(FILE, part=part)
            assert not tab.dataframe and "Danas" not in texts(tab)


def test_what_to_do_leads_to_pages_that_there_are(dana: Identity, database: PsycopgDatabase) -> None:
    """F2: the buttons of e-mails and notices."""
    pages = {file.stem for file in ROUTER.parent.glob("*/*.py")}
    kinds = [kind["kind"] for kind in database.call("notice_settings", dana)["kinds"]]
    for kind in [*kinds, "test", "something_new"]:
        for detail in ({}, {"is_auto_reload": True}):
            action = messages.render(kind, detail, base_url="https://x.test").action
            assert action is None or action[1].removeprefix("https://x.test/") in pages, kind
