"""The product as a whole: the API behind a real server, the simulator behind another one, a database of the test's own."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from credits_core import checkout, fulfillment, refunds, reversals
from credits_core.auth.tokens import LocalTokens
from credits_core.config import Settings
from credits_core.db.port import SERVICE, Identity
from credits_core.db.psycopg_transport import PsycopgDatabase
from credits_core.http.api import make_api
from credits_core.runtime import Runtime, make_runtime, set_runtime
from credits_core.stripe_gateway import StripeGateway
from credits_core.stripe_sim import Simulator
from credits_core.units import parse_credits as micros
from tests.conftest import CATALOGS
from tests.sql.conftest import Rows
from tests.stripe.conftest import (  # noqa: F401  fixtures of this folder, too
    SECRET,
    Switch,
    base,
    gateway,
    quick_retries,
    serve,
    simulator,
    simulator_server,
)

CARD = "4242424242424242"
_keys = itertools.count(1)


def new_key() -> str:
    return f"scenario-{next(_keys)}"


@dataclass
class Buyer:
    """Somebody signed in, over HTTP (`get`, `post`) and with what tests do for them."""

    world: World
    identity: Identity
    account_id: int
    token: str

    def get(self, path: str, **query: Any) -> Any:
        return self._answer("GET", path, params=query)

    def post(self, path: str, body: Any = None, expect: int = 200) -> Any:
        return self._answer("POST", path, expect, json=body)

    def _answer(self, method: str, path: str, expect: int = 200, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        url = f"{self.world.url}/api/credits/{path}"
        answer = self.world.client.request(method, url, headers=headers, **more)
        assert answer.status_code == expect, answer.text
        return answer.json()

    def start(self, package: str = "small") -> dict[str, Any]:
        """A purchase with its page open."""
        return checkout.start_checkout(
            self.world,
            self.identity,
            package=package,
            base_url="https://shop.test",
            idempotency_key=new_key(),
        )

    def buy(self, package: str = "small", card: str = CARD) -> dict[str, Any]:
        """A purchase that is paid and credited; answers it with its charge at Stripe."""
        bought = self.start(package)
        self.world.control(f"sessions/{bought['session_id']}/pay", card=card)
        credited = fulfillment.fulfill(self.world, self.identity, bought["session_id"])
        assert credited["status"] == "credited"
        return credited

    def use(self, credits: int) -> None:
        """Spend so many credits: one for each API request."""
        self.world.db.call(
            "use", self.identity, operation="api_request", quantity=credits, idempotency_key=new_key()
        )

    @property
    def balance(self) -> dict[str, Any]:
        return dict(self.world.db.call("balance", self.identity))

    @property
    def available(self) -> int:
        return int(self.balance["available_micros"])


@dataclass
class World:
    """The parts that buying needs, and hands on the simulator and on the stored rows."""

    runtime: Runtime
    stripe: StripeGateway
    control: Callable[..., Any]
    simulator: Simulator
    owner_sql: Callable[..., Rows]
    make_user: Callable[..., Identity]
    url: str
    client: httpx.Client
    since: str = field(default_factory=lambda: datetime.now(UTC).isoformat())

    @property
    def db(self) -> PsycopgDatabase:
        assert isinstance(self.runtime.db, PsycopgDatabase)
        return self.runtime.db

    def person(self, role: str = "holder") -> Buyer:
        identity = self.make_user(role=role)
        found = self.db.call("find_account", SERVICE, account=str(identity.claims["sub"]))
        assert isinstance(self.runtime.tokens, LocalTokens)
        token = self.runtime.tokens.issue(dict(identity.claims), seconds=3600)
        return Buyer(self, identity, found["account_id"], token)

    def charge(self, purchase: dict[str, Any]) -> str:
        """The id of the charge that paid a purchase."""
        paid = self.stripe.retrieve(purchase["session_id"])
        assert paid.charge_id is not None
        return paid.charge_id

    def at_stripe(self, kind: str, **where: Any) -> list[dict[str, Any]]:
        return self.simulator.store.find(kind, where)

    def listen(self, mode: str) -> None:
        """Webhooks to the API: `auto` as they happen, `manual` when the test delivers them."""
        self.control("webhooks", url=f"{self.url}/api/credits/webhook", secret=SECRET, mode=mode)

    def send_refunds(self) -> dict[str, int]:
        return refunds.send(self.db, self.stripe)

    def follow(self) -> dict[str, Any]:
        return reversals.follow(self.db, self.stripe, self.since)

    def poll(self) -> dict[str, int]:
        return fulfillment.poll(self.db, self.stripe)

    def later(self, seconds: int) -> None:
        """Time goes by for what waits: leases of refunds and attempts, and the simulator's timers."""
        self.owner_sql(
            f"update credits.refunds set sent_at = sent_at - interval '{seconds} seconds', "
            f"created_at = created_at - interval '{seconds} seconds'"
        )
        self.owner_sql(
            f"update credits.auto_reload_attempts set lease_until = lease_until - interval '{seconds} seconds'"
        )
        self.owner_sql(
            f"update credits.auto_reload set next_attempt_at = next_attempt_at - interval '{seconds} seconds'"
        )
        self.control("clock", advance_seconds=seconds)

    def load(self, catalog: str) -> None:
        self.db.call(
            "load_catalog", SERVICE, catalog=json.loads((CATALOGS / f"{catalog}.json").read_text("utf-8"))
        )


@pytest.fixture(scope="session")
def app_server() -> Iterator[Switch]:
    switch = Switch()
    with serve(switch) as switch.address:
        yield switch


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """One client for everything, deliveries of webhooks too: a new one for each request costs more than the request."""
    with httpx.Client(timeout=30) as made:
        monkeypatch.setattr(httpx, "post", made.post)
        yield made


@pytest.fixture
def control(base: str, client: httpx.Client) -> Callable[..., Any]:  # noqa: F811
    """`control("disputes/du_.../win")`: the simulator's control plane."""

    def call(path: str, /, expect: int = 200, **body: Any) -> Any:
        answer = client.post(f"{base}/control/{path}", json=body)
        assert answer.status_code == expect, answer.text
        return answer.json()

    return call


@pytest.fixture
def world(
    database: PsycopgDatabase, gateway: StripeGateway, control: Callable[..., Any], simulator: Simulator,  # noqa: F811
    owner_sql: Callable[..., Rows], make_user: Callable[..., Identity], app_server: Switch, tmp_path: Path,
    client: httpx.Client,
) -> Iterator[World]:  # fmt: skip
    runtime = replace(make_runtime(Settings(data_dir=tmp_path), db=database), stripe=gateway)
    set_runtime(runtime)
    app_server.app = Starlette(routes=[Mount("/api", make_api())])
    made = World(runtime, gateway, control, simulator, owner_sql, make_user, app_server.address, client)
    made.load("metered_plan")
    yield made
    assert database.call("verify", SERVICE)["differences"] == []
    set_runtime(None)
    runtime.close()


@pytest.fixture
def anna(world: World) -> Buyer:
    """A holder who buys 500 credits for $20."""
    return world.person()


@pytest.fixture
def admin(world: World) -> Buyer:
    return world.person("admin")


__all__ = ["Buyer", "World", "micros", "new_key"]
