"""Around every request: headers, content policy, closed addresses, ids, logs, metrics, errors (K3, K4, L5)."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from credits_core.errors import DatabaseUnavailable
from credits_core.http.middleware import RequestContext
from credits_core.http.security import content_policy, inline_script_hashes
from credits_core.logs import JsonFormatter, cut_secrets
from credits_core.runtime import Runtime
from tests.http.conftest import ADMIN, BASE, HOLDER, INDEX, Api, TestClient, problem, sign_in


@pytest.fixture
def log() -> Iterator[list[dict[str, Any]]]:
    """Every line logged in this test, as the object it is in the log."""
    lines: list[dict[str, Any]] = []
    formatter = JsonFormatter()

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.name != "httpx":  # the tests' own browser
                lines.append(json.loads(formatter.format(record)))

    handler, root = Keep(level=logging.DEBUG), logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield lines
    root.removeHandler(handler)
    root.setLevel(before)


@pytest.mark.parametrize(
    "path", ["/", "/auth/sign-in", "/api/health", "/api/nothing", "/auth/nothing", "/x/y", "/api/docs"]
)
def test_every_answer_has_the_security_headers(browser: TestClient, path: str) -> None:
    headers = browser.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["x-request-id"]
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["form-action"] == "'self' https://checkout.stripe.com https://billing.stripe.com"
    assert policy["frame-ancestors"] == policy["object-src"] == "'none'"
    assert "unsafe" not in policy["script-src"] and "http" not in policy["script-src"]
    assert "strict-transport-security" not in headers  # http on a developer's machine


def test_the_policy_allows_streamlits_own_inline_script_by_its_hash() -> None:
    script = re.findall(r"<script>(.*?)</script>", INDEX.read_text(), re.DOTALL)
    assert len(script) == 1
    digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    assert inline_script_hashes(INDEX) == [f"'sha256-{digest}'"]
    assert f"'sha256-{digest}'" in content_policy(inline_script_hashes(INDEX))


@pytest.mark.parametrize("path", ["/api/credits/balance", "/auth/sign-in"])
def test_personal_answers_are_not_kept_by_caches(browser: TestClient, path: str) -> None:
    assert browser.get(path).headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "path",
    [
        "/_stcore/metrics",
        "/_stcore/agent/openapi.json",
        "/_stcore/agent/mcp",
        "/_stcore/agent/interact",
        "/_stcore/script-health-check",
        "/accounts/x",
        "/a/b/c",
        "/accounts/_stcore/health",
        "/sim",
        "/auth",
        "/static",
    ],
)
def test_closed_addresses_and_pages_that_cannot_be(browser: TestClient, path: str) -> None:
    for method in ("GET", "POST"):
        assert browser.request(method, path).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/api",
        "/api/",
        "/api/x",
        "/api/credits",
        "/api/credits/",
        "/api/credits/balance/",
        "/api/credits/nope/x",
    ],
)
def test_unknown_addresses_of_the_api_are_json(browser: TestClient, path: str) -> None:
    problem(browser.get(path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "balance"),
        ("GET", "use"),
        ("DELETE", "calls"),
        ("PUT", "admin/adjust"),
        ("GET", "webhook"),
        ("PATCH", "success"),
    ],
)
def test_a_wrong_method(browser: TestClient, method: str, path: str) -> None:
    problem(browser.request(method, f"/api/credits/{path}"), 405, "method_not_allowed")


def test_unknown_addresses_below_auth_are_a_page(browser: TestClient) -> None:
    answer = browser.get("/auth/nothing")
    assert answer.status_code == 404 and "Sign in" in answer.text


def test_a_given_request_id_is_kept_when_it_is_sane(browser: TestClient) -> None:
    assert (
        browser.get("/api/health", headers={"X-Request-ID": "call-4711-abc"}).headers["x-request-id"]
        == "call-4711-abc"
    )
    for odd in ("x" * 200, "a b c d e f", '"injected"', "short"):
        assert browser.get("/api/health", headers={"X-Request-ID": odd}).headers["x-request-id"] != odd


def test_each_request_is_one_line_with_its_id(holder: Api, log: list[dict[str, Any]]) -> None:
    answer = holder.get("balance")
    (line,) = [line for line in log if line["message"] == "request"]
    assert line["request_id"] == answer.headers["x-request-id"]
    assert (line["method"], line["path"], line["status"], line["level"]) == (
        "GET",
        "/api/credits/balance",
        200,
        "info",
    )
    assert line["ms"] >= 0


def test_no_secret_reaches_the_log(
    browser: TestClient, holder: Api, runtime: Runtime, log: list[dict[str, Any]], token: Callable[..., str]
) -> None:
    """K4: passwords, tokens, cookies, bodies and queries are not logged, also where something fails."""
    sign_in(browser, HOLDER, "my-wrong-password")
    sign_in(browser, HOLDER)
    session = browser.cookies["credits_session"]
    browser.get("/", params={"token": "in-the-query"})
    holder.post("use", {"operation": "nope", "quantity": 1, "metadata": {"card": "in-the-body"}})
    holder.raw("use", '{"in-the-broken-body": ')
    assert runtime.stripe.simulator is not None
    logging.getLogger("x").warning(
        "Stripe said sk_live_abc123, postgresql://u:hunter2@h/db, Bearer %s", token(ADMIN)
    )
    text = json.dumps(log)
    for secret in (
        "my-wrong-password", "demo-only", session, "in-the-query", "in-the-body", "in-the-broken-body", "sk_live_abc123", "hunter2",
        token(ADMIN), holder.headers["Authorization"].split()[1], runtime.stripe.simulator.webhook_secret(),
    ):  # fmt: skip
        assert secret not in text
    assert "[cut]" in text


def test_keys_are_cut_from_any_text() -> None:
    assert cut_secrets("rk_test_51Abc whsec_9zZ sb_secret_q-1 fine") == "[cut] [cut] [cut] fine"


def test_settings_do_not_show_their_secrets(runtime: Runtime) -> None:
    from credits_core.config import Settings

    text = repr(
        Settings(
            stripe_secret_key="sk_test_x",
            cookie_secret="c" * 32,
            database_url="postgresql://u:p@h/d",
            supabase_url="https://s",
        )
    )
    assert "sk_test_x" not in text and "ccc" not in text and "u:p" not in text
    assert "sk_sim" not in repr(runtime.stripe)


def test_what_nobody_foresaw_is_a_sentence_with_an_id_and_a_logged_trace(
    holder: Api, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, log: list[dict[str, Any]]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail of the inside")

    monkeypatch.setattr(runtime.db, "call", fail)
    answer = holder.get("balance")
    problem(answer, 500, "internal_error")
    assert "secret detail" not in answer.text
    (line,) = [line for line in log if line["level"] == "error"]
    assert line["request_id"] == answer.headers["x-request-id"]
    assert "RuntimeError: secret detail" in line["exception"]


def test_an_error_outside_the_api_is_a_sentence_too() -> None:
    def fail(request: Request) -> None:
        raise RuntimeError("inside")

    client = TestClient(RequestContext(Starlette(routes=[Route("/", fail)])))
    answer = client.get("/")
    assert answer.status_code == 500 and "inside" not in answer.text


def test_without_the_database_everything_answers_503(
    browser: TestClient, holder: Api, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("The database does not answer; try again in a moment.")

    sign_in(browser, HOLDER)
    monkeypatch.setattr(runtime.db, "call", gone)
    problem(holder.get("balance"), 503, "database_unavailable")
    problem(browser.get("/api/health"), 503, "database_unavailable")
    page = browser.get("/overview")
    assert page.status_code == 503 and "The database does not answer" in page.text


def test_health(browser: TestClient) -> None:
    health = browser.get("/api/health").json()
    assert (health["status"], health["database"], health["catalog"]) == ("ok", "ok", "voice")
    assert (health["mode"], health["stripe"]) == ("embedded", "simulator")


def test_metrics_count_requests_by_route(browser: TestClient, holder: Api) -> None:
    holder.get("balance")
    holder.get("transactions/1-1")
    browser.get("/api/credits/nothing-of-the-sort")
    browser.get("/some-page")
    answer = browser.get("/api/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    for line in answer.text.splitlines():
        assert re.fullmatch(
            r"# (HELP|TYPE) \S+ .+|[a-z_]+(\{[^}]*(\{[a-z_]+\}[^}]*)*\})? [0-9.e+-]+", line
        ), line
    assert re.search(
        r'http_requests_total\{method="GET",route="/api/credits/balance",status="200"\} [1-9]', answer.text
    )
    assert 'route="/api/credits/transactions/{transaction_id}"' in answer.text
    assert 'route="/api/*"' in answer.text and 'route="page"' in answer.text
    assert "nothing-of-the-sort" not in answer.text and "some-page" not in answer.text
    assert 'http_request_seconds_bucket{route="/api/credits/balance",le="+Inf"}' in answer.text


def test_the_simulator_is_there_only_without_a_stripe_key(browser: TestClient) -> None:
    """L3: with a key, the simulator cannot be reached."""
    from credits_core.config import Settings
    from credits_core.http import site

    assert browser.get("/sim/v1/products").status_code == 401
    paths = [getattr(route, "path", "") for route in site.routes(Settings(stripe_secret_key="sk_test_1"))]
    assert not any(path.startswith("/sim") for path in paths)


def test_static_files_travel_compressed(browser: TestClient, tmp_path: Path) -> None:
    from starlette.middleware import Middleware
    from starlette.responses import PlainTextResponse

    from credits_core.http.middleware import StaticGZip

    big = Route("/static/big.js", lambda request: PlainTextResponse("x" * 10_000))
    client = TestClient(Starlette(routes=[big], middleware=[Middleware(StaticGZip)]), base_url=BASE)
    assert client.get("/static/big.js").headers["content-encoding"] == "gzip"
