"""What is told where: e-mail, chat rooms, webhooks to the own system, and what became of each message."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import Field, StrictBool
from starlette.responses import JSONResponse

from credits_core import notifications
from credits_core.http.caller import Called
from credits_core.http.decimal_json import DecimalRoute
from credits_core.http.fields import KeyHeader, idempotency_key, with_key
from credits_core.http.metering_bodies import SameAnswer
from credits_core.http.models import Answer, Body, ForAccount, Write
from credits_core.http.reading import Cursor, Limit, Whose
from credits_core.http.shapes import answer
from credits_core.http.spending import Id
from credits_core.units import format_credits

router = APIRouter(prefix="/credits", tags=["Notifications and webhooks"], route_class=DecimalRoute)

Kind = Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")]
Kinds = Annotated[list[Kind], Field(max_length=50, examples=[["low_balance", "call_ending"]])]
Name = Annotated[str, Field(max_length=80)]
MessageId = Annotated[str, Path(pattern=r"^msg_[0-9a-f]{32}$")]
Status = Literal["waiting", "sent", "not_sent", "gave_up"]
Channel = Literal["email", "chat", "webhook"]


class Emails(Body):
    emails: dict[Kind, StrictBool] = Field(
        max_length=50,
        examples=[{"low_balance": True, "refund_succeeded": False}],
        description="Kinds that change.",
    )
    account: ForAccount = None
    idempotency_key: SameAnswer = None


class NewWebhook(Write):
    name: Name = Field(min_length=1, examples=["Our dialer"])
    url: str = Field(max_length=2000, examples=["https://example.com/credits-webhook"])
    kinds: Kinds = Field(default=[], description="Which kinds; none: all of them.")


class NewChat(Write):
    name: Name = Field(default="", examples=["Team room"])
    address: str = Field(
        max_length=2000,
        examples=["slack://T00000000/B00000000/secret"],
        description="The room's webhook address (Slack, Discord, Google Chat, Microsoft Teams) or Apprise URL. A secret.",
    )
    kinds: Kinds = Field(default=[], description="Which kinds; none: all of them.")


class Change(Body):
    """What is left out stays as it is."""

    is_on: bool | None = Field(default=None, description="Switching on forgets its failures.")
    kinds: Kinds | None = Field(default=None, description="Which kinds; none: all of them.")
    name: Name | None = Field(default=None, min_length=1)
    idempotency_key: SameAnswer = None


class Rotation(Body):
    overlap_hours: int = Field(default=24, ge=0, le=168, description="How long the old secret signs, too.")


class TestMessage(Body):
    target_id: Annotated[int, Field(ge=1, lt=2**63)] | None = Field(
        default=None, description="A chat or webhook; without it, by e-mail."
    )
    account: ForAccount = None


class Target(Answer):
    target_id: int = Field(examples=[4])
    channel: Literal["chat", "webhook"]
    name: str = Field(examples=["Our dialer"])
    address: str = Field(description="The webhook's URL; of a chat, what can be shown of its address.")
    kinds: list[str] = Field(description="Empty: all of them.")
    is_on: bool
    failures: int = Field(description="In a row.")
    off_reason: str | None = Field(description="Why it was switched off, when not by a person.")
    old_secret_until: str | None = Field(
        description="Until when the secret before the last change signs, too."
    )


class MadeTarget(Target):
    idempotency_key: str


class MadeWebhook(MadeTarget):
    secret: str | None = Field(
        examples=["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"],
        description="Verifies what arrives: shown in this answer and never again (null when it is a repetition).",
    )


class NewSecret(Target):
    secret: str = Field(description="The new secret, shown in this answer and never again.")


class Targets(Answer):
    items: list[Target]


class Removed(Answer):
    target_id: int
    removed: bool


class KindChoice(Answer):
    kind: str = Field(examples=["low_balance"])
    name: str = Field(examples=["Low balance"])
    email: bool


class Notifications(Answer):
    account_id: int
    email: str | None = Field(description="Where e-mails go: the address of the sign-in.")
    low_balance: list[str] = Field(examples=[["10.00", "5.00"]], description="Levels; POST account/settings.")
    kinds: list[KindChoice]
    targets: list[Target]


class Message(Answer):
    message_id: str = Field(examples=["msg_0f3c8a"], description="`webhook-id` of every attempt.")
    kind: str = Field(examples=["low_balance"])
    detail: dict[str, Any]
    channel: Channel
    target: str | None = Field(description="Name of the chat or webhook, or the e-mail address.")
    status: Status
    attempts: int
    reason: str | None = Field(description="Why it is not sent (yet).")
    next_at: str | None
    created_at: str
    last: dict[str, Any] | None = Field(
        description="The last attempt: outcome, status_code, duration_ms, response (its beginning), error."
    )


class Messages(Answer):
    items: list[Message]
    next_cursor: str | None


class MessageLog(Message):
    tries: list[dict[str, Any]] = Field(description="All attempts, newest first.")


@router.get("/notifications", response_model=Notifications)
def read_settings(caller: Called, account: Whose = None) -> JSONResponse:
    """What is told by e-mail, and the chats and webhooks with their state."""
    return _settings(
        notifications.settings(caller.db, caller.identity, account_id=caller.account_id(account))
    )


@router.post("/notifications/email", response_model=Notifications)
def choose_emails(caller: Called, body: Emails) -> JSONResponse:
    """Choose which kinds go by e-mail; those not named stay as they are."""
    account_id = caller.account_id(body.account)
    return _settings(notifications.set_emails(caller.db, caller.identity, body.emails, account_id=account_id))


def _settings(found: dict[str, Any]) -> JSONResponse:
    levels = [format_credits(micros) for micros in found.pop("low_balance_micros")]
    return answer({**found, "low_balance": levels})


@router.get("/webhooks", response_model=Targets)
def list_webhooks(caller: Called, account: Whose = None) -> JSONResponse:
    """The webhooks of the account, without their secrets."""
    found = notifications.settings(caller.db, caller.identity, account_id=caller.account_id(account))
    return answer({"items": [target for target in found["targets"] if target["channel"] == "webhook"]})


@router.post("/webhooks", response_model=MadeWebhook)
def add_webhook(caller: Called, body: NewWebhook, key: KeyHeader = None) -> JSONResponse:
    """Add an address of your own system that is told as it happens, signed in the Standard Webhooks format.

    The address must be https and on the internet. `secret` is in this answer alone. A message may arrive more than once:
    `webhook-id` tells a repetition. Answer 200 to 299 within ten seconds; otherwise it is tried again for two days.
    """
    key = idempotency_key(key, body.idempotency_key)
    made = notifications.add_webhook(
        caller.runtime,
        caller.identity,
        body.name,
        body.url,
        kinds=body.kinds,
        account_id=caller.account_id(body.account),
        idempotency_key=key,
    )
    return answer(with_key(made, key))


@router.post("/webhooks/{target_id}/rotate", response_model=NewSecret)
def rotate(caller: Called, target_id: Id, body: Rotation | None = None) -> JSONResponse:
    """Give a webhook a new secret. During the overlap every message carries a signature of each."""
    hours = (body or Rotation()).overlap_hours
    return answer(
        notifications.rotate_secret(caller.runtime, caller.identity, target_id, overlap_hours=hours)
    )


@router.post("/chats", response_model=MadeTarget)
def add_chat(caller: Called, body: NewChat, key: KeyHeader = None) -> JSONResponse:
    """Add a chat room: Slack, Discord, Telegram, Google Chat, Microsoft Teams, Webex or Pushover."""
    key = idempotency_key(key, body.idempotency_key)
    made = notifications.add_chat(
        caller.runtime,
        caller.identity,
        body.name,
        body.address,
        kinds=body.kinds,
        account_id=caller.account_id(body.account),
        idempotency_key=key,
    )
    return answer(with_key(made, key))


@router.post("/notifications/targets/{target_id}", response_model=Target)
def change(caller: Called, target_id: Id, body: Change) -> JSONResponse:
    """Switch a chat or webhook on or off, choose its kinds, rename it."""
    changed = notifications.change_target(
        caller.db, caller.identity, target_id, is_on=body.is_on, kinds=body.kinds, name=body.name
    )
    return answer(changed)


@router.delete("/notifications/targets/{target_id}", response_model=Removed)
def remove(caller: Called, target_id: Id) -> JSONResponse:
    """Remove a chat or webhook. Its secret is forgotten, its deliveries stay listed."""
    return answer(notifications.remove_target(caller.db, caller.identity, target_id))


@router.post("/notifications/test", response_model=Message)
def test(caller: Called, body: TestMessage | None = None) -> JSONResponse:
    """Send a test message to a chat or webhook, or by e-mail. At most ten an hour."""
    body = body or TestMessage()
    account_id = caller.account_id(body.account)
    return answer(
        notifications.send_test(caller.db, caller.identity, target_id=body.target_id, account_id=account_id)
    )


@router.get("/notifications/deliveries", response_model=Messages)
def deliveries(
    caller: Called,
    account: Whose = None,
    channel: Channel | None = None,
    target_id: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
    status: Status | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> JSONResponse:
    """Messages with what became of them, newest first."""
    found = notifications.deliveries(
        caller.db,
        caller.identity,
        account_id=caller.account_id(account),
        channel=channel,
        target_id=target_id,
        status=status,
        limit=limit,
        cursor=cursor,
    )
    return answer(found)


@router.get("/notifications/deliveries/{message_id}", response_model=MessageLog)
def delivery(caller: Called, message_id: MessageId) -> JSONResponse:
    """One message with all its attempts."""
    return answer(notifications.delivery(caller.db, caller.identity, message_id))


@router.post("/notifications/deliveries/{message_id}/resend", response_model=Message)
def resend(caller: Called, message_id: MessageId) -> JSONResponse:
    """Send a message again now, under the same id. 409 while it is being sent or its receiver is off."""
    return answer(notifications.resend(caller.db, caller.identity, message_id))
