"""One good answer of every endpoint about refunds, saved cards, auto-reload and subscriptions."""

from __future__ import annotations

from typing import Any

from credits_core import subscriptions
from credits_core.runtime import get_runtime
from credits_core.stripe_sim import control_money
from tests.http.answers import Answers
from tests.http.conftest import Api

CARD = {"card": "4242424242424242"}


def about_refunds(holder: Api, admin: Api, other_admin: Api) -> Answers:
    """For a holder who buys $100 twice: one refund is approved, the other rejected."""
    asked = []
    for _ in range(2):
        wanted = {"purchase_id": bought(holder)["purchase_id"], "reason": "for a test"}
        preview = admin.post("admin/refunds/preview", {"purchase_id": wanted["purchase_id"]})
        asked.append(admin.post("admin/refunds", wanted))
    first, second = (f"admin/refunds/{answer.json()['refund_id']}" for answer in asked)
    return {
        ("POST", "/credits/admin/refunds/preview"): preview,
        ("POST", "/credits/admin/refunds"): asked[0],
        ("POST", "/credits/admin/refunds/{refund_id}/approve"): other_admin.post(f"{first}/approve"),
        ("POST", "/credits/admin/refunds/{refund_id}/reject"): other_admin.post(f"{second}/reject"),
        ("GET", "/credits/admin/refunds"): admin.get("admin/refunds"),
    }


def bought(holder: Api, package: str = "usd_100") -> Any:
    """The purchase after somebody paid for a package on the hosted page and came back."""
    session_id = holder.post("checkout", {"package": package}).json()["session_id"]
    simulator = get_runtime().stripe.simulator
    assert simulator is not None
    control_money.pay_session(simulator, "http://127.0.0.1:8501/sim", CARD, session_id)
    return holder.get("success", session_id=session_id).json()


def about_subscribing(holder: Api) -> Answers:
    """For a holder who subscribes, takes a dearer plan, cancels and keeps it."""
    begun = holder.post("subscription", {"plan": "monthly_20"})
    simulator = get_runtime().stripe.simulator
    assert simulator is not None
    control_money.pay_session(simulator, "http://127.0.0.1:8501/sim", CARD, begun.json()["session_id"])
    subscriptions.poll(get_runtime().db, get_runtime().stripe)
    return {
        ("POST", "/credits/subscription"): begun,
        ("GET", "/credits/subscription/plans"): holder.get("subscription/plans"),
        ("GET", "/credits/subscription"): holder.get("subscription"),
        ("POST", "/credits/subscription/change"): holder.post("subscription/change", {"plan": "monthly_50"}),
        ("POST", "/credits/subscription/cancel"): holder.post("subscription/cancel"),
        ("POST", "/credits/subscription/keep"): holder.post("subscription/keep"),
    }


def about_reloading(holder: Api) -> Answers:
    """For a holder who saves a card, pays at once with it, agrees to auto-reload, switches it off and removes the card."""
    page = holder.post("cards", {})
    simulator = get_runtime().stripe.simulator
    assert simulator is not None
    control_money.pay_session(simulator, "http://127.0.0.1:8501/sim", CARD, page.json()["session_id"])
    (card,) = holder.get("cards").json()["items"]
    at_once = {"flow": "payment_intent", "confirm": True, "payment_method_id": card["payment_method_id"]}
    words = holder.get("auto-reload").json()["consent_words"]["text"]
    limits = {"threshold": "5.00", "target": "25.00", "cap_day_cents": 5000, "cap_month_cents": 20000}
    agreed = holder.post(
        "auto-reload", limits | {"consent_text": words, "payment_method_id": card["payment_method_id"]}
    )
    return {
        ("POST", "/credits/purchase"): holder.post("purchase", {"amount_cents": 700} | at_once),
        ("POST", "/credits/cards"): page,
        ("GET", "/credits/cards"): holder.get("cards"),
        ("POST", "/credits/auto-reload"): agreed,
        ("GET", "/credits/auto-reload"): holder.get("auto-reload"),
        ("POST", "/credits/auto-reload/switch"): holder.post("auto-reload/switch", {"action": "off"}),
        ("DELETE", "/credits/cards/{payment_method_id}"): holder.client.delete(
            f"/api/credits/cards/{card['payment_method_id']}", headers=holder.headers
        ),
    }
