"""How fast the ledger is, against what it could be at best: `python -m tests.bench.ledger` (see --help).

One embedded server with fsync on; contenders in short turns on the same warm connections, so that a busy machine slows all of
them alike. Each row: the median over the turns of a ratio of speeds, and of the processor time that the server needs (the ratio
there would be on a machine whose disk costs nothing). `bare` is one UPDATE and one INSERT a transaction.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from credits_core.db.embedded import EmbeddedServer
from credits_core.db.migrations import MIGRATIONS, prepare
from tests.bench.clients import SERVICE, Client, Speed, measure, somebody

CONTENDERS = Path(__file__).with_name("contenders.sql")
MANY = 8
EVENTS = 1_000
ONE = {
    "bare": "select bench.bare($2::bigint, 150000 + 0 * length($1))",
    "naive": "select bench.naive('call', 60, $1, $2::bigint)",
    "naive+key": "select bench.naive_key('call', 60, $1, $2::bigint)",
    "use": "select credits.use('call', 60, $1, $2::bigint)",
}
PLACE = "select credits.place_hold('call', 60, $1, 3600, $2::bigint) ->> 'hold_id'"
EXTEND = "select credits.extend_hold($1::bigint, 120)"
CAPTURE = "select credits.capture_hold($1::bigint, 90)"
FULFIL = """select credits.fulfill_purchase(jsonb_build_object('session_id', $1::text, 'status', 'complete',
  'payment_status', 'paid',
  'mode', 'payment', 'currency', 'usd', 'amount_subtotal', 1000, 'livemode', false))"""
BUY = """select credits.open_purchase((p ->> 'purchase_id')::uuid, p_session_id => name) from
  (select name, credits.create_purchase(name, false, 'usd_10', p_account_id => 1 + n %% %s) as p
     from (select n, 'cs' || n as name from generate_series(1, %s) as n) as wanted) as made"""


@dataclass
class Bench:
    """A server with accounts that have credits, its clients, and what was measured: (speed, processor) by row."""

    server: EmbeddedServer
    accounts: int
    seconds: float
    clients: list[Client]
    threads: ThreadPoolExecutor
    sessions: list[bytes]
    rows: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def speed(self, act: Callable[[Client], int], clients: int = MANY) -> Speed:
        return measure(self.clients[:clients], self.seconds, act, self.threads)

    def note(self, row: str, ours: Speed, theirs: Speed) -> None:
        self.rows.setdefault(row, []).append((ours.rate / theirs.rate, theirs.work / ours.work))

    def each(self, names: list[str], accounts: int, clients: int) -> dict[str, Speed]:
        """The speed of some contenders, one after the other."""

        def act(statement: str) -> Callable[[Client], int]:
            return lambda client: int(client.run(statement, client.key(), somebody(accounts)) is not None)

        return {name: self.speed(act(ONE[name]), clients) for name in names}


def prepared(server: EmbeddedServer, accounts: int, purchases: int) -> None:
    """Migrations, the catalog `voice`, accounts with 100,000.00 each, purchases to fulfil, the contenders' tables."""
    prepare(server)
    catalog = (MIGRATIONS.parent / "catalogs" / "voice.json").read_text("utf-8")
    with psycopg.connect(server.owner_dsn(), autocommit=True) as owner:
        owner.execute("select set_config('request.jwt.claims', %s, false)", (SERVICE,))
        owner.execute("set synchronous_commit = off")
        owner.execute("select credits.load_catalog(%s)", (catalog,))
        owner.execute(
            "insert into credits.accounts (owner_id) select null from generate_series(1, %s)", (accounts,)
        )
        owner.execute(
            "insert into credits.profiles (account_id, email) select id, id::text from credits.accounts"
        )
        owner.execute("select credits.adjust(id, 100000000000, 'to measure', 'start') from credits.accounts")
        owner.execute(BUY, (accounts, purchases))
        owner.execute(CONTENDERS.read_bytes())
        owner.execute("vacuum analyze")


# --- what is measured, a turn at a time --------------------------------------------------------------------------


def uses(bench: Bench, turn: int) -> None:
    """`use` and its contenders: spread over all accounts and on one, by 1 and by 8 clients."""
    names = list(ONE)[turn % len(ONE) :] + list(ONE)[: turn % len(ONE)]
    for clients in (1, MANY):
        for where, accounts in [("spread", bench.accounts), ("one account", 1)]:
            speeds = bench.each(names, accounts, clients)
            for name in ("naive", "naive+key", "use"):
                bench.note(f"{name}, {where}, {clients} clients / bare", speeds[name], speeds["bare"])
            bench.note(f"use, {where}, {clients} clients / naive+key", speeds["use"], speeds["naive+key"])


