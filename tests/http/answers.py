"""One good answer of every endpoint about keys, limits, alerts, holds, figures, corrections and Vapi."""

from __future__ import annotations

from typing import Any

from tests.http.conftest import HOLDER, Api

VAPI_SECRET = "a-secret-of-vapi-1234"
Answers = dict[tuple[str, str], Any]


def about_metering(holder: Api, admin: Api) -> Answers:
    """For a holder with credits, and an administrator."""
    key = holder.post("api-keys", {"name": "Dialer", "scopes": ["read", "use"], "cap_per_day": "1"})
    hold = holder.post("holds", {"operation": "call", "quantity": 60}).json()["hold_id"]
    call = holder.post("calls", {}).json()["call_id"]
    used = holder.post("use", {"operation": "call", "quantity": 60}).json()["transaction_id"]
    component = {"unit": "minute", "price": "0.2", "initial": 60, "following": 60}
    month = {"from": "2026-01-01T00:00:00Z", "to": "2199-01-01T00:00:00Z"}
    return {
        ("GET", "/credits/api-keys"): holder.get("api-keys"),
        ("POST", "/credits/api-keys"): key,
        ("POST", "/credits/api-keys/{api_key_id}/revoke"): holder.post(
            f"api-keys/{key.json()['api_key_id']}/revoke"
        ),
        ("DELETE", "/credits/api-keys/{api_key_id}"): holder.client.delete(
            f"/api/credits/api-keys/{key.json()['api_key_id']}", headers=holder.headers
        ),
        ("GET", "/credits/limits"): holder.get("limits"),
        ("POST", "/credits/limits/caps"): holder.post("limits/caps", {"period": "day", "cap": "25.00"}),
        ("GET", "/credits/plans"): holder.get("plans"),
        ("POST", "/credits/admin/plan"): admin.post("admin/plan", {"account": HOLDER, "plan": None}),
        ("POST", "/credits/account/settings"): holder.post(
            "account/settings", {"time_zone": "Europe/Berlin", "low_balance": ["10", "1"]}
        ),
        ("GET", "/credits/account/settings"): holder.get("account/settings"),
        ("GET", "/credits/alerts"): holder.get("alerts"),
        ("POST", "/credits/alerts/read"): holder.post("alerts/read"),
        ("GET", "/credits/calls/{call_id}"): holder.get(f"calls/{call}"),
        ("GET", "/credits/holds/{hold_id}"): holder.get(f"holds/{hold}"),
        ("POST", "/credits/holds/{hold_id}/extend"): holder.post(f"holds/{hold}/extend", {"quantity": 120}),
        ("GET", "/credits/usage/analytics"): holder.get("usage/analytics"),
        ("GET", "/credits/admin/analytics"): admin.get("admin/analytics"),
        ("GET", "/credits/admin/margins"): admin.get("admin/margins"),
        ("GET", "/credits/admin/revenue"): admin.get("admin/revenue", months=3),
        ("GET", "/credits/admin/recurring-revenue"): admin.get("admin/recurring-revenue"),
        ("GET", "/credits/admin/cohorts"): admin.get("admin/cohorts"),
        ("GET", "/credits/admin/funnel"): admin.get("admin/funnel"),
        ("POST", "/credits/admin/rehearsal"): admin.post(
            "admin/rehearsal", {"prices": [{"operation": "call", "components": [component]}], **month}
        ),
        ("POST", "/credits/admin/provider-cost"): admin.post(
            "admin/provider-cost", {"operation": "call", "cost_cents": "1.4", "unit_size": 60}
        ),
        ("POST", "/credits/admin/grants/{grant_id}/extend"): _extended(admin),
        ("POST", "/credits/admin/reverse"): admin.post(
            "admin/reverse", {"transaction_id": used, "reason": "for a test"}
        ),
        ("POST", "/credits/integrations/vapi"): holder.client.post(
            "/api/credits/integrations/vapi",
            params={"account": HOLDER},
            json={"message": {"type": "assistant-request", "call": {"id": "1", "type": "inboundPhoneCall"}}},
            headers={"X-Vapi-Secret": VAPI_SECRET},
        ),
    }


def _extended(admin: Api) -> Any:
    """A grant that expires gets a later end. Its number is that of the entry it made."""
    credits = {"account": HOLDER, "amount": "1", "reason": "for a test", "expires_at": "2197-01-01T00:00:00Z"}
    made = admin.post("admin/adjust", credits).json()
    (entry,) = admin.get(f"transactions/{made['transaction_id']}").json()["entries"]
    body = {"expires_at": "2198-01-01T00:00:00Z", "reason": "for a test"}
    return admin.post(f"admin/grants/{entry['grant_id']}/extend", body)
