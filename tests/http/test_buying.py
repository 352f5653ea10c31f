"""Buying over HTTP with the simulator: checkout, return, webhook on three paths, the form of the buy page (A1-A3, K3)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import stripe
from starlette.applications import Starlette

from credits_core.runtime import Runtime
from tests.http.conftest import BASE, HOLDER, Api, TestClient, problem, sign_in

PATHS = ["/api/credits/webhook", "/api/credits/stripe/webhook", "/api/stripe/webhook"]


def pay(client: Any, session_id: str, card: str = "4242424242424242") -> Any:
    return client.post(f"/sim/control/sessions/{session_id}/pay", json={"card": card})


@pytest.fixture
def local(program: Starlette) -> TestClient:
    """Somebody on this machine: the control plane answers nobody else."""
    return TestClient(program, base_url=BASE, follow_redirects=False, client=("127.0.0.1", 50000))


@pytest.fixture
def webhook_secret(runtime: Runtime) -> str:
    assert runtime.stripe.simulator is not None
    return runtime.stripe.simulator.webhook_secret()


def event(session_id: str, *, event_id: str = "evt_1", livemode: bool = False) -> bytes:
    body = {
        "id": event_id, "object": "event", "type": "checkout.session.completed", "livemode": livemode, "created": int(time.time()),
        "api_version": "2026-01-01", "data": {"object": {"id": session_id, "object": "checkout.session", "livemode": livemode}},
        "pending_webhooks": 1, "request": None,
    }  # fmt: skip
    return json.dumps(body, indent=1).encode()


def signature(body: bytes, secret: str, *, at: int | None = None) -> dict[str, str]:
    at = at or int(time.time())
    signed = stripe.WebhookSignature._compute_signature(f"{at}.{body.decode()}", secret)
    return {"Stripe-Signature": f"t={at},v1={signed}", "Content-Type": "application/json"}


def test_buy_pay_and_ask_three_times(holder: Api, local: TestClient) -> None:
    started = holder.post("checkout", {"package": "usd_10"}).json()
    assert started["credits"] == "10.00" and started["url"].startswith(f"{BASE}/sim/pay/")
    session = started["session_id"]
    assert holder.get("success", session_id=session).json()["status"] == "open"
    assert pay(local, session).status_code == 200
    for _ in range(3):
        done = holder.get("success", session_id=session).json()
        assert (done["status"], done["credits"], done["available"]) == ("credited", "10.00", "10.00")
    assert holder.available() == "10.00"


def test_the_same_key_starts_one_purchase(holder: Api) -> None:
    first, second = (
        holder.post("purchase", {"package": "usd_10"}, Idempotency_Key="p1").json() for _ in range(2)
    )
    assert first["session_id"] == second["session_id"]
    problem(
        holder.post("purchase", {"package": "usd_20"}, Idempotency_Key="p1"), 409, "idempotency_key_reused"
    )


def test_a_payment_intent_has_a_client_secret_and_no_page(holder: Api) -> None:
    started = holder.post("purchase", {"package": "usd_10", "flow": "payment_intent"}).json()
    assert started["url"] is None and started["client_secret"]


def test_somebody_elses_session_is_not_there(
    holder: Api, api: Callable[..., Api], make_user: Callable[..., Any], token: Any
) -> None:
    started = holder.post("checkout", {"package": "usd_10"}).json()
    stranger = make_user("stranger@example.test")
    theirs = Api(holder.client, token(HOLDER, sub=stranger.claims["sub"]))
    problem(theirs.get("success", session_id=started["session_id"]), 404, "not_found")


@pytest.mark.parametrize("path", PATHS)
def test_a_signed_event_credits_on_every_path_and_once(
    holder: Api, local: TestClient, webhook_secret: str, path: str
) -> None:
    session = holder.post("checkout", {"package": "usd_10"}).json()["session_id"]
    pay(local, session)
    body = event(session)
    for _ in range(2):
        answer = local.post(path, content=body, headers=signature(body, webhook_secret))
        assert answer.status_code == 200, answer.text
        assert answer.json()["received"] is True
    assert holder.available() == "10.00"


def test_events_that_are_not_stripes_are_refused(holder: Api, local: TestClient, webhook_secret: str) -> None:
    session = holder.post("checkout", {"package": "usd_10"}).json()["session_id"]
    pay(local, session)
    body = event(session)
    good = signature(body, webhook_secret)
    reserialised = json.dumps(json.loads(body)).encode()
    live = event(session, livemode=True)
    attempts: list[tuple[bytes, Any]] = [
        (body, {}),
        (body, {"Stripe-Signature": ""}),
        (body, {"Stripe-Signature": "t=x,v1=y"}),
        (body, {"Stripe-Signature": "é".encode()}),
        (body, signature(body, "whsec_of_somebody_else")),
        (body, signature(body, webhook_secret, at=int(time.time()) - 3600)),
        (reserialised, good),
        (body + b" ", good),
        (b"", good),
        (b"\xff\xfe", good),
        (b"[]", signature(b"[]", webhook_secret)),
        (b"null", signature(b"null", webhook_secret)),
        (live, signature(live, webhook_secret)),
    ]
    for path in PATHS:
        for content, headers in attempts:
            problem(local.post(path, content=content, headers=headers), 400, "webhook_rejected")
    assert holder.available() == "0.00"


def test_an_event_about_a_session_that_is_not_ours_changes_nothing(
    local: TestClient, webhook_secret: str, holder: Api
) -> None:
    body = event("cs_test_of_somebody_else")
    assert local.post(PATHS[0], content=body, headers=signature(body, webhook_secret)).status_code == 200
    assert holder.available() == "0.00"


def test_without_a_signing_secret_the_endpoint_is_off(
    local: TestClient, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime.stripe, "_webhook_secret", None)
    assert "off" in problem(local.post(PATHS[0], content=b"{}"), 404, "not_found")["message"]


def test_the_buy_pages_form_leads_to_the_payment_page(browser: Any, holder: Api) -> None:
    sign_in(browser, HOLDER)
    fields = {"package": "usd_20", "idempotency_key": "buy-1"}
    first = browser.post("/auth/checkout", data=fields, headers={"Origin": BASE})
    assert first.status_code == 303 and first.headers["location"].startswith(f"{BASE}/sim/pay/cs_test_")
    second = browser.post("/auth/checkout", data=fields, headers={"Origin": BASE})
    assert second.headers["location"] == first.headers["location"]
    custom = browser.post("/auth/checkout", data={"amount_cents": "2500"}, headers={"Origin": BASE})
    assert custom.status_code == 303
    (newest, _) = holder.get("history", type="purchases").json()["items"]
    assert newest["price_cents"] == 2500


@pytest.mark.parametrize(
    "fields", [{"package": "nope"}, {}, {"amount_cents": "x"}, {"amount_cents": "-1"}, {"amount_cents": "1"}]
)
def test_a_form_that_cannot_be_bought_says_why(browser: Any, fields: dict[str, str]) -> None:
    sign_in(browser, HOLDER)
    answer = browser.post("/auth/checkout", data=fields, headers={"Origin": BASE})
    assert answer.status_code in (404, 422)
    assert "This purchase did not start" in answer.text and 'href="/buy"' in answer.text


def test_buying_needs_a_sign_in_first(browser: Any) -> None:
    answer = browser.post("/auth/checkout", data={"package": "usd_10"}, headers={"Origin": BASE})
    assert (answer.status_code, answer.headers["location"]) == (303, "/auth/sign-in?next=/buy")


@pytest.mark.parametrize("host", ["localhost:8501", "127.0.0.1:8501"])
def test_the_return_leads_to_the_name_the_browser_used(holder: Api, host: str) -> None:
    """Cookies of localhost are not those of 127.0.0.1; after the trip to Stripe the person must be signed in."""
    answer = holder.post("checkout", {"package": "usd_5"}, Host=host)
    assert answer.json()["url"].startswith(f"http://{host}/sim/pay/")


def test_a_foreign_host_name_is_never_taken_over(holder: Api) -> None:
    answer = holder.post("checkout", {"package": "usd_5"}, Host="evil.example")
    assert answer.json()["url"].startswith(BASE)


def test_purchases_of_a_range_and_one_of_them(
    holder: Api, admin: Api, owner_sql: Callable[..., Any], api: Callable[[str | None], Api]
) -> None:
    """J1: from and to narrow purchases as they narrow the ledger; what is not one's own is not there."""
    first, second = (
        holder.post("purchase", {"package": name}).json()["purchase_id"] for name in ("usd_5", "usd_10")
    )
    owner_sql("update credits.purchases set created_at = '2026-11-01 12:00Z' where id = %s", first)

    def listed(**query: str) -> list[str]:
        answer = holder.get("history", type="purchases", **query)
        return [purchase["purchase_id"] for purchase in answer.json()["items"]]

    assert listed() == [second, first]
    assert (
        listed(to="2026-11-02T00:00:00Z")
        == listed(**{"from": "2026-11-01T12:00:00Z"}, to="2026-11-02")
        == [first]
    )
    assert listed(**{"from": "2026-11-01T12:00:01Z"}) == [second]
    assert listed(to="2026-11-01T12:00:00Z") == []
    problem(holder.get("history", type="purchases", **{"from": "yesterday"}), 422, "invalid_request")
    found = holder.get(f"purchases/{first}").json()
    assert (found["status"], found["list_price_cents"], found["credits"]) == ("open", 500, "5.00")
    assert api("finance@demo.test").get(f"purchases/{first}").json()["purchase_id"] == first
    theirs = admin.post("purchase", {"package": "usd_5"}).json()["purchase_id"]
    for wrong in (theirs, "00000000-0000-0000-0000-000000000000"):
        problem(holder.get(f"purchases/{wrong}"), 404, "not_found")
    problem(holder.get("purchases/1"), 422, "invalid_request")
