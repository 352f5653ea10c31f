"""System page and webhook inbox (I7, F5): what an administrator sees, runs by hand and has processed again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from credits_core import checkout
from credits_core.db.port import SERVICE, Identity
from credits_core.db.psycopg_transport import PsycopgDatabase
from credits_core.jobs import JOBS
from credits_core.runtime import Runtime
from credits_core.stripe_sim import control_money
from tests.pages.conftest import Browser, texts

Make = Callable[..., Identity]
SYSTEM, INBOX = "admin/system.py", "admin/webhook_inbox.py"


@pytest.fixture
def admin(make_user: Make, browser: Browser) -> Identity:
    somebody = make_user(role="admin")
    browser.sign_in(somebody)
    return somebody


def test_a_quiet_system_says_that_nothing_is_needed(browser: Browser, admin: Identity) -> None:
    tab = browser.open(SYSTEM)
    assert not tab.exception
    assert "Nothing needs you" in texts(tab)
    assert "<dt>Stripe</dt><dd>Simulator</dd>" in texts(tab)
    listed = tab.dataframe[0].value
    assert list(listed["Job"]) == list(JOBS)
    assert {state[0] for state in listed["State"]} == {"Not run yet"}


def test_an_alert_shows_its_evidence_and_is_taken_by_somebody(
    browser: Browser, admin: Identity, database: PsycopgDatabase
) -> None:
    for _ in range(3):
        database.call("claim_job", SERVICE, job="poll", every_seconds=0, runner="r")
        database.call("finish_job", SERVICE, job="poll", runner="r", outcome={}, error="Stripe was away.")
    database.call("detect_operations", SERVICE, jobs={"poll": 10})
    tab = browser.open(SYSTEM)
    assert "Job poll has failed 3 times in a row\\: Stripe was away." in texts(tab)
    (number,) = (alert["alert_id"] for alert in database.call("operations_alerts", SERVICE)["items"])
    tab.button(key=f"ack_{number}").click().run()
    assert "somebody is at it" in texts(tab)
    assert not [button for button in tab.button if button.key == f"ack_{number}"]
    assert "<dt>Failed in a row</dt><dd>3</dd>" in texts(browser.open(SYSTEM, job="poll"))


def test_an_administrator_runs_a_job_now(
    browser: Browser, admin: Identity, database: PsycopgDatabase
) -> None:
    tab = browser.open(SYSTEM, job="verify")
    tab.button(key="job_run").click().run()
    assert not tab.exception
    assert [toast.value for toast in tab.toast] == ["Verify has run."]
    assert "job" not in tab.query_params
    assert "<dt>Ledger check</dt><dd>0 differences</dd>" in texts(tab)
    (item,) = (job for job in database.call("jobs_status", SERVICE)["items"] if job["job"] == "verify")
    assert (item["runs"], item["last_error"]) == (1, None)


def test_a_job_that_is_none_opens_nothing(browser: Browser, admin: Identity) -> None:
    tab = browser.open(SYSTEM, job="drop-everything")
    assert not [button for button in tab.button if button.key == "job_run"]


def test_how_long_things_are_kept_is_seen_by_admins_and_changed_by_super_admins(
    browser: Browser, admin: Identity, make_user: Make, database: PsycopgDatabase
) -> None:
    """I4, I7: with a reason."""
    tab = browser.open(SYSTEM)
    assert "<dt>Messages that were sent or given up</dt><dd>90 days</dd>" in texts(tab)
    assert "retention_save" not in [button.key for button in tab.button]
    browser.sign_in(make_user(role="super_admin"))
    tab = browser.open(SYSTEM)
    tab.number_input(key="retention_days_messages").set_value(60).run()
    assert tab.button(key="retention_save").disabled
    tab.text_input(key="retention_reason").set_value("Asked for by the auditor").run()
    tab.button(key="retention_save").click().run()
    assert not tab.exception
    assert [toast.value for toast in tab.toast] == [
        r"Messages that were sent or given up\: kept for 60 days."
    ]
    kept = {item["what"]: item["days"] for item in database.call("retention", SERVICE)["items"]}
    assert kept == {"messages": 60, "stripe_events": 90}


def test_an_old_event_says_that_its_payload_is_gone(
    browser: Browser, admin: Identity, database: PsycopgDatabase, owner_sql: Callable[..., object]
) -> None:
    database.call("record_stripe_event", SERVICE, event_id="evt_1", type="x", livemode=False, payload={})
    database.call("finish_stripe_event", SERVICE, event_id="evt_1", outcome="ignored")
    owner_sql("update credits.stripe_events set processed_at = processed_at - interval '91 days'")
    database.call("prune", SERVICE)
    tab = browser.open(INBOX, event="evt_1")
    assert "not processed twice" in tab.info[0].value
    assert "event_again" not in [button.key for button in tab.button]


def test_an_empty_inbox_says_what_to_do(browser: Browser, admin: Identity) -> None:
    tab = browser.open(INBOX)
    assert "Stripe has told nothing yet" in texts(tab)
    assert "No events match" in texts(tab.text_input(key="q").set_value("evt_unknown").run())


@pytest.fixture
def event(runtime: Runtime, make_user: Make, database: PsycopgDatabase) -> tuple[str, Identity]:
    """An event about a paid purchase that failed to be processed; and the buyer."""
    buyer = make_user()
    opened = checkout.start_checkout(
        runtime, buyer, package="usd_10", base_url="https://shop.test", idempotency_key="k"
    )
    assert runtime.stripe.simulator is not None
    control_money.pay_session(
        runtime.stripe.simulator,
        "http://127.0.0.1:8501/sim",
        {"card": "4242424242424242"},
        opened["session_id"],
    )
    payload = {"data": {"object": {"id": opened["session_id"], "client_secret": "cs_secret_abc"}}}
    known = {"type": "checkout.session.completed", "livemode": False, "object_id": opened["session_id"]}
    database.call("record_stripe_event", SERVICE, event_id="evt_1", payload=payload, **known)
    database.call(
        "finish_stripe_event", SERVICE, event_id="evt_1", outcome="failed", error="The database was away."
    )
    return "evt_1", buyer


def test_a_failed_event_is_processed_again_any_number_of_times(
    browser: Browser, admin: Identity, event: tuple[str, Identity], database: PsycopgDatabase
) -> None:
    number, buyer = event
    listed = browser.open(INBOX, outcome="Failed").dataframe[0].value
    assert (list(listed["Event"]), list(listed["Problem"])) == ([number], ["The database was away."])
    for _ in range(2):
        tab = browser.open(INBOX, event=number)
        assert "cs_secret_abc" not in "".join(str(one.value) for one in tab.json)
        tab.button(key="event_again").click().run()
        assert [toast.value for toast in tab.toast] == ["checkout.session.completed\\: processed."]
        assert database.call("balance", buyer)["available_micros"] == 10_000_000
    assert [row[0] for row in browser.open(INBOX).dataframe[0].value["Outcome"]] == ["Processed"]


def test_an_unknown_event_is_a_sentence(browser: Browser, admin: Identity) -> None:
    tab = browser.open(INBOX, event="evt_nobody")
    assert "There is no such event." in tab.error[0].value
