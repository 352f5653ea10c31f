"""Vapi's server messages (D7, D1, D3, D5, D6): late, twice, in any order; nothing is lost, nothing is charged twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from credits_core import catalog, errors
from credits_core.config import Settings
from credits_core.runtime import Runtime
from tests.http.conftest import BASE, HOLDER, SUPER, Api, TestClient, problem
from tests.http.vapi_calls import ADDRESS, SECRET, Vapi


@pytest.fixture
def settings(tmp_path: Any) -> Settings:
    return Settings(data_dir=tmp_path, base_url=BASE, vapi_secret=SECRET)


@pytest.fixture
def vapi(browser: TestClient) -> Vapi:
    return Vapi(browser)


@pytest.fixture
def make_vapi(browser: TestClient) -> Callable[..., Vapi]:
    return lambda *arguments, **call: Vapi(browser, *arguments, **call)


@pytest.fixture
def age(owner_sql: Callable[..., Any]) -> Callable[[int, int], None]:
    """`age(720, 600)`: as if all calls had begun 12 minutes earlier, and been heard of last 10 minutes earlier."""
    statement = "update credits.calls set {0} = {0} - make_interval(secs => %s)"

    def earlier(started: int, seen: int) -> None:
        owner_sql(statement.format("started_at"), started)
        owner_sql(statement.format("last_seen_at"), seen)

    return earlier


@pytest.fixture(autouse=True)
def ledger_adds_up(runtime: Runtime, service: Callable[..., Any]) -> Iterator[None]:
    yield
    assert service("verify")["differences"] == []


def debt(holder: Api) -> str:
    return str(holder.get("balance").json()["debt"])


def test_a_call_from_ringing_to_its_report(vapi: Vapi, holder: Api, give: Callable[..., Any]) -> None:
    """The limit and the warnings come from the balance; the report's own times are charged."""
    give("1.00")
    answer = vapi.send("assistant-request")
    overrides = answer["assistantOverrides"]
    assert overrides["maxDurationSeconds"] == 360
    assert [hook["options"]["seconds"] for hook in overrides["hooks"]] == [240, 300]
    for hook, left in zip(overrides["hooks"], ("2 minutes", "one minute"), strict=True):
        assert hook["on"] == "call.timeElapsed"
        (say,) = hook["do"]
        assert say["type"] == "say" and left in say["exact"]
    assert overrides["metadata"]["account"] == str(holder.get("me").json()["account_id"])
    running = vapi.send("status-update", status="in-progress")
    assert running["status"] == "ok" and running["call_id"] == overrides["metadata"]["credits_call_id"]
    assert vapi.send("conversation-update", messages=[])["status"] == "ok"
    assert vapi.send("status-update", status="ended")["status"] == "ok"
    assert holder.get("balance").json()["held"] == "0.30"
    report = vapi.report(61)
    assert (report["status"], report["charged"], report["duration_seconds"]) == ("ended", "0.30", 61)
    (call,) = holder.get("calls").json()["items"]
    assert (call["to"], call["from"], call["status"]) == ("+15550100", "+15550199", "completed")
    assert (call["ended_reason"], call["charged"]) == ("customer-ended-call", "0.30")
    assert call["metadata"] == {"vapi_call_id": vapi.call["id"]}
    balance = holder.get("balance").json()
    assert (balance["available"], balance["held"], balance["debt"]) == ("0.70", "0.00", "0.00")


def test_every_message_twice_is_one_call(vapi: Vapi, holder: Api, give: Callable[..., Any]) -> None:
    give("1.00")
    first, again = vapi.send("assistant-request"), vapi.send("assistant-request")
    assert first == again
    for _ in range(2):
        vapi.send("status-update", status="in-progress")
    began = datetime.now(UTC) - timedelta(seconds=90)
    assert vapi.report(90, began=began) == vapi.report(90, began=began)
    assert vapi.report(3000)["charged"] == "0.30", "another report of an ended call changes nothing"
    assert len(holder.get("calls").json()["items"]) == 1
    assert len(holder.get("history", type="usage").json()["items"]) == 1
    assert holder.available() == "0.70"


