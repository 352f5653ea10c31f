"""Payments, reviews and approvals over HTTP (A3, A8, G3, I2): who may, and every refusal with its status."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.http.conftest import HOLDER, SUPER, Api, problem
from tests.http.desk_answers import LARGE, in_review


@pytest.fixture
def other(api: Callable[[str | None], Api]) -> Api:
    return api(SUPER)


def test_an_adjustment_above_the_limit_is_accepted_and_waits(holder: Api, admin: Api, other: Api) -> None:
    """I2: 202, nothing booked; one's own request is refused, somebody else books it, once."""
    asked = admin.post("admin/adjust", LARGE, Idempotency_Key="large")
    assert asked.status_code == 202
    assert (asked.json()["status"], asked.json()["transaction_id"]) == ("waiting", None)
    assert holder.get("balance").json()["available"] == "0.00"
    path = f"admin/approvals/{asked.json()['approval_id']}"
    problem(admin.post(f"{path}/approve"), 403, "not_allowed")
    problem(other.post(f"{path}/reject"), 422, "invalid_request")  # without a reason
    assert other.post(f"{path}/approve", {"reason": "agreed"}).json()["status"] == "done"
    problem(other.post(f"{path}/approve"), 409, "conflict")
    problem(other.post(f"{path}/reject", {"reason": "too late"}), 409, "conflict")
    again = admin.post("admin/adjust", LARGE, Idempotency_Key="large")
    assert (again.status_code, again.json()["status"]) == (200, "booked")
    assert holder.get("balance").json()["available"] == "12000.00"


def test_unknown_things_and_bad_input(admin: Api, other: Api) -> None:
    nobody = "00000000-0000-4000-8000-000000000000"
    problem(other.post(f"admin/approvals/{nobody}/approve"), 404, "not_found")
    problem(admin.get(f"admin/payments/{nobody}"), 404, "not_found")
    problem(admin.get("admin/payments/nothing"), 422, "invalid_request")
    problem(admin.get("admin/payments", status="nice"), 422, "invalid_request")
    problem(admin.get("admin/approvals", view="all"), 422, "invalid_request")
    problem(admin.get("admin/approvals", cursor="x"), 422, "invalid_request")
    decision = {"decision": "credit", "reason": "for a test"}
    problem(admin.post(f"admin/payments/{nobody}/review", decision), 404, "not_found")
    problem(
        admin.post(f"admin/payments/{nobody}/review", decision | {"decision": "keep"}), 422, "invalid_request"
    )


def test_a_payment_in_review_is_decided_once(holder: Api, admin: Api, other: Api) -> None:
    """A3: the same key answers the same; another decision comes too late."""
    path = f"admin/payments/{in_review(holder)['purchase_id']}/review"
    decision = {"decision": "close", "reason": "paid back in cash", "idempotency_key": "once"}
    first = admin.post(path, decision).json()
    assert first["status"] == "done"
    assert admin.post(path, decision).json()["approval_id"] == first["approval_id"]
    problem(admin.post(path, decision | {"decision": "refund"}), 409, "idempotency_key_reused")
    problem(other.post(path, decision | {"idempotency_key": "late"}), 409, "conflict")


def test_holders_and_finance_decide_nothing(holder: Api, api: Callable[[str | None], Api]) -> None:
    """I4: finance reads payments and approvals."""
    finance = api("finance@demo.test")
    path = f"admin/payments/{in_review(holder)['purchase_id']}"
    for address in (
        "admin/payments",
        path,
        "admin/approvals",
        "admin/approvals/count",
        "admin/approvals/limits",
    ):
        problem(holder.get(address), 403, "not_allowed")
        assert finance.get(address).status_code == 200
    for somebody in (holder, finance):
        problem(somebody.post(f"{path}/review", {"decision": "close", "reason": "mine"}), 403, "not_allowed")
        problem(somebody.post("admin/adjust", LARGE | {"account": HOLDER}), 403, "not_allowed")
