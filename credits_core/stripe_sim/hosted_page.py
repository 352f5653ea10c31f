"""The pages a cardholder sees: payment, 3-D Secure, receipt. Plain HTML forms under a strict content policy."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

from credits_core.stripe_sim import (
    cards,
    hosted_html,
    session_flow,
    sessions,
)
from credits_core.stripe_sim.errors import StripeFault
from credits_core.stripe_sim.events import Context
from credits_core.stripe_sim.session_items import line_items
from credits_core.stripe_sim.simulator import Simulator
from credits_core.stripe_sim.store import Obj

_STYLE = Path(__file__).parent / "static" / "pay.css"
_UNKNOWN_CARD = "This page takes test cards only, such as 4242 4242 4242 4242. Never enter a real card here."
_MAX_FORM_BYTES = 10_000

Page = Callable[[Simulator, str, str, dict[str, str]], Response]


def routes(simulator: Simulator) -> list[Route]:
    """The pages' routes, relative to where the simulator is mounted."""
    return [
        Route("/pay/{id}", route(simulator, show_payment, pay), methods=["GET", "POST"]),
        Route("/challenge/{id}", route(simulator, show_challenge, answer_challenge), methods=["GET", "POST"]),
        Route("/receipts/{id}", route(simulator, show_receipt, show_receipt)),
        Route("/static/pay.css", _style),
    ]


def base_of(request: Request) -> str:
    """The address under which a browser or program reached the simulator, without a slash at the end."""
    return f"{request.url.scheme}://{request.url.netloc}{request.scope.get('root_path', '')}"


def show_payment(sim: Simulator, base: str, session_id: str, _form: dict[str, str]) -> Response:
    """The form for an open session; a short notice for one that is paid or expired."""
    with sim.change(base) as ctx:
        session = ctx.store.get("checkout.session", session_id)
        items = line_items(ctx, session_id)
        known = _intent_of(ctx, session) if session else None
    if session is None:
        return notice("No such payment", "Start again from the shop.", None, status=404)
    if session["status"] == "complete":
        return notice("This payment is complete", "Nothing more is to be paid here.", _success(session))
    if session["status"] == "expired":
        return notice(
            "This payment page has expired",
            "No money was taken. Go back to the shop and start again.",
            session["cancel_url"],
        )
    error = error_of(known)
    return html(hosted_html.payment(session, items, error), session)


def pay(sim: Simulator, base: str, session_id: str, form: dict[str, str]) -> Response:
    """Present the card of the form: on to the shop, to 3-D Secure, or back to the form with the reason."""
    problem, card = card_of(form, sim.store.now())
    if form.get("method") == "bank":
        problem, card = None, cards.BANK
    with sim.change(base) as ctx:
        session = ctx.store.get("checkout.session", session_id)
        if session is None or session["status"] == "expired":
            return show_payment(sim, base, session_id, {})
        if session["status"] == "complete":  # the button was pressed twice
            return RedirectResponse(_success(session), 303)
        if form.get("method") == "code":
            problem = _enter_code(ctx, session_id, form)
            session, card = sessions.open_session(ctx, session_id), None
        if card is None:
            items = line_items(ctx, session_id)
            return html(
                hosted_html.payment(session, items, problem, form.get("email")),
                session,
                status=422 if problem else 200,
            )
        intent = session_flow.present_card(ctx, session_id, card, form.get("email"))
    if intent["status"] == "requires_action":
        return RedirectResponse(f"{base}/challenge/{intent['id']}", 303)
    if intent["status"] not in ("succeeded", "processing", "complete"):
        return show_payment(sim, base, session_id, {})
    return RedirectResponse(_success(session), 303)


def show_challenge(sim: Simulator, base: str, intent_id: str, _form: dict[str, str]) -> Response:
    """The bank's question."""
    with sim.change(base) as ctx:
        intent = ctx.store.any(intent_id)
        session = _session_of(sim, intent)
    if intent is None or intent["status"] != "requires_action":
        return notice(
            "Nothing to confirm", "This payment does not wait for a confirmation.", None, status=404
        )
    return html(hosted_html.challenge(intent), session, intent)


def answer_challenge(sim: Simulator, base: str, intent_id: str, form: dict[str, str]) -> Response:
    """The cardholder's answer: `outcome` is `complete` or anything else, which fails."""
    with sim.change(base) as ctx:
        before = ctx.store.any(intent_id) or {}
        intent = session_flow.answer_challenge(ctx, intent_id, passed=form.get("outcome") == "complete")
        session = _session_of(sim, intent)
    if session:
        paid = intent["status"] == "succeeded"
        return RedirectResponse(_success(session) if paid else f"{base}/pay/{session['id']}", 303)
    back = ((before.get("next_action") or {}).get("redirect_to_url") or {}).get("return_url")
    if not back:
        return notice("Thank you", "You can close this page and return to the shop.", None)
    query = urlencode({"payment_intent": intent_id, "payment_intent_client_secret": intent["client_secret"]})
    return RedirectResponse(f"{back}{'&' if '?' in back else '?'}{query}", 303)


