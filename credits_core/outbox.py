"""Sends what waits in the outbox: e-mails, chat messages, webhooks. Any number of processes may run it at once: each message is
handed to one of them, and handed out again when that one dies before saying what became of it.
"""

from __future__ import annotations

import logging
import smtplib
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpcore

from credits_core import chat, customer_webhooks, mail, messages, outside
from credits_core.db.port import SERVICE
from credits_core.errors import CreditsError
from credits_core.runtime import Runtime

logger = logging.getLogger(__name__)

BATCH = 40
SENDERS = 8
# Longer than a batch can take: forty messages by eight senders, fifteen seconds each at most.
LEASE_SECONDS = 180
RUN_SECONDS = 60
GONE = 410

Item = Mapping[str, Any]


@dataclass(frozen=True)
class Result:
    """What became of one attempt: delivered, failed (again later), rejected (never) or not_sent."""

    outcome: str
    status_code: int | None = None
    response: str | None = None
    error: str | None = None


def run(runtime: Runtime) -> dict[str, int]:
    """Send what is due until nothing is or a minute has passed: how many were delivered, failed, rejected, not_sent."""
    counts = {"delivered": 0, "failed": 0, "rejected": 0, "not_sent": 0}
    until = time.monotonic() + RUN_SECONDS
    with ThreadPoolExecutor(SENDERS, thread_name_prefix="outbox") as senders:
        while time.monotonic() < until:
            claimed = runtime.db.call("claim_deliveries", SERVICE, limit=BATCH, lease_seconds=LEASE_SECONDS)[
                "items"
            ]
            if not claimed:
                break
            for outcome in senders.map(lambda item: _deliver(runtime, item), claimed):
                counts[outcome] += 1
    return counts


def _deliver(runtime: Runtime, item: Item) -> str:
    started = time.monotonic()
    try:
        result = _SENDERS[item["channel"]](runtime, item)
    except (
        CreditsError
    ) as error:  # an address that is not allowed, a secret that cannot be read: the same tomorrow
        result = Result("rejected", error=error.message)
    except Exception as error:
        # One message must not keep the others waiting; what it was stays in its log, without anybody's secrets.
        logger.warning(
            "message could not be sent", extra={"sent": item["message_id"], "error": type(error).__name__}
        )
        result = Result("failed", error=f"It could not be sent ({type(error).__name__}).")
    milliseconds = round((time.monotonic() - started) * 1000)
    known = {"sent": item["message_id"], "kind": item["kind"], "channel": item["channel"]}
    # Without a mail server every e-mail is kept: that is no news.
    level = logging.DEBUG if result.outcome == "not_sent" else logging.INFO
    more = {"status_code": result.status_code, "ms": milliseconds}
    logger.log(level, "message %s", result.outcome, extra=known | more)
    runtime.db.call(
        "finish_delivery",
        SERVICE,
        attempt_id=item["attempt_id"],
        outcome=result.outcome,
        status_code=result.status_code,
        duration_ms=milliseconds,
        response=result.response,
        error=result.error,
    )
    return result.outcome


def _words(runtime: Runtime, item: Item) -> messages.Message:
    return messages.render(
        item["kind"], item["detail"], base_url=runtime.settings.base_url, time_zone=item["time_zone"]
    )


def _email(runtime: Runtime, item: Item) -> Result:
    smtp = runtime.settings.smtp
    if smtp is None:
        return Result("not_sent", error=mail.NOT_SET)
    if not item["email"]:
        return Result("rejected", error="The account has no e-mail address.")
    settings_url = f"{runtime.settings.base_url}/notifications"
    try:
        composed = mail.compose(
            _words(runtime, item), item["email"], smtp.sender, item["message_id"], settings_url
        )
    except ValueError:
        return Result("rejected", error="The e-mail address of the account is not valid.")
    try:
        mail.send(smtp, composed)
    except mail.Undeliverable as refusal:
        return Result("rejected", error=str(refusal))
    except (OSError, smtplib.SMTPException) as error:
        said = (
            str(error)
            if type(error) is smtplib.SMTPException
            else f"The mail server failed ({type(error).__name__})."
        )
        return Result("failed", error=said)
    return Result("delivered")


def _chat(runtime: Runtime, item: Item) -> Result:
    address = runtime.seal.open(item["sealed"])
    allow_private = runtime.settings.webhook_allow_private
    if chat.send(address, _words(runtime, item), allow_private=allow_private):
        return Result("delivered")
    return Result(
        "failed", error="The chat service did not take the message; check that its address still works."
    )


def _webhook(runtime: Runtime, item: Item) -> Result:
    settings = runtime.settings
    allow_private = settings.webhook_allow_private
    sealed = [item["sealed"], *([item["old_sealed"]] if item["old_sealed"] else [])]
    body = customer_webhooks.payload(item)
    headers = customer_webhooks.headers(item["message_id"], body, [runtime.seal.open(one) for one in sealed])
    url = outside.check_form(
        item["address"], allow_http=not settings.stripe_live, allow_private=allow_private
    )
    try:
        answer = outside.post(url, body, headers, allow_private=allow_private)
    except outside.Refused as refusal:
        return Result("failed", error=str(refusal))
    except httpcore.TimeoutException:
        return Result("failed", error=f"No answer within {outside.DEADLINE_SECONDS:.0f} seconds.")
    except (OSError, httpcore.NetworkError, httpcore.ProtocolError) as error:
        return Result("failed", error=f"The connection failed ({type(error).__name__}).")
    if 200 <= answer.status < 300:
        return Result("delivered", answer.status, answer.text)
    said = f"The receiver answered {answer.status}; it must answer 200 to 299."
    return Result("rejected" if answer.status == GONE else "failed", answer.status, answer.text, said)


_SENDERS = {"email": _email, "chat": _chat, "webhook": _webhook}
