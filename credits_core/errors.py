"""Every error of the product, in one place: SQLSTATE, API code, HTTP status and the sentence a person reads.

CreditsError
├── InvalidRequest        LC400  invalid_request          422
├── NotSignedIn           LC401  not_signed_in            401
├── InsufficientCredits   LC402  insufficient_credits     402  detail: needed_micros, available_micros
├── NotAllowed            LC403  not_allowed              403
├── NotFound              LC404  not_found                404
├── Conflict              LC409  conflict                 409
├── IdempotencyKeyReused  LC410  idempotency_key_reused   409
├── LimitReached          LC429  limit_reached            429
├── LedgerDifference      LC500  ledger_difference        500
├── WebhookRejected              webhook_rejected         400
├── StripeUnavailable            stripe_unavailable       502
├── DatabaseUnavailable          database_unavailable     503
└── ConfigError                  configuration            500
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar


class CreditsError(Exception):
    """Base of all errors the product raises on purpose; `str(error)` is a sentence that says what to do next."""

    code: ClassVar[str] = "internal_error"
    http_status: ClassVar[int] = 500
    sqlstate: ClassVar[str | None] = None

    def __init__(self, message: str, *, detail: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.detail: dict[str, Any] = dict(detail or {})


class InvalidRequest(CreditsError):
    code, http_status, sqlstate = "invalid_request", 422, "LC400"


class NotSignedIn(CreditsError):
    code, http_status, sqlstate = "not_signed_in", 401, "LC401"


class InsufficientCredits(CreditsError):
    code, http_status, sqlstate = "insufficient_credits", 402, "LC402"


class NotAllowed(CreditsError):
    code, http_status, sqlstate = "not_allowed", 403, "LC403"


class NotFound(CreditsError):
    code, http_status, sqlstate = "not_found", 404, "LC404"


class Conflict(CreditsError):
    code, http_status, sqlstate = "conflict", 409, "LC409"


class IdempotencyKeyReused(CreditsError):
    code, http_status, sqlstate = "idempotency_key_reused", 409, "LC410"


class LimitReached(CreditsError):
    code, http_status, sqlstate = "limit_reached", 429, "LC429"


class LedgerDifference(CreditsError):
    code, http_status, sqlstate = "ledger_difference", 500, "LC500"


class WebhookRejected(CreditsError):
    code, http_status = "webhook_rejected", 400


class StripeUnavailable(CreditsError):
    code, http_status = "stripe_unavailable", 502


class DatabaseUnavailable(CreditsError):
    code, http_status = "database_unavailable", 503


class ConfigError(CreditsError):
    code, http_status = "configuration", 500


BY_SQLSTATE: dict[str, type[CreditsError]] = {
    cls.sqlstate: cls for cls in CreditsError.__subclasses__() if cls.sqlstate is not None
}

# PostgreSQL's own refusals that a caller can cause: a value that does not parse or does not fit, a missing right.
_STANDARD: dict[str, tuple[type[CreditsError], str]] = {
    "22": (
        InvalidRequest,
        "A value has the wrong form or is out of range; check numbers and times and try again.",
    ),
    "23": (InvalidRequest, "The values contradict a rule of the database; check them and try again."),
    "42501": (NotAllowed, "You may not do this; sign in with an account that may."),
    "42883": (
        InvalidRequest,
        "The request has an argument that this operation does not know; see /api/docs.",
    ),
    "PGRST202": (
        InvalidRequest,
        "The request has an argument that this operation does not know; see /api/docs.",
    ),
}


def from_sqlstate(
    code: str, message: str, detail: str | Mapping[str, Any] | None = None
) -> CreditsError | None:
    """The error for a database refusal, or None when the code is not one a caller can cause.

    `detail` is the JSON object SQL raised as DETAIL (text, or parsed already); anything else is dropped, since
    PostgreSQL's own details can quote other people's values.
    """
    if cls := BY_SQLSTATE.get(code):
        return cls(message, detail=_parse_detail(detail))
    if standard := (_STANDARD.get(code) or _STANDARD.get(code[:2])):
        return standard[0](standard[1], detail={"sqlstate": code})
    return None


def _parse_detail(detail: str | Mapping[str, Any] | None) -> dict[str, Any]:
    if isinstance(detail, str):
        try:
            detail = json.loads(detail)
        except ValueError:
            return {}
    return dict(detail) if isinstance(detail, Mapping) else {}
