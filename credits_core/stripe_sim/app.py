"""The simulator as a Starlette app, to be mounted at `/sim`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from credits_core.stripe_sim import billing_page, control, guard, hosted_page
from credits_core.stripe_sim.errors import StripeFault
from credits_core.stripe_sim.simulator import Simulator
from credits_core.stripe_sim.store import Obj

_MAX_BODY_BYTES = 1_000_000
_METHODS = ["GET", "POST", "DELETE"]


def create_app(simulator: Simulator) -> Starlette:
    """The routes: the API below `v1/`, the hosted pages, the control plane. Mount it as `Mount("/sim", app)`."""
    routes = [Route("/v1/{path:path}", partial(_api, simulator), methods=_METHODS)]
    routes += [*hosted_page.routes(simulator), *billing_page.routes(simulator)]
    for path, action in control.ROUTES.items():
        routes.append(Route(f"/control/{path}", _control(simulator, action), methods=["GET", "POST"]))
    return Starlette(routes=routes)


async def _api(simulator: Simulator, request: Request) -> Response:
    try:
        body = await _body(request)
    except StripeFault as fault:
        return JSONResponse(fault.body, fault.status)
    headers = {name.lower(): value for name, value in request.headers.items()}
    answer = await run_in_threadpool(simulator.handle, request.method, str(request.url), headers, body)
    if answer.hang_seconds:
        await asyncio.sleep(answer.hang_seconds)
    return Response(answer.body, answer.status, answer.headers)


def _control(simulator: Simulator, action: control.Action) -> Callable[[Request], Awaitable[Response]]:
    async def route(request: Request) -> Response:
        if not guard.may_control(request.client.host if request.client else None, request.headers):
            return JSONResponse(
                StripeFault("The control plane answers only programs on this machine.").body, 403
            )
        try:
            body = _json_object(await _body(request))
            return JSONResponse(
                await run_in_threadpool(
                    action, simulator, hosted_page.base_of(request), body, *request.path_params.values()
                )
            )
        except StripeFault as fault:
            return JSONResponse(fault.body, fault.status)

    return route


def _json_object(raw: bytes) -> Obj:
    try:
        body: Any = json.loads(raw or b"{}")
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise StripeFault('The body must be a JSON object, such as {"card": "4242424242424242"}.')
    return body


async def _body(request: Request) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > _MAX_BODY_BYTES:
            raise StripeFault("The request body is too large.", status=413)
        chunks.append(chunk)
    return b"".join(chunks)
