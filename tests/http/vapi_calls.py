"""Vapi as our address sees it, for tests: one call, and realistic messages about it."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.http.conftest import HOLDER, TestClient

SECRET = "a-secret-of-vapi-1234"
ADDRESS = "/api/credits/integrations/vapi"
_ids = itertools.count(1)


class Vapi:
    """One call at Vapi."""

    def __init__(self, client: TestClient, account: str = HOLDER, **call: Any) -> None:
        self.client = client
        self.account = account
        self.call = {
            "id": f"7420f27a-30fd-4f49-a995-{next(_ids):012}",
            "orgId": "eb1661b4-a11a-4f49-b1e5-0d7e2f6c1a11",
            "type": "inboundPhoneCall",
            "status": "ringing",
            "phoneNumberId": "af2c3d4e-5f60-4718-92a3-b4c5d6e7f809",
            "customer": {"number": "+15550199"},
            **call,
        }

    def message(self, kind: str, **fields: Any) -> dict[str, Any]:
        return {
            "timestamp": int(datetime.now(UTC).timestamp() * 1000),
            "type": kind,
            "call": self.call,
            "customer": {"number": "+15550199"},
            "phoneNumber": {"id": "af2c3d4e", "provider": "vapi", "number": "+15550100"},
            **fields,
        }

    def post(self, message: Any, **headers: str) -> Any:
        sent = {"X-Vapi-Secret": SECRET} | {name.replace("_", "-"): text for name, text in headers.items()}
        query = {"account": self.account} if self.account else {}
        return self.client.post(ADDRESS, params=query, json={"message": message}, headers=sent)

    def send(self, kind: str, **fields: Any) -> dict[str, Any]:
        answer = self.post(self.message(kind, **fields))
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def report(self, seconds: float, *, began: datetime | None = None, **fields: Any) -> dict[str, Any]:
        """end-of-call-report of a call that took so long."""
        began = began or datetime.now(UTC) - timedelta(seconds=seconds)
        times = {
            "startedAt": iso(began),
            "endedAt": iso(began + timedelta(seconds=seconds)),
            "durationSeconds": seconds,
        }
        cost = {
            "cost": 0.0912,
            "costBreakdown": {"vapi": 0.05, "total": 0.0912},
            "analysis": {"summary": "It went well."},
        }
        return self.send(
            "end-of-call-report", **{"endedReason": "customer-ended-call", **cost, **times, **fields}
        )


def iso(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
