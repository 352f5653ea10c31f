"""Clients of the measurement: connections that stay, statements prepared once, and the processor time of the server behind each."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.pq import ExecStatus

from credits_core.db.embedded import EmbeddedServer

SERVICE = '{"role":"service_role"}'


class Client:
    """One connection as a program of the service; the server's process is its own."""

    def __init__(self, server: EmbeddedServer) -> None:
        self.connection = psycopg.connect(server.dsn(), autocommit=True)
        self.connection.execute("set role service_role")
        self.connection.execute("select set_config('request.jwt.claims', %s, false)", (SERVICE,))
        self.connection.execute("set statement_timeout = '60s'")
        self._process = Path(f"/proc/{self.connection.info.backend_pid}/schedstat")
        self._name = str(self.connection.info.backend_pid)
        self._prepared: set[bytes] = set()
        self._number = 0

    def key(self) -> bytes:
        """A key nobody used."""
        self._number += 1
        return f"{self._name}-{self._number}".encode()

    def run(self, statement: str, *values: bytes) -> bytes | None:
        """One transaction of one statement, `$1` for each value; answers the first column of its row."""
        name = statement.encode()
        connection = self.connection.pgconn
        short = b"s%d" % hash(name)
        if name not in self._prepared:
            connection.prepare(short, name)
            self._prepared.add(name)
        result = connection.exec_prepared(short, values)
        if result.status != ExecStatus.TUPLES_OK:
            raise RuntimeError(result.error_message.decode())
        return result.get_value(0, 0)

    def processor_seconds(self) -> float:
        """How long the server has worked for this connection."""
        return int(self._process.read_text().split()[0]) / 1e9


@dataclass(frozen=True)
class Speed:
    """Transactions a second, and processor seconds of the server for each."""

    rate: float
    work: float


def measure(
    clients: Sequence[Client], seconds: float, act: Callable[[Client], int], threads: ThreadPoolExecutor
) -> Speed:
    """All clients at once, again and again for so long; `act` answers how many transactions it was."""
    until = time.monotonic() + seconds

    def repeat(client: Client) -> int:
        done = act(client)
        while time.monotonic() < until:
            done += act(client)
        return done

    before = sum(client.processor_seconds() for client in clients)
    start = time.monotonic()
    done = sum(threads.map(repeat, clients))
    took = time.monotonic() - start
    return Speed(done / took, (sum(client.processor_seconds() for client in clients) - before) / done)


def somebody(accounts: int) -> bytes:
    """The number of an account, any."""
    return b"%d" % random.randint(1, accounts)
