"""Who is here: sign-in, sessions, tokens. Pages ask `current_identity`, the API asks `credits_core.http.caller`."""

from credits_core.auth.person import Person, current_identity

__all__ = ["Person", "current_identity"]
