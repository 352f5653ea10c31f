"""The port to the database: call one SQL function of schema `credits`, as somebody.

Every read and every write is one call and one transaction; rules live in the functions, never here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Identity:
    """Who calls: claims of a JWT (`role` is anon, authenticated or service_role) and, for people, the JWT.

    The psycopg transport hands the claims to SQL; the Supabase transport sends the token.
    """

    claims: Mapping[str, object]
    token: str | None = field(default=None, repr=False)

    @property
    def role(self) -> str:
        """The database role the call runs as; claims without one are anonymous."""
        return str(self.claims.get("role") or "anon")


ANONYMOUS = Identity({"role": "anon"})
SERVICE = Identity({"role": "service_role"})


def user_identity(claims: Mapping[str, object], token: str | None = None) -> Identity:
    """The identity of a signed-in person: checked claims of their access token, and the token.

    Always runs as `authenticated`, whatever `role` the claims name: nobody becomes the service by a claim.
    """
    return Identity({**claims, "role": "authenticated"}, token)


class Database(Protocol):
    """What the product needs of a database. Safe to use from many threads."""

    def call(self, function: str, identity: Identity, /, **arguments: object) -> Any:
        """Run `credits.<function>` as `identity` in one transaction and answer its JSON value.

        Argument `x` is passed as `p_x`; None is left out, so that SQL's default applies. Takes str, int,
        bool, Decimal, datetime (with a time zone), UUID, and dict or list (as JSON); a float is a TypeError.
        Raises the CreditsError that belongs to the refusal; DatabaseUnavailable when there is no answer.
        """
        ...

    def close(self) -> None:
        """Give back the connections. The database cannot be used afterwards."""
        ...
