"""Demo data (L1): 40 marked accounts and 90 days, made by the real functions under a clock that nobody else sees."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from credits_core import demo, demo_stripe, reconcile
from credits_core.auth.providers import DEMO_PEOPLE
from credits_core.db.embedded import EmbeddedServer
from credits_core.db.port import SERVICE
from credits_core.db.psycopg_transport import PsycopgDatabase
from credits_core.stripe_gateway import StripeGateway
from credits_core.stripe_sim import Simulator
from tests.sql.conftest import Call, Rows

NOW = datetime.now(UTC)
CLOCK = "select pg_get_functiondef(p.oid) as text, p.proacl::text as rights from pg_proc as p where p.oid = 'credits._now'::regproc"


@pytest.fixture
def owner_dsn(server: EmbeddedServer, database_name: str, service: Call) -> str:
    """The owner of a database in which the demo people are there, as at the first start."""
    for one in DEMO_PEOPLE:
        service("create_demo_user", email=one.email, name=one.name, role=one.role, is_demo=True)
    return server.owner_dsn(database_name)


def test_forty_accounts_and_ninety_days_in_twenty_seconds(
    owner_dsn: str, service: Call, owner_sql: Callable[..., Rows]
) -> None:
    """L1: purchases, calls and refusals over the whole time; all marked; the ledger adds up; the clock is as before."""
    clock = owner_sql(CLOCK)
    begun = time.monotonic()
    made = demo.seed(owner_dsn, now=NOW)
    took = time.monotonic() - begun
    busy = max(os.getloadavg()[0] / (os.cpu_count() or 1), 1)  # other work on this machine counts for itself
    assert took < 20 * busy

    (people,) = owner_sql(
        "select count(*) as accounts, bool_and(is_demo) as marked, bool_and(email like '%%@demo.test') as addresses"
        " from credits.profiles"
    )
    assert people == {"accounts": 40, "marked": True, "addresses": True}
    (time_span,) = owner_sql(
        "select min(created_at) as first, max(created_at) as last, count(*) as rows,"
        " count(distinct created_at::date) as days from credits.transactions"
    )
    assert time_span["rows"] == made > 1_000
    assert NOW - timedelta(days=91) < time_span["first"] < NOW - timedelta(days=85)
    assert NOW - timedelta(days=1) < time_span["last"] <= NOW
    assert time_span["days"] >= 80
    statuses = owner_sql("select status, count(*) as n from credits.purchases group by 1 order by 1")
    assert {row["status"] for row in statuses} >= {"credited", "expired"}
    assert owner_sql("select account_id from credits.transactions where posted_after_micros < 0") == []

    checked = service("verify")
    assert (checked["differences"], checked["transactions"]) == ([], made)
    assert owner_sql(CLOCK) == clock
    (now,) = owner_sql("select credits._now() as now")
    assert abs(now["now"] - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_second_start_makes_nothing(
    owner_dsn: str, owner_sql: Callable[..., Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    """L1: nor does a database in which somebody has bought or spent already."""
    monkeypatch.setattr(demo, "DAYS", 5)
    assert demo.seed(owner_dsn, now=NOW) > 0
    count = owner_sql("select count(*) as n from credits.transactions")
    assert demo.seed(owner_dsn, now=NOW) == 0
    assert owner_sql("select count(*) as n from credits.transactions") == count


def test_every_catalog_has_its_demo(
    owner_dsn: str, catalog: Call, owner_sql: Callable[..., Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    """L1, C1: each operation of the active catalog is used."""
    monkeypatch.setattr(demo, "DAYS", 10)
    catalog("recruitment")
    demo.seed(owner_dsn, now=NOW)
    used = owner_sql(
        "select distinct o.code from credits.transactions as t join credits.operations as o on o.id = t.operation_id order by 1"
    )
    assert [row["code"] for row in used] == ["file_upload", "message", "vapi_call", "workflow_execution"]


def test_what_failed_half_way_leaves_nothing(
    owner_dsn: str, owner_sql: Callable[..., Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    """L1: one transaction: no accounts, no rows, and above all no other clock."""
    clock = owner_sql(CLOCK)
    monkeypatch.setattr(demo, "DAYS", 5)
    monkeypatch.setattr(demo, "_NAMES", ["Amber Hotels", "Birch Clinics", ""])
    with pytest.raises(IndexError):
        demo.seed(owner_dsn, now=NOW)
    assert owner_sql("select count(*) as n from credits.transactions") == [{"n": 0}]
    assert owner_sql("select count(*) as n from credits.profiles") == [{"n": len(DEMO_PEOPLE)}]
    assert owner_sql(CLOCK) == clock


def test_stripe_lived_through_the_same_days(
    owner_dsn: str, service: Call, owner_sql: Callable[..., Rows], database: PsycopgDatabase, tmp_path: Path
) -> None:
    """H5: every demo purchase and refund is at the simulator, with fees and payouts; made once; nothing to reconcile."""
    demo.seed(owner_dsn, now=NOW)
    simulator = Simulator(tmp_path, environment={})
    try:
        base = "http://127.0.0.1:8501/sim"
        assert demo_stripe.seed(simulator, owner_dsn, base) > 200
        assert demo_stripe.seed(simulator, owner_dsn, base) == 0
        stripe = StripeGateway.for_simulator(simulator, base)
        since = datetime.now(UTC) - timedelta(days=100)
        reconcile.start(database, SERVICE, since, datetime.now(UTC), livemode=False, idempotency_key="demo")
        done = reconcile.run(database, stripe)
    finally:
        simulator.close()
    assert done is not None and (done["found"], done["totals"][0]["difference_cents"]) == (0, 0)
    assert done["totals"][0]["paid_out_cents"] > 0
    assert owner_sql("select from credits.purchases where status = 'credited' and fee_cents is null") == []
