"""A limit on wrong passwords, in this process's memory.

Tight for one address guessing at one person, wider for an address and for a person: a stranger who fails on
purpose must not lock the owner out cheaply.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict

WINDOW_SECONDS = 600
MAX_PER_EMAIL_AND_ADDRESS = 10
MAX_PER_ADDRESS = 50
MAX_PER_EMAIL = 100
MAX_KEYS = 10_000


class Attempts:
    """Counts failures of the last ten minutes; past the limit, attempts wait. Memory is bounded."""

    def __init__(self) -> None:
        self._failures: OrderedDict[tuple[str, str], list[float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait_seconds(self, email: str, address: str) -> int:
        """0 when an attempt may be made now, else the seconds to wait."""
        now = time.monotonic()
        with self._lock:
            waits = [
                int(recent[-limit] + WINDOW_SECONDS - now) + 1
                for key, limit in _keys(email, address)
                if len(recent := self._recent(key, now)) >= limit
            ]
        return max(waits, default=0)

    def failed(self, email: str, address: str) -> None:
        now = time.monotonic()
        with self._lock:
            for key, limit in _keys(email, address):
                self._failures[key] = [*self._recent(key, now), now][-limit:]
                self._failures.move_to_end(key)
            while len(self._failures) > MAX_KEYS:
                self._failures.popitem(last=False)

    def succeeded(self, email: str, address: str) -> None:
        """Forget this person's failures at this address; one right password must not reset a guessing machine."""
        with self._lock:
            self._failures.pop(_keys(email, address)[0][0], None)

    def _recent(self, key: tuple[str, str], now: float) -> list[float]:
        return [at for at in self._failures.get(key, []) if at > now - WINDOW_SECONDS]


def _keys(email: str, address: str) -> tuple[tuple[tuple[str, str], int], ...]:
    person = email.strip().lower()
    return (
        ((person, address), MAX_PER_EMAIL_AND_ADDRESS),
        (("", address), MAX_PER_ADDRESS),
        ((person, ""), MAX_PER_EMAIL),
    )
