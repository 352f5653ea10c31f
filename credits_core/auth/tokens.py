"""JSON Web Tokens: Supabase's are verified; the embedded mode signs its own with a secret of this machine."""

from __future__ import annotations

import hmac
import time
from collections.abc import Mapping
from typing import Any, Protocol

import jwt

from credits_core.config import Settings
from credits_core.db.port import SERVICE, Identity, user_identity
from credits_core.errors import NotSignedIn
from credits_core.local_secrets import local_secret

AUDIENCE = "authenticated"
TOKEN_SECONDS = 24 * 3600
CLOCK_LEEWAY_SECONDS = 10
MAX_TOKEN_LENGTH = 8192


class Tokens(Protocol):
    def identity(self, token: str) -> Identity:
        """The caller a bearer token proves. Raises NotSignedIn with a sentence that says what is wrong."""


class _Keys(Protocol):
    @property
    def algorithms(self) -> tuple[str, ...]: ...

    def key_of(self, token: str) -> Any: ...


class _SharedSecret:
    algorithms = ("HS256",)

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def key_of(self, token: str) -> str:  # noqa: ARG002 - one key for every token
        return self._secret


class _KeySet:
    """Supabase's public keys, fetched once and kept for five minutes."""

    algorithms = ("ES256", "RS256", "EdDSA")

    def __init__(self, url: str) -> None:
        self._client = jwt.PyJWKClient(url, cache_keys=True, lifespan=300, timeout=5)

    def key_of(self, token: str) -> Any:
        return self._client.get_signing_key_from_jwt(token).key


class VerifiedTokens:
    """Verifies signature, expiry, issuer and audience; only fixed algorithms, so never `none`."""

    def __init__(self, keys: _Keys, issuer: str, service_key: str | None = None) -> None:
        self._keys = keys
        self._issuer = issuer
        self._service_key = service_key

    def identity(self, token: str) -> Identity:
        # The service key itself may be opaque (sb_secret_...) or signed by a key that is not published.
        if self._service_key and hmac.compare_digest(token.encode(), self._service_key.encode()):
            return SERVICE
        claims = self.claims(token)
        match claims.get("role"):
            case "service_role" if claims.get("iss") in (self._issuer, "supabase"):
                return SERVICE
            case "authenticated":
                if claims.get("iss") != self._issuer or AUDIENCE not in _as_list(claims.get("aud")):
                    raise NotSignedIn(
                        "This token was made for another service; get one from this app's sign-in."
                    )
                return user_identity(claims, token=token)
        raise NotSignedIn("This token names no person and no program; get one by signing in.")

    def claims(self, token: str) -> dict[str, Any]:
        if len(token) > MAX_TOKEN_LENGTH:
            raise NotSignedIn("This token is too long to be one of ours; sign in again.")
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._keys.key_of(token),
                algorithms=list(self._keys.algorithms),
                leeway=CLOCK_LEEWAY_SECONDS,
                options={"require": ["exp"], "verify_aud": False},
            )
        except jwt.ExpiredSignatureError:
            raise NotSignedIn("This token has expired; sign in again to get a new one.") from None
        except jwt.PyJWKClientConnectionError:
            raise NotSignedIn("The token could not be checked just now; try again in a moment.") from None
        except (jwt.PyJWTError, ValueError):
            raise NotSignedIn("This token is not valid; sign in again to get a new one.") from None
        return claims


class LocalTokens(VerifiedTokens):
    """Tokens of the embedded mode: HS256 with a secret under DATA_DIR."""

    def __init__(self, settings: Settings) -> None:
        self._secret = local_secret(settings.data_dir, "jwt")
        super().__init__(_SharedSecret(self._secret), issuer="prepaid-credits/embedded")

    def issue(self, claims: Mapping[str, Any], *, seconds: int = TOKEN_SECONDS) -> str:
        """A signed token with these claims that expires after `seconds`."""
        now = int(time.time())
        return jwt.encode({**claims, "iss": self._issuer, "iat": now, "exp": now + seconds}, self._secret)


def make_tokens(settings: Settings) -> VerifiedTokens:
    """The verifier for this mode."""
    if settings.embedded:
        return LocalTokens(settings)
    keys: _Keys = (
        _SharedSecret(settings.supabase_jwt_secret)
        if settings.supabase_jwt_secret
        else _KeySet(f"{settings.supabase_url}/auth/v1/.well-known/jwks.json")
    )
    return VerifiedTokens(keys, f"{settings.supabase_url}/auth/v1", settings.supabase_service_role_key)


def _as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]
