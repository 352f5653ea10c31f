"""The transport over HTTPS: supabase-py against a project's PostgREST, which must expose schema `credits`.

One client belongs to one call: a supabase client *is* the last person who used it, so it is never shared.
Only the connections below it are; making a client costs less than a tenth of a millisecond.

supabase-py is imported where it is used: loading it takes half a second that an embedded start does not have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from credits_core.db.arguments import check_name, json_arguments
from credits_core.db.failures import LOST_RACE, refusal, unavailable
from credits_core.db.port import Identity
from credits_core.errors import NotSignedIn

if TYPE_CHECKING:
    from supabase import Client

TIMEOUT = httpx.Timeout(70.0, connect=5.0)  # longer than the longest statement_timeout: SQL gives up first
LIMITS = httpx.Limits(max_connections=64, max_keepalive_connections=32, keepalive_expiry=30.0)


class SupabaseDatabase:
    """The port over a Supabase project: its URL, its anon (publishable) and service role (secret) keys."""

    def __init__(self, url: str, anon_key: str, service_role_key: str) -> None:
        self._url = url
        self._anon_key = anon_key
        self._service_role_key = service_role_key
        # Connecting is tried again (nothing was sent yet); a request never is.
        self._connections = httpx.Client(
            timeout=TIMEOUT, transport=httpx.HTTPTransport(retries=1, limits=LIMITS, http2=False)
        )

    def call(self, function: str, identity: Identity, /, **arguments: object) -> Any:
        """See `Database.call`. NotSignedIn for a person without an access token."""
        from supabase import PostgrestAPIError

        values = json_arguments(arguments)
        for attempt in (1, 2):
            try:
                return self._client(identity).rpc(check_name(function), values).execute().data
            except PostgrestAPIError as error:
                if attempt == 1 and error.code in LOST_RACE:
                    continue
                raise refusal(error.code or "", error.message or "", error.details) from error
            except httpx.HTTPError as error:
                raise unavailable() from error
        raise AssertionError("unreachable: the second attempt returns or raises")

    def close(self) -> None:
        """See `Database.close`."""
        self._connections.close()

    def _client(self, identity: Identity) -> Client:
        from supabase import Client, ClientOptions

        key, token = self._credentials(identity)
        options = ClientOptions(
            schema="credits",
            headers={"Authorization": f"Bearer {token}"},
            auto_refresh_token=False,
            persist_session=False,
            postgrest_client_retry=False,
            httpx_client=self._connections,
        )
        return Client(self._url, key, options)

    def _credentials(self, identity: Identity) -> tuple[str, str]:
        """The project's key and the bearer token to send. The service key is sent for the service alone."""
        if identity.role == "service_role":
            return self._service_role_key, self._service_role_key
        if identity.role != "authenticated":
            return self._anon_key, self._anon_key
        if not identity.token:
            raise NotSignedIn("Your sign-in has expired; sign in again.")
        return self._anon_key, identity.token
