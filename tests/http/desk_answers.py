"""One good answer of every endpoint of the payments desk: payments, reviews, approvals."""

from __future__ import annotations

from typing import Any

from credits_core.db.port import SERVICE
from credits_core.runtime import get_runtime
from tests.http.answers import Answers
from tests.http.conftest import HOLDER, Api

LARGE = {"account": HOLDER, "amount": "12000", "reason": "a large gift"}


def in_review(holder: Api) -> Any:
    """A purchase that was paid with another amount than its price, as Stripe said."""
    made = holder.post("checkout", {"package": "usd_10"}).json()
    session = {
        "session_id": made["session_id"],
        "purchase_id": made["purchase_id"],
        "status": "complete",
        "payment_status": "paid",
        "mode": "payment",
        "livemode": False,
        "currency": "usd",
        "amount_subtotal": 500,
        "amount_total": 500,
        "payment_intent_id": f"pi_{made['session_id']}",
    }
    return get_runtime().db.call("fulfill_purchase", SERVICE, session=session)


def about_the_desk(holder: Api, admin: Api, other_admin: Api) -> Answers:
    """For a holder who paid an older price, and an administrator who is generous twice."""
    payment = f"admin/payments/{in_review(holder)['purchase_id']}"
    asked = [admin.post("admin/adjust", LARGE).json()["approval_id"] for _ in range(2)]
    price = {
        "operation": "call",
        "components": [{"unit": "minute", "price_micros": 200_000}],
        "reason": "dearer",
    }
    first, second = (f"admin/approvals/{approval_id}" for approval_id in asked)
    limit = {"kind": "refund", "amount": 20_000, "reason": "decided together"}
    return {
        ("GET", "/credits/admin/payments"): admin.get("admin/payments", status="review"),
        ("GET", "/credits/admin/payments/currencies"): admin.get("admin/payments/currencies"),
        ("GET", "/credits/admin/payments/{purchase_id}"): admin.get(payment),
        ("POST", "/credits/admin/payments/{purchase_id}/review"): admin.post(
            f"{payment}/review", {"decision": "close", "reason": "paid back in cash"}
        ),
        ("GET", "/credits/admin/approvals"): other_admin.get("admin/approvals", view="for_me"),
        ("GET", "/credits/admin/approvals/count"): other_admin.get("admin/approvals/count"),
        ("GET", "/credits/admin/approvals/limits"): admin.get("admin/approvals/limits"),
        ("POST", "/credits/admin/approvals/limits"): other_admin.post("admin/approvals/limits", limit),
        ("POST", "/credits/admin/approvals/price-change"): admin.post("admin/approvals/price-change", price),
        ("POST", "/credits/admin/approvals/{approval_id}/approve"): other_admin.post(f"{first}/approve"),
        ("POST", "/credits/admin/approvals/{approval_id}/reject"): other_admin.post(
            f"{second}/reject", {"reason": "once is enough"}
        ),
    }
