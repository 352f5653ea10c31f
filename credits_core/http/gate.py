"""Anonymous visitors of a page go to the sign-in form before Streamlit answers anything.

The guard inside every page stays: this one only looks at addresses, and a page's socket outlives a sign-out.
"""

from __future__ import annotations

from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from credits_core.auth import current_identity, form
from credits_core.errors import CreditsError
from credits_core.http.middleware import SECTIONS


class SignInGate:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and is_page(scope["path"]):
            refusal = await run_in_threadpool(_refusal, Request(scope))
            if refusal is not None:
                await refusal(scope, receive, send)
                return
        await self.app(scope, receive, send)


def is_page(path: str) -> bool:
    """Whether an address is a page's: the root, or one segment that is no file (`/favicon.png`) and no section."""
    name = path.strip("/")
    return "/" not in name and "." not in name and name not in SECTIONS


def _refusal(request: Request) -> Response | None:
    try:
        if current_identity(request.cookies) is not None:
            return None
    except CreditsError as error:
        return form.notice(
            "Not available just now", error.message, link="Try again", status=error.http_status
        )
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    target = "/auth/sign-in" if wanted == "/" else f"/auth/sign-in?next={quote(wanted, safe='')}"
    return RedirectResponse(target, 303, headers={"Cache-Control": "no-store"})