def holds(bench: Bench, turn: int) -> None:
    """Place, extend and capture, three transactions; each of them is a step."""

    def act(client: Client) -> int:
        hold = client.run(PLACE, client.key(), somebody(bench.accounts)) or b""
        client.run(EXTEND, hold)
        client.run(CAPTURE, hold)
        return 3

    steps, bare = bench.speed(act), bench.each(["bare"], bench.accounts, MANY)["bare"]
    bench.note("hold, extend, capture: a step, spread, 8 clients / bare", steps, bare)


def fulfilments(bench: Bench, turn: int) -> None:
    """Paid sessions of purchases that were made beforehand."""
    if len(bench.sessions) < 500:
        return

    def act(client: Client) -> int:
        return int(client.run(FULFIL, bench.sessions.pop()) is not None)

    ours, bare = bench.speed(act), bench.each(["bare"], bench.accounts, MANY)["bare"]
    bench.note("fulfil a purchase, spread, 8 clients / bare", ours, bare)


def batches(bench: Bench, turn: int) -> None:
    """1,000 events in one call, against one call each and against COPY of the rows it wrote, by one client."""
    client = bench.clients[0]
    with psycopg.connect(bench.server.owner_dsn(), autocommit=True) as owner:
        for where, accounts in [("spread", bench.accounts), ("one account", 1)]:
            single = bench.each(["use"], accounts, 1)["use"]
            prefix, payload = batch_of(client, accounts)
            batch = timed(client, lambda payload=payload: client.run("select credits.use_batch($1)", payload))
            texts = rows_of(owner, prefix)
            start = time.monotonic()
            with owner.cursor().copy("copy bench.copied from stdin") as stream:
                stream.write(texts)
            copied = Speed(EVENTS / (time.monotonic() - start), batch.work)
            bench.note(f"use_batch of 1,000, {where} / single use", batch, single)
            bench.note(f"use_batch of 1,000, {where} / COPY", batch, copied)


def batch_of(client: Client, accounts: int) -> tuple[str, bytes]:
    """What the keys of a batch begin with, and the batch."""
    prefix = client.key().decode()
    events = [
        {
            "operation": "call",
            "quantity": 60,
            "idempotency_key": f"{prefix}-{n}",
            "account_id": 1 + n * 7919 % accounts,
        }
        for n in range(EVENTS)
    ]
    return prefix, json.dumps(events).encode()


def timed(client: Client, run: Callable[[], object]) -> Speed:
    """The speed of EVENTS events done by one call."""
    before, start = client.processor_seconds(), time.monotonic()
    run()
    took = time.monotonic() - start
    return Speed(EVENTS / took, (client.processor_seconds() - before) / EVENTS)


def rows_of(owner: psycopg.Connection[tuple[object, ...]], prefix: str) -> bytes:
    """The rows that a batch wrote, as COPY takes them."""
    found = "select t.* from credits.transactions as t where idempotency_key like %s order by account_id, seq"
    rows = owner.execute(found, (f"{prefix}-%",)).fetchall()
    assert len(rows) == EVENTS
    return "".join(
        "\t".join("\\N" if value is None else str(value) for value in row) + "\n" for row in rows
    ).encode()


PARTS = {"use": uses, "hold": holds, "fulfil": fulfilments, "batch": batches}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ledger", description=__doc__)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=0.2, help="of each measurement in a turn")
    parser.add_argument("--accounts", type=int, default=10_000)
    chosen = parser.parse_args()
    purchases = 6_000 if "fulfil" in chosen.only else 0
    settings = {"max_wal_size": "4GB", "checkpoint_timeout": "1h"}
    with tempfile.TemporaryDirectory(prefix="credits-bench-") as folder:
        Path(folder).chmod(0o755)
        with (
            EmbeddedServer.start(Path(folder) / "data", settings=settings) as server,
            ThreadPoolExecutor(MANY) as threads,
        ):
            prepared(server, chosen.accounts, purchases)
            clients = [Client(server) for _ in range(MANY)]
            sessions = [b"cs%d" % n for n in range(purchases, 0, -1)]
            bench = Bench(server, chosen.accounts, chosen.seconds, clients, threads, sessions)
            for turn in range(-1, chosen.turns):  # the first one warms up
                for part in chosen.only:
                    PARTS[part](bench, turn)
                if turn < 0:
                    bench.rows.clear()
            for client in clients:
                client.connection.close()
    print(f"{'':<54} speed  (lowest to highest)  processor")
    for row, ratios in bench.rows.items():
        speeds = [speed for speed, _ in ratios]
        work = statistics.median(work for _, work in ratios)
        print(
            f"{row:<54} {statistics.median(speeds):5.2f}  ({min(speeds):.2f} to {max(speeds):.2f})".ljust(84)
            + ("" if "COPY" in row else f"{work:5.2f}")
        )


if __name__ == "__main__":
    main()
