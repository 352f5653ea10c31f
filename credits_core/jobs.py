"""Work that nobody waits for: poll Stripe, roll up usage, free holds, expire grants, tell alerts, verify the ledger.

Each app process runs a few threads that ask the database for due jobs; `claim_job` gives each run to one process only. Jobs of one
lane run one after the other in one thread, so that what takes long, or waits for strangers, keeps only its own kind waiting.
The same jobs run from the command line: `python -m credits_core jobs run poll`.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from credits_core import (
    alerts,
    auto_reload,
    calls,
    catalog_drafts,
    fulfillment,
    holds,
    ledger,
    operations,
    operations_telling,
    outbox,
    payments,
    reconcile,
    refunds,
    retention,
    reversals,
    subscriptions,
)
from credits_core.db.port import SERVICE, Database, Identity
from credits_core.errors import CreditsError, LedgerDifference, NotFound
from credits_core.metrics import METRICS
from credits_core.runtime import Runtime

logger = logging.getLogger(__name__)

TICK_SECONDS = 2.0
STOP_WAIT_SECONDS = 10.0
POLL_LIMIT = 50
EXPIRE_LIMIT = 500

Outcome = Mapping[str, Any]

# Lanes. QUICK: our database alone, in bounded portions. STRIPE: asks Stripe, which can be slow. RELOAD: charges cards, which
# somebody on the phone may be waiting for. OUTSIDE: mail servers and customers' systems. LONG: takes minutes; nobody waits for it.
QUICK, STRIPE, RELOAD, OUTSIDE, LONG = "quick", "stripe", "reload", "outside", "long"


@dataclass(frozen=True)
class Job:
    """`lease_seconds`: how long a run counts as alive; after a kill the job waits that long. Longer than a normal run,
    but an overlap is harmless: what jobs do is decided under locks in SQL."""

    name: str
    every_seconds: int
    lease_seconds: int
    does: str
    run: Callable[[Runtime], Outcome]
    lane: str = QUICK


def _poll(runtime: Runtime) -> Outcome:
    return fulfillment.poll(runtime.db, runtime.stripe, limit=POLL_LIMIT)


def _send_refunds(runtime: Runtime) -> Outcome:
    return refunds.send(runtime.db, runtime.stripe)


def _settle_reviews(runtime: Runtime) -> Outcome:
    return payments.settle_reviews(runtime.db, runtime.stripe)


def _follow_reversals(runtime: Runtime) -> Outcome:
    known = {item["job"]: item for item in runtime.db.call("jobs_status", SERVICE)["items"]}
    last = known.get("reversals", {}).get("last_outcome") or {}
    return reversals.follow(runtime.db, runtime.stripe, last.get("until"))


def _auto_reload(runtime: Runtime) -> Outcome:
    return auto_reload.run(runtime.db, runtime.stripe, runtime.settings.base_url)


def _subscriptions(runtime: Runtime) -> Outcome:
    return subscriptions.poll(runtime.db, runtime.stripe, limit=POLL_LIMIT)


def _rollup(runtime: Runtime) -> Outcome:
    return ledger.rollup_usage(runtime.db, SERVICE)


def _apply_releases(runtime: Runtime) -> Outcome:
    return catalog_drafts.apply_releases(runtime.db, SERVICE)


def _expire(runtime: Runtime) -> Outcome:
    return ledger.expire_grants(runtime.db, SERVICE, limit=EXPIRE_LIMIT)


def _settle_calls(runtime: Runtime) -> Outcome:
    return calls.settle_abandoned_calls(runtime.db, SERVICE, limit=EXPIRE_LIMIT)


def _expire_holds(runtime: Runtime) -> Outcome:
    return holds.expire_holds(runtime.db, SERVICE, limit=EXPIRE_LIMIT)


def _detect_alerts(runtime: Runtime) -> Outcome:
    return alerts.detect_alerts(runtime.db, SERVICE)


def _reconcile(runtime: Runtime) -> Outcome:
    done = reconcile.run(runtime.db, runtime.stripe)
    if done is None:
        return {}
    METRICS.gauge(
        "reconciliation_differences",
        "Differences the last reconciliation of this process found.",
        done["found"],
    )
    return {"reconciliation_id": done["reconciliation_id"], "differences": done["found"]}


def _tell_expiring(runtime: Runtime) -> Outcome:
    return alerts.tell_expiring(runtime.db, SERVICE)


def _deliveries(runtime: Runtime) -> Outcome:
    return outbox.run(runtime)


def _operations(runtime: Runtime) -> Outcome:
    periods = {job.name: job.every_seconds for job in JOBS.values()}
    return operations.detect(runtime.db, periods) | operations_telling.tell(runtime)


def _prune(runtime: Runtime) -> Outcome:
    return retention.prune(runtime.db)


def _verify(runtime: Runtime) -> Outcome:
    found = ledger.verify(runtime.db, SERVICE)
    differences = len(found["differences"])
    METRICS.gauge(
        "ledger_differences", "Differences the last ledger check of this process found.", differences
    )
    if differences:
        raise LedgerDifference(
            f"The ledger check found {differences} differences; run python -m credits_core verify for the list.",
            detail={"differences": found["differences"][:20]},
        )
    return {"accounts": found["accounts"], "differences": 0}


JOBS: dict[str, Job] = {
    job.name: job
    for job in (
        Job("poll", 10, 30, "asks Stripe about purchases that are not credited yet", _poll, STRIPE),
        Job("refunds", 10, 120, "sends approved refunds to Stripe", _send_refunds, STRIPE),
        Job("reviews", 10, 120, "credits payments that a review decided to credit", _settle_reviews, STRIPE),
        Job("reversals", 60, 120, "takes up refunds and disputes that no webhook told of", _follow_reversals, STRIPE),
        Job("auto-reload", 10, 120, "buys credits where an owner agreed to it and the balance is low", _auto_reload, RELOAD),
        Job("subscriptions", 30, 120, "asks Stripe about renewals, failed payments and ends", _subscriptions, STRIPE),
        Job("rollup", 30, 60, "adds new usage to the 15-minute sums behind charts", _rollup),
        Job("calls", 30, 60, "ends running calls nobody has heard of for a while", _settle_calls),
        Job("holds", 30, 60, "frees reserved credits nobody captured or released in time", _expire_holds),
        Job("alerts", 30, 60, "tells account holders whose balance went below a level", _detect_alerts),
        Job("expiring", 600, 60, "tells account holders what expires in 30, 7 and 1 days", _tell_expiring),
        Job("deliveries", 2, 60, "sends e-mails, chat messages and webhooks that are due", _deliveries, OUTSIDE),
        Job("catalog", 30, 60, "changes packages and plans whose release date has come", _apply_releases),
        Job("expire", 60, 60, "books grants that have expired", _expire),
        Job("reconcile", 10, 600, "compares our books with Stripe's: every day, and when somebody asks", _reconcile, LONG),
        Job("operations", 60, 120, "tells the staff of late jobs, failing payments, queues and differences", _operations, OUTSIDE),
        Job("prune", 3600, 600, "removes old messages, and what old Stripe events said", _prune, LONG),
        Job("verify", 3600, 600, "recomputes every balance from the ledger", _verify, LONG),
    )
}  # fmt: skip


def run_job(runtime: Runtime, job: Job, runner: str, *, every_seconds: int) -> Outcome | None:
    """Run a job if it is due and nobody else runs it; None when it was not ours to run.

    Its outcome or error is recorded; an error is raised again.
    """
    claim = runtime.db.call(
        "claim_job",
        SERVICE,
        job=job.name,
        every_seconds=every_seconds,
        runner=runner,
        lease_seconds=job.lease_seconds,
    )
    if not claim["claimed"]:
        return None
    started = time.perf_counter()
    try:
        outcome = dict(job.run(runtime))
    except Exception as error:
        text = error.message if isinstance(error, CreditsError) else type(error).__name__
        said = error.detail if isinstance(error, LedgerDifference) else {}
        METRICS.count("job_runs_total", "Runs of background jobs.", job=job.name, outcome="failed")
        runtime.db.call("finish_job", SERVICE, job=job.name, runner=runner, outcome=said, error=text)
        raise
    runtime.db.call("finish_job", SERVICE, job=job.name, runner=runner, outcome=outcome)
    METRICS.count("job_runs_total", "Runs of background jobs.", job=job.name, outcome="done")
    ms = round((time.perf_counter() - started) * 1000, 1)
    logger.log(logging.INFO if any(isinstance(n, int) and n for n in outcome.values()) else logging.DEBUG, "job done",
               extra={"job": job.name, "outcome": outcome, "ms": ms})  # fmt: skip
    return outcome


def run_now(runtime: Runtime, identity: Identity, name: str) -> Outcome | None:
    """Run a job for an administrator, whether it is due or not; None while another process runs it. NotFound for a name that
    is none."""
    if name not in JOBS:
        raise NotFound(f"There is no job {name}; see the list of jobs.")
    runtime.db.call("request_job", identity, job=name)
    return run_job(runtime, JOBS[name], runner_name(), every_seconds=0)


def overview(db: Database, identity: Identity) -> list[dict[str, Any]]:
    """Every job of this program for staff, with its last run as the database knows it: name, does, every_seconds, state (running,
    failed, late, waiting, never), due_at, last_started_at, last_finished_at, last_outcome, last_error, failures, runs."""
    known = {item["job"]: item for item in db.call("jobs_status", identity)["items"]}
    late = {
        item["about"]
        for item in db.call("operations_alerts", identity)["items"]
        if item["kind"] == "job_late"
    }
    rows = []
    for job in JOBS.values():
        item = known.get(job.name, {})
        state = "waiting" if item.get("runs") else "never"
        if item.get("is_running"):
            state = "running"
        elif job.name in late:
            state = "late"
        elif item.get("last_error"):
            state = "failed"
        rows.append(
            {**item, "job": job.name, "does": job.does, "every_seconds": job.every_seconds, "state": state}
        )
    return rows


def runner_name() -> str:
    """Which process this is, for the record of jobs."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"


