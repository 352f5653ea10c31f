"""API keys of programs. A key is shown once; the database has its sha256. Rules: supabase/migrations/*_api_keys.sql.

A key is `ck_live_` or `ck_test_`, 32 random bytes in base 62 (43 characters) and the CRC-32 of all that in base 62 (6):
a key that was cut or mistyped is told apart from a wrong one without a look into the database.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from credits_core.db.port import SERVICE, Database, Identity

Answer = dict[str, Any]
Scope = Literal["read", "use", "hold", "purchase", "admin"]

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM_LENGTH, _CHECK_LENGTH, _SHOWN = 43, 6, 14
_FORM = re.compile(rf"ck_(?:live|test)_[0-9A-Za-z]{{{_RANDOM_LENGTH + _CHECK_LENGTH}}}", re.ASCII)


def new_key(*, livemode: bool) -> str:
    """A new random key."""
    start = "ck_live_" if livemode else "ck_test_"
    body = start + _base62(int.from_bytes(secrets.token_bytes(32)), _RANDOM_LENGTH)
    return body + _checksum(body)


def is_key(text: str) -> bool:
    """Whether a bearer text means to be an API key (and no token)."""
    return text.startswith(("ck_live_", "ck_test_"))


def is_complete(key: str) -> bool:
    """Whether a key is whole and without a slip: right length, right letters, right checksum."""
    return bool(_FORM.fullmatch(key)) and key[-_CHECK_LENGTH:] == _checksum(key[:-_CHECK_LENGTH])


def key_hash(key: str) -> str:
    """What is stored and looked up. No salt: 256 random bits cannot be guessed."""
    return hashlib.sha256(key.encode()).hexdigest()


def create_api_key(
    db: Database,
    identity: Identity,
    name: str,
    scopes: Sequence[Scope],
    *,
    livemode: bool,
    expires_at: datetime | None = None,
    account_id: int | None = None,
    idempotency_key: str | None = None,
) -> Answer:
    """Make a key: api_key_id, name, prefix, scopes, status, and `key`, which is nowhere else and never shown again.

    The same idempotency key again answers as then, with `key` None. NotAllowed for the scope admin unless an
    administrator asks, LimitReached at 100 keys."""
    key = new_key(livemode=livemode)
    made: Answer = db.call(
        "create_api_key",
        identity,
        name=name,
        scopes="{"
        + ",".join(scopes)
        + "}",  # PostgreSQL's own text of an array, which both transports pass on
        prefix=key[:_SHOWN],
        key_hash=key_hash(key),
        expires_at=expires_at,
        account_id=account_id,
        idempotency_key=idempotency_key,
    )
    return {**made, "key": None if made["replayed"] else key}


def api_keys(db: Database, identity: Identity, *, account_id: int | None = None) -> Answer:
    """All keys of an account, newest first, without the keys themselves: items."""
    answer: Answer = db.call("api_keys", identity, account_id=account_id)
    return answer


def revoke_api_key(db: Database, identity: Identity, api_key_id: int) -> Answer:
    """End a key from this moment on; again: the same answer. NotFound for other people's."""
    answer: Answer = db.call("revoke_api_key", identity, api_key_id=api_key_id)
    return answer


def authenticate(db: Database, key: str) -> dict[str, Any] | None:
    """The claims a key acts with; None when it is unknown, expired or revoked."""
    claims: dict[str, Any] | None = db.call("authenticate_api_key", SERVICE, key_hash=key_hash(key))
    return claims


def _checksum(text: str) -> str:
    return _base62(zlib.crc32(text.encode()), _CHECK_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
