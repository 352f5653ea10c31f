"""Answers: every `x_micros` integer gets its decimal text `x` beside it."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse

from credits_core.units import format_credits

_THEIRS = frozenset({"metadata", "detail"})  # what callers stored is given back as it is


def with_decimals(value: Any) -> Any:
    """The value with decimal texts added, at any depth."""
    if isinstance(value, list):
        return [with_decimals(item) for item in value]
    if not isinstance(value, dict):
        return value
    shaped: dict[str, Any] = {}
    for key, item in value.items():
        if key.endswith("_micros") and key.removesuffix("_micros") not in value:
            is_amount = isinstance(item, int) and not isinstance(item, bool)
            shaped[key.removesuffix("_micros")] = format_credits(item) if is_amount else None
        shaped[key] = item if key in _THEIRS else with_decimals(item)
    return shaped


def answer(value: Any, status: int = 200) -> JSONResponse:
    """A JSON answer in the API's shape."""
    return JSONResponse(with_decimals(value), status_code=status)
