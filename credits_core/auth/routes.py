"""The routes under /auth/: sign in, sign out, go to Stripe. Plain forms and redirects; all of them work without script."""

from __future__ import annotations

import logging

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from credits_core import checkout
from credits_core.auth import card_routes, file_routes, form, invitations, subscription_routes
from credits_core.auth.attempts import Attempts
from credits_core.auth.cookies import local_base_url, new_pre_session, safe_next, same_origin
from credits_core.auth.person import current_identity
from credits_core.auth.providers import DEMO_PEOPLE
from credits_core.errors import CreditsError, InvalidRequest, NotSignedIn
from credits_core.runtime import get_runtime

logger = logging.getLogger(__name__)
attempts = Attempts()

MAX_FIELD = 500
BUY_PAGE = "/buy"


def sign_in_page(request: Request) -> Response:
    """GET: the form, or straight on for somebody who is signed in already."""
    target, code = safe_next(request.query_params.get("next")), invitations.code_of(request)
    if current_identity(request.cookies) is not None:
        return RedirectResponse(target if code is None else invitations.page_with(code), 303)
    response = _form(request, target, invited=code)
    if code is not None:
        get_runtime().cookies.set_invitation(response, code)
    return response


async def sign_in(request: Request) -> Response:
    """POST: check the CSRF token, the number of attempts and the password; then a new session and on to `next`."""
    fields = await request.form(max_files=0, max_fields=10)
    return await run_in_threadpool(_sign_in, request, fields)


def _sign_in(request: Request, fields: FormData) -> Response:
    runtime, cookies = get_runtime(), get_runtime().cookies
    email, password = _field(fields, "email"), _field(fields, "password")
    target, address = safe_next(_field(fields, "next")), request.client.host if request.client else ""
    if not cookies.csrf_matches(cookies.pre_session(request.cookies), _field(fields, "csrf")):
        return _form(request, target, email, "This form is too old; try again.", 403)
    if wait := attempts.wait_seconds(email, address):
        answer = _form(
            request, target, email, f"Too many attempts. Wait {_minutes(wait)} and try again.", 429
        )
        answer.headers["Retry-After"] = str(wait)
        return answer
    try:
        signed_in = runtime.identity_provider.sign_in(email, password)
    except NotSignedIn:
        attempts.failed(email, address)
        return _form(request, target, email, "Email or password is incorrect.", 401)
    except CreditsError as error:
        logger.warning("sign-in could not be checked: %s", error.message)
        return _form(request, target, email, error.message, error.http_status)
    attempts.succeeded(email, address)
    if (old := cookies.session(request.cookies)) is not None:
        runtime.sessions.end(old, everywhere=False)
    response = RedirectResponse(target, 303)
    cookies.set_session(response, runtime.sessions.create(signed_in))
    cookies.clear_pre_session(response)
    if invitations.claim(request, response, signed_in) and target == "/":
        response.headers["location"] = invitations.INVITE_PAGE
    logger.info("signed in", extra={"user_id": signed_in.claims["sub"]})
    return response


def sign_out(request: Request) -> Response:
    """POST: end all sessions of this person, on every device, and forget the cookie."""
    runtime = get_runtime()
    _require_same_origin(request)
    if (token := runtime.cookies.session(request.cookies)) is not None:
        runtime.sessions.end(token, everywhere=True)
    response = RedirectResponse("/auth/sign-in", 303)
    runtime.cookies.clear_session(response)
    # Nothing of this person may come back out of the browser's cache.
    response.headers["Clear-Site-Data"] = '"cache"'
    return response


async def start_checkout(request: Request) -> Response:
    """POST from the buy page: `package` (or `amount_cents`), then 303 to the page where the card is entered."""
    fields = await request.form(max_files=0, max_fields=10)
    return await run_in_threadpool(_start_checkout, request, fields)


def _start_checkout(request: Request, fields: FormData) -> Response:
    runtime = get_runtime()
    _require_same_origin(request)
    person = current_identity(request.cookies)
    if person is None:
        return RedirectResponse(f"/auth/sign-in?next={BUY_PAGE}", 303)
    try:
        purchase = checkout.start_checkout(
            runtime,
            person.identity,
            package=_field(fields, "package") or None,
            amount_cents=_cents(_field(fields, "amount_cents")),
            promo_code=_field(fields, "promo_code") or None,
            idempotency_key=_field(fields, "idempotency_key") or None,
            call_id=_call_id(_field(fields, "call")),
            base_url=local_base_url(request.headers, runtime.settings),
        )
    except CreditsError as error:
        return form.notice(
            "This purchase did not start",
            error.message,
            back=BUY_PAGE,
            link="Back to buying",
            status=error.http_status,
        )
    return RedirectResponse(purchase["url"], 303)


def style(request: Request) -> Response:  # noqa: ARG001 - a route's signature
    return PlainTextResponse(
        form.STYLE, media_type="text/css", headers={"Cache-Control": "public, max-age=3600"}
    )


def nothing_here(request: Request) -> Response:  # noqa: ARG001
    return form.notice(
        "Nothing here", "There is no such page; sign in from here.", link="Sign in", status=404
    )


ROUTES = [
    Route("/auth/sign-in", sign_in_page, methods=["GET"]),
    Route("/auth/sign-in", sign_in, methods=["POST"]),
    Route("/auth/sign-out", sign_out, methods=["POST"]),
    Route("/auth/checkout", start_checkout, methods=["POST"]),
    *card_routes.ROUTES,
    *invitations.ROUTES,
    *file_routes.ROUTES,
    *subscription_routes.ROUTES,
    Route("/auth/style.css", style, methods=["GET"]),
    Route("/auth/{rest:path}", nothing_here),
]


def _form(
    request: Request,
    target: str,
    email: str = "",
    alert: str = "",
    status: int = 200,
    *,
    invited: str | None = None,
) -> Response:
    runtime, cookies = get_runtime(), get_runtime().cookies
    # The pre-session stays while it lasts, so that a form open in another tab keeps working.
    pre_session = cookies.pre_session(request.cookies) or new_pre_session()
    response = form.sign_in_form(
        csrf=cookies.csrf_token(pre_session),
        target=target,
        email=email,
        alert=alert,
        demo=DEMO_PEOPLE if runtime.settings.embedded else (),
        status=status,
        **({"lead": invitations.LEAD.format(code=invited)} if invited else {}),
    )
    cookies.start_pre_session(response, pre_session)
    return response


def _require_same_origin(request: Request) -> None:
    if not same_origin(request.headers, get_runtime().settings):
        raise HTTPException(403, "This form was sent from another site; open the app and use its own button.")


def _field(fields: FormData, name: str) -> str:
    value = fields.get(name)
    return value[:MAX_FIELD] if isinstance(value, str) else ""


def _cents(text: str) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise InvalidRequest("The amount must be a whole number of cents.")
    return int(text)


def _call_id(text: str) -> int | None:
    """The running call a top-up is for; what is not a number leads back as any purchase does."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def _minutes(seconds: int) -> str:
    minutes = -(-seconds // 60)
    return "a minute" if minutes == 1 else f"{minutes} minutes"
