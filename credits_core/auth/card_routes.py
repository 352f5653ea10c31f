"""The routes between the app and Stripe's pages for cards: save one, come back, confirm a payment."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from urllib.parse import quote, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from credits_core import card_payments, saved_cards
from credits_core.auth import form
from credits_core.auth.cookies import local_base_url, safe_next, same_origin
from credits_core.auth.person import Person, current_identity
from credits_core.errors import CreditsError, NotAllowed
from credits_core.runtime import get_runtime

MAX_ID = 255


async def save_card(request: Request) -> Response:
    """POST: 303 to the page where the card is entered; it leads back to `next`, a page of this app with what was filled in."""
    fields = await request.form(max_files=0, max_fields=10)
    return await run_in_threadpool(_save_card, request, _back(fields.get("next")))


def _save_card(request: Request, back: str) -> Response:
    runtime = get_runtime()
    if not same_origin(request.headers, runtime.settings):
        raise NotAllowed("This form was sent from another site; open the app and use its own button.")
    person = current_identity(request.cookies)
    if person is None:
        return _sign_in(back)
    base = local_base_url(request.headers, runtime.settings)
    try:
        setup = saved_cards.start_saving(runtime, person.identity, base, back)
    except CreditsError as error:
        return form.notice(
            "The card cannot be saved just now", error.message, back=back, status=error.http_status
        )
    return RedirectResponse(setup.url or base, 303)


def portal(request: Request) -> Response:
    """POST: 303 to Stripe's page for cards and invoices."""
    runtime = get_runtime()
    if not same_origin(request.headers, runtime.settings):
        raise NotAllowed("This form was sent from another site; open the app and use its own button.")
    person = current_identity(request.cookies)
    if person is None:
        return _sign_in(saved_cards.PORTAL_RETURN)
    base = local_base_url(request.headers, runtime.settings)
    try:
        return RedirectResponse(saved_cards.portal(runtime, person.identity, base), 303)
    except CreditsError as error:
        return form.notice(
            "Cards and invoices cannot be opened just now",
            error.message,
            back=saved_cards.PORTAL_RETURN,
            status=error.http_status,
        )


def card_saved(request: Request) -> Response:
    """GET: back from that page."""
    return _as_person(request, _card_saved)


def confirm_payment(request: Request) -> Response:
    """GET, from a link: 303 to where the bank asks the owner, or on to the return page when it is paid. A GET, since the
    browser would not follow the answer to a form to a bank's address."""
    back = {"session_id": _query(request, "payment")} | (
        {"call": str(call)} if (call := _call(request)) else {}
    )
    return _as_person(request, _confirm_payment, f"/checkout_return?{urlencode(back)}")


def _card_saved(request: Request, person: Person) -> Response:
    back = _back(request.query_params.get("next"))
    setup = saved_cards.finish_saving(get_runtime(), person.identity, _query(request, "session_id"))
    if setup.payment_method_id is None:
        return form.notice(
            "No card was saved", "The page was left before a card was saved; try again.", back=back
        )
    return RedirectResponse(f"{back}{'&' if '?' in back else '?'}card=saved", 303)


def _confirm_payment(request: Request, person: Person) -> Response:
    base = local_base_url(request.headers, get_runtime().settings)
    payment = _query(request, "payment")
    key = f"confirm-{payment[:MAX_ID]}-{uuid.uuid4()}"
    url = card_payments.confirmation_url(get_runtime(), person.identity, payment, base, key, _call(request))
    return RedirectResponse(url, 303)


def _call(request: Request) -> int | None:
    """The running call that a payment is to lengthen, if it names one."""
    call = _query(request, "call")
    return int(call) if call.isascii() and call.isdigit() and len(call) <= 18 else None


def _as_person(
    request: Request, answer: Callable[[Request, Person], Response], back: str = saved_cards.PAGE
) -> Response:
    person = current_identity(request.cookies)
    if person is None:
        return _sign_in(back)
    try:
        return answer(request, person)
    except CreditsError as error:
        return form.notice("That did not work", error.message, back=back, status=error.http_status)


def _back(target: object) -> str:
    """Where to go afterwards: a page of this app, the auto-reload page unless another one was named."""
    found = safe_next(target if isinstance(target, str) else None)
    return saved_cards.PAGE if found == "/" else found


def _query(request: Request, name: str) -> str:
    return request.query_params.get(name, "")[:MAX_ID]


def _sign_in(target: str) -> Response:
    return RedirectResponse(f"/auth/sign-in?next={quote(target, safe='')}", 303)


ROUTES = [
    Route("/auth/save-card", save_card, methods=["POST"]),
    Route("/auth/portal", portal, methods=["POST"]),
    Route("/auth/card-saved", card_saved, methods=["GET"]),
    Route("/auth/confirm-payment", confirm_payment, methods=["GET"]),
]