def test_messages_at_the_same_moment_are_one_call(vapi: Vapi, holder: Api, give: Callable[..., Any]) -> None:
    give("1.00")
    wanted = [vapi.message("assistant-request"), vapi.message("status-update", status="in-progress")] * 4
    wanted[3]["customer"] = wanted[3]["phoneNumber"] = None
    with ThreadPoolExecutor(8) as pool:
        assert {answer.status_code for answer in pool.map(vapi.post, wanted)} == {200}
    assert len(holder.get("calls").json()["items"]) == 1
    began = datetime.now(UTC) - timedelta(seconds=90)
    with ThreadPoolExecutor(8) as pool:
        reports = list(pool.map(lambda _: vapi.report(90, began=began), range(8)))
    assert all(report == reports[0] for report in reports) and reports[0]["charged"] == "0.30"
    assert holder.available() == "0.70"


def test_messages_in_the_wrong_order(vapi: Vapi, holder: Api, give: Callable[..., Any]) -> None:
    """The report first: everything that comes later leaves it as it is."""
    give("1.00")
    report = vapi.report(90)
    assert (report["status"], report["charged"]) == ("ended", "0.30")
    assert vapi.send("status-update", status="ended")["status"] == "ended"
    assert vapi.send("status-update", status="in-progress")["status"] == "ended"
    assert vapi.send("conversation-update")["status"] == "ended"
    assert "ended already" in vapi.send("assistant-request")["error"]
    assert holder.available() == "0.70" and holder.get("balance").json()["held"] == "0.00"


def test_an_outbound_call_starts_with_in_progress(
    make_vapi: Callable[..., Vapi], holder: Api, give: Callable[..., Any]
) -> None:
    give("1.00")
    vapi = make_vapi(type="outboundPhoneCall")
    assert vapi.send("status-update", status="queued") == {"status": "ignored"}
    assert vapi.send("status-update", status="ringing") == {"status": "ignored"}
    assert vapi.send("status-update", status="ended") == {"status": "ignored"}
    assert vapi.send("speech-update", status="started", role="user") == {"status": "ignored"}
    assert vapi.send("status-update", status="in-progress")["remaining_seconds"] == 359
    (call,) = holder.get("calls", status="running").json()["items"]
    assert (call["to"], call["from"]) == ("+15550199", "+15550100")
    assert vapi.report(30)["charged"] == "0.15"


@pytest.mark.parametrize("amount", [None, "0.14"])
def test_a_refusal_is_a_sentence_to_say(
    vapi: Vapi, holder: Api, give: Callable[..., Any], amount: str | None
) -> None:
    """D1: no call starts without its first increment; Vapi says the sentence and hangs up."""
    if amount:
        give(amount)
    assert set(vapi.send("assistant-request")) == {"error"}
    assert "not enough credits" in vapi.send("assistant-request")["error"]
    assert holder.get("calls").json()["items"] == []
    assert vapi.send("end-of-call-report", endedReason="assistant-request-returned-error") == {
        "status": "ignored"
    }
    assert holder.available() == (amount or "0.00")


def test_less_than_vapis_shortest_call_is_refused_and_nothing_is_charged(
    vapi: Vapi, holder: Api, give: Callable[..., Any], service: Callable[..., Any]
) -> None:
    """Nine seconds are affordable, Vapi's limit begins at ten; also the set-up fee is not kept."""
    by_second = {"unit": "second", "price_micros": 10_000, "initial": 1, "following": 1}
    service("set_price", operation="call", components=[{"unit": "call", "price_micros": 500_000}, by_second])
    give("0.59")
    assert "not enough credits" in vapi.send("assistant-request")["error"]
    balance = holder.get("balance").json()
    assert (balance["available"], balance["held"]) == ("0.59", "0.00")
    (call,) = holder.get("calls").json()["items"]
    assert (call["status"], call["charged"], call["duration_seconds"]) == ("canceled", "0.00", 0)
    give("0.01")
    assert "ended already" in vapi.send("assistant-request")["error"]
    other = Vapi(vapi.client).send("assistant-request")
    assert other["assistantOverrides"]["maxDurationSeconds"] == 10
    assert other["assistantOverrides"]["hooks"] == []


def test_a_canceled_call_that_took_place_all_the_same_is_charged(
    vapi: Vapi, holder: Api, give: Callable[..., Any], service: Callable[..., Any]
) -> None:
    by_second = {"unit": "second", "price_micros": 10_000, "initial": 1, "following": 1}
    service("set_price", operation="call", components=[by_second])
    give("0.09")
    assert "error" in vapi.send("assistant-request")
    give("1.00")
    assert vapi.report(20)["charged"] == "0.20"
    assert holder.available() == "0.89"


