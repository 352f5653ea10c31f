"""Programs that act with an API key, for tests: what `person` and `holder` are for people."""

from __future__ import annotations

from dataclasses import dataclass

from credits_core.api_keys import key_hash, new_key
from credits_core.db.port import user_identity
from tests.sql.conftest import Call, Person


@dataclass(frozen=True)
class Program(Person):
    """Somebody's program, signed in with a key of their account."""

    key_id: int
    key: str


def program(service: Call, owner: Person, *scopes: str, **more: object) -> Program:
    """A program of `owner` with a new key of these scopes."""
    key = new_key(livemode=False)
    made = service(
        "create_api_key",
        account_id=owner.account_id,
        name="a program",
        scopes="{" + ",".join(scopes) + "}",
        prefix=key[:14],
        key_hash=key_hash(key),
        **more,
    )
    claims = service("authenticate_api_key", key_hash=key_hash(key))
    return Program(user_identity(claims), owner.account_id, owner.database, made["api_key_id"], key)
