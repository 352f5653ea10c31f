"""Reconciliation over HTTP and from the command line (H5): who may, what is answered, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from credits_core import reconcile
from credits_core.cli import main
from credits_core.db.port import SERVICE
from credits_core.runtime import Runtime, get_runtime
from credits_core.stripe_sim import control_money
from tests.http.answers import Answers
from tests.http.conftest import FINANCE, Api, problem

SIM = "http://127.0.0.1:8501/sim"


def pay_unnoticed(runtime: Runtime, database_purchase: Callable[[], str]) -> None:
    """Somebody pays, and nobody tells us."""
    assert runtime.stripe.simulator is not None
    control_money.pay_session(
        runtime.stripe.simulator, SIM, {"card": "4242424242424242"}, database_purchase()
    )


def body(days: int = 2) -> dict[str, str]:
    now = datetime.now(UTC)
    return {"from": (now - timedelta(days=days)).isoformat(), "to": (now + timedelta(days=1)).isoformat()}


def about_reconciling(staff: Api) -> Answers:
    """For two payments that were never credited: one is repaired, the other accepted."""
    runtime = get_runtime()
    for _ in range(2):
        pay_unnoticed(runtime, lambda: staff.post("checkout", {"package": "usd_10"}).json()["session_id"])
    started = staff.post("admin/reconciliations", body())
    reconcile.run(runtime.db, runtime.stripe)
    found = staff.get("admin/reconciliations/differences", status="open")
    one, other = (item["difference_id"] for item in found.json()["items"])
    path = "admin/reconciliations/differences"
    return {
        ("POST", "/credits/admin/reconciliations"): started,
        ("GET", "/credits/admin/reconciliations"): staff.get("admin/reconciliations"),
        ("GET", "/credits/admin/reconciliations/differences"): found,
        ("POST", "/credits/admin/reconciliations/differences/{difference_id}/repair"): staff.post(
            f"{path}/{one}/repair"
        ),
        ("POST", "/credits/admin/reconciliations/differences/{difference_id}/accept"): staff.post(
            f"{path}/{other}/accept", {"reason": "a test"}
        ),
    }


@pytest.fixture
def finance(api: Callable[[str | None], Api]) -> Api:
    return api(FINANCE)


def test_finance_starts_a_run_and_reads_it(runtime: Runtime, finance: Api, holder: Api, admin: Api) -> None:
    pay_unnoticed(runtime, lambda: holder.post("checkout", {"package": "usd_10"}).json()["session_id"])
    sent = body()
    started = finance.post("admin/reconciliations", sent, Idempotency_Key="k").json()
    assert (started["status"], started["found"], started["idempotency_key"]) == ("waiting", None, "k")
    assert finance.post("admin/reconciliations", sent, Idempotency_Key="k").json()["reconciliation_id"] == 1
    problem(finance.post("admin/reconciliations", body()), 409, "conflict")
    reconcile.run(runtime.db, runtime.stripe)
    (run,) = finance.get("admin/reconciliations").json()["items"]
    assert (run["status"], run["found"], run["totals"][0]["gross_cents"]) == ("finished", 1, 1000)
    (one,) = finance.get("admin/reconciliations/differences", status="open", reconciliation=1).json()["items"]
    assert (one["kind"], one["expected_cents"], one["found_cents"]) == ("paid_not_credited", 0, 1000)
    path = f"admin/reconciliations/differences/{one['difference_id']}"
    problem(finance.post(f"{path}/repair"), 403, "not_allowed")
    assert holder.available() == "0.00"
    for _ in range(2):
        assert admin.post(f"{path}/repair").json()["status"] == "repaired"
        assert holder.available() == "10.00"
    problem(admin.post(f"{path}/accept", {"reason": "late"}), 409, "conflict")


@pytest.mark.parametrize("path", ["admin/reconciliations", "admin/reconciliations/differences"])
def test_account_holders_and_strangers_see_nothing(
    holder: Api, api: Callable[[str | None], Api], path: str
) -> None:
    problem(holder.get(path), 403, "not_allowed")
    problem(api(None).get(path), 401, "not_signed_in")


@pytest.mark.parametrize(
    "sent",
    [{}, {"from": "2026-01-02T00:00:00Z"}, {"from": "2026-01-02", "to": "2026-01-01"}, {"from": "2020-01-01", "to": "2026-01-01"},
     {"from": "now", "to": "2026-01-01"}],
)  # fmt: skip
def test_ranges_that_make_no_sense_are_refused(finance: Api, sent: dict[str, str]) -> None:
    problem(finance.post("admin/reconciliations", sent), 422, "invalid_request")
    assert finance.get("admin/reconciliations").json()["items"] == []


def test_a_reason_and_a_known_difference_are_needed(admin: Api) -> None:
    path = "admin/reconciliations/differences/99"
    problem(admin.post(f"{path}/accept", {}), 422, "invalid_request")
    problem(admin.post(f"{path}/accept", {"reason": "why"}), 404, "not_found")
    problem(admin.post(f"{path}/repair"), 404, "not_found")


def test_the_command_lists_repairs_and_ends_with_0_differences(
    runtime: Runtime, holder: Api, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("credits_core.cli.make_runtime", lambda _settings: runtime)
    monkeypatch.setattr(runtime, "close", lambda: None)

    def said(*arguments: str) -> tuple[int, str]:
        return main(["reconcile", *arguments]), capsys.readouterr().out

    assert said()[1].startswith("0 differences")
    pay_unnoticed(runtime, lambda: holder.post("checkout", {"package": "usd_10"}).json()["session_id"])
    status, text = said()
    assert status == 1
    assert (
        "paid_not_credited" in text
        and "ours $0.00, Stripe $10.00 [--repair]" in text
        and "1 differences" in text
    )
    status, text = said("--repair")
    assert (status, "repaired 1, left 0" in text, "\n0 differences" in text) == (0, True, True)
    assert holder.available() == "10.00"
    assert said("--from", "2026-01-02", "--to", "2026-01-01")[0] == 1
    assert json.dumps(reconcile.every_open(runtime.db, SERVICE)) == "[]"


def test_the_job_makes_the_daily_run(runtime: Runtime) -> None:
    from credits_core.jobs import JOBS

    done: Any = JOBS["reconcile"].run(runtime)
    assert done["differences"] == 0
    assert JOBS["reconcile"].run(runtime) == {}
