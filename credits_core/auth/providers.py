"""Identity providers: who checks a password. Supabase Auth, or the demo people of the embedded mode.

IdentityProvider
├── DemoAuth       four people with a public password; refuses to exist beside Supabase or live payments
└── SupabaseAuth   credits_core.db.supabase_auth
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from credits_core.config import Settings
from credits_core.db.port import SERVICE, Database
from credits_core.errors import ConfigError, NotSignedIn

DEMO_PASSWORD = "demo-only"  # noqa: S105 - shown on the sign-in page on purpose


@dataclass(frozen=True)
class SignedIn:
    """What a provider knows after a sign-in: JWT claims, and Supabase's two tokens where there are any."""

    claims: Mapping[str, Any]
    access_token: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)


class IdentityProvider(Protocol):
    def sign_in(self, email: str, password: str) -> SignedIn:
        """Check a password. Raises NotSignedIn (which never says whether the e-mail or the password is wrong),
        or another CreditsError when the check could not be made."""

    def refresh(self, refresh_token: str) -> SignedIn:
        """Fresh tokens for a session. Raises NotSignedIn when the session ended at the provider."""

    def sign_out(self, access_token: str) -> None:
        """End every session of this person at the provider."""

    def close(self) -> None:
        """Give back connections."""


@dataclass(frozen=True)
class DemoPerson:
    email: str
    name: str
    role: str
    does: str


DEMO_PEOPLE = (
    DemoPerson("holder@demo.test", "Demo Holder", "holder", "buys and spends credits"),
    DemoPerson("finance@demo.test", "Demo Finance", "finance", "reads sales and usage"),
    DemoPerson("admin@demo.test", "Demo Admin", "admin", "adjusts accounts"),
    DemoPerson("super@demo.test", "Demo Super Admin", "super_admin", "everything, unlimited"),
)


class DemoAuth:
    """Signs in the demo people. Only for the embedded database, and never beside a live Stripe key."""

    def __init__(self, settings: Settings, db: Database) -> None:
        if not settings.embedded or settings.stripe_live:
            raise ConfigError(
                "Demo people cannot sign in beside Supabase or a live Stripe key; their password is public. "
                "Set SUPABASE_URL and its keys to sign people in with Supabase Auth."
            )
        self._db = db

    def create_people(self) -> None:
        """Make the four people if they are not there yet (every start asks)."""
        for person in DEMO_PEOPLE:
            if self._db.call("user_by_email", SERVICE, email=person.email) is None:
                self._db.call(
                    "create_demo_user",
                    SERVICE,
                    email=person.email,
                    name=person.name,
                    role=person.role,
                    is_demo=True,
                )

    def sign_in(self, email: str, password: str) -> SignedIn:
        known = email.strip().lower() in {person.email for person in DEMO_PEOPLE}
        right = hmac.compare_digest(password.encode(), DEMO_PASSWORD.encode())
        claims = self.claims_of(email) if known and right else None
        if claims is None:
            raise NotSignedIn("Email or password is incorrect.")
        return SignedIn(claims)

    def claims_of(self, email: str) -> dict[str, Any] | None:
        """JWT claims of a person of the embedded database, in Supabase's form; None when there is none."""
        user = self._db.call("user_by_email", SERVICE, email=email.strip().lower())
        if user is None:
            return None
        return {
            "sub": user["user_id"],
            "role": "authenticated",
            "aud": "authenticated",
            "email": user["email"],
            "app_metadata": user.get("app_metadata") or {"role": user["role"]},
            "user_metadata": {"name": user["name"]},
        }

    def refresh(self, refresh_token: str) -> SignedIn:  # noqa: ARG002 - the interface's
        raise NotSignedIn("Sign in again: demo sessions are not renewed.")

    def sign_out(self, access_token: str) -> None:
        """Nothing to do: demo sessions live in our table alone."""

    def close(self) -> None:
        """Nothing to give back."""
