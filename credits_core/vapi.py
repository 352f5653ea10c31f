"""Vapi's server messages: calls that Vapi carries are started, watched and charged here (docs.vapi.ai/server-url/events).

Messages come late, twice and in any order; the call's id at Vapi makes each call one call here. A call begins with
assistant-request (or, where Vapi asks for no assistant, with the status in-progress), goes on with every conversation-update
or speech-update (keep one of them among the assistant's serverMessages), and is charged by its end-of-call-report for
the time between its startedAt and endedAt, whatever the balance: the call did happen, so the rest is a debt.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from credits_core import accounts, calls, catalog
from credits_core.db.port import SERVICE
from credits_core.errors import (
    CreditsError,
    IdempotencyKeyReused,
    InsufficientCredits,
    InvalidRequest,
    LimitReached,
    NotFound,
)
from credits_core.runtime import Runtime
from credits_core.vapi_message import Message

logger = logging.getLogger(__name__)

Answer = dict[str, Any]
SHORTEST_SECONDS, LONGEST_SECONDS = 10, 43_200  # what Vapi takes as maxDurationSeconds
_SIGNS_OF_LIFE = frozenset({"conversation-update", "speech-update"})
_TOO_LITTLE = "Sorry, there are not enough credits on this account for a call. Please top up and call again."
_CAPPED = "Sorry, the spending limit of this account is reached. Please try again later."
_OVER = "Sorry, this call has ended already. Please call again."
_NOT_SET_UP = "Sorry, this number is not set up for calls yet. Please tell the people who run it."
_NOT_NOW = "Sorry, calls are not possible just now. Please try again in a moment."


def receive(runtime: Runtime, message: Message) -> Answer:
    """Do what a message asks for and answer what Vapi expects; any number of times, in any order."""
    match message.type:
        case "assistant-request":
            return _assistant_request(runtime, message)
        case "status-update":
            return _status_update(runtime, message)
        case "end-of-call-report":
            return _end_of_call_report(runtime, message)
        case kind if kind in _SIGNS_OF_LIFE and message.call_id:
            return _go_on(runtime, message)
    return {"status": "ignored"}


def _assistant_request(runtime: Runtime, message: Message) -> Answer:
    """The assistant with a limit that the credits cover, or a sentence that Vapi says before it hangs up.

    Vapi speaks no status codes, so every refusal is such a sentence.
    """
    try:
        account_id = _account_id(runtime, message)
        started = _start(runtime, message, account_id)
        if started["call_status"] != "running":
            return {"error": _OVER}
        seconds = int(started["max_duration_seconds"])
        if seconds < SHORTEST_SECONDS:
            _report(runtime, message, account_id, reason="not enough credits")
            return {"error": _TOO_LITTLE}
        return _assistant(message, account_id, started, seconds)
    except InsufficientCredits:
        return {"error": _TOO_LITTLE}
    except LimitReached:
        return {"error": _CAPPED}
    except (NotFound, InvalidRequest) as error:
        logger.error("a call was refused: %s", error.message, extra={"vapi_call": message.call_id})
        return {"error": _NOT_SET_UP}
    except CreditsError as error:
        logger.error("a call was refused: %s", error.message, extra={"vapi_call": message.call_id})
        return {"error": _NOT_NOW}


def _assistant(message: Message, account_id: int, started: Answer, seconds: int) -> Answer:
    """Without a known assistant the answer is the overrides alone, for a server of yours that passes messages on and adds
    its assistant. The hooks take the place of the assistant's own; the account travels on in the call's metadata."""
    warnings = [] if seconds > LONGEST_SECONDS else started["warn_at_seconds"]
    overrides = {
        "maxDurationSeconds": min(seconds, LONGEST_SECONDS),
        "hooks": [_hook(at, seconds - at) for at in dict.fromkeys(warnings) if at > 0],
        "metadata": {
            **message.metadata,
            "account": str(account_id),
            "credits_call_id": started["call_id"],
        },
    }
    assistant = {"assistantId": message.assistant_id} if message.assistant_id else {}
    return {**assistant, "assistantOverrides": overrides}


def _hook(at_seconds: int, left_seconds: int) -> Answer:
    minutes = round(left_seconds / 60)
    left = "one minute" if minutes == 1 else f"{minutes} minutes"
    sentence = f"Your credits are running low: this call can go on for about {left}."
    return {
        "on": "call.timeElapsed",
        "options": {"seconds": at_seconds},
        "do": [{"type": "say", "exact": sentence}],
    }


def _status_update(runtime: Runtime, message: Message) -> Answer:
    """in-progress starts a call that is unknown. ended waits for the report, and keeps the moment in case none comes."""
    match message.text("status"):
        case "in-progress" | "forwarding":
            try:
                started = _start(runtime, message, _account_id(runtime, message))
            except (InsufficientCredits, LimitReached) as error:
                logger.warning(
                    "a call runs without credits: %s", error.message, extra={"vapi_call": message.call_id}
                )
                return {"status": "end", "message": error.message}  # it is charged by its report all the same
            return _beat(runtime, started)
        case "ended":
            return _go_on(runtime, message, connected_only=True)
    return {"status": "ignored"}


def _go_on(runtime: Runtime, message: Message, *, connected_only: bool = False) -> Answer:
    known = calls.call_by_key(runtime.db, SERVICE, message.key, account_id=_account_id(runtime, message))
    if known is None or (connected_only and not known["connected"]):
        return {"status": "ignored"}
    return _beat(runtime, known)


def _beat(runtime: Runtime, call: Answer) -> Answer:
    if call["call_status"] == "running":
        call = calls.heartbeat(runtime.db, SERVICE, call["call_id"])
    shown = ("call_id", "status", "remaining_seconds", "cost_so_far_micros", "available_micros")
    return {name: call[name] for name in shown}


def _end_of_call_report(runtime: Runtime, message: Message) -> Answer:
    """Without a start and a duration the call never connected: nothing is charged."""
    started_at, ended_at = message.times()
    account_id = _account_id(runtime, message)
    reason = message.text("endedReason", "call.endedReason", most=200)
    call = _report(runtime, message, account_id, started_at=started_at, ended_at=ended_at, reason=reason)
    if call is None:
        return {"status": "ignored"}
    shown = (
        "call_id",
        "status",
        "duration_seconds",
        "billed_seconds",
        "charged_micros",
        "available_micros",
        "transaction_id",
    )
    return {name: call[name] for name in shown}


def _start(runtime: Runtime, message: Message, account_id: int) -> Answer:
    to, from_ = message.numbers
    try:
        return calls.start_call(
            runtime.db,
            SERVICE,
            _operation(runtime),
            message.key,
            to=to,
            from_=from_,
            metadata={"vapi_call_id": message.call_id},
            account_id=account_id,
        )
    except IdempotencyKeyReused:  # known already, from a message that said more or less of it
        known = calls.call_by_key(runtime.db, SERVICE, message.key, account_id=account_id)
        if known is None:
            raise
        return known


def _report(
    runtime: Runtime,
    message: Message,
    account_id: int,
    *,
    started_at: datetime | None = None,
    ended_at: datetime | None = None,
    reason: str | None,
) -> Answer | None:
    to, from_ = message.numbers
    return calls.report_call(
        runtime.db,
        SERVICE,
        _operation(runtime),
        message.key,
        account_id=account_id,
        started_at=started_at,
        ended_at=ended_at,
        to=to,
        from_=from_,
        reason=reason,
        metadata={"vapi_call_id": message.call_id},
    )


def _account_id(runtime: Runtime, message: Message) -> int:
    if message.account is None:
        raise NotFound(
            "Whose call is it? Put metadata.account (number, e-mail or user id) on the assistant or the call, or "
            "add ?account= to this address in Vapi."
        )
    named = message.account
    if named.isascii() and named.isdigit() and len(named) < 19:
        return int(named)
    return int(accounts.find_account(runtime.db, SERVICE, named)["account_id"])


def _operation(runtime: Runtime) -> str:
    if runtime.settings.vapi_operation is not None:
        return runtime.settings.vapi_operation
    prices = catalog.pricing(runtime.db, SERVICE) or {"operations": []}
    timed = next((item["operation"] for item in prices["operations"] if item["measure"] == "seconds"), None)
    if timed is None:
        raise NotFound(
            "No operation of the active catalog is measured in seconds; set VAPI_OPERATION to one that is."
        )
    return str(timed)
