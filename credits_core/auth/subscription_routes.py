"""The way from the plan page to Stripe's page for a subscription."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from credits_core import subscribing
from credits_core.auth import form
from credits_core.auth.cookies import local_base_url, same_origin
from credits_core.auth.person import current_identity
from credits_core.errors import CreditsError, NotAllowed
from credits_core.runtime import get_runtime

MAX_FIELD = 255


async def subscribe(request: Request) -> Response:
    """POST from the plan page: `plan`, then 303 to the page where the card is entered."""
    fields = await request.form(max_files=0, max_fields=10)
    return await run_in_threadpool(_subscribe, request, fields)


def _subscribe(request: Request, fields: FormData) -> Response:
    runtime = get_runtime()
    if not same_origin(request.headers, runtime.settings):
        raise NotAllowed("This form was sent from another site; open the app and use its own button.")
    person = current_identity(request.cookies)
    if person is None:
        return RedirectResponse(f"/auth/sign-in?next={subscribing.PLAN_PAGE}", 303)
    plan, key = (str(fields.get(name) or "")[:MAX_FIELD] for name in ("plan", "idempotency_key"))
    base = local_base_url(request.headers, runtime.settings)
    try:
        begun = subscribing.subscribe(runtime, person.identity, plan=plan, base_url=base, idempotency_key=key)
    except CreditsError as error:
        return form.notice(
            "This subscription did not start", error.message, back=subscribing.PLAN_PAGE, link="Back to your plan",
            status=error.http_status,
        )  # fmt: skip
    return RedirectResponse(begun["url"] or f"{base}{subscribing.PLAN_PAGE}", 303)


ROUTES = [Route("/auth/subscribe", subscribe, methods=["POST"])]
