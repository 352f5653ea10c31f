"""What stories about the ledger need: people with credits, a clock to set, catalogs and prices to choose.

Every story ends with the ledger's own check: whatever a test did, `verify` finds no difference afterwards.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from credits_core import errors
from credits_core.db import psycopg_transport
from credits_core.db.embedded import EmbeddedServer
from credits_core.db.port import Identity
from credits_core.db.psycopg_transport import PsycopgDatabase
from credits_core.units import parse_credits as micros
from tests.conftest import CATALOGS

Rows = list[dict[str, Any]]
Call = Callable[..., Any]
MONDAY = datetime(2027, 1, 4, 9, 0, tzinfo=UTC)

_keys = itertools.count(1)


def new_key(what: str = "key") -> str:
    """An idempotency key nobody used before."""
    return f"{what}-{next(_keys)}"


@dataclass(frozen=True)
class Person:
    """Somebody signed in, with an account."""

    identity: Identity
    account_id: int
    database: PsycopgDatabase

    def call(self, function: str, **arguments: object) -> Any:
        """Call a function of the database as this person."""
        return self.database.call(function, self.identity, **arguments)

    def use(self, operation: str, quantity: object, key: str = "", **more: object) -> Any:
        """Charge an operation; with a new key unless one is given."""
        key = key or new_key("use")
        return self.call("use", operation=operation, quantity=str(quantity), idempotency_key=key, **more)

    @property
    def balance(self) -> dict[str, Any]:
        return dict(self.call("balance"))

    @property
    def available(self) -> int:
        return int(self.balance["available_micros"])


class Clock:
    """The database's time: stands still where it is set. Only the owner can do this, by replacing `_now()`."""

    def __init__(self, owner_sql: Callable[..., Rows]) -> None:
        self._owner_sql = owner_sql
        self.now = MONDAY
        self.set(MONDAY)

    def set(self, at: datetime) -> None:
        self.now = at
        self._owner_sql(
            sql.SQL(
                "create or replace function credits._now() returns timestamptz language sql volatile "
                "set search_path = '' as $$ select {}::timestamptz $$"
            ).format(sql.Literal(at.isoformat()))
        )

    def advance(self, **span: float) -> datetime:
        """`clock.advance(minutes=3)`: move on; answers the new time."""
        self.set(self.now + timedelta(**span))
        return self.now


@pytest.fixture(autouse=True)
def every_story_ends_with_a_ledger_that_adds_up(request: pytest.FixtureRequest) -> Iterator[None]:
    if "service" not in request.fixturenames:
        yield
        return
    service: Call = request.getfixturevalue("service")
    yield
    assert service("verify")["differences"] == []


@pytest.fixture
def clock(owner_sql: Callable[..., Rows]) -> Clock:
    """The clock of this test's database, on a Monday morning."""
    return Clock(owner_sql)


@pytest.fixture
def person(
    make_user: Callable[..., Identity], account_of: Callable[[Identity], int], database: PsycopgDatabase
) -> Callable[..., Person]:
    """`person()`, `person("admin")`: somebody new with an empty account."""

    def make(role: str = "holder") -> Person:
        identity = make_user(role=role)
        return Person(identity, account_of(identity), database)

    return make


@pytest.fixture
def holder(person: Callable[..., Person], give: Callable[..., Any]) -> Callable[..., Person]:
    """`holder("10.00")`: somebody new with so many credits."""

    def make(credits: str = "0") -> Person:
        somebody = person()
        if micros(credits):
            give(somebody, credits)
        return somebody

    return make


@pytest.fixture
def give(service: Call) -> Callable[..., Any]:
    """`give(anna, "10.00", expires_at=...)`: credits by an administrator; negative ones are taken."""

    def adjust(somebody: Person, credits: str, **more: object) -> Any:
        more = {"reason": "for a test", "idempotency_key": new_key("give")} | more
        return service("adjust", account_id=somebody.account_id, amount_micros=micros(credits), **more)

    return adjust


@pytest.fixture
def buy(service: Call) -> Callable[..., Any]:
    """`buy(anna, "usd_10")`: a purchase through checkout to the credit; answers as fulfill_purchase does."""

    def purchase(somebody: Person, package: str) -> Any:
        made = somebody.call(
            "create_purchase", idempotency_key=new_key("buy"), livemode=False, package=package
        )
        opened = service("open_purchase", purchase_id=made["purchase_id"], session_id=new_key("cs_test"))
        return service("fulfill_purchase", session=paid(opened))

    return purchase


@pytest.fixture
def catalog(service: Call) -> Call:
    """`catalog("recruitment")`: load one of the four and make it the active one."""
    return lambda name: service(
        "load_catalog", catalog=json.loads((CATALOGS / f"{name}.json").read_text("utf-8"))
    )


@pytest.fixture
def set_price(service: Call) -> Call:
    """`set_price("call", {"unit": "second", "price_micros": 2500}, rounding="up")`: from now on."""
    return lambda operation, *components, **more: service(
        "set_price", operation=operation, components=list(components), **more
    )


@pytest.fixture
def no_second_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The port gives up when a transaction lost against another one, so that a deadlock shows."""
    monkeypatch.setattr(psycopg_transport, "LOST_RACE", frozenset())


@pytest.fixture
def grants(owner_sql: Callable[..., Rows]) -> Callable[[Person], Rows]:
    """`grants(anna)`: her grants as they stand, oldest first."""
    return lambda somebody: [
        row["g"]
        for row in owner_sql(
            "select to_jsonb(g) as g from credits.grants_now as g where account_id = %s order by id",
            somebody.account_id,
        )
    ]


@pytest.fixture
def ledger(owner_sql: Callable[..., Rows]) -> Callable[[Person], Rows]:
    """`ledger(anna)`: her transactions, oldest first."""
    return lambda somebody: owner_sql(
        "select * from credits.transactions where account_id = %s order by seq", somebody.account_id
    )


@pytest.fixture
def as_person(server: EmbeddedServer, database_name: str) -> Iterator[Callable[..., list[Any]]]:
    """`as_person(identity, "select ...", values)`: SQL of one's own with the rights of an identity, as if PostgREST
    let it through; answers the first column. Undone afterwards, unless `keep=True`."""
    with psycopg.connect(server.dsn(database=database_name)) as connection:

        def run(identity: Identity, statement: str, *values: object, keep: bool = False) -> list[Any]:
            with connection.transaction(force_rollback=not keep):
                connection.execute(
                    "select set_config('role', %s, true), set_config('request.jwt.claims', %s, true)",
                    (identity.role, json.dumps(dict(identity.claims))),
                )
                cursor = connection.execute(statement.encode(), values or None)
                return [row[0] for row in cursor.fetchall()] if cursor.description else []

        yield run


def paid(purchase: dict[str, Any], **changes: object) -> dict[str, Any]:
    """What Stripe says of the paid checkout session of a purchase."""
    return {
        "session_id": purchase["session_id"],
        "purchase_id": purchase["purchase_id"],
        "status": "complete",
        "payment_status": "paid",
        "mode": "payment",
        "currency": purchase["currency"],
        "amount_subtotal": purchase["price_cents"],
        "amount_total": purchase["price_cents"],
        "price_id": purchase["stripe_price_id"],
        "livemode": purchase["livemode"],
    } | changes


def refused(run: Callable[[], object]) -> errors.CreditsError:
    """The refusal that calling `run` ends with; it must be one with a sentence."""
    try:
        answer = run()
    except errors.CreditsError as refusal:
        assert refusal.message.endswith(".")
        return refusal
    pytest.fail(f"not refused, but answered with {answer}")
