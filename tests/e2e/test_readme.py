"""The README's first five minutes as it tells them: its own lines, run by a shell against the program."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from decimal import Decimal
from typing import Any

import pytest

from tests.program import ROOT, Program

README = (ROOT / "README.md").read_text("utf-8")


def story() -> str:
    """The shell lines that take a token and call the API."""
    (lines,) = [
        block for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) if block.startswith("TOKEN=")
    ]
    return str(lines)


def run(app: Program, lines: str) -> list[str]:
    """What lines of the README say in a shell; only Python and port are this test's own."""
    assert shutil.which("curl"), "The README's example needs curl: install it (apt-get install curl)."
    here = lines.replace(".venv/bin/python", sys.executable).replace("8501", str(app.port))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", here],
        cwd=ROOT, env=app.environ, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()


@pytest.fixture(scope="module")
def told(app: Program) -> list[Any]:
    """The answers of the story, after the purchase that comes before it: balance, check, use, call."""
    with app.api() as api:
        app.pay(session := api.post("checkout", json={"package": "usd_10"}).json()["session_id"])
        assert api.get("success", params={"session_id": session}).json()["status"] == "credited"
    return [json.loads(line) for line in run(app, story())]


def test_the_story_buys_checks_and_charges(told: list[Any]) -> None:
    balance, check, use, call = told
    assert balance["available"] == "10.00"
    assert (check["allowed"], check["cost"]) == (True, "0.30")
    assert (use["charged"], use["available"]) == ("0.30", "9.70")
    assert (call["charged"], call["available"]) == ("0.30", "9.40")


def test_the_same_lines_again_charge_the_use_once(app: Program, told: list[Any]) -> None:
    _, _, use, _ = [json.loads(line) for line in run(app, story())]
    assert use["transaction_id"] == told[2]["transaction_id"] and use["replayed"]


def test_billed_by_the_second_it_is_0_225_and_the_past_stays(app: Program, told: list[Any]) -> None:
    (command,) = re.findall(r"`(\.venv/bin/python -m credits_core price set .*?)`", README)
    assert "0.15" in run(app, command)[-1]
    with app.api() as api:
        ask = {"operation": "call", "quantity": 90}
        assert api.post("check", json=ask).json()["cost"] == "0.225"
        assert api.post("use", json={**ask, "idempotency_key": "call-2"}).json()["charged"] == "0.225"
        past = api.get(f"transactions/{told[2]['transaction_id']}").json()
        assert Decimal(past["amount"]) == Decimal("-0.30")
    assert app.command("verify").stdout.startswith("0 differences")
