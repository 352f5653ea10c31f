"""The live call page (D4, G1): what is shown, what warns, what a top-up does, how a call ends, and the demo call."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from credits_core.config import Settings
from credits_core.db.port import Identity
from credits_core.db.psycopg_transport import PsycopgDatabase

from .conftest import Browser, texts

PAGE = "account/live_call.py"


@pytest.fixture
def person(browser: Browser, make_user: Callable[..., Identity]) -> Identity:
    """Somebody signed in, without credits."""
    somebody = make_user()
    browser.sign_in(somebody)
    return somebody


@pytest.fixture
def give(service: Callable[..., Any], account_of: Callable[..., int]) -> Callable[[Identity, int], None]:
    """`give(person, 300_000)`: micros from an administrator."""

    def adjust(somebody: Identity, micros: int) -> None:
        service(
            "adjust",
            account_id=account_of(somebody),
            amount_micros=micros,
            reason="For a test",
            idempotency_key=f"give-{micros}",
        )

    return adjust


@pytest.fixture
def call(database: PsycopgDatabase, person: Identity) -> Callable[..., int]:
    """`call(seconds)`: a call that began so long ago and still runs; answers its id."""

    def start(seconds: int = 0, key: str = "call") -> int:
        began = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=seconds)
        started = database.call(
            "start_call", person, operation="call", idempotency_key=key, started_at=began, to="+15550100"
        )
        return int(started["call_id"])

    return start


def figures(tab: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in tab.metric}


def forms(tab: AppTest) -> list[str]:
    return [html.body for html in tab.html if 'action="/auth/checkout"' in html.body]


def test_nothing_runs(browser: Browser, person: Identity) -> None:
    tab = browser.open(PAGE)
    assert "No call is running" in texts(tab)
    assert not forms(tab)


def test_a_running_call_shows_time_cost_rate_and_what_pays(
    browser: Browser, person: Identity, give: Callable[..., None], call: Callable[..., int]
) -> None:
    """D4: 1.50 credits are ten minutes; after two and a half, three are begun."""
    give(person, 1_500_000)
    call(150)
    tab = browser.open(PAGE)
    assert not tab.exception
    shown = figures(tab)
    assert shown["Cost so far"] == "0.45"
    assert shown["Talk time left"].startswith("07:2")
    assert shown["Elapsed"].startswith("02:3")
    page = texts(tab)
    assert "<dt>To</dt><dd>+15550100</dd>" in page
    assert "0.15 per minute, in steps of 01:00 then 01:00" in page
    assert tab.dataframe[0].value["Credits"][0].startswith("Adjustment")
    assert not tab.warning
    assert not tab.error


@pytest.mark.parametrize(
    ("micros", "seconds", "words"),
    [
        (600_000, 130, "2:00 minutes of talk time are left"),
        (600_000, 190, "ends in less than 1:00 minutes"),
        (150_000, 0, "ends in less than 1:00 minutes"),
    ],
)
def test_the_page_warns_at_each_threshold(
    browser: Browser,
    person: Identity,
    give: Callable[..., None],
    call: Callable[..., int],
    micros: int,
    seconds: int,
    words: str,
) -> None:
    """D4: low at two minutes, ending in the last one."""
    give(person, micros)
    call(seconds)
    tab = browser.open(PAGE)
    assert words in texts(tab)


def test_a_top_up_leads_back_to_this_call_and_lengthens_it(
    browser: Browser,
    person: Identity,
    give: Callable[..., None],
    call: Callable[..., int],
    buy: Callable[..., dict[str, Any]],
) -> None:
    """D4: the form names the call; the way back ends on it; the same call has more time and the warning is gone."""
    give(person, 150_000)
    call_id = call()
    tab = browser.open(PAGE)
    assert len(forms(tab)) == 4
    assert all(f'name="call" value="{call_id}"' in form for form in forms(tab))
    assert "Add 5.00 for $5.00" in forms(tab)[0]
    purchase = buy(person, "usd_5")
    back = browser.open("account/checkout_return.py", session_id=purchase["session_id"], call=str(call_id))
    assert [title.value for title in back.title] == ["Live calls"]
    assert back.query_params["call"] in (str(call_id), [str(call_id)])
    assert figures(back)["Talk time left"][:2] in ("33", "34")
    assert not back.error
    assert any("5.00 credits added" in toast.value for toast in back.toast)


def test_a_call_from_an_address_somebody_made_up_is_ignored(
    browser: Browser, person: Identity, buy: Callable[..., dict[str, Any]]
) -> None:
    purchase = buy(person, "usd_5")
    tab = browser.open("account/checkout_return.py", session_id=purchase["session_id"], call="<script>")
    assert "Payment received." in tab.success[0].value


def test_ending_a_call_asks_first_and_charges_once(
    browser: Browser,
    person: Identity,
    give: Callable[..., None],
    call: Callable[..., int],
    database: PsycopgDatabase,
) -> None:
    give(person, 1_500_000)
    call_id = call(70)
    tab = browser.open(PAGE, call=str(call_id))
    tab.button(key="end").click().run()
    assert database.call("call", person, call_id=call_id)["call_status"] == "running"
    tab.button(key="end_confirm").click().run()
    ended = database.call("call", person, call_id=call_id)
    assert (ended["call_status"], ended["charged_micros"], ended["ended_reason"]) == (
        "completed",
        300_000,
        "owner",
    )
    page = texts(tab)
    assert "This call is over." in page
    assert "<dt>Cost</dt><dd>0.30 credits</dd>" in page


def test_several_calls_are_chosen_from(
    browser: Browser, person: Identity, give: Callable[..., None], call: Callable[..., int]
) -> None:
    give(person, 3_000_000)
    first, second = call(5, "one"), call(6, "two")
    tab = browser.open(PAGE)
    assert not tab.metric
    tab.button(key=f"watch_{second}").click().run()
    assert "Other calls" in texts(tab)
    assert f"<dt>Call</dt><dd>{second}</dd>" in texts(tab)
    assert first != second


@pytest.mark.parametrize("wrong", ["999999", "-1", "x", "9" * 30])
def test_a_call_that_is_not_there_is_a_sentence(browser: Browser, person: Identity, wrong: str) -> None:
    tab = browser.open(PAGE, call=wrong)
    assert not tab.exception
    assert "There is no such call of yours" in texts(tab) or "No call is running" in texts(tab)


def test_other_peoples_calls_are_not_shown(
    browser: Browser,
    person: Identity,
    give: Callable[..., None],
    call: Callable[..., int],
    make_user: Callable[..., Identity],
) -> None:
    give(person, 1_500_000)
    call_id = call()
    browser.sign_in(make_user())
    tab = browser.open(PAGE, call=str(call_id))
    assert "There is no such call of yours" in texts(tab)
    assert not tab.metric


def test_a_demo_call_is_carried_by_the_page_and_ends_when_its_time_is_up(
    browser: Browser,
    person: Identity,
    give: Callable[..., None],
    database: PsycopgDatabase,
    owner_sql: Callable[..., Any],
) -> None:
    """D5, L1: started by a button, heard of while somebody watches, hung up as its program would."""
    give(person, 300_000)
    tab = browser.open(PAGE)
    next(button for button in tab.button if button.label == "Start a demo call").click().run()
    call_id = int(
        next(iter(tab.query_params["call"]))
        if isinstance(tab.query_params["call"], list)
        else tab.query_params["call"]
    )
    assert "Talk time left" in figures(tab)
    owner_sql(
        "update credits.calls set started_at = started_at - interval '70 s', last_seen_at = last_seen_at - interval '70 s'"
    )
    tab.run()
    (row,) = owner_sql("select now() - last_seen_at < interval '20 s' as heard, status from credits.calls")
    assert row == {"heard": True, "status": "running"}
    owner_sql("update credits.calls set started_at = started_at - interval '60 s'")
    tab.run()
    ended = database.call("call", person, call_id=call_id)
    assert (ended["call_status"], ended["ended_reason"]) == ("completed", "out_of_credits")
    assert "This call is over." in texts(tab)


def test_a_demo_call_without_credits_is_a_sentence(browser: Browser, person: Identity) -> None:
    tab = browser.open(PAGE)
    next(button for button in tab.button if button.label == "Start a demo call").click().run()
    assert not tab.exception
    assert tab.error
    assert "start" not in tab.query_params


def test_where_cards_are_charged_there_is_no_demo_call(
    browser: Browser, person: Identity, give: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    give(person, 300_000)
    monkeypatch.setattr(Settings, "simulator", property(lambda _: False))
    tab = browser.open(PAGE, start="0123456789abcdef0123456789abcdef")
    assert "No call is running" in texts(tab)
    assert not [button for button in tab.button if "demo" in button.label]


def test_the_overview_links_to_what_runs(
    browser: Browser, person: Identity, give: Callable[..., None], call: Callable[..., int]
) -> None:
    give(person, 1_500_000)
    call(20)
    tab = browser.open("account/overview.py")
    assert "Live calls" in texts(tab)
    assert "1 in progress" in "".join(str(badge.value) for badge in tab.markdown) or "Watch" in [
        link.label for link in tab.page_link
    ]
