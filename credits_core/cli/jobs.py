"""`jobs list` and `jobs run NAME`: the background work, from the command line."""

from __future__ import annotations

import argparse
import json
import time

from credits_core.cli import runtime_of_environment
from credits_core.db.port import SERVICE
from credits_core.jobs import JOBS, run_job, runner_name

WAIT_SECONDS = 15


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser(
        "list", help="what jobs there are and when each ran last", description="List all jobs."
    )
    run_one = actions.add_parser(
        "run", help="run one job now", description="Run one job now; while another process runs it, wait."
    )
    run_one.add_argument("name", choices=JOBS, help="which job")


def run(arguments: argparse.Namespace) -> int:
    with runtime_of_environment() as runtime:
        if arguments.action == "list":
            known = {item["job"]: item for item in runtime.db.call("jobs_status", SERVICE)["items"]}
            for job in JOBS.values():
                seen = known.get(job.name, {})
                print(f"{job.name}: {job.does}, every {job.every_seconds} s; "
                      f"last finished {seen.get('last_finished_at') or 'never'}"
                      f"{'; last error: ' + seen['last_error'] if seen.get('last_error') else ''}")  # fmt: skip
            return 0
        job, runner, give_up = JOBS[arguments.name], runner_name(), time.monotonic() + WAIT_SECONDS
        while (
            outcome := run_job(runtime, job, runner, every_seconds=0)
        ) is None and time.monotonic() < give_up:
            time.sleep(0.2)  # another process is at it
    if outcome is None:
        print(f"{arguments.name} has been running in another process for a while; see: jobs list.")
        return 1
    print(f"{arguments.name} done: {json.dumps(dict(outcome), default=str)}")
    return 0
