"""Who acts when a program shows its API key.

Every request asks the database, so a revoked key ends at once, on every host; docs/decisions/api-keys.md.
"""

from __future__ import annotations

import time

import jwt

from credits_core import api_keys
from credits_core.auth.tokens import AUDIENCE
from credits_core.config import Settings
from credits_core.db.port import Database, Identity, user_identity
from credits_core.errors import NotAllowed, NotSignedIn

TOKEN_SECONDS = 60


def identity_of_key(db: Database, settings: Settings, key: str) -> Identity:
    """The identity a key acts as: the owner of its account, within its scopes. NotSignedIn with a sentence otherwise."""
    if not api_keys.is_complete(key):
        raise NotSignedIn("This API key is cut off or mistyped; copy it again as a whole.")
    refuse_without_secret(settings)
    claims = api_keys.authenticate(db, key)
    if claims is None:
        raise NotSignedIn("This API key is unknown, expired or revoked; create a new one and use that.")
    return user_identity(claims, token=_token(settings, claims))


def refuse_without_secret(settings: Settings) -> None:
    """NotAllowed where keys cannot work: Supabase's Data API takes an identity only as a token signed by its secret."""
    if settings.mode == "supabase" and settings.supabase_jwt_secret is None:
        raise NotAllowed(
            "API keys cannot be used here yet: ask the administrator to set SUPABASE_JWT_SECRET (the project's JWT "
            "secret), or DATABASE_URL to reach the database directly."
        )


def _token(settings: Settings, claims: dict[str, object]) -> str | None:
    """For the Data API, which reads the claims from a token; a direct connection takes them as they are."""
    if settings.mode != "supabase" or settings.supabase_jwt_secret is None:
        return None
    now = int(time.time())
    stamped = {
        **claims,
        "aud": AUDIENCE,
        "iss": f"{settings.supabase_url}/auth/v1",
        "iat": now,
        "exp": now + TOKEN_SECONDS,
    }
    return jwt.encode(stamped, settings.supabase_jwt_secret, algorithm="HS256")
