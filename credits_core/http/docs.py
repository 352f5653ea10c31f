"""API reference at /api/docs: made from our own OpenAPI document, with a form to try each endpoint.

Nothing is loaded from elsewhere, and the page works under the strict content policy (its script is a file of ours).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse

router = APIRouter(include_in_schema=False)

_STATIC = Path(__file__).parent / "static"
_PAGE = Template((_STATIC / "docs.html").read_text(encoding="utf-8"))
_CACHE = {"Cache-Control": "public, max-age=3600"}


@router.get("/docs")
def docs(request: Request) -> HTMLResponse:
    return HTMLResponse(render(request.app.openapi()), headers={"Cache-Control": "no-cache"})


@router.get("/docs/style.css")
def style() -> PlainTextResponse:
    return PlainTextResponse((_STATIC / "docs.css").read_text("utf-8"), media_type="text/css", headers=_CACHE)


@router.get("/docs/docs.js")
def script() -> PlainTextResponse:
    return PlainTextResponse(
        (_STATIC / "docs.js").read_text("utf-8"), media_type="text/javascript", headers=_CACHE
    )


def render(document: Mapping[str, Any]) -> str:
    """The reference as HTML; readable without script, which only the forms need."""
    groups: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            section = _operation(document, f"/api{path}", method.upper(), operation)
            groups.setdefault(operation["tags"][0], []).append(section)
    body = "".join(f"<h2>{escape(tag)}</h2>{''.join(sections)}" for tag, sections in groups.items())
    lead = "".join(f"<p>{_inline(part)}</p>" for part in document["info"]["description"].split("\n\n"))
    return _PAGE.substitute(title=escape(document["info"]["title"]), version=document["info"]["version"],
                            lead=lead, body=body)  # fmt: skip


def _operation(document: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any]) -> str:
    fields = [
        (p["name"], p["in"], p.get("required", False), p["schema"], p.get("description", ""))
        for p in operation.get("parameters", [])
    ]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    model = _resolve(document, body) if body else {}
    fields += [
        (name, "body", name in model.get("required", ()), schema, schema.get("description", ""))
        for name, schema in model.get("properties", {}).items()
    ]
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{place}{', required' if required else ''}</td>"
        f"<td>{escape(_type(document, schema))}</td><td>{_inline(text)}</td></tr>"
        for name, place, required, schema, text in fields
    )
    table = (
        f"<table><thead><tr><th>Name</th><th>In</th><th>Type</th><th></th></tr></thead>{rows}</table>"
        if rows
        else ""
    )
    refusals = ", ".join(code for code in operation["responses"] if code >= "400")
    return (
        f'<details id="{escape(operation["operationId"])}"><summary><b class="{method}">{method}</b>'
        f"<code>{escape(path)}</code><span>{escape(operation['summary'])}</span></summary>"
        f"<p>{_inline(operation.get('description', ''))}</p>{table}"
        f"<h3>Answer</h3><pre>{escape(_example_text(document, _answer(operation)))}</pre>"
        f"<p class='quiet'>Refusals: {refusals}</p>{_form(document, path, method, fields, model)}</details>"
    )


def _form(
    document: Mapping[str, Any],
    path: str,
    method: str,
    fields: list[tuple[Any, ...]],
    model: Mapping[str, Any],
) -> str:
    inputs = "".join(
        f'<label>{escape(name)}<input name="{escape(name)}" data-in="{place}"></label>'
        for name, place, *_ in fields
        if place != "body"
    )
    if model:
        inputs += f'<label>Body<textarea rows="6">{escape(_example_text(document, model))}</textarea></label>'
    return (
        f'<form data-method="{method}" data-path="{escape(path)}">{inputs}'
        '<button>Send</button><output aria-live="polite"></output></form>'
    )


def _answer(operation: Mapping[str, Any]) -> Mapping[str, Any]:
    content: Mapping[str, Any] = operation["responses"].get("200", {}).get("content", {})
    for kind in content.values():
        schema: Mapping[str, Any] = kind.get("schema", {})
        return schema
    return {}


def _resolve(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    if choices := schema.get("anyOf"):
        schema = next((choice for choice in choices if choice.get("type") != "null"), {})
    if reference := schema.get("$ref"):
        found: Mapping[str, Any] = document["components"]["schemas"][reference.rsplit("/", 1)[-1]]
        return found
    return schema


def _type(document: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if choices := schema.get("anyOf"):
        return " or ".join(_type(document, choice) for choice in choices if choice.get("type") != "null")
    return str(schema.get("format") or _resolve(document, schema).get("type") or schema.get("const", "any"))


def _example_text(document: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    return json.dumps(_example(document, schema), indent=2, ensure_ascii=False)


def _example(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Any:
    """A value of that schema: its example, its default, or the simplest one; optional fields only with an example."""
    if examples := schema.get("examples"):
        return examples[0]
    schema = _resolve(document, schema)
    if "properties" in schema:
        required = schema.get("required", ())
        return {
            name: _example(document, part)
            for name, part in schema["properties"].items()
            if name in required or "examples" in part
        }
    match schema.get("type"):
        case "array":
            return [_example(document, schema["items"])]
        case "object":
            return {}
        case "integer" | "number":
            return 0
        case "boolean":
            return False
    return schema.get("enum", ["…"])[0]


def _inline(text: str) -> str:
    """Text with `code` in it, as HTML."""
    parts = escape(text, quote=False).split("`")
    return "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))
