"""Sign-in sessions: a random token in a cookie, its sha256 in the database, Supabase's tokens encrypted beside it.

A session is read from the database on every run of a page: a sign-out counts at once, on every host.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from credits_core.auth.providers import IdentityProvider, SignedIn
from credits_core.db.port import SERVICE, Database, Identity, user_identity
from credits_core.errors import NotSignedIn

SESSION_SECONDS = 7 * 24 * 3600
RENEW_BEFORE_SECONDS = 90


class Sessions:
    """Makes, reads, renews and ends sessions. Safe to use from any thread."""

    def __init__(self, db: Database, provider: IdentityProvider, cookie_secret: str) -> None:
        self._db = db
        self._provider = provider
        self._fernet = Fernet(_derive_key(cookie_secret))
        self._renewal = threading.Lock()

    def create(self, signed_in: SignedIn) -> str:
        """A new session; answers the token for the cookie (43 characters, never stored)."""
        token = secrets.token_urlsafe(32)
        self._db.call(
            "create_session",
            SERVICE,
            token_hash=_hash(token),
            user_id=signed_in.claims["sub"],
            claims=dict(signed_in.claims),
            refresh_token_encrypted=self._seal(signed_in),
            expires_at=datetime.now(UTC) + timedelta(seconds=SESSION_SECONDS),
        )
        return token

    def identity(self, token: str) -> Identity | None:
        """Whose session this is, or None when it is unknown, expired or ended."""
        row = self._read(token)
        if row is None:
            return None
        if _runs_out(row["claims"]):
            row = self._renew(token)
            if row is None:
                return None
        access_token, _ = self._unseal(row)
        return user_identity(row["claims"], token=access_token)

    def end(self, token: str, *, everywhere: bool) -> None:
        """End this session, or all sessions of its person."""
        row = self._read(token)
        if row is None:
            return
        access_token, _ = self._unseal(row)
        self._db.call("revoke_session", SERVICE, token_hash=_hash(token), everywhere=everywhere)
        if everywhere and access_token is not None:
            self._provider.sign_out(access_token)

    def _read(self, token: str) -> dict[str, Any] | None:
        row: dict[str, Any] | None = self._db.call("session", SERVICE, token_hash=_hash(token))
        return row

    def _renew(self, token: str) -> dict[str, Any] | None:
        # One renewal at a time: Supabase takes a refresh token once, and a page may run many fragments together.
        with self._renewal:
            row = self._read(token)
            if row is None or not _runs_out(row["claims"]):
                return row
            _, refresh_token = self._unseal(row)
            try:
                fresh = self._provider.refresh(refresh_token or "")
            except NotSignedIn:
                self._db.call("revoke_session", SERVICE, token_hash=_hash(token), everywhere=False)
                return None
            self._db.call(
                "update_session",
                SERVICE,
                token_hash=_hash(token),
                claims=dict(fresh.claims),
                refresh_token_encrypted=self._seal(fresh),
                expires_at=datetime.now(UTC) + timedelta(seconds=SESSION_SECONDS),
            )
            return self._read(token)

    def _seal(self, signed_in: SignedIn) -> str | None:
        if signed_in.refresh_token is None:
            return None
        pair = json.dumps([signed_in.access_token, signed_in.refresh_token])
        return self._fernet.encrypt(pair.encode()).decode()

    def _unseal(self, row: Mapping[str, Any]) -> tuple[str | None, str | None]:
        sealed = row.get("refresh_token_encrypted")
        if not sealed:
            return None, None
        try:
            access_token, refresh_token = json.loads(self._fernet.decrypt(sealed.encode()))
        except InvalidToken:  # COOKIE_SECRET changed: the session can no longer be renewed
            return None, None
        return access_token, refresh_token


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _runs_out(claims: Mapping[str, Any]) -> bool:
    expires = claims.get("exp")
    return expires is not None and float(expires) < time.time() + RENEW_BEFORE_SECONDS


def _derive_key(cookie_secret: str) -> bytes:
    kdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"prepaid-credits session tokens")
    return base64.urlsafe_b64encode(kdf.derive(cookie_secret.encode()))
