"""A small Supabase on a database of the embedded server: @supabase/lite, with its Data API and its Auth.

Stands in for a project in the tests of the Supabase transport and of sign-in; what it does differently from a
project is written where it is mended (tests/node/supabase_lite.mjs).
"""

from __future__ import annotations

import json
import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from subprocess import PIPE

import psycopg

from credits_core.db.embedded import SUPERUSER, EmbeddedServer
from credits_core.db.migrations import BOOTSTRAP
from tests import node_tools


@dataclass(frozen=True)
class SupabaseLite:
    """A running one: what a project's settings page shows."""

    url: str
    anon_key: str
    service_role_key: str
    jwt_secret: str


@contextmanager
def supabase_lite(server: EmbeddedServer, database: str) -> Iterator[SupabaseLite]:
    """Start it on a free port of 127.0.0.1 for a migrated database; stop it at the end."""
    node_tools.install()
    settings = {
        "anon_key": f"sb_publishable_{secrets.token_hex(16)}",
        "service_role_key": f"sb_secret_{secrets.token_hex(16)}",
        "jwt_secret": secrets.token_hex(32),
    }
    environment = node_tools.environment(
        PGHOST=str(server.socket_dir), PGPORT=str(server.port), PGUSER=SUPERUSER, PGDATABASE=database
    )
    command = [str(node_tools.node()), str(node_tools.FOLDER / "supabase_lite.mjs"), json.dumps(settings)]
    with (
        tempfile.TemporaryFile("w+") as complaints,
        subprocess.Popen(
            command, env=environment, stdin=PIPE, stdout=PIPE, stderr=complaints, text=True
        ) as process,
    ):
        assert process.stdout is not None
        try:
            said = process.stdout.readline()
            complaints.seek(0)
            assert said, f"@supabase/lite did not start: {complaints.read()}"
            _restore_helpers(server.superuser_dsn(database))
            yield SupabaseLite(f"http://127.0.0.1:{json.loads(said)['port']}", **settings)
        finally:
            process.terminate()


def _restore_helpers(superuser_dsn: str) -> None:
    """It replaces auth.uid() and the like by versions that read the old settings only; mend them."""
    with psycopg.connect(superuser_dsn) as connection:
        connection.execute(BOOTSTRAP.read_bytes())
