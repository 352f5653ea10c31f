"""Deliveries of events to one configured endpoint: signed, in the background or one by one from the control
plane."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import threading
import time
from functools import cached_property
from typing import Any

import httpx

from credits_core.stripe_sim.store import Obj, Store

_LOG = logging.getLogger(__name__)
_RETRY_SECONDS = (1, 5, 30, 300)
_TIMEOUT_SECONDS = 10.0
_LEASE_SECONDS = 30


def body_of(event: Obj) -> bytes:
    """The bytes of an event as they are sent and signed."""
    return json.dumps(event, indent=2).encode()


def signature(body: bytes, secret: str, timestamp: int | None = None) -> str:
    """The `Stripe-Signature` header for a body: real time, not the simulator's, since receivers check its
    age."""
    moment = int(time.time()) if timestamp is None else timestamp
    digest = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"


class Sender:
    """Sends what is due. In mode `auto` a thread does it after every change; in mode `manual` only `send`
    does."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._wake = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None
        self._start_lock = threading.Lock()

    def poke(self) -> None:
        """Something may be due: let the background thread look (it starts with the first need for it)."""
        if (self._store.setting("webhook") or {}).get("mode") != "auto" or self._closed:
            return
        with self._start_lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="stripe-sim-webhooks", daemon=True)
                self._thread.start()
        self._wake.set()

    def close(self) -> None:
        """Stop the thread; what is pending stays pending in the file."""
        self._closed = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=_TIMEOUT_SECONDS + 1)
        if "_http" in self.__dict__:
            self._http.close()

    @cached_property
    def _http(self) -> httpx.Client:
        return httpx.Client(timeout=_TIMEOUT_SECONDS)

    def send(self, delivery: int, *, retry: bool = False) -> dict[str, Any] | None:
        """Send one delivery now and answer `{event, type, status, http_status}`; the store is not held
        meanwhile."""
        with self._store.transaction():
            now, endpoint = self._store.now(), self._store.setting("webhook")
            # Taken for a while, so that nobody else sends it too; free again after a kill.
            taken = self._store.db.execute(
                "update deliveries set not_before = ? where id = ? and status = 'pending' and not_before <= ?"
                " returning event, attempts",
                (now + _LEASE_SECONDS, delivery, now),
            ).fetchone()
            if taken is None or endpoint is None:
                return None
            event_id, attempts = taken
            event = self._store.get("event", event_id) or {}
        http_status = _post(self._http, endpoint, body_of(event))
        ok = 200 <= http_status < 300
        later = _RETRY_SECONDS[attempts] if retry and attempts < len(_RETRY_SECONDS) else None
        status = "delivered" if ok else "pending" if later is not None else "failed"
        with self._store.transaction():
            self._store.db.execute(
                "update deliveries set status = ?, http_status = ?, attempts = attempts + 1, not_before = ?"
                " where id = ?",
                (status, http_status, self._store.now() + (later or 0), delivery),
            )
        return {"event": event_id, "type": event["type"], "status": status, "http_status": http_status}

    def _loop(self) -> None:
        while not self._closed:
            self._wake.wait(timeout=1.0)  # wakes for retries, too
            self._wake.clear()
            with self._store.transaction():
                due = self._store.db.execute(
                    "select id from deliveries where status = 'pending' and not_before <= ? order by position",
                    (self._store.now(),),
                ).fetchall()
            for (delivery,) in due:
                if not self._closed:
                    self.send(delivery, retry=True)


def _post(http: httpx.Client, endpoint: dict[str, Any], body: bytes) -> int:
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": "Stripe-simulator/1.0",
        "Stripe-Signature": signature(body, endpoint["secret"]),
    }
    try:
        return http.post(endpoint["url"], content=body, headers=headers).status_code
    except httpx.HTTPError as error:
        _LOG.info("simulated webhook not delivered: %s", type(error).__name__)
        return 0
