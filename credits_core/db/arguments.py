"""Arguments on their way to SQL: both transports send the same text for the same value."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from credits_core.errors import InvalidRequest

_NAME = re.compile(r"[a-z][a-z0-9_]{0,60}")
_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def check_name(name: str) -> str:
    """`name` if it is a plain SQL name; ValueError otherwise (names come from code, never from people)."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a function or argument of schema credits")
    return name


def text_arguments(arguments: Mapping[str, object]) -> dict[str, str]:
    """`{"p_x": text}` that PostgreSQL reads for the parameter's own type; None is left out."""
    return {f"p_{check_name(name)}": _as_text(x) for name, x in arguments.items() if x is not None}


def json_arguments(arguments: Mapping[str, object]) -> dict[str, Any]:
    """`{"p_x": JSON value}` as PostgREST takes it; arguments that are None are left out."""
    return {f"p_{check_name(name)}": _as_json(x) for name, x in arguments.items() if x is not None}


def json_text(value: object) -> str:
    """JSON for a jsonb parameter; decimals, times and UUIDs become text. InvalidRequest for NaN."""
    try:
        text = _ENCODER.encode(value)
    except ValueError:
        raise InvalidRequest("A number in the request is not a number; send finite numbers.") from None
    return _storable(text)


def _as_text(value: object) -> str:
    return _storable(value) if isinstance(value, str) else _scalar_or_json(value)


def _scalar_or_json(value: object) -> str:
    return json_text(value) if isinstance(value, bool | int | dict | list) else _plain(value)


def _as_json(value: object) -> Any:
    text = _as_text(value)
    return json.loads(text) if isinstance(value, bool | int | dict | list) else text


def _plain(value: object) -> str:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal | UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be sent to SQL; use Decimal, datetime, UUID or text")


_ENCODER = json.JSONEncoder(default=_plain, ensure_ascii=False, allow_nan=False)


def _storable(text: str) -> str:
    """PostgreSQL stores no NUL and no half of a surrogate pair: refused here, once for both transports."""
    try:
        text.encode()
    except UnicodeEncodeError:
        storable = False
    else:
        storable = "\x00" not in text and not _ESCAPED_NUL.search(text)
    if not storable:
        raise InvalidRequest("The text has a character that cannot be stored; remove it and try again.")
    return text
