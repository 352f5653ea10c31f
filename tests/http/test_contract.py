"""What the program says of itself is true: errors, OpenAPI, reference page, commands (J2; one place for errors)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter

from credits_core import errors
from credits_core.cli import COMMANDS, main
from credits_core.config import Settings
from credits_core.db.port import SERVICE, Identity
from credits_core.db.psycopg_transport import PsycopgDatabase
from credits_core.errors import BY_SQLSTATE, CreditsError
from credits_core.http import docs, problems
from credits_core.http.api import ROUTERS, make_api
from tests.http.answers import VAPI_SECRET, about_metering
from tests.http.conftest import BASE, FINANCE, HOLDER, SUPER, Api, TestClient
from tests.http.desk_answers import about_the_desk
from tests.http.draft_answers import about_drafts
from tests.http.money_answers import about_refunds, about_reloading, about_subscribing
from tests.http.test_governing import about_governing
from tests.http.test_inviting import about_inviting
from tests.http.test_notifying import about_notifying
from tests.http.test_promotions import about_promotions
from tests.http.test_reconciling import about_reconciling
from tests.http.test_statements import about_statements
from tests.http.test_supervising import about_supervising
from tests.http.test_watching import about_watching
from tests.sql.test_access import EVERYBODY, SIGNED_IN

ROOT = Path(__file__).resolve().parents[2]
MIGRATIONS = ROOT / "supabase" / "migrations"
FILES = {("GET", "/credits/exports/{what}")}  # they answer files, not JSON: see test_exports.py


def all_errors(kind: type[CreditsError] = CreditsError) -> Iterator[type[CreditsError]]:
    for each in kind.__subclasses__():
        yield each
        yield from all_errors(each)


@pytest.mark.parametrize("kind", sorted(all_errors(), key=lambda kind: kind.__name__))
def test_every_error_has_a_code_a_status_and_an_answer(kind: type[CreditsError]) -> None:
    assert kind.__module__ == errors.__name__, "errors live in one place"
    assert 400 <= kind.http_status < 600 and kind.code != CreditsError.code
    answer = problems.credits_error(kind("A sentence that helps.", detail={"a": 1}))
    assert answer.status_code == kind.http_status
    assert f"{kind.__name__} " in str(errors.__doc__)


def test_codes_are_not_used_twice() -> None:
    kinds = list(all_errors())
    assert len({kind.code for kind in kinds}) == len(kinds)
    assert len(BY_SQLSTATE) == len([kind for kind in kinds if kind.sqlstate])


def test_sql_raises_the_codes_of_the_table_and_no_others() -> None:
    raised = {
        code
        for file in MIGRATIONS.glob("*.sql")
        for code in re.findall(r"'(LC\d{3})'", file.read_text("utf-8"))
    }
    internal = {code for code in raised if code.startswith("LC0")}  # raised and caught in one function
    assert raised - internal <= set(BY_SQLSTATE)
    assert {"LC400", "LC401", "LC402", "LC403", "LC404", "LC409", "LC410"} <= raised


def routes() -> dict[tuple[str, str], APIRoute]:
    found = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    return {(method, route.path): route for route in found for method in route.methods}


def test_the_document_lists_every_route_and_nothing_else() -> None:
    document = make_api().openapi()
    listed = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert listed == {key for key, route in routes().items() if route.include_in_schema}
    asked_for = """
        GET balance packages pricing transactions history usage/analytics success alerts admin/users admin/analytics
        POST checkout purchase check use deduct use/batch calls calls/{call_id}/heartbeat calls/{call_id}/end holds
        POST holds/{hold_id}/capture holds/{hold_id}/release webhook integrations/vapi admin/adjust
        GET api-keys limits plans account/settings calls/{call_id} holds/{hold_id} transactions/{transaction_id} admin/margins
        POST api-keys limits/caps account/settings alerts/read holds/{hold_id}/extend
        POST admin/plan admin/rehearsal admin/provider-cost admin/reverse admin/grants/{grant_id}/extend
        GET admin/refunds account account/overview usage/forecast usage/report calls/live admin/approvals
        GET admin/alerts admin/jobs admin/system admin/stripe-events
        POST auto-reload/preview admin/adjust/preview admin/approvals/{approval_id}/approve admin/payments/{purchase_id}/review
        POST admin/refunds admin/refunds/preview admin/refunds/{refund_id}/approve admin/refunds/{refund_id}/reject"""
    for line in asked_for.strip().splitlines():
        method, *paths = line.split()
        assert {(method, f"/credits/{path}") for path in paths} <= listed
    assert {("GET", "/health"), ("GET", "/metrics")} <= listed
    assert document["servers"] == [{"url": "/api"}]


def test_every_operation_is_described_and_shows_its_refusals() -> None:
    for methods in make_api().openapi()["paths"].values():
        for operation in methods.values():
            assert operation["summary"] and operation["description"] and operation["tags"]
            for status in ("401", "402", "403", "404", "409", "422", "503"):
                (content,) = operation["responses"][status]["content"].values()
                assert content["schema"] == {"$ref": "#/components/schemas/Problem"}


def test_every_body_and_answer_shows_an_example() -> None:
    """What the reference page shows to send is accepted, and no required field is left to guess."""
    document = make_api().openapi()
    for (method, path), route in routes().items():
        if not route.include_in_schema or route.body_field is None:
            continue
        operation = document["paths"][path][method.lower()]
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        model = docs._resolve(document, schema)
        for name in model.get("required", ()):
            part = model["properties"][name]
            assert "examples" in part or "$ref" in part.get("items", {}), (path, name)
        example = json.loads(json.dumps(docs._example(document, schema)))
        body: Any = route.body_field.field_info.annotation
        TypeAdapter(body).validate_python(example)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, base_url=BASE, vapi_secret=VAPI_SECRET)


@pytest.fixture
def answers(
    holder: Api, admin_api: Api, api: Callable[[str | None], Api], give: Callable[..., Any]
) -> dict[tuple[str, str], Any]:
    """One good answer of every endpoint that answers JSON."""
    give("5.00")
    use = {"operation": "call", "quantity": 60}
    call = holder.post("calls", {})
    hold, other = (holder.post("holds", use) for _ in range(2))
    bought = holder.post("checkout", {"package": "usd_10"})
    return {
        ("GET", "/credits/me"): holder.get("me"),
        ("GET", "/credits/balance"): holder.get("balance"),
        ("GET", "/credits/packages"): holder.get("packages"),
        ("GET", "/credits/pricing"): holder.get("pricing"),
        ("GET", "/credits/transactions"): holder.get("transactions"),
        ("GET", "/credits/transactions/{transaction_id}"): holder.get("transactions/1-1"),
        ("GET", "/credits/history"): holder.get("history", type="purchases"),
        ("GET", "/credits/calls"): holder.get("calls"),
        ("GET", "/credits/purchases/{purchase_id}"): holder.get(f"purchases/{bought.json()['purchase_id']}"),
        ("GET", "/credits/success"): holder.get("success", session_id=bought.json()["session_id"]),
        ("POST", "/credits/checkout"): bought,
        ("POST", "/credits/check"): holder.post("check", use),
        ("POST", "/credits/use"): holder.post("use", use),
        ("POST", "/credits/deduct"): holder.post("deduct", use),
        ("POST", "/credits/use/batch"): holder.post("use/batch", {"events": [use]}),
        ("POST", "/credits/calls"): call,
        ("POST", "/credits/calls/{call_id}/heartbeat"): holder.post(
            f"calls/{call.json()['call_id']}/heartbeat"
        ),
        ("POST", "/credits/calls/{call_id}/end"): holder.post(f"calls/{call.json()['call_id']}/end"),
        ("POST", "/credits/holds"): hold,
        ("POST", "/credits/holds/{hold_id}/capture"): holder.post(f"holds/{hold.json()['hold_id']}/capture"),
        ("POST", "/credits/holds/{hold_id}/release"): holder.post(f"holds/{other.json()['hold_id']}/release"),
        ("GET", "/credits/admin/users"): admin_api.get("admin/users"),
        ("POST", "/credits/admin/adjust"): admin_api.post(
            "admin/adjust", {"account": HOLDER, "amount": "1", "reason": "test"}
        ),
        ("GET", "/health"): holder.client.get("/api/health"),
        **about_metering(holder, admin_api),
        **about_refunds(holder, admin_api, api(SUPER)),
        **about_promotions(holder, admin_api),
        **about_the_desk(holder, admin_api, api(SUPER)),
        **about_reloading(holder),
        **about_statements(holder),
        **about_subscribing(holder),
        **about_notifying(holder),
        **about_governing(holder, admin_api),
        **about_inviting(holder, admin_api, api(FINANCE)),
        **about_reconciling(admin_api),
        **about_drafts(admin_api),
        **about_watching(holder),
        **about_supervising(admin_api, api(SUPER)),
    }


@pytest.fixture
def admin_api(admin: Api) -> Api:
    return admin


def test_answers_are_what_the_document_says(answers: dict[tuple[str, str], Any]) -> None:
    declared = {key: route for key, route in routes().items() if route.include_in_schema}
    assert set(declared) - set(answers) == {("POST", "/credits/webhook"), ("GET", "/metrics"), *FILES}
    for key, answer in answers.items():
        assert answer.status_code == 200, (key, answer.text)
        model: Any = declared[key].response_model
        parsed = TypeAdapter(model).validate_json(answer.text, strict=True)
        assert isinstance(parsed, BaseModel)


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The SQL functions that anything calls during a test."""
    names: set[str] = set()
    call = PsycopgDatabase.call

    def counted(self: PsycopgDatabase, function: str, identity: Identity, **arguments: Any) -> Any:
        if identity is not SERVICE:
            names.add(function)
        return call(self, function, identity, **arguments)

    monkeypatch.setattr(PsycopgDatabase, "call", counted)
    return names


