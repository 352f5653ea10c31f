"""What notices say: one wording for the app, e-mail and chat. Amounts in credits, money in its currency, times in the
account's time zone.
"""

from __future__ import annotations

from zoneinfo import ZoneInfo

from credits_core.message_parts import Detail, Message, Words
from credits_core.message_texts import WRITERS

__all__ = ["Message", "render"]


def render(kind: str, detail: Detail, *, base_url: str, time_zone: str = "UTC") -> Message:
    """The message of a notice. A kind without words of its own is told by its name."""
    words = Words(detail, base_url, ZoneInfo(time_zone))
    write = WRITERS.get(kind)
    if write is not None:
        return write(words)
    name = kind.replace("_", " ").capitalize()
    return Message(name, (f"{name}.",), action=("See the details", words.page("notifications")))
