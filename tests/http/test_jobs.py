"""Background jobs: each run once over any number of processes, recorded, and from the command line (L4)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from credits_core.errors import Conflict, LedgerDifference
from credits_core.jobs import JOBS, LONG, Job, JobRunner, run_job
from credits_core.runtime import Runtime
from tests.http.conftest import Api, TestClient


def job_that(run: Callable[[Runtime], Any], every_seconds: int = 60) -> Job:
    return Job("test", every_seconds, 60, "is for a test", run)


def test_a_job_runs_in_one_process_each_period(runtime: Runtime) -> None:
    ran: list[int] = []

    def slowly(_: Runtime) -> dict[str, int]:
        time.sleep(0.05)
        ran.append(1)
        return {"done": 1}

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(
            pool.map(lambda n: run_job(runtime, job_that(slowly), f"runner {n}", every_seconds=60), range(8))
        )
    assert len(ran) == 1
    assert sorted(outcomes, key=str) == [None] * 7 + [{"done": 1}] or outcomes.count(None) == 7


def test_a_run_that_was_killed_is_taken_over_when_its_lease_ends(
    runtime: Runtime, service: Callable[..., Any]
) -> None:
    claimed = service("claim_job", job="test", every_seconds=0, runner="killed", lease_seconds=1)
    assert claimed["claimed"]
    job = job_that(lambda _: {"n": 1})
    assert run_job(runtime, job, "me", every_seconds=0) is None
    time.sleep(1.1)
    assert run_job(runtime, job, "me", every_seconds=0) == {"n": 1}


def test_outcomes_and_errors_are_recorded(runtime: Runtime, service: Callable[..., Any]) -> None:
    def fail(_: Runtime) -> dict[str, int]:
        raise Conflict("Something is in the way; remove it.")

    with pytest.raises(Conflict):
        run_job(runtime, job_that(fail), "me", every_seconds=0)
    (row,) = service("jobs_status")["items"]
    assert (row["job"], row["last_error"], row["runs"]) == ("test", "Something is in the way; remove it.", 1)
    assert run_job(runtime, job_that(lambda _: {"n": 2}), "me", every_seconds=0) == {"n": 2}
    (row,) = service("jobs_status")["items"]
    assert (row["last_error"], row["last_outcome"], row["runs"]) == (None, {"n": 2}, 2)


@pytest.mark.parametrize("name", sorted(JOBS))
def test_every_job_runs_on_a_quiet_database(runtime: Runtime, name: str) -> None:
    assert run_job(runtime, JOBS[name], "me", every_seconds=0) is not None


def test_the_poll_credits_what_was_paid_while_nobody_returned(
    runtime: Runtime, holder: Api, browser: TestClient
) -> None:
    session = holder.post("checkout", {"package": "usd_10"}).json()["session_id"]
    assert runtime.stripe.simulator is not None
    local = TestClient(browser.app, base_url="http://127.0.0.1:8501", client=("127.0.0.1", 50000))
    assert (
        local.post(f"/sim/control/sessions/{session}/pay", json={"card": "4242424242424242"}).status_code
        == 200
    )
    assert holder.available() == "0.00"
    for _ in range(2):
        run_job(runtime, JOBS["poll"], "me", every_seconds=0)
    assert holder.available() == "10.00"


def test_a_difference_in_the_ledger_is_an_error_of_the_job(
    runtime: Runtime, holder: Api, give: Callable[..., Any], owner_sql: Callable[..., Any]
) -> None:
    give("5.00")
    owner_sql("update credits.accounts set posted_micros = posted_micros + 1, grant_left_micros = grant_left_micros + 1"
              " where posted_micros > 0")  # fmt: skip
    with pytest.raises(LedgerDifference, match="differences"):
        run_job(runtime, JOBS["verify"], "me", every_seconds=0)


def test_the_runner_survives_a_failing_job_and_stops_at_once(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = threading.Event()
    calls: list[str] = []

    def fail(_: Runtime) -> dict[str, int]:
        calls.append("fail")
        raise RuntimeError("unforeseen")

    def succeed(_: Runtime) -> dict[str, int]:
        ran.set()
        return {}

    jobs = {"a": Job("a", 0, 60, "fails", fail), "b": Job("b", 0, 60, "works", succeed)}
    monkeypatch.setattr("credits_core.jobs.JOBS", jobs)
    runner = JobRunner(runtime, tick_seconds=0.02)
    runner.start()
    assert ran.wait(10)
    while len(calls) < 2:
        time.sleep(0.01)
    started = time.monotonic()
    runner.stop()
    assert time.monotonic() - started < 2
    assert job_threads() == []


def job_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("jobs-")]


def test_a_slow_job_delays_no_quick_one_and_is_waited_for_at_the_end(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L4: a reconciliation of an hour, and holds still expire; a stop lets the running job come to its end."""
    begun, let_go, three_times = threading.Event(), threading.Event(), threading.Event()
    ended: list[str] = []
    meanwhile: list[str] = []

    def slow(_: Runtime) -> dict[str, int]:
        begun.set()
        assert let_go.wait(30)
        ended.append("slow")
        return {}

    def quick(_: Runtime) -> dict[str, int]:
        if begun.is_set() and not let_go.is_set():
            meanwhile.append("quick")
            if len(meanwhile) == 3:
                three_times.set()
        return {}

    jobs = {"slow": Job("slow", 0, 60, "waits", slow, LONG), "quick": Job("quick", 0, 60, "works", quick)}
    monkeypatch.setattr("credits_core.jobs.JOBS", jobs)
    runner = JobRunner(runtime, tick_seconds=0.01)
    runner.start()
    with ThreadPoolExecutor(1) as other:
        try:
            assert begun.wait(10) and three_times.wait(10)
            stopped = other.submit(runner.stop)
            assert not ended and not stopped.done()
        finally:
            let_go.set()
        stopped.result(timeout=10)
    assert (ended, job_threads()) == (["slow"], [])


def test_what_takes_long_has_a_lane_of_its_own() -> None:
    """L4: nobody waits for it, nor it for them; what waits for others' servers is apart from what needs only our database."""
    lanes: dict[str, set[str]] = {}
    for job in JOBS.values():
        lanes.setdefault(job.lane, set()).add(job.name)
    assert lanes["long"] == {"reconcile", "prune", "verify"}
    assert lanes["reload"] == {"auto-reload"}
    assert lanes["quick"] == {"rollup", "calls", "holds", "alerts", "expiring", "catalog", "expire"}
    assert lanes["outside"] == {"deliveries", "operations"}
