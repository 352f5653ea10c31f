"""Errors as answers: one shape, `{"error": {"code", "message", "detail"}}`, and the request's id in a header."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from credits_core.errors import CreditsError, NotSignedIn

logger = logging.getLogger(__name__)

_HTTP_PROBLEMS = {
    404: ("not_found", "There is nothing at this address; the endpoints are listed at /api/docs."),
    405: ("method_not_allowed", "This address does not take that method; see /api/docs."),
    413: ("too_large", "The request is too large; send it in smaller parts."),
}
INTERNAL = (
    "internal_error",
    "Something went wrong on our side; nothing was changed that this answer did not confirm. "
    "Try again with the same Idempotency-Key, and name the request id if it stays.",
)


def problem(
    status: int,
    code: str,
    message: str,
    detail: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """The answer for a refusal."""
    body = {"error": {"code": code, "message": message, "detail": dict(detail or {})}}
    return JSONResponse(body, status_code=status, headers=dict(headers or {}))


def credits_error(error: CreditsError) -> JSONResponse:
    if error.http_status >= 500:
        logger.error("%s: %s", error.code, error.message, exc_info=error)
    headers = {"WWW-Authenticate": "Bearer"} if isinstance(error, NotSignedIn) else {}
    return problem(error.http_status, error.code, error.message, error.detail, headers)


def http_error(error: HTTPException) -> JSONResponse:
    code, message = _HTTP_PROBLEMS.get(error.status_code, ("invalid_request", str(error.detail)))
    return problem(error.status_code, code, message, headers=error.headers)


def validation_error(error: RequestValidationError) -> JSONResponse:
    sentences = [_sentence(item) for item in error.errors()]
    places = [place for item in error.errors() if (place := _place(item))]
    return problem(422, "invalid_request", " ".join(sentences[:5]), {"fields": places[:20]})


def unexpected_error() -> JSONResponse:
    """For whatever nobody foresaw; the middleware logs it with its trace, a caller never sees that."""
    return problem(500, *INTERNAL)


HANDLERS: dict[int | type[Exception], Callable[[Request, Any], Any]] = {
    CreditsError: lambda _, error: credits_error(error),
    HTTPException: lambda _, error: http_error(error),
    RequestValidationError: lambda _, error: validation_error(error),
    Exception: lambda _, __: unexpected_error(),
}


def _place(item: Mapping[str, Any]) -> str:
    where: Sequence[object] = [
        part for part in item["loc"] if part not in ("body", "query", "path", "header")
    ]
    return ".".join(str(part) for part in where) if item["type"] != "json_invalid" else ""


def _sentence(item: Mapping[str, Any]) -> str:
    """One sentence a person can act on; the value itself is not repeated (it could be a secret)."""
    place = _place(item)
    match item["type"]:
        case "json_invalid":
            return f"The body is not valid JSON ({item['ctx']['error']})."
        case "missing" if not place:
            return "The body is missing; send a JSON object with Content-Type: application/json."
        case "missing":
            return f"“{place}” is missing."
        case "extra_forbidden":
            return f"“{place}” is not a known field; see /api/docs."
        case "model_attributes_type" | "dict_type" if not place:
            return "The body must be a JSON object sent with Content-Type: application/json."
        case "value_error":
            return f"“{place}”: {item['ctx']['error']}" if place else str(item["ctx"]["error"])
    return f"“{place}”: {item['msg']}."
