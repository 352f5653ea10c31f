"""What arrives elsewhere: a real SMTP server, a real HTTP receiver, and the outbox that sends to them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from credits_core import notifications
from credits_core.config import Settings
from credits_core.db.psycopg_transport import PsycopgDatabase
from credits_core.mail import parse_smtp_url
from credits_core.runtime import Runtime, make_runtime
from tests.sql.conftest import (  # noqa: F401  fixtures of this folder, too
    Call,
    Clock,
    Person,
    buy,
    clock,
    give,
    holder,
    person,
)

BASE = "https://credits.example.test"


@dataclass
class Inbox:
    """A mail server: what arrived, and what it answers next (None: 250)."""

    port: int
    mails: list[EmailMessage] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    answer: str | None = None
    arrived: threading.Event = field(default_factory=threading.Event)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.answer:
            return self.answer
        assert isinstance(envelope.content, bytes)
        parsed = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(parsed, EmailMessage)
        self.raw.append(envelope.content)
        self.mails.append(parsed)
        self.arrived.set()
        return "250 Message accepted"


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    box = Inbox(port)
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    yield box
    controller.stop()


@dataclass
class Receiver:
    """The customer's own system: what arrived (headers, body), and what it answers."""

    url: str = ""
    status: int = 200
    body: bytes = b"thank you"
    location: str | None = None
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    hold: threading.Event | None = None
    arrived: threading.Event = field(default_factory=threading.Event)

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    told = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            told.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            told.arrived.set()
            if told.hold:
                told.hold.wait(20)
            self.send_response(told.status)
            if told.location:
                self.send_header("Location", told.location)
            self.send_header("Content-Length", str(len(told.body)))
            self.end_headers()
            self.wfile.write(told.body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    told.url = f"http://127.0.0.1:{server.server_port}/hook"
    yield told
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def make(tmp_path: Path, database: PsycopgDatabase) -> Iterator[Callable[..., Runtime]]:
    """`make(smtp=..., webhook_allow_private=True)`: a runtime on this test's database with these settings."""
    made: list[Runtime] = []

    def runtime(**settings: Any) -> Runtime:
        chosen = {"webhook_allow_private": True, "base_url": BASE} | settings
        made.append(make_runtime(Settings(data_dir=tmp_path, **chosen), db=database))
        return made[-1]

    yield runtime
    for one in made:
        one.close()


@pytest.fixture
def runtime(make: Callable[..., Runtime], inbox: Inbox) -> Runtime:
    """With the mail server of the test, and private addresses allowed: that is where the receiver is."""
    return make(smtp=parse_smtp_url(f"smtp://127.0.0.1:{inbox.port}?from=Credits <credits@example.test>"))


@pytest.fixture
def anna(clock: Clock, person: Callable[..., Person]) -> Person:  # noqa: F811
    return person()


@pytest.fixture
def hook(runtime: Runtime, receiver: Receiver, anna: Person) -> dict[str, Any]:
    """Anna's webhook to the receiver, with its secret."""
    return notifications.add_webhook(runtime, anna.identity, "ours", receiver.url)


def state(somebody: Person, **only: object) -> list[tuple[str, str, str | None]]:
    """Channel, status and reason of the messages, oldest first."""
    items = somebody.call("deliveries", limit=500, **only)["items"][::-1]
    return [(item["channel"], item["status"], item["reason"]) for item in items]
