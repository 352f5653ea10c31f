"""What a call of the smallest function costs on its way: `python -m tests.bench.transports`.

One embedded server, one connection, everything warm. Microseconds of processor of a call, of the client and of the server's process
behind it: what else the machine does changes waiting times, and these hardly. Contenders take short
turns; the least of each counts.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from credits_core.db.embedded import EmbeddedServer
from credits_core.db.migrations import prepare
from credits_core.db.port import SERVICE
from credits_core.db.psycopg_transport import PsycopgDatabase
from credits_core.db.supabase_transport import SupabaseDatabase
from tests.bench.clients import SERVICE as CLAIMS

TURNS, CALLS = 9, 1_000
IDENTITY = (
    "select set_config('role', %s, true), set_config('request.jwt.claims', %s, true),"
    " set_config('statement_timeout', %s, true)"
)
VALUES = ("service_role", CLAIMS, "60s")
FUNCTION = "select credits.health()"


def separate(connection: psycopg.Connection) -> None:
    """A transaction of separate statements, as one would write it first."""
    with connection.transaction():
        connection.execute(IDENTITY, VALUES)
        connection.execute(FUNCTION).fetchone()


def pipelined(connection: psycopg.Connection) -> None:
    """The same with prepared statements, sent together."""
    with connection.pipeline(), connection.transaction():
        connection.execute(IDENTITY, VALUES, prepare=True)
        connection.execute(FUNCTION, prepare=True).fetchone()


def processor(process: int) -> float:
    """Seconds the server has worked for a connection."""
    return int(Path(f"/proc/{process}/schedstat").read_text().split()[0]) / 1e9


def turn(call: Callable[[], object], process: int | None) -> tuple[float, float]:
    """Microseconds of a call: the client's, the server's."""
    before, client = processor(process) if process else 0.0, time.thread_time()
    for _ in range(CALLS):
        call()
    client = time.thread_time() - client
    server = processor(process) - before if process else 0.0
    return client / CALLS * 1e6, server / CALLS * 1e6


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="credits-bench-") as folder:
        Path(folder).chmod(0o755)
        with EmbeddedServer.start(Path(folder) / "data") as server:
            prepare(server)
            ours = PsycopgDatabase(server.dsn(), max_size=1)
            ours.call("health", SERVICE)
            found = psycopg.connect(server.owner_dsn()).execute(
                "select pid from pg_stat_activity where application_name = 'credits'"
            )
            (row,) = found.fetchall()
            plain = psycopg.connect(server.dsn(), autocommit=True)
            theirs = SupabaseDatabase("http://127.0.0.1:1", "anon", "service")
            contenders: dict[str, tuple[Callable[[], object], int | None]] = {
                "psycopg, one message": (lambda: ours.call("health", SERVICE), row[0]),
                "psycopg, prepared, pipeline": (lambda: pipelined(plain), plain.info.backend_pid),
                "psycopg, separate statements": (lambda: separate(plain), plain.info.backend_pid),
                "supabase-py, a client made": (lambda: theirs._client(SERVICE), None),
            }
            taken: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
            for number in range(TURNS + 1):  # the first one warms up
                for name, (call, process) in contenders.items():
                    took = turn(call, process)
                    if number:
                        taken[name].append(took)
            ours.close()
            plain.close()
    print(f"{'microseconds of processor, a call':<36} client  server    both")
    for name, costs in taken.items():
        client, behind = min(costs, key=sum)
        print(f"{name:<36} {client:6.0f}  {behind:6.0f}  {client + behind:6.0f}")


if __name__ == "__main__":
    main()
