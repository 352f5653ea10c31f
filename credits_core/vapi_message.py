"""One server message of Vapi, read leniently: Vapi adds fields all the time, and leaves some out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from credits_core.errors import InvalidRequest

LONGEST_CALL_SECONDS = 86_400
_NEEDED = ("assistant-request", "status-update", "end-of-call-report")
# Where metadata.account is looked for: first what a server set up, last what may come with a call from a browser.
_PLACES = ("phoneNumber", "call.phoneNumber", "assistant", "call.assistant", "assistantOverrides",
           "call.assistantOverrides", "call")  # fmt: skip


@dataclass(frozen=True)
class Message:
    """What matters of one message. `account`: number, e-mail or user id, as the message or the address names it."""

    type: str
    call_id: str
    account: str | None
    assistant_id: str | None
    fields: Mapping[str, Any]

    @property
    def key(self) -> str:
        """One call at Vapi is one call here."""
        return f"vapi:{self.call_id}"

    @property
    def numbers(self) -> tuple[str | None, str | None]:
        """Who is called, who calls. Vapi names its own number and the customer's; the direction is in the type."""
        customer = self.text("call.customer.number", "customer.number")
        ours = self.text("call.phoneNumber.number", "phoneNumber.number")
        return (customer, ours) if self.text("call.type") == "outboundPhoneCall" else (ours, customer)

    @property
    def metadata(self) -> dict[str, Any]:
        """What the call carries along already."""
        given = self.at("call.assistantOverrides.metadata")
        return dict(given) if isinstance(given, Mapping) else {}

    def text(self, *paths: str, most: int = 100) -> str | None:
        """The first of these places (`call.customer.number`) that holds text, cut after `most` characters."""
        texts = (value.strip() for path in paths if isinstance(value := self.at(path), str))
        return next((text[:most] for text in texts if text), None)

    def times(self) -> tuple[datetime | None, datetime | None]:
        """When the call was answered and when it ended; no start: it was not. InvalidRequest for what is no time."""
        started_at = self._time("startedAt", "call.startedAt")
        ended_at = self._time("endedAt", "call.endedAt")
        seconds = self.at("durationSeconds")
        if isinstance(seconds, int | Decimal) and 0 < seconds <= LONGEST_CALL_SECONDS:
            duration = timedelta(microseconds=int(seconds * 1_000_000))
            if started_at is None:
                started_at = (ended_at or self._sent_at()) - duration
            return started_at, ended_at or started_at + duration
        if started_at is not None and ended_at is None:
            ended_at = max(self._sent_at(), started_at)
        return started_at, ended_at

    def at(self, path: str) -> Any:
        """The value at `call.customer.number`; None where there is none, whatever stands in its way."""
        return _at(self.fields, path)

    def _sent_at(self) -> datetime:
        return self._time("timestamp") or datetime.now(UTC)

    def _time(self, *paths: str) -> datetime | None:
        given = ((path, value) for path in paths if (value := self.at(path)) is not None)
        return next((_parse_time(path, value) for path, value in given), None)


def read(
    fields: Mapping[str, Any], *, account: str | None = None, assistant_id: str | None = None
) -> Message:
    """The message of a body. `account` and `assistant_id` come from the address; an account there goes before all others,
    since a call that a browser starts brings metadata that its owner did not write.

    InvalidRequest without a type, or without the call where it is needed.
    """
    kind, call_id = _at(fields, "type"), _at(fields, "call.id")
    if not isinstance(kind, str) or not kind:
        raise InvalidRequest("message.type is missing; send Vapi's server messages as they are.")
    if not isinstance(call_id, str) or not 1 <= len(call_id) <= 200:
        if kind in _NEEDED:
            raise InvalidRequest("message.call.id is missing; send Vapi's server messages as they are.")
        call_id = ""
    named = (_at(fields, f"{place}.metadata.account") for place in _PLACES)
    found = account or next((str(x).strip() for x in named if isinstance(x, str | int) and x), None)
    assistants = (_at(fields, "call.assistantId"), _at(fields, "assistant.id"), assistant_id)
    assistant = next((value for value in assistants if isinstance(value, str) and value), None)
    return Message(kind, call_id, found, assistant, fields)


def _at(fields: object, path: str) -> Any:
    for name in path.split("."):
        if not isinstance(fields, Mapping):
            return None
        fields = fields.get(name)
    return fields


def _parse_time(place: str, value: object) -> datetime:
    """ISO 8601 text, or milliseconds since 1970."""
    try:
        if isinstance(value, str):
            time = datetime.fromisoformat(value)
            return time if time.tzinfo else time.replace(tzinfo=UTC)
        if isinstance(value, int | Decimal) and not isinstance(value, bool):
            return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=float(value))
    except (ValueError, OverflowError):
        pass
    raise InvalidRequest(f"message.{place} is not a time; send Vapi's server messages as they are.")
