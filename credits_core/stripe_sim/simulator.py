"""The simulator without its HTTP: state, requests in and answers out. Usable in this process or mounted as an
app."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from credits_core.stripe_sim import api, guard, timers
from credits_core.stripe_sim.errors import StripeFault, unauthorized
from credits_core.stripe_sim.events import API_VERSION, Context
from credits_core.stripe_sim.store import Obj, Store, new_id
from credits_core.stripe_sim.webhooks import Sender

API_KEY = "sk_sim_prepaid_credits_simulator"
"""The key of the simulator. It is no secret: it opens nothing but play money on one's own machine."""

FAILURES = ("500", "429", "lost", "timeout")


@dataclass(frozen=True)
class Answer:
    """An HTTP answer. `hang_seconds` asks the transport to stay silent that long first (a simulated
    time-out)."""

    status: int
    headers: dict[str, str]
    body: bytes
    hang_seconds: float = 0.0


class Simulator:
    """Stripe for one's own machine. `data_dir` keeps its file; raises ConfigError when a real key is set."""

    def __init__(self, data_dir: Path, *, environment: Mapping[str, str] | None = None) -> None:
        guard.refuse_real_keys(os.environ if environment is None else environment)
        self.store = Store(Path(data_dir) / "stripe_simulator.sqlite3")
        self.sender = Sender(self.store)

    def close(self) -> None:
        """Stop deliveries and close the file."""
        self.sender.close()
        self.store.close()

    @contextmanager
    def change(
        self, base: str, *, request_id: str | None = None, key: str | None = None
    ) -> Iterator[Context]:
        """A transaction with what is due done first; `base` is the address under which the caller reached us."""
        with self.store.transaction():
            ctx = Context(self.store, lambda url: _hosted_base(base, url), request_id, key)
            self._do_what_is_due(ctx)
            yield ctx
        self.sender.poke()

    def configure_webhook(self, url: str, secret: str, *, mode: str = "auto") -> None:
        """Deliver events from now on to `url`, signed with `secret`; `manual` leaves them to the control
        plane."""
        self.store.set_setting("webhook", {"url": url, "secret": secret, "mode": mode})
        self.sender.poke()

    def webhook_secret(self) -> str:
        """A signing secret for this simulator, made once and kept in its file."""
        with self.store.transaction():
            secret: str | None = self.store.setting("webhook_secret")
            if secret is None:
                secret = new_id("whsec_sim_", 32)
                self.store.set_setting("webhook_secret", secret)
        return secret

    def handle(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer one API request. `url` is absolute, its path ends in `/v1/...`; header names in lower case."""
        request_id = new_id("req_", 14)
        parts = urlsplit(url)
        prefix, found, rest = parts.path.partition("/v1/")
        try:
            _authorize(headers.get("authorization", ""))
            failure = self._next_failure(rest)
            form = parts.query if method in ("GET", "DELETE") else body.decode("utf-8", "strict")
            with self.change(
                f"{parts.scheme}://{parts.netloc}{prefix}",
                request_id=request_id,
                key=headers.get("idempotency-key"),
            ) as ctx:
                status, answer, replayed = api.run(
                    ctx, method, found.rstrip("/") + "/" + rest if found else parts.path, form
                )
        except StripeFault as fault:
            return _answer(fault.status, fault.body, request_id)
        except UnicodeDecodeError:
            return _answer(400, StripeFault("The request body is not UTF-8.").body, request_id)
        if failure.get("kind") == "lost":
            return _answer(500, _broken("The answer was lost on its way."), request_id)
        return _answer(
            status, answer, request_id, replayed=replayed, hang_seconds=failure.get("seconds", 0.0)
        )

    def fail_next(self, kind: str, count: int, seconds: float, path: str) -> None:
        """Let the next `count` API calls below `path` fail: `500` and `429` before anything happens; `lost`
        and `timeout` after the call took effect, the latter silent for `seconds`."""
        self.store.set_setting("fail_next", {"kind": kind, "count": count, "seconds": seconds, "path": path})

    def _next_failure(self, path: str) -> dict[str, Any]:
        with self.store.transaction():
            failure: dict[str, Any] = self.store.setting("fail_next") or {}
            if not failure or not path.startswith(failure["path"].strip("/")):
                return {}
            left = failure["count"] - 1
            self.store.set_setting("fail_next", {**failure, "count": left} if left > 0 else None)
        if failure["kind"] == "429":
            raise StripeFault("Too many requests hit the API too quickly.", status=429, code="rate_limit")
        if failure["kind"] == "500":
            raise StripeFault("An unexpected error occurred.", status=500, kind="api_error")
        return failure if failure["kind"] == "timeout" else {"kind": "lost"}

    def _do_what_is_due(self, ctx: Context) -> None:
        while due := self.store.next_due():
            moment, action, object_id = due
            with self.store.at(moment):  # as if it had been done in time
                timers.ACTIONS[action](ctx, object_id)


def _authorize(header: str) -> None:
    key = header.removeprefix("Bearer ").strip()
    if not key:
        raise unauthorized(None)
    if not re.fullmatch(r"sk_sim_\w+", key):
        raise unauthorized(f"{key[:7]}{'*' * 12}{key[-4:]}" if len(key) > 20 else "***")


def _hosted_base(base: str, return_url: str | None) -> str:
    """Where hosted pages live: where we were reached, under the name for this machine that the browser uses
    (cookies of `localhost` are not those of `127.0.0.1`)."""
    ours, theirs = urlsplit(base), urlsplit(return_url or "")
    if guard.is_loopback(ours.hostname) and guard.is_loopback(theirs.hostname) and ours.port == theirs.port:
        return f"{theirs.scheme}://{theirs.netloc}{ours.path}"
    return base


def _broken(message: str) -> Obj:
    return StripeFault(message, kind="api_error").body


def _answer(
    status: int, body: Obj, request_id: str, *, replayed: bool = False, hang_seconds: float = 0.0
) -> Answer:
    headers = {"Content-Type": "application/json", "Request-Id": request_id, "Stripe-Version": API_VERSION}
    if replayed:
        headers["Idempotent-Replayed"] = "true"
    return Answer(status, headers, json.dumps(body).encode(), hang_seconds)
