"""The transport over PostgreSQL's own protocol: embedded server, or `DATABASE_URL` (Supabase's pooler).

Does for each transaction what PostgREST does: take the caller's role and claims, then run one function. Role,
claims, time limit, function and commit travel together (pipeline mode), so a call costs one round trip.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from functools import lru_cache
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from credits_core.db.arguments import check_name, json_text, text_arguments
from credits_core.db.failures import CONNECTION_LOST, LOST_RACE, refusal, unavailable
from credits_core.db.port import Identity

# As Supabase sets them for its API roles; the service also runs jobs over all accounts.
STATEMENT_TIMEOUT = {"anon": "3s", "authenticated": "8s", "service_role": "60s"}

_BECOME: LiteralString = (
    "select set_config('role', %s, true), set_config('request.jwt.claims', %s, true),"
    " set_config('statement_timeout', %s, true)"
)


class PsycopgDatabase:
    """The database port over a pool of connections; `dsn` names a login role that may become the API roles.

    `prepare=False` is for poolers in transaction mode, which cannot keep prepared statements.
    """

    def __init__(
        self,
        dsn: str,
        *,
        min_size: int = 1,
        max_size: int = 16,
        prepare: bool = True,
        wait_seconds: float = 5.0,
    ) -> None:
        self._pool: ConnectionPool[psycopg.Connection[tuple[Any, ...]]] = ConnectionPool(
            dsn,
            min_size=min_size,
            max_size=max_size,
            timeout=wait_seconds,
            reconnect_timeout=wait_seconds,
            check=_refuse_dead,
            kwargs={
                "autocommit": True,
                "prepare_threshold": 0 if prepare else None,
                "application_name": "credits",
                "connect_timeout": 10,
            },
            open=True,
            name="credits",
        )

    def call(self, function: str, identity: Identity, /, **arguments: object) -> Any:
        """See `Database.call`."""
        texts = text_arguments(arguments)
        statement = _statement(function, tuple(texts))
        become = (identity.role, json_text(dict(identity.claims)), _time_limit(identity.role))
        return _once_more(lambda: self._run(become, statement, tuple(texts.values())))

    def close(self) -> None:
        """See `Database.close`."""
        self._pool.close()

    def _run(self, become: tuple[str, str, str], statement: sql.Composed, values: tuple[str, ...]) -> Any:
        # In autocommit all of a pipeline up to its sync is one transaction: no BEGIN, no COMMIT to wait for.
        with self._pool.connection() as connection:
            with connection.pipeline():
                connection.execute(_BECOME, become)
                answer = connection.execute(statement, values)
            row = answer.fetchone()
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
def _statement(function: str, names: tuple[str, ...]) -> sql.Composed:
    """The same text for the same function and arguments, so that the server plans it once a connection.

    Values are sent as text of no stated type: PostgreSQL reads them for the parameter they belong to.
    """
    arguments = sql.SQL(", ").join(
        sql.SQL("{} => {}").format(sql.Identifier(name), sql.Placeholder()) for name in names
    )
    return sql.SQL("select credits.{}({})").format(sql.Identifier(check_name(function)), arguments)


def _time_limit(role: str) -> str:
    return STATEMENT_TIMEOUT.get(role, STATEMENT_TIMEOUT["anon"])


def _refuse_dead(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    """An idle connection has nothing to say: if it can be read, the server closed it. Costs no round trip."""
    if not connection.closed:
        socket = select.poll()
        socket.register(connection.fileno(), select.POLLIN)
        if not socket.poll(0):
            return
        connection.close()
    raise psycopg.OperationalError("the server closed the connection")
