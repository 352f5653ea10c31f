"""What went wrong in the database, as the product's own errors; the same for both transports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from credits_core.errors import CreditsError, DatabaseUnavailable, NotSignedIn, from_sqlstate

CONNECTION_LOST: Final = "08006"
# Serialization failure and deadlock: nothing of the transaction was kept, it may run again.
LOST_RACE: Final = frozenset({"40001", "40P01"})

_UNAVAILABLE_CLASSES = ("08", "53", "57", "58", "40", "55", "PGRST00")
_EXPIRED_SIGN_IN = ("PGRST301", "PGRST303", "invalid_token", "bad_jwt")


def unavailable() -> DatabaseUnavailable:
    """The error for no answer, whatever the reason."""
    return DatabaseUnavailable("The database does not answer; try again in a moment.")


def refusal(code: str, message: str, detail: str | Mapping[str, Any] | None) -> CreditsError:
    """The error for a refusal: `code` is a SQLSTATE or a PostgREST code, `detail` what SQL raised as DETAIL.

    What nobody could cause by their request is a plain CreditsError (500) that does not quote the database.
    """
    if known := from_sqlstate(code, message, detail):
        return known
    if code in _EXPIRED_SIGN_IN:
        return NotSignedIn("Your sign-in has expired; sign in again.")
    if code == "57014":
        return DatabaseUnavailable("This takes too long; ask for less at once or try again later.")
    if code.startswith(_UNAVAILABLE_CLASSES):
        return DatabaseUnavailable("The database is busy or restarting; try again in a moment.")
    sentence = "Something went wrong on our side; try again, and tell us if it stays."
    return CreditsError(sentence, detail={"sqlstate": code})
