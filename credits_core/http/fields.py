"""Types of the fields that requests have: what is accepted, and the sentence for what is not."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import Header
from pydantic import BeforeValidator, Field, WithJsonSchema

from credits_core.errors import CreditsError, InvalidRequest
from credits_core.units import parse_credits

_PLAIN = re.compile(r"[+-]?\d{1,15}(?:\.\d{1,12})?", re.ASCII)
MAX_METADATA_BYTES = 8_000
MIN_YEAR, MAX_YEAR = 2000, 2200
_NUMBER = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^[+-]?\d{1,15}(\.\d{1,12})?$"}]}


def _plain_number(value: object) -> Decimal:
    """A decimal of at most 15 digits and 12 decimals, from a JSON number or text. ValueError otherwise."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError("write a number, such as 90 or “1.5”.")
    # Spelled out ('f'), so that 1e3 is 1000 and 1e300 fails on its length instead of on its value's size.
    if isinstance(value, Decimal) and abs(value.adjusted()) > 30:
        raise ValueError("this number is too large or too small.")
    text = format(value, "f") if isinstance(value, Decimal) else str(value).strip()
    if not _PLAIN.fullmatch(text):
        raise ValueError("write a number of at most 15 digits and 12 decimals, such as 90 or “1.5”.")
    return Decimal(text)


def _micros(value: object) -> int:
    try:
        return parse_credits(_plain_number(value))
    except CreditsError as error:
        raise ValueError(error.message) from None


def _time(value: object) -> datetime:
    if not isinstance(value, str):
        raise ValueError("write a time with its zone, such as 2026-11-20T12:00:00Z.")
    try:
        # The “+” of a zone arrives as a space when a query is not escaped.
        time = datetime.fromisoformat(re.sub(r"(?<=\d) (?=\d\d:\d\d$)", "+", value.strip()))
    except ValueError:
        raise ValueError("write a time with its zone, such as 2026-11-20T12:00:00Z.") from None
    if time.tzinfo is None and len(value.strip()) > 10:
        raise ValueError("add the time zone, such as the Z in 2026-11-20T12:00:00Z.")
    if not MIN_YEAR <= time.year <= MAX_YEAR:
        raise ValueError(f"this time cannot be right; write one between {MIN_YEAR} and {MAX_YEAR}.")
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _metadata(value: object) -> object:
    if isinstance(value, dict) and len(json.dumps(value, default=str)) > MAX_METADATA_BYTES:
        raise ValueError(f"keep metadata under {MAX_METADATA_BYTES:,} bytes.")
    return value


def _account(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("name the account by its number, e-mail or user id.")
    return str(value)


def _loose(value: object) -> str:
    if isinstance(value, dict | list) or len(str(value)) > 255:
        raise ValueError("write text or a number of at most 255 characters.")
    return str(value)


Loose = Annotated[
    str, BeforeValidator(_loose), WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "number"}]})
]
Quantity = Annotated[Decimal, BeforeValidator(_plain_number), WithJsonSchema(_NUMBER)]
Micros = Annotated[int, BeforeValidator(_micros), WithJsonSchema(_NUMBER)]
Time = Annotated[datetime, BeforeValidator(_time), WithJsonSchema({"type": "string", "format": "date-time"})]
Metadata = Annotated[dict[str, Any], BeforeValidator(_metadata)]
Code = Annotated[str, Field(min_length=1, max_length=64)]
Text = Annotated[str, Field(max_length=500)]
Number = Annotated[str, Field(max_length=64)]
Account = Annotated[
    str,
    BeforeValidator(_account),
    Field(max_length=254),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string"}]}),
]
Key = Annotated[str, Field(min_length=1, max_length=255)]
KeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="The same key and body: once, for ever.",
    ),
]


def idempotency_key(header: str | None, field: str | None) -> str:
    """The key of a write: header or field. Neither: a new one, returned in the answer, so a retry counts again."""
    if header is not None and field is not None and header != field:
        raise InvalidRequest("Idempotency-Key and idempotency_key differ; send one of them.")
    return header or field or f"auto-{uuid.uuid4()}"


def with_key(answer: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The answer with the key that a retry has to send."""
    return {**answer, "idempotency_key": key}
