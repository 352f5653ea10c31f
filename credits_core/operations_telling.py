"""Tells operations alerts to the people who run this: by e-mail (OPERATIONS_EMAIL) and to a chat room (OPERATIONS_CHAT).

Each alert once. What no channel took is handed back and tried again with the next look.
"""

from __future__ import annotations

import logging
import smtplib
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from credits_core import chat, mail
from credits_core.db.port import SERVICE
from credits_core.errors import CreditsError
from credits_core.messages import Message
from credits_core.runtime import Runtime

logger = logging.getLogger(__name__)


def tell(runtime: Runtime) -> dict[str, int]:
    """Send the alerts nobody was told of, all in one message: told, not_told (how many). Nothing without a channel."""
    channels = _channels(runtime)
    if not channels:
        return {}
    alerts = runtime.db.call("claim_operations_alerts", SERVICE)["items"]
    if not alerts:
        return {}
    message = _message(alerts, runtime.settings.base_url)
    took = [_try(name, send, message) for name, send in channels.items()]
    if any(took):
        return {"told": len(alerts)}
    runtime.db.call("untell_operations", SERVICE, alert_ids=[alert["alert_id"] for alert in alerts])
    return {"not_told": len(alerts)}


def _channels(runtime: Runtime) -> dict[str, Callable[[Message], bool]]:
    settings = runtime.settings
    found: dict[str, Callable[[Message], bool]] = {}
    if (to := settings.operations_email) and (smtp := settings.smtp):

        def by_mail(message: Message) -> bool:
            page = f"{settings.base_url}/system"
            mail.send(smtp, mail.compose(message, to, smtp.sender, f"operations-{uuid.uuid4()}", page))
            return True

        found["e-mail"] = by_mail
    if room := settings.operations_chat:
        found["chat"] = lambda message: chat.send(room, message, allow_private=settings.webhook_allow_private)
    return found


def _try(name: str, send: Callable[[Message], bool], message: Message) -> bool:
    """One channel that fails keeps the other from nothing."""
    try:
        if send(message):
            return True
    except (CreditsError, OSError, ValueError, smtplib.SMTPException, mail.Undeliverable) as error:
        logger.warning("operations could not be told by %s", name, extra={"error": type(error).__name__})
        return False
    logger.warning("operations could not be told by %s", name)
    return False


def _message(alerts: list[Mapping[str, Any]], base_url: str) -> Message:
    first = alerts[0]["kind"].replace("_", " ")
    title = f"Operations: {first}" if len(alerts) == 1 else f"Operations: {first} and {len(alerts) - 1} more"
    return Message(
        title=title,
        lines=tuple(alert["sentence"] for alert in alerts),
        action=("Open the system page", f"{base_url}/system"),
    )
