"""Invitations: a link with somebody's code, remembered in a cookie until whoever followed it signs in."""

from __future__ import annotations

import logging
import re
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from credits_core import referrals
from credits_core.auth.providers import SignedIn
from credits_core.db.port import user_identity
from credits_core.errors import CreditsError, DatabaseUnavailable
from credits_core.runtime import get_runtime

logger = logging.getLogger(__name__)

INVITE_PAGE = "/invite"
LEAD = "You were invited. Sign in, and the code {code} is entered for you; the terms are on the page Invite."
_CODE = re.compile(r"[0-9A-Za-z]{8}")


def short_link(request: Request) -> Response:
    """GET /r/CODE: on to the sign-in form, which remembers the code."""
    return RedirectResponse(f"/auth/sign-in?ref={quote(request.path_params['code'][:40], safe='')}", 303)


def code_of(request: Request) -> str | None:
    """The code in the address; None for what cannot be one."""
    code = request.query_params.get("ref", "")
    return code.upper() if _CODE.fullmatch(code) else None


def page_with(code: str) -> str:
    """The page where somebody who is signed in enters the code."""
    return f"{INVITE_PAGE}?code={code}"


def claim(request: Request, response: Response, signed_in: SignedIn) -> bool:
    """Enter the remembered code for who has just signed in; whether it counts now. Never in the way of the sign-in itself."""
    runtime = get_runtime()
    code = runtime.cookies.invitation(request.cookies)
    if code is None:
        return False
    identity = user_identity(signed_in.claims, token=signed_in.access_token)
    try:
        answer = referrals.claim(runtime.db, identity, code)
    except DatabaseUnavailable as error:
        logger.warning("invitation not entered yet: %s", error.message)
        return False  # the cookie stays for the next sign-in
    except CreditsError as error:
        logger.info("invitation not entered: %s", error.message)
        runtime.cookies.clear_invitation(response)
        return False
    runtime.cookies.clear_invitation(response)
    return not answer["replayed"]


ROUTES = [Route("/r/{code}", short_link, methods=["GET"])]
