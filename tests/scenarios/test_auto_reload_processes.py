"""Auto-reload in real processes (A10, L4): `python -m credits_core jobs run auto-reload` ten times at once, and killed (kill -9) in
the middle of an attempt. One charge at Stripe, one credit.

The processes share what processes of an installation share: the database of a data folder, and a Stripe (the simulator's file).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from credits_core import auto_reload, saved_cards
from credits_core.auth.providers import DemoAuth
from credits_core.config import Settings
from credits_core.db import embedded
from credits_core.db.port import SERVICE, user_identity
from credits_core.runtime import Runtime, make_runtime
from credits_core.stripe_sim import control_money
from credits_core.units import parse_credits as micros
from tests.program import ROOT

BASE = "http://127.0.0.1:8501"
SECONDS = 240  # ten interpreters at once on a busy machine
RUN = ["-m", "credits_core", "jobs", "run", "auto-reload"]
# The work itself, without the lease that gives a job to one process: all begin when the line comes in.
TOGETHER = """
import json, sys
from credits_core import auto_reload
from credits_core.config import Settings
from credits_core.runtime import make_runtime
runtime = make_runtime(Settings.from_env())
print("ready", flush=True)
sys.stdin.readline()
print(json.dumps(auto_reload.run(runtime.db, runtime.stripe, runtime.settings.base_url)))
runtime.close()
"""
# The same command, which stops at a point of an attempt and waits there for its end.
STOPS_AT = """
import sys
from credits_core import auto_reload, fulfillment
from credits_core.cli import main
from credits_core.stripe_cards import StripeCards
def stop(*_, **__):
    print("here", flush=True)
    sys.stdin.readline()
{where} = stop
main(["jobs", "run", "auto-reload"])
"""
POINTS = {
    "before the charge": ("StripeCards.charge_off_session", 0),
    "after the charge": ("fulfillment.fulfill_session", 1),
    "after the credit": ("auto_reload._finish", 1),
}


class Install:
    """An installation whose demo holder has 3.50 credits, a saved card and an agreement: below 5, up to 25."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runtime: Runtime = make_runtime(Settings(data_dir=folder, demo=False))
        provider, self.db = self.runtime.identity_provider, self.runtime.db
        assert isinstance(provider, DemoAuth)
        claims = provider.claims_of("holder@demo.test")
        assert claims is not None
        self.holder = user_identity(claims)
        page = saved_cards.start_saving(self.runtime, self.holder, BASE)
        assert self.runtime.stripe.simulator is not None
        self.simulator = self.runtime.stripe.simulator
        control_money.pay_session(
            self.simulator, f"{BASE}/sim", {"card": "4242424242424242"}, page.session_id
        )
        saved_cards.finish_saving(self.runtime, self.holder, page.session_id)
        account = self.db.call("find_account", SERVICE, account="holder@demo.test")["account_id"]
        give = {"account_id": account, "amount_micros": micros("3.5"), "reason": "Start"}
        self.db.call("adjust", SERVICE, **give, idempotency_key="start")
        auto_reload.agree(
            self.runtime, self.holder, threshold_micros=micros("5"), target_micros=micros("25"), cap_day_cents=5000,
            cap_month_cents=9000, consent_text=auto_reload.CONSENT_TEXT,
        )  # fmt: skip
        environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "DATA_DIR": str(folder), "DEMO": "0"}
        self.options: dict[str, Any] = {"cwd": ROOT, "env": environ, "text": True}

    def process(self, *arguments: str) -> subprocess.Popen[str]:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([sys.executable, *arguments], **self.options, **pipes)

    def command(self) -> str:
        done = subprocess.run(
            [sys.executable, *RUN], **self.options, capture_output=True, timeout=SECONDS, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def time_passes(self) -> None:
        """The leases of the job and of the attempt run out, and the attempt is old."""
        assert self.runtime.server is not None
        with psycopg.connect(self.runtime.server.owner_dsn(), autocommit=True) as owner:
            owner.execute("update credits.jobs set lease_until = '-infinity'")
            owner.execute(
                "update credits.auto_reload_attempts set lease_until = lease_until - interval '5 minutes',"
                " created_at = created_at - interval '5 minutes'"
            )

    @property
    def charges(self) -> list[str]:
        return [charge["status"] for charge in self.simulator.store.find("charge", {})]

    @property
    def credited(self) -> list[int]:
        found = self.db.call("transactions", self.holder, kind="purchase")["items"]
        return [row["amount_micros"] for row in found]

    def settled(self) -> None:
        """One charge of $21.50 and its credits, and nothing that is still to be done."""
        state = auto_reload.state(self.db, self.holder)
        assert (self.charges, self.credited) == (["succeeded"], [micros("21.5")])
        assert [one["status"] for one in state["attempts"]] == ["succeeded"]
        assert (state["next_status"], state["available_micros"]) == ("idle", micros("25"))
        assert state["reloaded_today_cents"] == 2150
        assert self.db.call("verify", SERVICE)["differences"] == []


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Install]:
    made = Install(tmp_path / "data")
    yield made
    made.runtime.close()
    embedded.stop(made.folder)


def finished(processes: list[subprocess.Popen[str]], line: str = "") -> list[str]:
    """What they said in the end; each ends well, and none outlives the test."""
    try:
        for process in processes:
            if line and process.stdin is not None:
                process.stdin.write(line)
                process.stdin.flush()
        said = [process.communicate(timeout=SECONDS) for process in processes]
        assert [process.returncode for process in processes] == [0] * len(processes), said
        return [out for out, _ in said]
    finally:
        for process in processes:
            process.kill()


def test_the_command_in_ten_processes_at_once_charges_once(install: Install) -> None:
    said = finished([install.process(*RUN) for _ in range(10)])
    assert sum('"charged": 1' in each for each in said) == 1, said
    install.settled()
    assert '"charged": 0' in install.command()
    install.settled()


def test_ten_workers_in_processes_of_their_own_charge_once(install: Install) -> None:
    """Without the job's lease in front: all ten are at it in the same moment."""
    workers = [install.process("-c", TOGETHER) for _ in range(10)]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n", worker.communicate()
    counts = [json.loads(said) for said in finished(workers, "now\n")]
    assert sum(count["charged"] for count in counts) == 1, counts
    assert sum(count["refused"] + count["waiting"] for count in counts) == 0, counts
    install.settled()


@pytest.mark.parametrize("point", POINTS)
def test_a_process_that_is_killed_in_an_attempt_is_settled_by_the_next_run(
    install: Install, point: str
) -> None:
    where, charges = POINTS[point]
    killed = install.process("-c", STOPS_AT.format(where=where))
    assert killed.stdout is not None
    assert killed.stdout.readline() == "here\n", killed.communicate()
    killed.kill()  # SIGKILL: no handler, no goodbye
    killed.communicate(timeout=SECONDS)
    assert len(install.charges) == charges
    assert auto_reload.state(install.db, install.holder)["next_status"] == "in_flight"
    install.time_passes()
    assert '"charged": 1' in install.command()
    install.settled()
    install.time_passes()
    assert '"charged": 0' in install.command()
    install.settled()
