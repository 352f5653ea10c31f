"""Subscriptions over HTTP (A11): the endpoints, the form of the plan page, events, and who may not."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.applications import Starlette

from credits_core.runtime import Runtime
from tests.http.conftest import ADMIN, BASE, HOLDER, Api, TestClient, problem, sign_in
from tests.http.test_buying import PATHS, event, local, pay, signature, webhook_secret

__all__ = ["local", "webhook_secret"]


def subscribe(holder: Api, local: TestClient, plan: str = "monthly_20") -> str:
    begun = holder.post("subscription", {"plan": plan}).json()
    assert pay(local, begun["session_id"]).status_code == 200
    return str(begun["session_id"])


def test_plans_are_open_to_everybody(program: Starlette) -> None:
    answer = TestClient(program, base_url=BASE).get("/api/credits/subscription/plans").json()
    assert [(plan["code"], plan["credits"], plan["rollover_cap"]) for plan in answer["plans"]] == [
        ("monthly_20", "22.00", "22.00"), ("monthly_50", "57.50", "57.50"),
    ]  # fmt: skip


def test_subscribe_pay_and_see_it_by_the_webhook(holder: Api, local: TestClient, webhook_secret: str) -> None:
    """The event of the page alone credits the first period; again it changes nothing."""
    none = holder.get("subscription").json()
    assert (none["subscription"], [plan["choice"] for plan in none["plans"]]) == (None, ["subscribe"] * 2)
    session = subscribe(holder, local)
    body = event(session).replace(
        b'"object": "checkout.session"', b'"object": "checkout.session", "mode": "subscription"'
    )
    for _ in range(2):
        assert local.post(PATHS[0], content=body, headers=signature(body, webhook_secret)).status_code == 200
    found = holder.get("subscription").json()
    assert (found["subscription"]["status"], found["subscription"]["left"]) == ("active", "22.00")
    assert [payment["status"] for payment in found["payments"]] == ["credited"]
    assert holder.available() == "22.00"


def test_one_key_is_one_subscription(holder: Api, local: TestClient) -> None:
    wish = {"plan": "monthly_20", "idempotency_key": "sub-1"}
    first, again = (holder.post("subscription", wish).json() for _ in range(2))
    assert (again["subscription_id"], again["url"], again["replayed"]) == (
        first["subscription_id"], first["url"], True,
    )  # fmt: skip
    problem(holder.post("subscription", wish | {"plan": "monthly_50"}), 409, "idempotency_key_reused")


def test_what_cannot_be_is_refused_with_a_sentence(holder: Api, local: TestClient) -> None:
    problem(holder.post("subscription", {"plan": "gold"}), 404, "not_found")
    problem(holder.post("subscription", {}), 422, "invalid_request")
    problem(holder.post("subscription", {"plan": "monthly_20", "price": 1}), 422, "invalid_request")
    for path in ("cancel", "keep"):
        problem(holder.post(f"subscription/{path}"), 404, "not_found")
    problem(holder.post("subscription/change", {"plan": "monthly_50"}), 404, "not_found")
    subscribe(holder, local)
    problem(holder.post("subscription", {"plan": "monthly_50"}), 409, "conflict")
    problem(holder.post("subscription/change", {"plan": "gold"}), 404, "not_found")


def test_nobody_subscribes_for_others(holder: Api, api: Any) -> None:
    """Agreeing to payments that repeat is the owner's alone: no program, no key; staff look."""
    problem(api(None).post("subscription", {"plan": "monthly_20"}), 401, "not_signed_in")
    made = holder.post("api-keys", {"name": "shop", "scopes": ["read", "purchase"]}).json()
    key = Api(holder.client, made["key"])
    problem(key.post("subscription", {"plan": "monthly_20"}), 403, "not_allowed")
    assert key.get("subscription").json()["subscription"] is None
    problem(holder.get("subscription", account=ADMIN), 403, "not_allowed")
    assert api(ADMIN).get("subscription", account=HOLDER).status_code == 200


def test_the_plan_pages_form_leads_to_the_payment_page(browser: Any, holder: Api) -> None:
    fields = {"plan": "monthly_20", "idempotency_key": "form-1"}
    away = browser.post("/auth/subscribe", data=fields, headers={"Origin": BASE})
    assert (away.status_code, away.headers["location"]) == (303, "/auth/sign-in?next=/plan")
    sign_in(browser, HOLDER)
    first, second = (browser.post("/auth/subscribe", data=fields, headers={"Origin": BASE}) for _ in range(2))
    assert first.status_code == 303 and first.headers["location"].startswith(f"{BASE}/sim/pay/cs_test_")
    assert second.headers["location"] == first.headers["location"]
    foreign = browser.post("/auth/subscribe", data=fields, headers={"Origin": "https://evil.example"})
    assert foreign.status_code == 403


@pytest.mark.parametrize("fields", [{"plan": "gold", "idempotency_key": "x"}, {"idempotency_key": "x"}, {}])
def test_a_form_that_cannot_be_says_why(browser: Any, fields: dict[str, str]) -> None:
    sign_in(browser, HOLDER)
    answer = browser.post("/auth/subscribe", data=fields, headers={"Origin": BASE})
    assert answer.status_code in (404, 422)
    assert "This subscription did not start" in answer.text and 'href="/plan"' in answer.text


def test_the_job_is_listed_and_runs(runtime: Runtime, holder: Api, local: TestClient) -> None:
    from credits_core.jobs import JOBS

    subscribe(holder, local)
    assert JOBS["subscriptions"].run(runtime) == {"checked": 1, "failed": 0}
    assert holder.available() == "22.00"