def test_what_people_may_call_is_reached_over_http_or_a_table_says_why_not(
    called: set[str], answers: dict[tuple[str, str], Any], admin_api: Api
) -> None:
    """J1, K2: whatever the pages show, a program can ask for; docs/decisions/http-routes.md lists the rest with a reason each."""
    for what in ("sales", "usage_by_account"):
        assert admin_api.get(f"exports/{what}", format="csv").status_code == 200
    assert admin_api.get("balance", at="2026-11-20T12:00:00Z").status_code == 200
    page = (ROOT / "docs" / "decisions" / "http-routes.md").read_text("utf-8")
    reasons = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", page, re.MULTILINE))
    public = {name for name in f"{EVERYBODY} {SIGNED_IN}".split() if not name.startswith("_")}
    assert set(reasons) == public - called
    assert all(len(reason) > 30 for reason in reasons.values())


def test_the_reference_page_shows_every_endpoint_and_loads_nothing_from_elsewhere(
    browser: TestClient,
) -> None:
    page = browser.get("/api/docs").text
    for path, methods in make_api().openapi()["paths"].items():
        for operation in methods.values():
            assert f"<code>/api{path}</code><span>{operation['summary']}</span>" in page
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert loaded and all(address.startswith("/") and not address.startswith("//") for address in loaded)
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|style=", page)
    for address in ("/api/docs/style.css", "/api/docs/docs.js", "/api/openapi.json"):
        answer = browser.get(address)
        assert answer.status_code == 200
        written = answer.text.replace("https://json-schema.org", "").replace("https://example.com", "")
        assert "http://" not in written and "https://" not in written
    assert docs.render(make_api().openapi()) == page


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_says_what_it_does_and_is_in_the_readme(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert len(capsys.readouterr().out) > 100
    assert re.search(rf"`(python -m credits_core )?{command}\b", (ROOT / "README.md").read_text("utf-8"))


def test_a_wrong_command_lists_the_right_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["nope"])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert all(command in said for command in COMMANDS)
