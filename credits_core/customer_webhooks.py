"""Signed webhooks to the customer's own system, in the Standard Webhooks format (https://www.standardwebhooks.com).

The receiver verifies `webhook-signature` with its secret (any Standard Webhooks library does), answers 2xx, and knows a
repetition by `webhook-id`: a message may arrive more than once, and not in order.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from standardwebhooks import Webhook

SECRET_BYTES = 32


def new_secret() -> str:
    """A new signing secret: `whsec_` and 32 random bytes in base 64."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def payload(message: Mapping[str, Any]) -> bytes:
    """The body: `type`, `timestamp` (of what happened) and `data` with its `account_id`. The same in every attempt.

    `message`: kind, created_at, account_id and detail of a row of the outbox."""
    data = {"account_id": message["account_id"], **message["detail"]}
    body = {"type": f"credits.{message['kind']}", "timestamp": message["created_at"], "data": data}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def headers(message_id: str, body: bytes, signing: Sequence[str]) -> dict[str, str]:
    """The headers of one attempt, signed at this moment with each secret (two while one is being changed)."""
    now = datetime.now(UTC)
    signatures = [Webhook(secret).sign(message_id, now, body.decode()) for secret in signing]
    return {
        "content-type": "application/json; charset=utf-8",
        "user-agent": "prepaid-credits-webhooks/1",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