def show_receipt(sim: Simulator, base: str, charge_id: str, _form: dict[str, str]) -> Response:
    """The receipt of a charge."""
    with sim.change(base) as ctx:
        charge = ctx.store.get("charge", charge_id)
    if charge is None or not charge["paid"]:
        return notice("No such receipt", "Check the link, or look at your purchases.", None, status=404)
    return html(hosted_html.receipt(charge), None)


def _enter_code(ctx: Context, session_id: str, form: dict[str, str]) -> str | None:
    try:
        sessions.enter_code(ctx, session_id, form.get("promotion_code", ""))
    except StripeFault as fault:
        return str(fault)
    return None


def _intent_of(ctx: Context, session: Obj) -> Obj | None:
    intent_id = session["setup_intent"] or ctx.store.private(session["id"])["intent"]
    return ctx.store.any(intent_id) if intent_id else None


def error_of(intent: Obj | None) -> str | None:
    """Why the last attempt of a PaymentIntent or SetupIntent did not work, if it did not."""
    found = intent or {}
    error = found.get("last_payment_error") or found.get("last_setup_error")
    return error["message"] if error else None


def route(simulator: Simulator, show: Page, act: Page) -> Callable[[Request], object]:
    """A route that shows a page, or acts on its form; faults become a page with a sentence."""

    async def answer(request: Request) -> Response:
        form: dict[str, str] = {}
        if request.method == "POST":
            raw = await request.body()
            pairs = parse_qs(raw[:_MAX_FORM_BYTES].decode("utf-8", "replace"))
            form = {name: values[0] for name, values in pairs.items()}
        page = act if request.method == "POST" else show
        try:
            return await run_in_threadpool(page, simulator, base_of(request), request.path_params["id"], form)
        except StripeFault as fault:
            return notice("This did not work", str(fault), None, status=fault.status)

    return answer


def card_of(form: dict[str, str], now: int) -> tuple[str | None, cards.Card | None]:
    """What is wrong with the card of a form, or the test card it names."""
    digits = re.sub(r"[\s-]", "", form.get("number", ""))
    if digits not in cards.BY_NUMBER:
        return _UNKNOWN_CARD, None
    expiry = re.fullmatch(r"(0?[1-9]|1[0-2])\s*/?\s*(?:20)?(\d\d)", form.get("expiry", "").strip())
    today = datetime.fromtimestamp(now, UTC)
    if expiry is None or (2000 + int(expiry[2]), int(expiry[1])) < (today.year, today.month):
        return "Write the expiry date as MM / YY, in the future, such as 12 / 34.", None
    if not re.fullmatch(r"\d{3,4}", form.get("cvc", "").strip()):
        return "The security code (CVC) has 3 digits; for a test card any will do, such as 123.", None
    return None, cards.BY_NUMBER[digits]


def _success(session: Obj) -> str:
    return str(session["success_url"]).replace("{CHECKOUT_SESSION_ID}", session["id"])


def _session_of(sim: Simulator, intent: Obj | None) -> Obj | None:
    session_id = sim.store.private(intent["id"]).get("session") if intent else None
    return sim.store.get("checkout.session", session_id)


def notice(title: str, text: str, link: str | None, *, status: int = 200) -> Response:
    """A page with one sentence and a way back."""
    return html(hosted_html.notice(title, text, link), None, status=status)


def html(page: str, session: Obj | None, intent: Obj | None = None, *, status: int = 200) -> Response:
    """A page under a strict content policy."""
    # Browsers hold redirects after a form to form-action as well, so the shop's own origin has to be named.
    back = (
        session["success_url"]
        if session
        else (((intent or {}).get("next_action") or {}).get("redirect_to_url") or {}).get("return_url")
    )
    parts = urlsplit(back or "")
    shop = f" {parts.scheme}://{parts.netloc}" if parts.netloc else ""
    return Response(
        page,
        status,
        media_type="text/html; charset=utf-8",
        headers={
            "Content-Security-Policy": f"default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none';"
            f" frame-ancestors 'none'; form-action 'self'{shop}",
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        },
    )


async def _style(_request: Request) -> Response:
    return FileResponse(_STYLE, media_type="text/css", headers={"X-Content-Type-Options": "nosniff"})
