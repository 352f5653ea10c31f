"""What Vapi's address refuses (D7, K3): wrong secrets, other people, malformed messages; each changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from credits_core.config import Settings
from credits_core.db.embedded import EmbeddedServer
from credits_core.db.psycopg_transport import PsycopgDatabase
from credits_core.runtime import Runtime
from tests.conftest import new_database
from tests.http.conftest import BASE, HOLDER, SUPER, Api, TestClient, problem, running
from tests.http.vapi_calls import ADDRESS, SECRET, Vapi


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(data_dir=tmp_path_factory.mktemp("data"), base_url=BASE, vapi_secret=SECRET)


@pytest.fixture(scope="module")
def runtime(
    settings: Settings, server: EmbeddedServer, template: str, superuser_sql: Callable[[Any], None]
) -> Iterator[Runtime]:
    """One database for all tests here: none of them may change anything."""
    for name in new_database(superuser_sql, template):
        port = PsycopgDatabase(server.dsn(database=name))
        with running(settings, port) as made:
            yield made
        port.close()


@pytest.fixture
def vapi(browser: TestClient) -> Vapi:
    return Vapi(browser)


@pytest.fixture
def make_vapi(browser: TestClient) -> Callable[..., Vapi]:
    return lambda *arguments, **call: Vapi(browser, *arguments, **call)


@pytest.fixture(autouse=True)
def nothing_happened(holder: Api) -> Iterator[None]:
    yield
    assert holder.get("transactions").json()["items"] == holder.get("calls").json()["items"] == []


@pytest.mark.parametrize(
    "account", ["nobody@demo.test", "999999", "9" * 30, "'; --", "00000000-0000-4000-8000-00000000dead"]
)
def test_an_unknown_account(make_vapi: Callable[..., Vapi], account: str) -> None:
    vapi = make_vapi(account)
    assert "not set up" in vapi.send("assistant-request")["error"]
    for message in (
        vapi.message("status-update", status="in-progress"),
        vapi.message("end-of-call-report", durationSeconds=60),
    ):
        problem(vapi.post(message), 404, "not_found")


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Vapi-Secret": ""},
        {"X-Vapi-Secret": "wrong"},
        {"X-Vapi-Secret": SECRET + "x"},
        {"Authorization": "Bearer wrong", "X-Vapi-Secret": ""},
        {"Authorization": f"Basic {SECRET}", "X-Vapi-Secret": ""},
        {"X-Vapi-Secret": b"\xff\xfe"},
    ],
)  # fmt: skip
def test_a_wrong_secret(vapi: Vapi, headers: dict[str, Any]) -> None:
    for body in ({"message": vapi.message("end-of-call-report", durationSeconds=60)}, {}, {"message": {}}):
        answer = vapi.client.post(ADDRESS, params={"account": HOLDER}, json=body, headers=headers)
        problem(answer, 401, "not_signed_in")


def test_the_secret_as_a_bearer(vapi: Vapi) -> None:
    message = {"message": vapi.message("assistant-request")}
    answer = vapi.client.post(
        ADDRESS, params={"account": HOLDER}, json=message, headers={"Authorization": f"Bearer {SECRET}"}
    )
    assert answer.status_code == 200 and "not enough credits" in answer.json()["error"]


def test_a_person_is_not_vapi(vapi: Vapi, token: Callable[..., str]) -> None:
    for bearer in (token(HOLDER), token(SUPER)):
        answer = vapi.client.post(
            ADDRESS,
            json={"message": vapi.message("assistant-request")},
            headers={"Authorization": f"Bearer {bearer}"},
        )
        problem(answer, 401, "not_signed_in")


@pytest.mark.parametrize(
    "message",
    [
        {}, {"type": 7}, {"type": ""}, {"type": "assistant-request"}, {"type": "status-update", "call": "x"},
        {"type": "end-of-call-report", "call": {"id": ""}}, {"type": "end-of-call-report", "call": {"id": "x" * 300}},
        {"type": "end-of-call-report", "call": {"id": ["x"]}},
        {"type": "end-of-call-report", "call": {"id": "1"}, "startedAt": "yesterday"},
        {"type": "end-of-call-report", "call": {"id": "1"}, "startedAt": True},
        {"type": "end-of-call-report", "call": {"id": "1"}, "startedAt": 1e300},
        {"type": "end-of-call-report", "call": {"id": "1"}, "startedAt": "2026-11-01T12:00:00Z", "endedAt": "2026-11-01T11:00:00Z"},
        {"type": "end-of-call-report", "call": {"id": "1"}, "startedAt": "2026-11-01T12:00:00Z", "endedAt": "2026-11-03T12:00:00Z"},
        {"type": "end-of-call-report", "call": {"id": "1"}, "startedAt": "2199-11-01T12:00:00Z", "durationSeconds": 60},
        {"type": "end-of-call-report", "call": {"id": "1\u0000"}, "durationSeconds": 60},
        None, [], "text",
    ],
    ids=lambda value: str(value)[:60],
)  # fmt: skip
def test_a_malformed_message(vapi: Vapi, message: Any) -> None:
    problem(vapi.post(message), 422, "invalid_request")


@pytest.mark.parametrize("kind", ["transcript", "hang", "tool-calls", "something-new", "model-output"])
def test_other_messages_are_passed_over(vapi: Vapi, kind: str) -> None:
    assert vapi.send(kind) == {"status": "ignored"}