class JobRunner:
    """The threads of one app process, one for each lane of jobs."""

    def __init__(self, runtime: Runtime, *, tick_seconds: float = TICK_SECONDS) -> None:
        self._runtime = runtime
        self._tick_seconds = tick_seconds
        self._name = runner_name()
        self._stop = threading.Event()
        lanes = dict.fromkeys(job.lane for job in JOBS.values())
        self._threads = [
            threading.Thread(target=self._work, args=(lane,), name=f"jobs-{lane}", daemon=True)
            for lane in lanes
        ]
        # When this process may next ask for a job: spares the database a question every tick.
        self._next = dict.fromkeys(JOBS, 0.0)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask the threads to end, and wait for the jobs that are running now; one that takes longer is left to its lease."""
        self._stop.set()
        until = time.monotonic() + STOP_WAIT_SECONDS
        for thread in self._threads:
            thread.join(max(until - time.monotonic(), 0))
            if thread.is_alive():
                logger.warning("a job is still running at the end", extra={"thread": thread.name})

    def _work(self, lane: str) -> None:
        while not self._stop.wait(self._tick_seconds):
            for job in JOBS.values():
                if self._stop.is_set():
                    return
                if job.lane == lane and time.monotonic() >= self._next[job.name]:
                    self._next[job.name] = time.monotonic() + job.every_seconds
                    self._run(job)

    def _run(self, job: Job) -> None:
        try:
            run_job(self._runtime, job, self._name, every_seconds=job.every_seconds)
        except CreditsError as error:
            logger.error("job failed: %s", error.message, extra={"job": job.name, "detail": error.detail})
        except Exception:
            # A job must not end the thread: the next run may find the world in order again.
            logger.exception("job failed", extra={"job": job.name})
