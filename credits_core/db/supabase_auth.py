"""Supabase Auth: check a password, renew and end a session. The only place that talks to it.

Its client is imported where it is used: loading it takes time that an embedded start does not have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx
import jwt

from credits_core.auth.providers import SignedIn
from credits_core.errors import CreditsError, DatabaseUnavailable, InvalidRequest, LimitReached, NotSignedIn

if TYPE_CHECKING:
    from supabase_auth import AuthResponse, SyncGoTrueClient

TIMEOUT = httpx.Timeout(15.0, connect=5.0)

_MISMATCH = "Email or password is incorrect."
_SENTENCES: dict[str, tuple[type[CreditsError], str]] = {
    "email_not_confirmed": (NotSignedIn, "Confirm your e-mail address first: open the link we sent you."),
    "user_banned": (NotSignedIn, "This account is blocked; write to us."),
    "user_already_exists": (InvalidRequest, "This e-mail address has an account already; sign in instead."),
    "email_exists": (InvalidRequest, "This e-mail address has an account already; sign in instead."),
    "weak_password": (InvalidRequest, "This password is too easy to guess; choose a longer one."),
    "email_address_invalid": (InvalidRequest, "This is not an e-mail address; check it."),
    "signup_disabled": (InvalidRequest, "New accounts are not open here; ask for an invitation."),
    "over_request_rate_limit": (LimitReached, "Too many attempts; wait a minute and try again."),
    "over_email_send_rate_limit": (LimitReached, "Too many e-mails were sent; wait a while and try again."),
}


class SupabaseAuth:
    """Signs people in at a Supabase project. Keeps nobody's session: each call makes a client of its own."""

    def __init__(self, url: str, anon_key: str) -> None:
        self._url = f"{url.rstrip('/')}/auth/v1"
        self._headers = {"apikey": anon_key, "Authorization": f"Bearer {anon_key}"}
        self._connections = httpx.Client(timeout=TIMEOUT, transport=httpx.HTTPTransport(retries=1))

    def sign_in(self, email: str, password: str) -> SignedIn:
        """Check a password. NotSignedIn does not tell which of the two was wrong."""
        return _signed_in(
            self._ask(lambda auth: auth.sign_in_with_password({"email": email, "password": password}))
        )

    def sign_up(self, email: str, password: str, name: str) -> SignedIn | None:
        """A new person; None where the project wants the e-mail address confirmed first."""
        answer = self._ask(
            lambda auth: auth.sign_up(
                {"email": email, "password": password, "options": {"data": {"name": name}}}
            )
        )
        return _signed_in(answer) if answer.session else None

    def refresh(self, refresh_token: str) -> SignedIn:
        """New tokens for a session; the old refresh token is used up. NotSignedIn when it was ended."""
        try:
            return _signed_in(self._ask(lambda auth: auth.refresh_session(refresh_token)))
        except NotSignedIn as error:
            raise NotSignedIn("Your sign-in has ended; sign in again.") from error

    def sign_out(self, access_token: str) -> None:
        """End every session of the person. A session that has ended already is no error."""
        try:
            self._ask(lambda auth: auth.admin.sign_out(access_token, "global"))
        except NotSignedIn:
            return

    def close(self) -> None:
        """Give back the connections."""
        self._connections.close()

    def _ask(self, question: Callable[[SyncGoTrueClient], Any]) -> Any:
        from supabase_auth import SyncGoTrueClient
        from supabase_auth.errors import AuthError

        client = SyncGoTrueClient(
            url=self._url,
            headers=self._headers,
            auto_refresh_token=False,
            persist_session=False,
            http_client=self._connections,
        )
        try:
            return question(client)
        except AuthError as error:
            raise _refusal(error) from error


def _signed_in(answer: AuthResponse) -> SignedIn:
    if answer.session is None:
        raise NotSignedIn(_MISMATCH)
    access_token = answer.session.access_token
    # Came from Supabase itself a moment ago; requests that bring a token back have it checked.
    claims = jwt.decode(access_token, options={"verify_signature": False})
    return SignedIn(claims, access_token, answer.session.refresh_token)


def _refusal(error: Any) -> CreditsError:
    """The product's error for one of Supabase Auth (AuthError: `code`, and mostly `status`)."""
    status = getattr(error, "status", None) or 500
    if known := _SENTENCES.get(error.code or ""):
        return known[0](known[1])
    if status == 429:
        return LimitReached("Too many attempts; wait a minute and try again.")
    if 400 <= status < 500:
        return NotSignedIn(_MISMATCH)
    return DatabaseUnavailable("Signing in is not possible right now; try again in a moment.")
