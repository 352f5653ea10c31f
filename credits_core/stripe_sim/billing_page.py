"""The pages of an invoice and of the billing portal."""

from __future__ import annotations

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from credits_core.stripe_sim import attempts, billing_html, invoices, portal, session_flow
from credits_core.stripe_sim.hosted_page import card_of, error_of, html, notice, route
from credits_core.stripe_sim.simulator import Simulator


def routes(simulator: Simulator) -> list[Route]:
    """The pages' routes, relative to where the simulator is mounted."""
    return [
        Route("/invoices/{id}", route(simulator, show_invoice, pay_invoice), methods=["GET", "POST"]),
        Route("/portal/{id}", route(simulator, show_portal, use_portal), methods=["GET", "POST"]),
    ]


def show_invoice(sim: Simulator, base: str, invoice_id: str, _form: dict[str, str]) -> Response:
    """An invoice that was finalized."""
    with sim.change(base) as ctx:
        found = ctx.store.get("invoice", invoice_id)
    if found is None or found["status"] == "draft":
        return notice("No such invoice", "Check the link, or look at your purchases.", None, status=404)
    return html(billing_html.invoice(found), None)


def pay_invoice(sim: Simulator, base: str, invoice_id: str, form: dict[str, str]) -> Response:
    """Pay an open invoice with the card of the form, which is saved for the next ones."""
    problem, card = card_of(form, sim.store.now())
    if card is None:
        return notice("This did not work", problem or "", f"{base}/invoices/{invoice_id}", status=422)
    with sim.change(base) as ctx:
        invoice = invoices.existing(ctx, invoice_id)
        if invoice["status"] == "open":
            intent = invoices.intent_of(ctx, invoice)
            moved = attempts.present_card(
                ctx,
                intent["id"],
                card,
                return_url=f"{base}/invoices/{invoice_id}",
                email=invoice["customer_email"],
            )
            session_flow.follow_up(ctx, moved)
            if moved["status"] == "requires_action":
                return RedirectResponse(f"{base}/challenge/{moved['id']}", 303)
            if error := error_of(moved):
                return notice("This card was not charged", error, f"{base}/invoices/{invoice_id}")
    return RedirectResponse(f"{base}/invoices/{invoice_id}", 303)


def show_portal(sim: Simulator, base: str, secret: str, _form: dict[str, str]) -> Response:
    """Saved cards and subscriptions of the portal session's customer."""
    with sim.change(base) as ctx:
        session = portal.session_of(ctx, secret)
        page = billing_html.portal(*portal.contents(ctx, session), session["return_url"])
    return html(page, None)


def use_portal(sim: Simulator, base: str, secret: str, form: dict[str, str]) -> Response:
    """A button of the portal was pressed."""
    with sim.change(base) as ctx:
        portal.act(ctx, portal.session_of(ctx, secret), form.get("action", ""), form.get("object", ""))
    return RedirectResponse(f"{base}/portal/{secret}", 303)
