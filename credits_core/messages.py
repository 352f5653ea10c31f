"""What notices say: one wording for the app, e-mail and chat. Amounts in credits, money in its currency, times in the
account's time zone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from credits_core.currencies import format_money
from credits_core.units import format_credits

Detail = Mapping[str, Any]


@dataclass(frozen=True)
class Message:
    """A title, sentences, a few facts (label and value), and what to do: label and address of a button."""

    title: str
    lines: tuple[str, ...]
    facts: tuple[tuple[str, str], ...] = ()
    action: tuple[str, str] | None = None

    def text(self, settings_url: str | None = None) -> str:
        """All of it as plain text."""
        parts = [*self.lines]
        if self.facts:
            parts.append("\n".join(f"{label}: {value}" for label, value in self.facts))
        if self.action:
            parts.append(f"{self.action[0]}: {self.action[1]}")
        if settings_url:
            parts.append(f"--\nChange what you are told about: {settings_url}")
        return "\n\n".join(parts) + "\n"


@dataclass(frozen=True)
class _Words:
    """A notice's values as words; what is missing is an empty text."""

    detail: Detail
    base_url: str
    zone: ZoneInfo

    def credits(self, field: str) -> str:
        micros = self.detail.get(field)
        return "" if micros is None else grouped(format_credits(int(micros)))

    def money(self, field: str = "amount_cents") -> str:
        amount, currency = self.detail.get(field), self.detail.get("currency")
        return "" if amount is None or currency is None else format_money(int(amount), str(currency))

    def time(self, field: str) -> str:
        text = self.detail.get(field)
        if not text:
            return ""
        return datetime.fromisoformat(str(text)).astimezone(self.zone).strftime("%d %b %Y, %H:%M %Z")

    def text(self, field: str) -> str:
        return str(self.detail.get(field) or "")

    def page(self, path: str) -> str:
        return f"{self.base_url}/{path}"

    def facts(self, *pairs: tuple[str, str]) -> tuple[tuple[str, str], ...]:
        return tuple((label, value) for label, value in pairs if value)


def render(kind: str, detail: Detail, *, base_url: str, time_zone: str = "UTC") -> Message:
    """The message of a notice. A kind without words of its own is told by its name."""
    words = _Words(detail, base_url, ZoneInfo(time_zone))
    write = _WRITERS.get(kind)
    if write is not None:
        return write(words)
    name = kind.replace("_", " ").capitalize()
    return Message(name, (f"{name}.",), action=("See the details", words.page("notifications")))


def grouped(number: str) -> str:
    """A decimal text with commas between thousands."""
    whole, dot, rest = number.partition(".")
    return f"{int(whole):,}{dot}{rest}" if not whole.startswith("-0") else number


def _low_balance(w: _Words) -> Message:
    return Message(
        f"Low balance: {w.credits('available_micros')} credits left",
        (f"Your balance went below {w.credits('level_micros')} credits.",),
        w.facts(("Available", f"{w.credits('available_micros')} credits")),
        ("Buy credits", w.page("buy")),
    )


def _out_of_credits(w: _Words) -> Message:
    line = "There are no credits left. Calls and services stop until you buy credits."
    return Message("Out of credits", (line,), action=("Buy credits", w.page("buy")))


def _allowance(w: _Words) -> Message:
    reached = w.detail.get("used", 0) >= w.detail.get("included", 0)
    title = f"{w.text('name')}: allowance used {'up' if reached else 'to 80%'}"
    line = "Credits pay from now on." if reached else "When it is used up, credits pay."
    return Message(
        title,
        (f"Your plan includes {w.text('included')} a month; {w.text('used')} are used. {line}",),
        w.facts(("Begins anew", w.time("resets_at"))),
        ("See your plan", w.page("overview")),
    )


def _debt(w: _Words) -> Message:
    return Message(
        f"Your account owes {w.credits('debt_micros')} credits",
        ("More was used or taken back than was there. Your next purchase settles it first.",),
        w.facts(("Debt", f"{w.credits('debt_micros')} credits")),
        ("Buy credits", w.page("buy")),
    )


