"""The routes between the app and Stripe's pages for cards: save one, come back, confirm a payment."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from credits_core import auto_reload, saved_cards
from credits_core.auth import form
from credits_core.auth.cookies import local_base_url, same_origin
from credits_core.auth.person import Person, current_identity
from credits_core.errors import CreditsError, NotAllowed
from credits_core.runtime import get_runtime

MAX_ID = 255


def save_card(request: Request) -> Response:
    """POST: 303 to the page where the card is entered."""
    runtime = get_runtime()
    if not same_origin(request.headers, runtime.settings):
        raise NotAllowed("This form was sent from another site; open the app and use its own button.")
    person = current_identity(request.cookies)
    if person is None:
        return _sign_in("/")
    base = local_base_url(request.headers, runtime.settings)
    try:
        setup = saved_cards.start_saving(runtime, person.identity, base)
    except CreditsError as error:
        return form.notice("The card cannot be saved just now", error.message, status=error.http_status)
    return RedirectResponse(setup.url or base, 303)


def card_saved(request: Request) -> Response:
    """GET: back from that page."""
    return _as_person(request, _card_saved)


def confirm_payment(request: Request) -> Response:
    """GET, from a link: 303 to where the bank asks the owner, or on to the return page when it is paid. A GET, since the
    browser would not follow the answer to a form to a bank's address."""
    return _as_person(request, _confirm_payment)


def _card_saved(request: Request, person: Person) -> Response:
    setup = saved_cards.finish_saving(get_runtime(), person.identity, _query(request, "session_id"))
    if setup.payment_method_id is None:
        return form.notice(
            "No card was saved", "The page was left before a card was saved; try again.", link="Back"
        )
    return RedirectResponse("/", 303)


def _confirm_payment(request: Request, person: Person) -> Response:
    base = local_base_url(request.headers, get_runtime().settings)
    payment = _query(request, "payment")
    key = f"confirm-{payment[:MAX_ID]}-{uuid.uuid4()}"
    return RedirectResponse(
        auto_reload.confirmation_url(get_runtime(), person.identity, payment, base, key), 303
    )


def _as_person(request: Request, answer: Callable[[Request, Person], Response]) -> Response:
    person = current_identity(request.cookies)
    if person is None:
        return _sign_in("/")
    try:
        return answer(request, person)
    except CreditsError as error:
        return form.notice("That did not work", error.message, status=error.http_status)


def _query(request: Request, name: str) -> str:
    return request.query_params.get(name, "")[:MAX_ID]


def _sign_in(target: str) -> Response:
    return RedirectResponse(f"/auth/sign-in?next={quote(target, safe='')}", 303)


ROUTES = [
    Route("/auth/save-card", save_card, methods=["POST"]),
    Route("/auth/card-saved", card_saved, methods=["GET"]),
    Route("/auth/confirm-payment", confirm_payment, methods=["GET"]),
]
