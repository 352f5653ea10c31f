"""What a message is made of, and the words for amounts, money and times."""

from __future__ import annotations

from collections.abc import Mapping
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
class Words:
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


def grouped(number: str) -> str:
    """A decimal text with commas between thousands."""
    whole, dot, rest = number.partition(".")
    return f"{int(whole):,}{dot}{rest}" if not whole.startswith("-0") else number