def _credits_expiring(w: _Words) -> Message:
    days = int(w.detail.get("days", 0))
    within = "tomorrow" if days == 1 else f"within {days} days"
    return Message(
        f"{w.credits('amount_micros')} credits expire {within}",
        ("Use them before they are gone; they are spent before credits that last longer.",),
        w.facts(("At risk", f"{w.credits('amount_micros')} credits"), ("From", w.time("expires_at"))),
        ("See your balance", w.page("overview")),
    )


def _purchase_credited(w: _Words) -> Message:
    bonus = w.credits("bonus_micros") if w.detail.get("bonus_micros") else ""
    by_itself = " Auto-reload bought them for you." if w.detail.get("is_auto_reload") else ""
    receipt = w.text("receipt_url")
    return Message(
        f"{w.credits('credits_micros')} credits are in your account",
        (f"Thank you. Your payment of {w.money()} arrived.{by_itself}",),
        w.facts(
            ("Bought", f"{w.credits('credits_micros')} credits"),
            ("Bonus", f"{bonus} credits" if bonus else ""),
            ("Paid", w.money()),
            ("Tax included", w.money("tax_cents") if w.detail.get("tax_cents") else ""),
            ("Available now", f"{w.credits('available_micros')} credits"),
        ),
        ("Receipt", receipt)
        if receipt.startswith("https://")
        else ("See your transactions", w.page("transactions")),
    )


def _purchase_in_review(w: _Words) -> Message:
    line = "Your payment arrived but does not match the purchase. We look at it and credit or refund it; nothing is lost."
    facts = w.facts(("Paid", w.money()), ("Purchase", w.text("purchase_id")))
    return Message("Your purchase is under review", (line,), facts)


def _payment_failed(w: _Words) -> Message:
    what = (
        "Auto-reload could not charge your card"
        if w.detail.get("is_auto_reload")
        else "Your payment did not go through"
    )
    lines = [f"{what}. No credits were bought."]
    if w.text("next_attempt_at"):
        lines.append(f"It is tried again after {w.time('next_attempt_at')}.")
    facts = w.facts(("Amount", w.money()), ("Reason", w.text("reason")))
    return Message(f"Payment of {w.money()} failed", tuple(lines), facts, ("Buy credits", w.page("buy")))


def _auto_reload_paused(w: _Words) -> Message:
    pay = w.text("pay_url")
    return Message(
        "Auto-reload is paused",
        (w.text("reason"), "Nothing is charged until you resume it."),
        w.facts(("Amount", w.money())),
        ("Confirm the payment", pay) if pay else ("See what happened", w.page("notifications")),
    )


def _refund_succeeded(w: _Words) -> Message:
    return Message(
        f"Refund of {w.money()}",
        ("The money is on its way to the card you paid with; banks take up to ten days.",),
        w.facts(("Refund", w.money()), ("Credits taken back", w.credits("credits_micros"))),
        ("See your transactions", w.page("transactions")),
    )


def _call_ending(w: _Words) -> Message:
    ends = "must end now" if w.text("status") == "end" else f"ends in {w.text('remaining_seconds')} seconds"
    return Message(
        f"A call {ends}: credits run out",
        ("Hang up, or buy credits to go on.",),
        w.facts(("Call", w.text("call_id")), ("To", w.text("to")), ("From", w.text("from"))),
        ("Buy credits", w.page("buy")),
    )


def _webhook_disabled(w: _Words) -> Message:
    return Message(
        f"“{w.text('name')}” was switched off",
        (f"{w.text('reason')} Nothing more is sent there until you switch it on.",),
        w.facts(("Address", w.text("address")), ("Last error", w.text("last_error"))),
        ("See its deliveries", w.page("notifications")),
    )


def _test(w: _Words) -> Message:
    line = "This is a test message: what you are told arrives here."
    return Message("Test message", (line,), action=("Notification settings", w.page("notifications")))


_WRITERS: dict[str, Callable[[_Words], Message]] = {
    "low_balance": _low_balance,
    "out_of_credits": _out_of_credits,
    "allowance_warning": _allowance,
    "allowance_reached": _allowance,
    "debt": _debt,
    "credits_expiring": _credits_expiring,
    "purchase_credited": _purchase_credited,
    "purchase_in_review": _purchase_in_review,
    "payment_failed": _payment_failed,
    "auto_reload_paused": _auto_reload_paused,
    "refund_succeeded": _refund_succeeded,
    "call_ending": _call_ending,
    "webhook_disabled": _webhook_disabled,
    "test": _test,
}