def test_a_call_nobody_answered_costs_nothing(
    vapi: Vapi, holder: Api, give: Callable[..., Any], service: Callable[..., Any]
) -> None:
    minute = {"unit": "minute", "price_micros": 150_000, "initial": 60, "following": 60}
    service("set_price", operation="call", components=[{"unit": "call", "price_micros": 500_000}, minute])
    give("5.00")
    vapi.send("assistant-request")
    vapi.send("status-update", status="ringing")
    vapi.send("status-update", status="ended")
    report = vapi.send("end-of-call-report", endedReason="customer-did-not-answer")
    assert (report["status"], report["charged"]) == ("ended", "0.00")
    assert vapi.send("end-of-call-report", endedReason="customer-did-not-answer") == report
    assert holder.available() == "5.00"
    (call,) = holder.get("calls").json()["items"]
    assert (call["status"], call["ended_reason"]) == ("canceled", "customer-did-not-answer")


def test_a_long_call_on_a_full_account_keeps_vapis_longest_limit(
    vapi: Vapi, give: Callable[..., Any]
) -> None:
    give("1000.00")
    overrides = vapi.send("assistant-request")["assistantOverrides"]
    assert overrides["maxDurationSeconds"] == 43_200 and overrides["hooks"] == []


def test_super_admins_talk_for_nothing(make_vapi: Callable[..., Vapi], api: Callable[..., Api]) -> None:
    """E5: metered at full price, charged 0."""
    vapi = make_vapi(SUPER)
    assert vapi.send("assistant-request")["assistantOverrides"]["maxDurationSeconds"] == 43_200
    assert vapi.report(3600)["charged"] == "0.00"
    (used,) = api(SUPER).get("history", type="usage").json()["items"]
    assert (used["rated"], used["paid_by"]) == ("9.00", "unlimited")


def test_a_call_nobody_announced_is_charged_and_the_rest_is_debt(
    vapi: Vapi, holder: Api, give: Callable[..., Any]
) -> None:
    """The call did happen: it is never lost, whatever the balance says; the next purchase pays the debt first."""
    give("0.40")
    assert vapi.report(600)["charged"] == "1.50"
    balance = holder.get("balance").json()
    assert (balance["available"], balance["debt"]) == ("-1.10", "1.10")
    give("2.00")
    assert holder.available() == "0.90" and debt(holder) == "0.00"


def test_a_call_that_runs_without_credits_is_told_to_end_and_charged_by_its_report(
    make_vapi: Callable[..., Vapi], holder: Api
) -> None:
    """D5: an outbound call on an empty account."""
    vapi = make_vapi(type="outboundPhoneCall")
    answer = vapi.send("status-update", status="in-progress")
    assert answer["status"] == "end" and "credits" in answer["message"]
    assert vapi.report(20)["charged"] == "0.15"
    assert debt(holder) == "0.15"


def test_two_calls_share_one_balance(make_vapi: Callable[..., Vapi], give: Callable[..., Any]) -> None:
    """D3: the second call is told its share of what the first one left."""
    give("1.05")
    first, second = make_vapi(), make_vapi()
    assert first.send("assistant-request")["assistantOverrides"]["maxDurationSeconds"] == 420
    assert second.send("assistant-request")["assistantOverrides"]["maxDurationSeconds"] < 360


def test_a_call_taken_for_abandoned_is_put_right_by_its_report(
    vapi: Vapi,
    holder: Api,
    give: Callable[..., Any],
    age: Callable[[int, int], None],
    service: Callable[..., Any],
) -> None:
    """Ten minutes without a message settle the call at its last one; the report of the whole call corrects that, once."""
    give("5.00")
    vapi.send("assistant-request")
    vapi.send("status-update", status="in-progress")
    age(720, 600)
    assert service("settle_abandoned_calls")["settled"] == 1
    assert holder.available() == "4.55", "130 s up to the last sign of life: three minutes"
    for _ in range(2):
        assert vapi.report(700)["charged"] == "1.80"
    assert holder.available() == "3.20"
    kinds = [row["kind"] for row in holder.get("transactions").json()["items"]]
    assert kinds == ["use", "reversal", "use", "adjustment"]
    (call,) = holder.get("calls").json()["items"]
    assert (call["status"], call["charged"], call["duration_seconds"]) == ("completed", "1.80", 700)


