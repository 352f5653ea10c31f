"""The simulator's state: one SQLite file, so that a kill of the program loses nothing that was answered.

Every object is stored as the JSON that the API would answer (ids, not expanded). What Stripe knows but does
not show (a card that awaits 3-D Secure, the parent of a line item) is in a second, private JSON beside it.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import string
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Obj = dict[str, Any]

_ALPHABET = string.ascii_letters + string.digits
_SCHEMA = """
create table if not exists objects (
  seq integer primary key, id text not null unique, kind text not null, created integer not null,
  body text not null, private text not null default '{}');
create index if not exists objects_kind on objects (kind, seq);
create index if not exists objects_payment_intent on objects (kind, json_extract(body, '$.payment_intent'));
create table if not exists timers (at integer not null, action text not null, object text not null);
create table if not exists idempotency (
  key text primary key, fingerprint text not null, status integer not null, body text not null);
create table if not exists deliveries (
  id integer primary key, event text not null, position real not null, not_before integer not null,
  attempts integer not null default 0, status text not null default 'pending', http_status integer);
create index if not exists deliveries_pending on deliveries (status, position);
create table if not exists settings (name text primary key, value text not null);
"""


def new_id(prefix: str, length: int = 24) -> str:
    """A Stripe-like id: the prefix and random letters and digits."""
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(length))


def merged(obj: Obj, params: Mapping[str, Any]) -> Obj:
    """The changes that parameters ask of an object, as Stripe does: an empty text unsets, metadata is merged."""
    changes = {name: (None if value == "" else value) for name, value in params.items() if name != "expand"}
    if "metadata" in changes:
        kept = obj["metadata"] | changes["metadata"] if changes["metadata"] else {}
        changes["metadata"] = {name: text for name, text in kept.items() if text != ""}
    return changes


class Store:
    """Objects, settings and the clock. All access is inside `transaction()`, which excludes other threads and
    other processes on the same file; nested use joins the outer transaction."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._depth = 0
        self._moment: int | None = None
        self.db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=20)
        self.db.executescript("pragma journal_mode=wal; pragma synchronous=normal;" + _SCHEMA)

    def close(self) -> None:
        """Close the file; the store cannot be used afterwards."""
        with self._lock:
            self.db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside happens, or nothing does when an exception leaves the block."""
        with self._lock:
            if self._depth == 0:
                self.db.execute("begin immediate")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._depth -= 1
                if self._depth == 0:
                    self.db.execute("rollback")
                raise
            self._depth -= 1
            if self._depth == 0:
                self.db.execute("commit")

    # settings and clock

    def setting(self, name: str, default: Any = None) -> Any:
        """A JSON value kept under a name, or the default."""
        with self._lock:
            row = self.db.execute("select value from settings where name = ?", (name,)).fetchone()
        return json.loads(row[0]) if row else default

    def set_setting(self, name: str, value: Any) -> None:
        """Keep a JSON value under a name."""
        with self.transaction():
            self.db.execute(
                "insert into settings values (?, ?) on conflict (name) do update set value = excluded.value",
                (name, json.dumps(value)),
            )

    def now(self) -> int:
        """Seconds since 1970 on the simulator's clock: real time plus what the control plane advanced. While
        something that fell due is done late, the moment it was due."""
        with self._lock:
            if self._moment is not None:
                return self._moment
            return int(time.time()) + int(self.setting("clock_offset_seconds", 0))

    @contextmanager
    def at(self, moment: int) -> Iterator[None]:
        """Let `now` be that moment; other threads wait meanwhile."""
        with self._lock:
            self._moment = moment
            try:
                yield
            finally:
                self._moment = None

    def next_due(self) -> tuple[int, str, str] | None:
        """Take the timer that is due first: moment, action, object; None when none is due."""
        row = self.db.execute(
            "delete from timers where rowid = (select rowid from timers where at <= ? order by at, rowid limit 1)"
            " returning at, action, object",
            (self.now(),),
        ).fetchone()
        return None if row is None else (int(row[0]), str(row[1]), str(row[2]))

    # objects

    def add(self, body: Obj, private: Mapping[str, Any] | None = None) -> Obj:
        """Store a new object under its `id` and `object`; its parts beyond the API go to `private`."""
        self.db.execute(
            "insert into objects (id, kind, created, body, private) values (?, ?, ?, ?, ?)",
            (
                body["id"],
                body["object"],
                body.get("created", 0),
                json.dumps(body),
                json.dumps(dict(private or {})),
            ),
        )
        return body

    def save(self, body: Obj) -> Obj:
        """Store a changed object."""
        self.db.execute("update objects set body = ? where id = ?", (json.dumps(body), body["id"]))
        return body

    def get(self, kind: str, object_id: object) -> Obj | None:
        """The object of that kind and id, or None."""
        row = self.db.execute(
            "select body from objects where id = ? and kind = ?", (object_id, kind)
        ).fetchone()
        return json.loads(row[0]) if row else None

    def any(self, object_id: str) -> Obj | None:
        """The object with that id, of whatever kind, or None."""
        row = self.db.execute("select body from objects where id = ?", (object_id,)).fetchone()
        return json.loads(row[0]) if row else None

    def private(self, object_id: str) -> Obj:
        """What is known of an object beyond what the API shows."""
        row = self.db.execute("select private from objects where id = ?", (object_id,)).fetchone()
        return json.loads(row[0]) if row else {}

    def set_private(self, object_id: str, **values: Any) -> None:
        """Merge values into an object's private part."""
        self.db.execute(
            "update objects set private = ? where id = ?",
            (json.dumps(self.private(object_id) | values), object_id),
        )

    def find(self, kind: str, where: Mapping[str, Any], *, parent: str | None = None) -> list[Obj]:
        """All objects of a kind whose top-level fields equal `where`, newest first."""
        return list(self.page(kind, where, parent=parent, limit=-1)[0])

    def page(
        self,
        kind: str,
        where: Mapping[str, Any],
        *,
        limit: int,
        parent: str | None = None,
        after: str | None = None,
        before: str | None = None,
        created: Mapping[str, int] | None = None,
    ) -> tuple[list[Obj], bool]:
        """One page, newest first, and whether there are more. `where` values may be lists (any of them)."""
        clauses: list[str] = ["kind = ?"]
        values: list[Any] = [kind]
        for name, value in where.items():
            options = value if isinstance(value, list) else [value]
            clauses.append(f"json_extract(body, '$.{name}') in ({', '.join('?' * len(options))})")
            values += options
        if parent is not None:
            clauses.append("json_extract(private, '$.parent') = ?")
            values.append(parent)
        for name, bound in (created or {}).items():
            clauses.append(f"created {_COMPARE[name]} ?")
            values.append(bound)
        for cursor, sign in ((after, "<"), (before, ">")):
            if cursor is not None:
                clauses.append(f"seq {sign} (select seq from objects where id = ?)")  # noqa: S608
                values.append(cursor)
        order = "asc" if before is not None else "desc"
        # Names come from the endpoints' own tables; values are always bound.
        text = f"select body from objects where {' and '.join(clauses)} order by seq {order} limit ?"  # noqa: S608
        rows = self.db.execute(text, (*values, limit + 1 if limit >= 0 else -1)).fetchall()
        more = 0 <= limit < len(rows)
        found = [json.loads(row[0]) for row in (rows[:limit] if more else rows)]
        return (found[::-1] if before is not None else found), more


_COMPARE = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
