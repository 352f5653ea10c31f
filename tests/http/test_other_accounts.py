"""Whoever names another account is refused, at every endpoint that lets an account be named (K1): by number, e-mail or id, in
the query or in the body."""

from __future__ import annotations

import json
from typing import Any

from credits_core.http import docs
from credits_core.http.api import make_api
from tests.http.conftest import ADMIN, Api

# What is sent where the example of the document alone would be refused for another reason.
PARTS = {"{what}": "transactions", "{month}": "2026-10", "{key}": "a_flag"}
PRICE_CHANGE = "/credits/admin/approvals/price-change"
BODIES: dict[str, Any] = {
    PRICE_CHANGE: {"catalog": "voice", "reason": "a better price"},
    "/credits/webhooks": {"url": "https://1.1.1.1/hook"},  # needs no name server
}


def naming() -> list[tuple[str, str, str, Any]]:
    """Method, path, where the account is named (query, body) and a body that would be good without it."""
    document = make_api().openapi()
    found: list[tuple[str, str, str, Any]] = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            body: Any = None
            if "requestBody" in operation:
                schema = operation["requestBody"]["content"]["application/json"]["schema"]
                body = json.loads(json.dumps(docs._example(document, schema)))
                body = BODIES[path] if path == PRICE_CHANGE else body | BODIES.get(path, {})
                if "account" in docs._resolve(document, schema).get("properties", {}):
                    found.append((method.upper(), path, "body", body))
            if any(p["in"] == "query" and p["name"] == "account" for p in operation.get("parameters", ())):
                found.append((method.upper(), path, "query", body))
    return found


def test_nobody_names_another_account(holder: Api, admin: Api) -> None:
    theirs = admin.get("me").json()
    assert holder.get("me").json()["account_id"] != theirs["account_id"]
    places, reached = naming(), []
    assert len(places) > 25
    for method, path, where, body in places:
        address = path
        for part in [part for part in path.split("/") if part.startswith("{")]:
            address = address.replace(part, PARTS.get(part, "1"))
        for name in (str(theirs["account_id"]), ADMIN, str(theirs["user_id"])):
            named = {"account": name}
            answer = holder.client.request(
                method,
                f"/api{address}",
                params=named if where == "query" else {},
                json=body if body is None or where == "query" else body | named,
                headers=holder.headers,
            )
            refused = answer.status_code in (403, 404)
            if path.endswith("/batch"):  # each event has an answer of its own
                refused = refused or {one["error"]["code"] for one in answer.json()["results"]} == {
                    "not_allowed"
                }
            if not refused:
                reached.append(f"{method} {path} {where} {name}: {answer.status_code} {answer.text[:200]}")
    assert reached == []
