"""The real program in processes of its own: start, restart, kill, several at once, commands beside it (L1, L4, A3)."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.program import ROOT, Program, free_port

SECOND_START_SECONDS = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def program(folder: Path) -> Iterator[Program]:
    running = Program(folder)
    yield running
    running.close()


def test_a_fresh_servers_first_page_for_anybody_is_the_sign_in_form(program: Program) -> None:
    with httpx.Client(base_url=program.url) as stranger:
        answer = stranger.get("/accounts")
        assert (answer.status_code, answer.headers["location"]) == (303, "/auth/sign-in?next=%2Faccounts")
        assert "demo-only" in stranger.get(answer.headers["location"]).text


@contextmanager
def signed_in(program: Program, email: str = "holder@demo.test") -> Iterator[httpx.Client]:
    with httpx.Client(base_url=program.url, timeout=30) as browser:
        csrf = re.search(r'name="csrf" value="(\w+)"', browser.get("/auth/sign-in").text)
        assert csrf
        fields = {"email": email, "password": "demo-only", "csrf": csrf[1], "next": "/"}
        assert browser.post("/auth/sign-in", data=fields).status_code == 303
        yield browser


def test_signed_in_people_get_streamlits_page_under_our_policy(program: Program) -> None:
    with signed_in(program) as browser:
        page = browser.get("/overview")
        assert page.status_code == 200 and '<div id="root">' in page.text
        assert "'sha256-" in page.headers["content-security-policy"]
        script = re.search(r'src="\./(static/js/[^"]+)"', page.text)
        assert script
        asset = browser.get(f"/{script[1]}")
        assert asset.headers["content-encoding"] == "gzip" and "immutable" in asset.headers["cache-control"]
        assert browser.get("/app/static/Inter-Regular.woff2").status_code == 200
        for closed in ("/_stcore/metrics", "/_stcore/agent/openapi.json", "/overview/x"):
            assert browser.get(closed).status_code == 404


def test_commands_work_beside_the_program(program: Program) -> None:
    assert program.command("verify").stdout.startswith("0 differences")
    assert program.command("jobs", "run", "poll").returncode == 0
    assert "poll" in program.command("jobs", "list").stdout
    changed = program.command("price", "set", "call", "--per", "minute=0.15", "--increments", "1/1")
    assert "0.15 per minute, billed 1/1 s" in changed.stdout, changed.stderr
    with program.api() as api:
        assert api.post("check", json={"operation": "call", "quantity": 90}).json()["cost"] == "0.225"
    assert program.command("price", "set", "call", "--increments", "60/60").returncode == 0
    nobody = program.command("token", "--email", "nobody@demo.test")
    assert nobody.returncode == 1 and "holder@demo.test" in nobody.stderr and "Traceback" not in nobody.stderr


def test_several_programs_share_one_database_and_each_job_runs_once(program: Program) -> None:
    other = Program(program.data_dir)
    try:
        with program.api() as first, other.api() as second:
            assert first.get("me").json() == second.get("me").json()
        with signed_in(program) as browser:
            session = browser.cookies["credits_session"]
            cookie = {"Cookie": f"credits_session={session}"}
            assert httpx.get(f"{other.url}/overview", headers=cookie).status_code == 200
            browser.post("/auth/sign-out", headers={"Origin": program.url})
            assert httpx.get(f"{other.url}/overview", headers=cookie).status_code == 303
    finally:
        other.stop()
        other.close()
    assert httpx.get(f"{program.url}/api/health").json()["database"] == "ok"


def restarted(data: Path) -> Program:
    """After a kill. Up to three times: another worker's browser may have both processors in the very second."""
    for _ in range(2):
        program = Program(data)
        if program.start_seconds < SECOND_START_SECONDS:
            return program
        program.kill()
        program.close()
    return Program(data)


def test_killed_between_payment_and_return_the_poll_credits_once(folder: Path) -> None:
    """A3: kill -9 after the payment; after a restart, in under 5 seconds, the purchase is credited without the return page."""
    data = folder / "killed"
    data.mkdir()
    first = Program(data)
    with first.api() as api:
        session = api.post("checkout", json={"package": "usd_10"}).json()["session_id"]
        httpx.post(f"{first.url}/sim/control/webhooks", json={"url": None}, timeout=10)
        first.pay(session)
        first.kill()
    second = restarted(data)
    try:
        assert second.start_seconds < SECOND_START_SECONDS
        with second.api() as api:
            for _ in range(300):
                if (balance := api.get("balance").json()["available"]) != "0.00":
                    break
                time.sleep(0.1)
            assert balance == "10.00"
            for _ in range(3):
                assert api.get("success", params={"session_id": session}).json()["status"] == "credited"
            assert api.get("balance").json()["available"] == "10.00"
        assert second.command("verify").stdout.startswith("0 differences")
        second.stop()
        assert not (data / "postgres" / "postmaster.pid").exists()
    finally:
        first.close()
        second.close()


def test_streamlit_run_serves_the_same_program(program: Program) -> None:
    other = Program(program.data_dir, "-m", "streamlit", "run", "app.py")
    try:
        assert httpx.get(f"{other.url}/accounts").status_code == 303
        assert httpx.get(f"{other.url}/api/nothing").json()["error"]["code"] == "not_found"
    finally:
        other.stop()
        other.close()


def test_a_start_that_cannot_be_says_why_without_a_trace(program: Program, tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("9.6")
    environ = program.environ | {"DATA_DIR": str(tmp_path), "PORT": str(free_port())}
    started = subprocess.run(
        [sys.executable, "-m", "credits_core", "serve"],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert started.returncode != 0
    assert "cannot start" in started.stderr and "Traceback" not in started.stderr
