"""What Stripe says of subscriptions. The return page, the webhook and the poll all end in `follow`: it reads the subscription
and its invoices again from Stripe and hands them to SQL, which credits each paid invoice once.

What an event says is never believed; it only names a subscription to look at.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any
from uuid import UUID

from credits_core.db.port import SERVICE, Database
from credits_core.errors import NotFound
from credits_core.stripe_gateway import StripeGateway
from credits_core.stripe_shapes import StripeEvent

logger = logging.getLogger(__name__)

Answer = dict[str, Any]
EVENTS = ("customer.subscription.", "invoice.")


def follow(db: Database, stripe: StripeGateway, stripe_id: str) -> Answer:
    """Bring a subscription (`sub_...`) to where Stripe says it is; answers it. Invoices first, oldest first: terms follow what
    is paid. NotFound for one that is none of ours."""
    invoices = list(stripe.subscriptions.invoices(0, subscription_id=stripe_id))
    paid = [invoice.invoice_id for invoice in invoices if invoice.status == "paid"]
    known = frozenset(db.call("invoices_credited", SERVICE, invoices=paid)) if paid else frozenset()
    for invoice in reversed(invoices):
        if invoice.status == "draft" or invoice.invoice_id in known:
            continue
        if invoice.status == "paid":
            invoice = stripe.subscriptions.invoice(invoice.invoice_id)
        _settled(db.call("settle_invoice", SERVICE, invoice=asdict(invoice)), invoice.invoice_id)
    state = stripe.subscriptions.subscription(stripe_id)
    answer: Answer = db.call("sync_subscription", SERVICE, state=asdict(state))
    if answer["review_reason"]:
        logger.warning(
            "subscription needs review",
            extra={"subscription": answer["subscription_id"], "reason": answer["review_reason"]},
        )
    return answer


def follow_session(db: Database, stripe: StripeGateway, session_id: str) -> Answer:
    """The subscription of a page at Stripe, brought to where Stripe says it is. NotFound for a page that is none of ours."""
    page = stripe.retrieve(session_id)
    if page.mode != "subscription":
        raise NotFound("This Stripe session is not for a subscription.")
    made = stripe.subscriptions.of_session(session_id)
    if made is not None:
        return follow(db, stripe, made.subscription_id)
    row_id = _row_of(page.purchase_id)
    answer: Answer
    if page.status == "expired":
        answer = db.call("fail_subscription", SERVICE, subscription_id=row_id, status="expired")
    else:
        answer = db.call("open_subscription", SERVICE, subscription_id=row_id, session_id=session_id)
    return answer


def follow_payment(db: Database, stripe: StripeGateway, payment_intent_id: str) -> bool:
    """Credit the invoice that a payment is for; False when there is none or it is none of ours."""
    invoice_id = stripe.subscriptions.invoice_of_payment(payment_intent_id)
    stripe_id = stripe.subscriptions.invoice(invoice_id).subscription_id if invoice_id else None
    if stripe_id is None:
        return False
    try:
        follow(db, stripe, stripe_id)
    except NotFound:
        return False
    return True


def is_about_us(event: StripeEvent) -> bool:
    """Whether an event is for this module: of a subscription, its invoice, or the page where it was begun."""
    if event.type.startswith("checkout.session."):
        return bool(event.payload["data"]["object"].get("mode") == "subscription")
    return event.type.startswith(EVENTS)


def take(db: Database, stripe: StripeGateway, event: StripeEvent) -> None:
    """Look at what an event is about. NotFound for what is none of ours."""
    if event.type.startswith("checkout.session."):
        follow_session(db, stripe, event.object_id or "")
    elif event.subscription_id is None:
        raise NotFound("This invoice is not one of a subscription.")
    else:
        follow(db, stripe, event.subscription_id)


def _row_of(reference: str | None) -> str:
    try:
        return str(UUID(reference or ""))
    except ValueError:
        raise NotFound("This Stripe session does not belong to a subscription of ours.") from None


def _settled(answer: Answer, invoice_id: str) -> None:
    known = {"purchase": answer["purchase_id"], "account": answer["account_id"], "invoice": invoice_id}
    if answer["newly_credited"]:
        logger.info("invoice credited", extra=known)
    elif answer["status"] == "review":
        logger.warning("invoice needs review", extra=known | {"reason": answer["review_reason"]})
