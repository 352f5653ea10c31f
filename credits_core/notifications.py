"""What an account holder is told, and where: e-mail by kind, chat rooms, webhooks to the own system, and what became of each
message. Rules: supabase/migrations/*_notices.sql, *_notice_settings.sql, *_deliveries.sql.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from credits_core import chat, customer_webhooks, outside
from credits_core.db.port import Database, Identity
from credits_core.errors import InvalidRequest
from credits_core.runtime import Runtime

Answer = dict[str, Any]
MAX_OVERLAP_HOURS = 168


def settings(db: Database, identity: Identity, *, account_id: int | None = None) -> Answer:
    """What is sent where: email (the address), kinds [kind, name, email (bool)], low_balance_micros, targets [target_id,
    channel (chat, webhook), name, address, kinds (empty: all), is_on, failures, off_reason, old_secret_until]."""
    answer: Answer = db.call("notice_settings", identity, account_id=account_id)
    return answer


def set_emails(
    db: Database, identity: Identity, choices: Mapping[str, bool], *, account_id: int | None = None
) -> Answer:
    """Which kinds go by e-mail; those not named stay as they are. Answers the settings."""
    answer: Answer = db.call("set_email_choices", identity, choices=dict(choices), account_id=account_id)
    return answer


def add_webhook(
    runtime: Runtime,
    identity: Identity,
    name: str,
    url: str,
    *,
    kinds: Sequence[str] = (),
    account_id: int | None = None,
    idempotency_key: str | None = None,
) -> Answer:
    """A webhook endpoint: the target and `secret`, shown here and never again (None when the key was used before).

    InvalidRequest for addresses that are not https (http in test mode) or lie in a private network."""
    url = outside.check_url(
        url.strip(),
        allow_http=not runtime.settings.stripe_live,
        allow_private=runtime.settings.webhook_allow_private,
    )
    secret = customer_webhooks.new_secret()
    made = _add(runtime, identity, "webhook", name, url, secret, kinds, account_id, idempotency_key)
    return {**made, "secret": None if made["replayed"] else secret}


def add_chat(
    runtime: Runtime,
    identity: Identity,
    name: str,
    address: str,
    *,
    kinds: Sequence[str] = (),
    account_id: int | None = None,
    idempotency_key: str | None = None,
) -> Answer:
    """A chat room by its address (a secret: stored sealed, shown masked). InvalidRequest for other services."""
    service, shown = chat.check(address.strip(), allow_private=runtime.settings.webhook_allow_private)
    return _add(
        runtime,
        identity,
        "chat",
        name.strip() or service,
        shown,
        address.strip(),
        kinds,
        account_id,
        idempotency_key,
    )


def _add(
    runtime: Runtime,
    identity: Identity,
    channel: str,
    name: str,
    address: str,
    secret: str,
    kinds: Sequence[str],
    account_id: int | None,
    idempotency_key: str | None,
) -> Answer:
    answer: Answer = runtime.db.call(
        "add_notice_target",
        identity,
        channel=channel,
        name=name,
        address=address,
        sealed=runtime.seal.close(secret),
        kinds=list(kinds),
        idempotency_key=idempotency_key,
        account_id=account_id,
    )
    return answer


def change_target(
    db: Database,
    identity: Identity,
    target_id: int,
    *,
    is_on: bool | None = None,
    kinds: Sequence[str] | None = None,
    name: str | None = None,
) -> Answer:
    """Change a chat or webhook; None leaves as it is, no kinds means all. Switching on forgets its failures."""
    answer: Answer = db.call(
        "change_notice_target",
        identity,
        target_id=target_id,
        is_on=is_on,
        kinds=None if kinds is None else list(kinds),
        name=name,
    )
    return answer


def rotate_secret(runtime: Runtime, identity: Identity, target_id: int, *, overlap_hours: int = 24) -> Answer:
    """A new signing secret of a webhook: the target and `secret`, shown once. Both secrets sign for `overlap_hours`."""
    if not 0 <= overlap_hours <= MAX_OVERLAP_HOURS:
        raise InvalidRequest(f"The old secret may stay valid for 0 to {MAX_OVERLAP_HOURS} hours.")
    secret = customer_webhooks.new_secret()
    changed: Answer = runtime.db.call(
        "rotate_target_secret",
        identity,
        target_id=target_id,
        sealed=runtime.seal.close(secret),
        overlap_hours=overlap_hours,
    )
    return {**changed, "secret": secret}


def remove_target(db: Database, identity: Identity, target_id: int) -> Answer:
    """Remove a chat or webhook; its deliveries stay listed."""
    answer: Answer = db.call("remove_notice_target", identity, target_id=target_id)
    return answer


def deliveries(
    db: Database,
    identity: Identity,
    *,
    account_id: int | None = None,
    channel: str | None = None,
    target_id: int | None = None,
    status: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Answer:
    """Messages, newest first: items [message_id, kind, detail, channel, target, status (waiting, sent, not_sent, gave_up),
    attempts, reason, next_at, created_at, last {outcome, status_code, duration_ms, response, error}], next_cursor."""
    answer: Answer = db.call(
        "deliveries",
        identity,
        account_id=account_id,
        channel=channel,
        target_id=target_id,
        status=status,
        limit=limit,
        cursor=cursor,
    )
    return answer


def delivery(db: Database, identity: Identity, message_id: str) -> Answer:
    """One message with `tries`: all its attempts, newest first."""
    answer: Answer = db.call("delivery", identity, message_id=message_id)
    return answer


def resend(db: Database, identity: Identity, message_id: str) -> Answer:
    """Send a message again now, under the same id. Conflict while it is being sent, or when its receiver is off."""
    answer: Answer = db.call("resend_delivery", identity, message_id=message_id)
    return answer


def send_test(
    db: Database, identity: Identity, *, target_id: int | None = None, account_id: int | None = None
) -> Answer:
    """Put a test message into the outbox, by e-mail without a target. LimitReached from the eleventh in an hour."""
    answer: Answer = db.call("send_test_notice", identity, target_id=target_id, account_id=account_id)
    return answer
