"""The person behind a page: read from the session cookie on every run, never kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from credits_core.db.port import Identity

ROLES = ("holder", "finance", "admin", "super_admin")


@dataclass(frozen=True)
class Person:
    """Somebody signed in. `role` decides what is shown; what may be done is decided in the database."""

    user_id: str
    email: str
    name: str
    role: str
    identity: Identity


def current_identity(cookies: Mapping[str, str]) -> Person | None:
    """Who these cookies belong to, or None: anonymous, expired, or signed out anywhere.

    One database call; ask on every run and in every fragment, and never store the answer.
    """
    from credits_core.runtime import get_runtime  # here, since the runtime is built from this package

    runtime = get_runtime()
    token = runtime.cookies.session(cookies)
    if token is None:
        return None
    identity = runtime.sessions.identity(token)
    return None if identity is None else person_of(identity)


def person_of(identity: Identity) -> Person:
    """Name, e-mail and role out of the claims; an unknown role is the least one."""
    claims = identity.claims
    email = str(claims.get("email") or "")
    role = str(_part(claims, "app_metadata").get("role") or "holder")
    return Person(
        user_id=str(claims["sub"]),
        email=email,
        name=str(_part(claims, "user_metadata").get("name") or email.split("@")[0]),
        role=role if role in ROLES else "holder",
        identity=identity,
    )


def _part(claims: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = claims.get(name)
    return value if isinstance(value, Mapping) else {}
