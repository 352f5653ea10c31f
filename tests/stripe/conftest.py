"""A simulator behind a real HTTP server, and gateways to it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from credits_core.stripe_gateway import StripeGateway
from credits_core.stripe_sim import API_KEY, Simulator, create_app
from tests.stripe import schema

SECRET = "whsec_of_the_tests"
web = httpx.Client(timeout=30)  # one for all: each new one reads all certificates of the machine


class Started(uvicorn.Server):
    """A server in a thread that says when it listens."""

    def __init__(self, app: Any) -> None:
        super().__init__(uvicorn.Config(app, log_level="error", lifespan="off"))
        self.listening = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


@contextmanager
def serve(app: Any) -> Iterator[str]:
    """Serve an app on a free port of this machine; answers its address."""
    # Named as TCP: asyncio then sends answers without waiting for the client's last acknowledgement (40 ms each).
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as sock:
        sock.bind(("127.0.0.1", 0))
        server = Started(app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
        thread.start()
        assert server.listening.wait(20)
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="session", autouse=True)
def close_web() -> Iterator[None]:
    yield
    web.close()


class Switch:
    """The app of a server that outlives one test: each test puts its own app behind it."""

    app: Any = None
    address = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


@pytest.fixture(scope="session")
def simulator_server() -> Iterator[Switch]:
    switch = Switch()
    with serve(switch) as switch.address:
        yield switch


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Simulator]:
    """A simulator; whatever the test made it do, every object and event in it must have Stripe's shape."""
    sim = Simulator(tmp_path, environment={})
    yield sim
    rows = sim.store.db.execute("select distinct body from objects").fetchall()
    bodies = [json.loads(row[0]) for row in rows]
    bodies += [event["data"]["object"] for event in bodies if event["object"] == "event"]
    sim.close()
    assert {event["type"] for event in bodies if event["object"] == "event"} <= schema.EVENT_TYPES
    assert [problem for body in bodies for problem in schema.object_problems(body)] == []


@pytest.fixture
def base(simulator: Simulator, simulator_server: Switch) -> str:
    """Address of the simulator: `http://127.0.0.1:<port>/sim`."""
    simulator_server.app = Starlette(routes=[Mount("/sim", create_app(simulator))])
    return f"{simulator_server.address}/sim"


@pytest.fixture
def gateway(base: str) -> Iterator[StripeGateway]:
    """A gateway over HTTP whose pauses take no time."""
    found = StripeGateway(
        API_KEY, base_url=base, webhook_secret=SECRET, timeout=5, sleep=lambda _seconds: None
    )
    yield found
    found.close()


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's own pauses between retries take no time either."""
    monkeypatch.setattr("stripe.HTTPClient._sleep_time_seconds", lambda _self, _retries: 0)


@pytest.fixture
def control(base: str) -> Callable[..., dict[str, Any]]:
    """`control("sessions/cs_.../pay", card="4242424242424242")`: the answer; `expect` another status than 200."""

    def call(path: str, /, expect: int = 200, **body: Any) -> dict[str, Any]:
        answer = web.post(f"{base}/control/{path}", json=body)
        assert answer.status_code == expect, answer.text
        return answer.json()

    return call


class Receiver:
    """A webhook endpoint that keeps what it gets and answers as told."""

    def __init__(self) -> None:
        self.calls: list[tuple[bytes, str]] = []
        self.status = 200
        self.arrived = threading.Semaphore(0)
        self.url = ""

    async def __call__(self, request: Request) -> Response:
        self.calls.append((await request.body(), request.headers["stripe-signature"]))
        self.arrived.release()
        return Response(status_code=self.status)


@pytest.fixture(scope="session")
def receiver_server() -> Iterator[Switch]:
    switch = Switch()
    with serve(switch) as switch.address:
        yield switch


@pytest.fixture
def receiver(receiver_server: Switch) -> Receiver:
    found = Receiver()
    receiver_server.app = Starlette(routes=[Route("/hook", found.__call__, methods=["POST"])])
    found.url = f"{receiver_server.address}/hook"
    return found


def purchase(**changes: Any) -> dict[str, Any]:
    """A purchase row, as far as the gateway reads it."""
    return {
        "purchase_id": "0b4de6b3-8a86-44a8-97a0-2d5a2b0d7f10",
        "account_id": 7,
        "package_name": "$10 of credits",
        "price_cents": 1000,
        "currency": "usd",
        "flow": "checkout",
        "stripe_price_id": None,
        "email": "holder@demo.test",
    } | changes


SUCCESS = "https://shop.test/checkout_return?session_id={CHECKOUT_SESSION_ID}"
CANCEL = "https://shop.test/buy?canceled=1"
