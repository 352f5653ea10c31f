"""What happens to every request, page or API: an id, one log line, limits, addresses that are closed, headers."""

from __future__ import annotations

import logging
import re
import secrets
import time
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from credits_core.http.problems import INTERNAL, http_error, problem
from credits_core.logs import request_id
from credits_core.metrics import METRICS

logger = logging.getLogger("credits_core.requests")

MAX_BODY_BYTES = {"/api/": 5_000_000, "/auth/": 64_000}
# Streamlit's own metrics and its interface for programs: nothing of ours needs them, and they skip our sign-in.
CLOSED = re.compile(r"/_stcore/(?:metrics|agent|script-health-check)(?:/|$)")
# Streamlit answers any other address with its page; below a page's address relative links would break.
SECTIONS = frozenset({"api", "auth", "r", "sim", "app", "_stcore", "static", "media", "component", "vendor"})
_GIVEN_ID = re.compile(r"[\w.-]{8,64}", re.ASCII)


class RequestContext:
    """Outermost: names the request, logs one line for it, counts it, and turns any escaped error into a 500."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        current = given if _GIVEN_ID.fullmatch(given) else secrets.token_hex(8)
        token = request_id.set(current)
        path, started, status = scope["path"], time.perf_counter(), 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = current
            await send(message)

        try:
            await self.app(scope, receive, answer)
        except Exception:
            logger.exception("unexpected error", extra={"method": scope["method"], "path": path})
            if status == 0:
                await problem(500, *INTERNAL)(scope, receive, answer)
            status = 500
        finally:
            _record(scope, path, status, time.perf_counter() - started)
            request_id.reset(token)


def _record(scope: Scope, path: str, status: int, seconds: float) -> None:
    route = _template(scope, path)
    labels = {"method": scope["method"], "route": route, "status": str(status)}
    METRICS.count("http_requests_total", "Requests by route and status.", **labels)
    METRICS.observe("http_request_seconds", "Time to answer.", seconds, route=route)
    # Files and look-ups of the front end come by the dozen for each page; they are counted, and logged only in detail.
    noise = path.startswith(("/static/", "/app/")) or "/_stcore/" in path
    level = logging.DEBUG if noise and status < 500 else logging.INFO
    logger.log(
        level,
        "request",
        extra={"method": scope["method"], "path": path, "status": status, "ms": round(seconds * 1000, 1)},
    )


def _template(scope: Scope, path: str) -> str:
    """The route's own path (`/api/credits/calls/{call_id}/end`), so that labels stay few."""
    section = path.split("/")[1]
    if section not in ("api", "auth"):
        return f"/{section}" if section in SECTIONS else "page"
    route: Any = scope.get("route")
    if route is None or isinstance(route, Mount):  # nothing inside the section matched
        return f"/{section}/*"
    return f"/api{route.path_format}" if section == "api" else str(route.path_format)


class ClosedAddresses:
    """Addresses nobody may reach, and page addresses that cannot exist."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            section, *rest = scope["path"].strip("/").split("/")
            # A page's address is one segment, and a section's has more.
            if bool(rest) != (section in SECTIONS) or CLOSED.search(scope["path"]):
                await self._nothing(section)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    @staticmethod
    def _nothing(section: str) -> Response:
        if section == "api":
            return http_error(HTTPException(404))
        return PlainTextResponse("There is nothing at this address.", 404)


class BodyLimit:
    """Refuses large bodies before they are read, also those that do not say how long they are."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit = next(
            (n for prefix, n in MAX_BODY_BYTES.items() if scope.get("path", "").startswith(prefix)), None
        )
        if scope["type"] != "http" or limit is None:
            await self.app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "")
        if length.isdigit() and int(length) > limit:
            await http_error(HTTPException(413))(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise HTTPException(413)  # whoever reads the body lets it through to the handler of errors
            return message

        await self.app(scope, counted, send)


class StaticGZip:
    """Compresses the front end's files (9.6 MB to 3.1 MB for a first page), which Streamlit leaves as they are."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.zipped = GZipMiddleware(app, minimum_size=1000, compresslevel=5)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        static = scope["type"] == "http" and scope["path"].startswith("/static/")
        await (self.zipped if static else self.app)(scope, receive, send)