def test_a_call_that_never_connected_and_is_never_reported_costs_nothing(
    vapi: Vapi,
    holder: Api,
    give: Callable[..., Any],
    age: Callable[[int, int], None],
    service: Callable[..., Any],
) -> None:
    """Vapi asked for the assistant, then nothing more came: no set-up fee. A report that comes after all is charged."""
    give("5.00")
    vapi.send("assistant-request")
    age(600, 600)
    assert service("settle_abandoned_calls")["settled"] == 1
    assert holder.available() == "5.00"
    (call,) = holder.get("calls").json()["items"]
    assert (call["status"], call["charged"]) == ("abandoned", "0.00")
    assert vapi.report(70)["charged"] == "0.30"
    assert holder.available() == "4.70"


def test_a_correction_by_hand_is_left_alone(
    vapi: Vapi,
    holder: Api,
    admin: Api,
    give: Callable[..., Any],
    age: Callable[[int, int], None],
    service: Callable[..., Any],
) -> None:
    give("5.00")
    vapi.send("status-update", status="in-progress")
    age(720, 600)
    service("settle_abandoned_calls")
    (call,) = holder.get("calls").json()["items"]
    admin.post("admin/reverse", {"transaction_id": call["transaction_id"], "reason": "goodwill"})
    vapi.report(700)
    assert holder.available() == "5.00"


def test_ended_without_a_report_counts_up_to_that_moment(
    vapi: Vapi,
    holder: Api,
    give: Callable[..., Any],
    age: Callable[[int, int], None],
    service: Callable[..., Any],
) -> None:
    give("5.00")
    vapi.send("status-update", status="in-progress")
    age(100, 90)
    vapi.send("status-update", status="ended")
    age(600, 600)
    service("settle_abandoned_calls")
    assert holder.available() == "4.70"


@pytest.mark.parametrize(
    ("fields", "charged"),
    [
        ({"startedAt": "2026-11-01T12:00:00.000Z", "endedAt": "2026-11-01T12:01:00.500Z"}, "0.30"),
        ({"startedAt": "2026-11-01T12:00:00.000Z", "durationSeconds": 60.0}, "0.15"),
        ({"endedAt": "2026-11-01T12:02:00Z", "durationSeconds": 60.25}, "0.30"),
        ({"durationSeconds": 59}, "0.15"),
        ({"startedAt": "2026-11-01T12:00:00Z", "timestamp": 1793534490000}, "0.30"),
        ({"durationSeconds": 0}, None),
        ({"startedAt": None, "endedAt": "2026-11-01T12:02:00Z"}, None),
    ],
)  # fmt: skip
def test_the_times_a_report_may_have(
    vapi: Vapi, holder: Api, give: Callable[..., Any], fields: dict[str, Any], charged: str | None
) -> None:
    """1793534490000 is 2026-11-01T12:01:30Z."""
    give("5.00")
    answer = vapi.send("end-of-call-report", endedReason="assistant-ended-call", **fields)
    assert answer.get("charged") == charged
    if charged is None:
        assert answer == {"status": "ignored"}


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("assistantOverrides", HOLDER),
        ("metadata", HOLDER),
        ("assistant", HOLDER),
        ("phoneNumber", HOLDER),
        ("assistantOverrides", 0),
        ("nowhere", None),
    ],
)
def test_where_the_account_may_be_named(
    make_vapi: Callable[..., Vapi], holder: Api, give: Callable[..., Any], place: str, value: Any
) -> None:
    give("1.00")
    account = holder.get("me").json()["account_id"] if value == 0 else value
    metadata = {"metadata": {"account": account, "own": "kept"}}
    vapi = make_vapi(
        "",
        **(
            metadata
            if place == "metadata"
            else {"assistantOverrides": metadata}
            if place == "assistantOverrides"
            else {}
        ),
    )
    more = {place: metadata} if place in ("assistant", "phoneNumber") else {}
    answer = vapi.send("assistant-request", **more)
    if place == "nowhere":
        assert "not set up" in answer["error"]
        error = problem(vapi.post(vapi.message("status-update", status="in-progress")), 404, "not_found")
        assert "metadata.account" in error["message"]
        return
    assert answer["assistantOverrides"]["maxDurationSeconds"] == 360
    if place == "assistantOverrides":
        assert answer["assistantOverrides"]["metadata"]["own"] == "kept"


def test_an_account_in_the_address_goes_before_what_a_browser_sends(
    make_vapi: Callable[..., Vapi], holder: Api, admin: Api, give: Callable[..., Any]
) -> None:
    """Who starts a web call writes its metadata: it must not spend other people's credits."""
    give("1.00")
    vapi = make_vapi(HOLDER, type="webCall", assistantOverrides={"metadata": {"account": "admin@demo.test"}})
    vapi.report(60)
    assert (holder.available(), admin.get("balance").json()["debt"]) == ("0.85", "0.00")


