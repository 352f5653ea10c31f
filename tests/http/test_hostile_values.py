"""Every endpoint, every field: values that no form would send are refused with a sentence, and nothing breaks (A8-A15, K3)."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from credits_core.http import docs
from credits_core.http.api import make_api
from tests.http.conftest import Api

LONE = "\ud800"  # half a character, as JSON can name it
HOSTILE: tuple[Any, ...] = (
    None, "", " ", "NaN", "-1", -1, 0, 0.5, True, "Infinity", "1e400", 2**63, -(2**63) - 1, 10**40, "\u0000", "=1+1", "٣",
    "\U0001f600" * 300, LONE, "2026-13-45", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", [], {}, [None], {"x": {"y": []}},
    "00000000-0000-4000-8000-000000000000", "<script>alert(1)</script>", "a\r\nBcc: x@example.test", "'; drop table x; --",
)  # fmt: skip
PATHS = ("0", "-1", "x", "1-1", str(2**63), "00000000-0000-4000-8000-000000000000", "%00", "%2e%2e", "in_1;x")
# Not JSON of ours: Stripe's and Vapi's own formats, and what signs somebody in.
SKIPPED = ("/credits/webhook", "/credits/integrations/vapi", "/metrics", "/health")
SAMPLE = 3  # of the hostile values for each field


def operations() -> list[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    document = make_api().openapi()
    return [
        (method.upper(), path, operation, document)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if path not in SKIPPED
    ]


def bodies(operation: dict[str, Any], document: dict[str, Any], rng: random.Random) -> Iterator[Any]:
    """The example of the document with one field after the other made hostile."""
    if "requestBody" not in operation:
        yield None
        return
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    good = json.loads(json.dumps(docs._example(document, schema)))
    fields = docs._resolve(document, schema).get("properties", {})
    yield from ([], None, "x", {}, good)
    for name in fields:
        for value in rng.sample(HOSTILE, SAMPLE):
            yield good | {name: value}


def addresses(
    path: str, operation: dict[str, Any], rng: random.Random
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The address with hostile ids, and with one hostile value in the query after the other."""
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    filled = path
    for name in names:
        filled = filled.replace(f"{{{name}}}", "1")
    yield filled, {}
    for value in PATHS if names else ():
        yield path.replace(f"{{{names[-1]}}}", value).replace(f"{{{names[0]}}}", "1"), {}
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "query":
            for value in rng.sample(
                [v for v in HOSTILE if not isinstance(v, list | dict) and v is not LONE], SAMPLE
            ):
                yield filled, {parameter["name"]: "" if value is None else str(value)}


def test_nothing_breaks(admin: Api, give: Callable[..., Any]) -> None:
    give("5.00")
    caller, rng = admin, random.Random(1)
    broken: list[str] = []
    for method, path, operation, document in operations():
        for address, query in addresses(path, operation, rng):
            for body in bodies(operation, document, rng) if address == path else [None, {}]:
                sent = None if method in ("GET", "DELETE") else json.dumps(body).encode()
                answer = caller.client.request(
                    method, f"/api{address}", params=query, content=sent,
                    headers=caller.headers | {"Content-Type": "application/json"},
                )  # fmt: skip
                ok = answer.status_code < 500 or answer.status_code == 502
                if not ok or (answer.status_code >= 400 and not answer.json()["error"]["message"]):
                    broken.append(
                        f"{method} {address} {query} {body!r:.200}: {answer.status_code} {answer.text[:300]}"
                    )
    assert broken == []
