"""The owner's connection, for what is not the product's traffic: bootstrap, migrations, demo data."""

from __future__ import annotations

from typing import Any, cast

import psycopg
from psycopg.abc import Query

Connection = psycopg.Connection[tuple[Any, ...]]


def connect(dsn: str, *, autocommit: bool = False) -> Connection:
    """A connection to use with `with`: commits at the end of the block, or takes everything back on an error."""
    return psycopg.connect(dsn, autocommit=autocommit)


def run_script(connection: Connection, text: str) -> None:
    """Run a script of our own, of any number of statements: without parameters it travels as one message."""
    connection.execute(cast(Query, text.encode()))
