"""The program without Streamlit: its routes and middleware on a test's own database, people with tokens, a browser."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import streamlit
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from credits_core.auth.attempts import Attempts
from credits_core.auth.providers import DEMO_PASSWORD, DemoAuth
from credits_core.auth.tokens import LocalTokens
from credits_core.config import Settings
from credits_core.db.psycopg_transport import PsycopgDatabase
from credits_core.http import site
from credits_core.runtime import Runtime, make_runtime, set_runtime

with warnings.catch_warnings():
    # Starlette prefers httpx2; the product's own dependencies bring httpx, and one client library is enough.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

BASE = "http://127.0.0.1:8501"
INDEX = Path(streamlit.__file__).parent / "static" / "index.html"
HOLDER, FINANCE, ADMIN, SUPER = (f"{name}@demo.test" for name in ("holder", "finance", "admin", "super"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, base_url=BASE)


@pytest.fixture
def runtime(settings: Settings, database: PsycopgDatabase) -> Iterator[Runtime]:
    """This process's runtime, on this test's database, with the demo people in it."""
    with running(settings, database) as made:
        yield made


@contextmanager
def running(settings: Settings, database: PsycopgDatabase) -> Iterator[Runtime]:
    """A runtime with the demo people, as the one of this process."""
    made = make_runtime(settings, db=database)
    assert isinstance(made.identity_provider, DemoAuth)
    made.identity_provider.create_people()
    set_runtime(made)
    yield made
    set_runtime(None)
    made.close()


@pytest.fixture
def program(settings: Settings, runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> Starlette:
    """All routes and middleware of app.py; a route that says "page" stands for Streamlit."""
    monkeypatch.setattr("credits_core.auth.routes.attempts", Attempts())
    pages = Route("/{page}", lambda request: PlainTextResponse("page"))
    start = Route("/", lambda request: PlainTextResponse("page"))
    return Starlette(
        routes=[*site.routes(settings), start, pages],
        middleware=site.middleware(settings, INDEX),
        exception_handlers=dict(site.exception_handlers()),
    )


@pytest.fixture
def browser(program: Starlette) -> Iterator[TestClient]:
    """A browser without cookies; it does not follow redirects."""
    with TestClient(program, base_url=BASE, follow_redirects=False) as client:
        yield client


@pytest.fixture
def token(runtime: Runtime) -> Callable[..., str]:
    """`token("holder@demo.test")`: a bearer token of a demo person; other claims and a lifetime can be given."""

    def issue(email: str, *, seconds: int = 3600, **claims: Any) -> str:
        assert isinstance(runtime.tokens, LocalTokens) and isinstance(runtime.identity_provider, DemoAuth)
        person = runtime.identity_provider.claims_of(email)
        assert person is not None
        return runtime.tokens.issue(person | claims, seconds=seconds)

    return issue


@pytest.fixture
def service_token(runtime: Runtime) -> str:
    assert isinstance(runtime.tokens, LocalTokens)
    return runtime.tokens.issue({"role": "service_role"}, seconds=3600)


class Api:
    """The API as one caller."""

    def __init__(self, client: TestClient, bearer: str | None) -> None:
        self.client = client
        self.headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(f"/api/credits/{path}", params=query, headers=self.headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        sent = self.headers | {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(f"/api/credits/{path}", json=body, headers=sent)

    def raw(self, path: str, body: str | bytes, content_type: str = "application/json") -> Any:
        sent = self.headers | {"Content-Type": content_type}
        return self.client.post(f"/api/credits/{path}", content=body, headers=sent)

    def available(self) -> str:
        return str(self.get("balance").json()["available"])


@pytest.fixture
def api(program: Starlette, token: Callable[..., str]) -> Iterator[Callable[[str | None], Api]]:
    """`api("holder@demo.test")`: the API as that person; `api(None)` as nobody. Sends no cookies."""
    with TestClient(program, base_url=BASE, follow_redirects=False) as client:
        yield lambda email: Api(client, token(email) if email else None)


@pytest.fixture
def holder(api: Callable[[str | None], Api]) -> Api:
    return api(HOLDER)


@pytest.fixture
def admin(api: Callable[[str | None], Api]) -> Api:
    return api(ADMIN)


@pytest.fixture
def give(admin: Api, api: Callable[[str | None], Api]) -> Callable[..., Any]:
    """`give("10.00")`: credits for the demo holder; of very many a second person approves."""

    def adjust(amount: str, account: str = HOLDER) -> Any:
        answer = admin.post("admin/adjust", {"account": account, "amount": amount, "reason": "for a test"})
        if answer.status_code == 202:
            approval = f"admin/approvals/{answer.json()['approval_id']}/approve"
            answer = api(SUPER).post(approval)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return adjust


def sign_in(browser: TestClient, email: str, password: str = DEMO_PASSWORD, target: str = "/") -> Any:
    """Fill in the form as a person does: open it, send it back with its hidden fields."""
    form = browser.get("/auth/sign-in", params={"next": target})
    csrf = re.search(r'name="csrf" value="([^"]+)"', form.text)
    hidden = re.search(r'name="next" value="([^"]*)"', form.text)
    assert csrf and hidden
    fields = {"email": email, "password": password, "csrf": csrf[1], "next": hidden[1]}
    return browser.post("/auth/sign-in", data=fields)


def problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    """Check that an answer is a refusal of this kind, with a sentence; answers its `error`."""
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"code", "message", "detail"}
    assert error["code"] == code
    assert re.fullmatch(r"[“A-Za-z{].{10,}[.!?]", error["message"], re.DOTALL), error["message"]
    assert "Traceback" not in answer.text
    assert answer.headers["x-request-id"]
    return error