def test_the_assistant_is_named_by_the_address_or_by_the_call(
    make_vapi: Callable[..., Vapi], give: Callable[..., Any]
) -> None:
    give("5.00")
    vapi = make_vapi(assistantId="a-1")
    assert vapi.send("assistant-request")["assistantId"] == "a-1"
    other = make_vapi()
    assert "assistantId" not in other.send("assistant-request")
    answer = other.client.post(
        ADDRESS, params={"account": HOLDER, "assistant": "a-2"}, headers={"X-Vapi-Secret": SECRET},
        json={"message": other.message("assistant-request")},
    )  # fmt: skip
    assert answer.json()["assistantId"] == "a-2"


def test_a_spending_cap_refuses_and_a_report_passes_it(
    vapi: Vapi, holder: Api, give: Callable[..., Any]
) -> None:
    """E3: the cap stops a call before it starts; what happened all the same is charged."""
    give("5.00")
    holder.post("limits/caps", {"period": "day", "cap": "0.10"})
    assert "spending limit" in vapi.send("assistant-request")["error"]
    assert vapi.report(60)["charged"] == "0.15"


def test_odd_fields_do_not_stop_a_call(make_vapi: Callable[..., Vapi], give: Callable[..., Any]) -> None:
    give("1.00")
    vapi = make_vapi(customer="+1", assistantOverrides=[], metadata=None, type=5)
    answer = vapi.send("assistant-request", phoneNumber=7, assistant="x", customer={"number": 12}, cost=1.5)
    assert answer["assistantOverrides"]["maxDurationSeconds"] == 360
    report = vapi.send("end-of-call-report", endedReason={"a": 1}, durationSeconds="60", timestamp=None)
    assert report["charged"] == "0.00", "no time says that it was answered"


def test_the_operation_is_the_first_measured_in_seconds_or_the_one_that_is_set(
    make_vapi: Callable[..., Vapi], runtime: Runtime, give: Callable[..., Any], service: Callable[..., Any]
) -> None:
    give("100.00")
    service("load_catalog", catalog=catalog.read("recruitment"))
    assert make_vapi().report(61)["charged"] == "2.00", "1 per call and 0.50 per minute"
    service("load_catalog", catalog=catalog.read("metered_plan"))
    vapi = make_vapi()
    assert "not set up" in vapi.send("assistant-request")["error"]
    error = problem(vapi.post(vapi.message("end-of-call-report", durationSeconds=60)), 404, "not_found")
    assert "VAPI_OPERATION" in error["message"]
    service("load_catalog", catalog=catalog.read("ai_services"))
    object.__setattr__(runtime.settings, "vapi_operation", "sms")
    problem(vapi.post(vapi.message("end-of-call-report", durationSeconds=60)), 404, "not_found")
    object.__setattr__(runtime.settings, "vapi_operation", "voice_call")
    assert vapi.report(61)["charged"] == "2.00"


def test_an_allowance_pays_an_unannounced_call_first(
    vapi: Vapi, holder: Api, admin: Api, give: Callable[..., Any], service: Callable[..., Any]
) -> None:
    """E1: also for a call that is only reported."""
    voice = catalog.read("voice") | {"plans": [{"code": "talk", "name": "Talk", "allowances": {"call": 120}}]}
    service("load_catalog", catalog=voice)
    give("1.00")
    assert admin.post("admin/plan", {"account": HOLDER, "plan": "talk"}).status_code == 200
    assert vapi.report(150, began=datetime.now(UTC))["charged"] == "0.15"
    assert holder.get("limits").json()["allowances"][0]["remaining"] == 0


def test_without_a_secret_there_is_nothing(vapi: Vapi, runtime: Runtime) -> None:
    object.__setattr__(runtime.settings, "vapi_secret", None)
    error = problem(vapi.post(vapi.message("assistant-request")), 404, "not_found")
    assert "VAPI_SECRET" in error["message"]


def test_a_database_that_does_not_answer_is_a_sentence_too(
    vapi: Vapi, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **named: Any) -> Any:
        raise errors.DatabaseUnavailable("The database does not answer; try again in a moment.")

    monkeypatch.setattr(runtime.db, "call", fail)
    assert "not possible just now" in vapi.send("assistant-request")["error"]
    problem(vapi.post(vapi.message("end-of-call-report", durationSeconds=60)), 503, "database_unavailable")
