"""Who calls the API: a bearer (a person's JWT, a program's API key or the service key), or the session cookie of a page.

Resolving a caller can take a database call or a look at Supabase's keys, so it happens in the route's own thread,
at the first use, and not in the event loop.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, overload

from fastapi import Depends, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import Request

from credits_core import accounts, api_keys
from credits_core.auth.cookies import local_base_url, same_origin
from credits_core.auth.key_identity import identity_of_key
from credits_core.db.port import ANONYMOUS, Database, Identity
from credits_core.errors import NotAllowed, NotSignedIn
from credits_core.runtime import Runtime, get_runtime

_bearer = HTTPBearer(
    auto_error=False,
    bearerFormat="JWT",
    description="A person's access token, or a program's API key (`ck_...`, see API keys) or service key. In embedded mode, "
    "`python -m credits_core token --email holder@demo.test` prints one.",
)


class Caller:
    """The caller of one request."""

    def __init__(self, request: Request, bearer: str | None) -> None:
        self._request = request
        self._bearer = bearer
        self.runtime: Runtime = get_runtime()

    @cached_property
    def identity(self) -> Identity:
        """Raises NotSignedIn, or NotAllowed for a write that another site made a browser send."""
        if self._bearer is not None:
            if api_keys.is_key(self._bearer):
                return identity_of_key(self.db, self.runtime.settings, self._bearer)
            return self.runtime.tokens.identity(self._bearer)
        cookie = self.runtime.cookies.session(self._request.cookies)
        if cookie is None:
            raise NotSignedIn("Sign in first: send the header Authorization: Bearer <token>.")
        if self._request.method not in ("GET", "HEAD") and not same_origin(
            self._request.headers, self.runtime.settings
        ):
            raise NotAllowed(
                "A browser session may write only from pages of this app; use a bearer token instead."
            )
        identity = self.runtime.sessions.identity(cookie)
        if identity is None:
            raise NotSignedIn("Your session has ended; sign in again.")
        return identity

    @property
    def base_url(self) -> str:
        """Where to send this caller's browser back to after Stripe."""
        return local_base_url(self._request.headers, self.runtime.settings)

    @property
    def db(self) -> Database:
        return self.runtime.db

    @property
    def identity_or_nobody(self) -> Identity:
        """For what anybody may read: the caller where one is named, else nobody."""
        named = self._bearer is not None or self.runtime.cookies.session(self._request.cookies) is not None
        return self.identity if named else ANONYMOUS

    @overload
    def account_id(self, named: str) -> int: ...
    @overload
    def account_id(self, named: None) -> None: ...
    @overload
    def account_id(self, named: str | None) -> int | None: ...
    def account_id(self, named: str | None) -> int | None:
        """The number of the account a request names (number, e-mail or user id), None for the caller's own.

        Whether this caller may act for it is decided by the SQL function that is called next.
        """
        if named is None:
            return None
        text = named.strip()
        if text.isascii() and text.isdigit() and len(text) < 19:
            return int(text)
        return int(accounts.find_account(self.db, self.identity, text)["account_id"])


async def _caller(
    request: Request, bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
) -> Caller:
    return Caller(request, bearer.credentials if bearer else None)


Called = Annotated[Caller, Depends(_caller)]
