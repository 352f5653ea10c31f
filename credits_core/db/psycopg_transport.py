"""The transport over PostgreSQL's own protocol: embedded server, or `DATABASE_URL` (Supabase's pooler).

Does for each transaction what PostgREST does: take the caller's role and claims, then run one function. Role,
claims, time limit and function travel as one message, which PostgreSQL runs as one transaction: a call costs one
round trip, and half of what prepared statements in pipeline mode cost (docs/decisions/two-transports.md).
"""

from __future__ import annotations

import select
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import psycopg
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from credits_core.db.arguments import check_name, json_text, text_arguments
from credits_core.db.failures import CONNECTION_LOST, LOST_RACE, refusal, unavailable
from credits_core.db.port import Identity

# As Supabase sets them for its API roles; the service also runs jobs over all accounts.
STATEMENT_TIMEOUT = {"anon": "3s", "authenticated": "8s", "service_role": "60s"}


class PsycopgDatabase:
    """The database port over a pool of connections; `dsn` names a login role that may become the API roles."""

    def __init__(self, dsn: str, *, min_size: int = 1, max_size: int = 16, wait_seconds: float = 5.0) -> None:
        self._pool: ConnectionPool[psycopg.Connection[tuple[Any, ...]]] = ConnectionPool(
            dsn,
            min_size=min_size,
            max_size=max_size,
            timeout=wait_seconds,
            reconnect_timeout=wait_seconds,
            check=_refuse_dead,
            kwargs={
                "autocommit": True,
                "cursor_factory": psycopg.ClientCursor,
                "application_name": "credits",
                "connect_timeout": 10,
            },
            open=True,
            name="credits",
        )

    def call(self, function: str, identity: Identity, /, **arguments: object) -> Any:
        """See `Database.call`."""
        texts = text_arguments(arguments)
        message = _message(function, tuple(texts))
        limit = STATEMENT_TIMEOUT.get(identity.role, STATEMENT_TIMEOUT["anon"])
        values = (identity.role, json_text(dict(identity.claims)), limit, *texts.values())
        return _once_more(lambda: self._run(message, values))

    def close(self) -> None:
        """See `Database.close`."""
        self._pool.close()

    def _run(self, message: bytes, values: tuple[str, ...]) -> Any:
        with self._pool.connection() as connection:
            cursor = connection.execute(message, values)
            cursor.nextset()
            row = cursor.fetchone()
            return row[0] if row else None


def _once_more(run: Callable[[], Any]) -> Any:
    """`run`, again when its transaction lost against another one; psycopg's errors as the product's."""
    for attempt in (1, 2):
        try:
            return run()
        except (PoolTimeout, PoolClosed) as error:
            raise unavailable() from error
        except psycopg.Error as error:
            if attempt == 1 and error.sqlstate in LOST_RACE:
                continue
            lost = CONNECTION_LOST if isinstance(error, psycopg.OperationalError) else ""
            said = error.diag
            raise refusal(error.sqlstate or lost, said.message_primary or "", said.message_detail) from error
    raise AssertionError("unreachable: the second attempt returns or raises")


@lru_cache(maxsize=512)
def _message(function: str, names: tuple[str, ...]) -> bytes:
    """The message of a call, with a placeholder for each value: names come from the program and are checked.

    Values become quoted literals of no stated type: PostgreSQL reads each for the parameter it belongs to.
    """
    arguments = ", ".join(f"{name} => %s" for name in names)
    return (
        "select set_config('role', %s, true), set_config('request.jwt.claims', %s, true),"
        f" set_config('statement_timeout', %s, true); select credits.{check_name(function)}({arguments})"
    ).encode()


def _refuse_dead(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    """An idle connection has nothing to say: if it can be read, the server closed it. Costs no round trip."""
    if not connection.closed:
        socket = select.poll()
        socket.register(connection.fileno(), select.POLLIN)
        if not socket.poll(0):
            return
        connection.close()
    raise psycopg.OperationalError("the server closed the connection")
