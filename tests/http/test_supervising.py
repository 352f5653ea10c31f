"""For the staff over HTTP: operations alerts (F5), jobs, system and webhook inbox (I7), adjustments tried first (I1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from credits_core.db.port import SERVICE
from credits_core.jobs import JOBS
from credits_core.runtime import get_runtime
from tests.http.answers import Answers
from tests.http.conftest import FINANCE, HOLDER, SUPER, Api, problem

EVENT = "evt_1"


def record_event(**more: Any) -> None:
    event = {"event_id": EVENT, "type": "product.updated", "livemode": False, "object_id": "prod_1"}
    payload = {"data": {"object": {"id": "prod_1", "client_secret": "pi_1_secret_2"}}}
    get_runtime().db.call("record_stripe_event", SERVICE, **event | {"payload": payload} | more)


def open_alert() -> int:
    """The number of an alert about a job that fails."""
    database = get_runtime().db
    for _ in range(3):
        database.call("claim_job", SERVICE, job="poll", every_seconds=0, runner="r")
        database.call("finish_job", SERVICE, job="poll", runner="r", outcome={}, error="Stripe was away.")
    database.call("detect_operations", SERVICE, jobs={"poll": 10})
    return int(database.call("operations_alerts", SERVICE)["items"][0]["alert_id"])


def about_supervising(admin: Api, super_admin: Api) -> Answers:
    """One good answer of every endpoint for those who run the program."""
    number = open_alert()
    record_event()
    admin.post("admin/flags/another_chart", {"description": "Another chart", "percent": 10})
    keep = {"what": "messages", "days": 180, "reason": "Asked for by the auditor"}
    return {
        ("GET", "/credits/admin/retention"): admin.get("admin/retention"),
        ("POST", "/credits/admin/retention"): super_admin.post("admin/retention", keep),
        ("GET", "/credits/admin/alerts"): admin.get("admin/alerts"),
        ("POST", "/credits/admin/alerts/{alert_id}/acknowledge"): admin.post(
            f"admin/alerts/{number}/acknowledge", {"note": "at it"}
        ),
        ("GET", "/credits/admin/jobs"): admin.get("admin/jobs"),
        ("POST", "/credits/admin/jobs/{job}/run"): admin.post("admin/jobs/rollup/run"),
        ("GET", "/credits/admin/system"): admin.get("admin/system"),
        ("GET", "/credits/admin/stripe-events"): admin.get("admin/stripe-events"),
        ("GET", "/credits/admin/stripe-events/{event_id}"): admin.get(f"admin/stripe-events/{EVENT}"),
        ("POST", "/credits/admin/stripe-events/{event_id}/process"): admin.post(
            f"admin/stripe-events/{EVENT}/process"
        ),
        ("POST", "/credits/admin/adjust/preview"): admin.post(
            "admin/adjust/preview", {"account": HOLDER, "amount": "1.00"}
        ),
        ("GET", "/credits/admin/flags/{key}/reach"): admin.get(
            "admin/flags/another_chart/reach", on=True, percent=100
        ),
    }


def test_an_alert_from_its_opening_to_its_end(runtime: Any, admin: Api, api: Callable[..., Api]) -> None:
    """F5: seen by finance too; the first who takes it stays; what is over leaves the list of open ones."""
    number = open_alert()
    (alert,) = api(FINANCE).get("admin/alerts").json()["items"]
    assert (alert["kind"], alert["about"], alert["acknowledged_at"]) == ("job_failing", "poll", None)
    taken = api(FINANCE).post(f"admin/alerts/{number}/acknowledge", {"note": "asked Stripe"}).json()
    again = admin.post(f"admin/alerts/{number}/acknowledge").json()
    assert (again["note"], again["acknowledged_by"]) == ("asked Stripe", taken["acknowledged_by"])
    assert admin.post("admin/jobs/poll/run").json()["ran"] is True
    get_runtime().db.call("detect_operations", SERVICE, jobs={"poll": 10})
    assert admin.get("admin/alerts").json()["items"] == []
    (closed,) = admin.get("admin/alerts", open_only=False).json()["items"]
    assert closed["resolved_at"] and closed["sentence"] == alert["sentence"]
    problem(admin.post("admin/alerts/999/acknowledge"), 404, "not_found")
    problem(admin.post(f"admin/alerts/{number}/acknowledge", {"note": "n" * 501}), 422, "invalid_request")


def test_jobs_are_listed_and_run_by_hand(admin: Api, api: Callable[..., Api], holder: Api) -> None:
    """I7: an administrator runs one at once, and the trail says who."""
    listed = admin.get("admin/jobs").json()["items"]
    assert [job["job"] for job in listed] == list(JOBS) and {job["state"] for job in listed} == {"never"}
    run = admin.post("admin/jobs/verify/run").json()
    assert (run["job"], run["ran"], run["outcome"]["differences"]) == ("verify", True, 0)
    (row,) = admin.get("admin/audit", action="run_job").json()["items"]
    assert row["detail"] == {"job": "verify"}
    problem(admin.post("admin/jobs/nothing/run"), 404, "not_found")
    problem(admin.post("admin/jobs/Verify;/run"), 422, "invalid_request")
    problem(api(FINANCE).post("admin/jobs/verify/run"), 403, "not_allowed")
    assert [job["runs"] for job in admin.get("admin/jobs").json()["items"] if job["job"] == "verify"] == [1]


def test_a_job_that_runs_elsewhere_is_not_run_twice(runtime: Any, admin: Api) -> None:
    """L4: another process has it."""
    get_runtime().db.call("claim_job", SERVICE, job="verify", every_seconds=0, runner="another")
    answer = admin.post("admin/jobs/verify/run").json()
    assert answer == {"job": "verify", "ran": False, "outcome": None}


def test_the_inbox_is_filtered_paged_and_hides_secrets(runtime: Any, admin: Api) -> None:
    """I7, K4: what opens something is never shown."""
    for number in range(3):
        record_event(event_id=f"evt_{number}", object_id=f"prod_{number}")
    first = admin.get("admin/stripe-events", limit=2).json()
    rest = admin.get("admin/stripe-events", limit=2, cursor=first["next_cursor"]).json()
    ids = [event["event_id"] for page in (first, rest) for event in page["items"]]
    assert (ids, rest["next_cursor"]) == (["evt_2", "evt_1", "evt_0"], None)
    (found,) = admin.get("admin/stripe-events", search="prod_1").json()["items"]
    event = admin.get(f"admin/stripe-events/{found['event_id']}")
    assert event.json()["outcome"] == "waiting" and "pi_1_secret_2" not in event.text
    done = admin.post(f"admin/stripe-events/{found['event_id']}/process")
    assert done.json()["outcome"] == "ignored" and "pi_1_secret_2" not in done.text
    assert len(admin.get("admin/stripe-events", outcome="waiting").json()["items"]) == 2
    problem(admin.get("admin/stripe-events", outcome="lost"), 422, "invalid_request")
    problem(admin.get("admin/stripe-events", cursor="x"), 422, "invalid_request")
    problem(admin.get("admin/stripe-events/evt_none"), 404, "not_found")
    problem(admin.post("admin/stripe-events/evt_none/process"), 404, "not_found")


def test_an_adjustment_is_tried_first(admin: Api, holder: Api, give: Callable[..., Any]) -> None:
    """I1, I2: before and after, whether it is allowed, whether a second person decides; nothing is booked by asking."""
    give("10.00")

    def tried(amount: str) -> dict[str, Any]:
        answer = admin.post("admin/adjust/preview", {"account": HOLDER, "amount": amount})
        found: dict[str, Any] = answer.json()
        return found

    more = tried("5.00")
    assert (more["available_before"], more["available_after"], more["allowed"]) == ("10.00", "15.00", True)
    less = tried("-10.01")
    assert less["allowed"] is False and less["reason"].endswith(".")
    assert (tried("5")["needs_approval"], tried("12000")["needs_approval"]) == (False, True)
    assert holder.available() == "10.00"
    problem(admin.post("admin/adjust/preview", {"account": HOLDER, "amount": "0"}), 422, "invalid_request")
    problem(admin.post("admin/adjust/preview", {"account": "no@demo.test", "amount": "1"}), 404, "not_found")
    problem(holder.post("admin/adjust/preview", {"account": HOLDER, "amount": "1"}), 403, "not_allowed")


def test_a_roll_out_is_tried_first(admin: Api) -> None:
    """I6: how many accounts it would reach."""
    admin.post("admin/flags/new_chart", {"description": "Another chart", "on": True, "percent": 0})
    found = admin.get("admin/flags/new_chart/reach", percent=100).json()
    assert (found["now"], found["then"]) == (0, found["accounts"])
    assert admin.get("admin/flags/new_chart/reach").json()["then"] == 0
    problem(admin.get("admin/flags/no_such_flag/reach"), 404, "not_found")
    problem(admin.get("admin/flags/new_chart/reach", percent=101), 422, "invalid_request")


READS = ("alerts", "jobs", "system", "stripe-events", "stripe-events/evt_1")
WRITES = ("alerts/1/acknowledge", "jobs/verify/run", "stripe-events/evt_1/process")


@pytest.mark.parametrize("path", [*READS, *WRITES])
def test_they_are_for_staff_alone(holder: Api, admin: Api, api: Callable[..., Api], path: str) -> None:
    """I4, J3: nobody, a holder, and a holder's key; finance sees alerts and jobs, a key of an administrator all."""
    record_event()
    made = holder.post("api-keys", {"name": "k", "scopes": ["read", "use", "hold", "purchase"]}).json()
    for caller, status, code in (
        (api(None), 401, "not_signed_in"),
        (holder, 403, "not_allowed"),
        (Api(holder.client, made["key"]), 403, "not_allowed"),
    ):
        answer = caller.post(f"admin/{path}") if path in WRITES else caller.get(f"admin/{path}")
        problem(answer, status, code)
    if path in READS:
        key = admin.post("api-keys", {"name": "k", "scopes": ["admin"]}).json()["key"]
        assert Api(holder.client, key).get(f"admin/{path}").status_code == 200
        allowed = api(FINANCE).get(f"admin/{path}").status_code == 200
        assert allowed is (path in ("alerts", "jobs"))


def test_how_long_things_are_kept(admin: Api, api: Callable[..., Api]) -> None:
    """I4, I7: administrators see it, super admins change it, within bounds."""
    keep = {"what": "messages", "days": 60, "reason": "Asked for by the auditor"}
    problem(admin.post("admin/retention", keep), 403, "not_allowed")
    boss = api(SUPER)
    problem(boss.post("admin/retention", keep | {"days": 34}), 422, "invalid_request")
    problem(boss.post("admin/retention", keep | {"what": "ledger"}), 422, "invalid_request")
    assert boss.post("admin/retention", keep).status_code == 200
    kept = {item["what"]: item["days"] for item in admin.get("admin/retention").json()["items"]}
    assert kept == {"messages": 60, "stripe_events": 90}
