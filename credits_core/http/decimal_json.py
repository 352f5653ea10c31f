"""JSON bodies without floats: every number with a point becomes a Decimal, so that no digit of a quantity is lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

MAX_NUMBER_LENGTH = 40


def loads(body: bytes) -> Any:
    """The JSON value of a body; JSONDecodeError for anything else, also NaN, endless numbers and deep nesting."""
    try:
        return json.loads(body, parse_float=_decimal, parse_int=_int, parse_constant=_refuse)
    except json.JSONDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        reason = (
            str(error) if isinstance(error, _Refused) else "it is not readable text or is nested too deep"
        )
        raise json.JSONDecodeError(reason, "", 0) from None


class _Refused(ValueError):
    pass


def _refuse(name: str) -> Any:
    raise _Refused(f"{name} is not a number in JSON")


def _int(text: str) -> int:
    return int(_short(text))


def _decimal(text: str) -> Decimal:
    return Decimal(_short(text))


def _short(text: str) -> str:
    if len(text) > MAX_NUMBER_LENGTH:
        raise _Refused(f"a number has more than {MAX_NUMBER_LENGTH} digits")
    return text


class _DecimalRequest(Request):
    async def json(self) -> Any:
        return loads(await self.body())


class DecimalRoute(APIRoute):
    """A route whose JSON body is read by `loads`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            return await handler(_DecimalRequest(request.scope, request.receive))

        return handle
