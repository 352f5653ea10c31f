"""Errors in Stripe's shape: `{"error": {"type", "code", "message", "param", ...}}` with Stripe's status
codes."""

from __future__ import annotations

from credits_core.stripe_sim.store import Obj


class StripeFault(Exception):
    """An error answer. `keeps_effects` is true where Stripe records the failed attempt (a declined card)."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        keeps_effects: bool = False,
        **more: object,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.keeps_effects = keeps_effects
        fields: dict[str, object] = {"type": kind, "code": code, "message": message, "param": param, **more}
        # Stripe leaves out what is null in errors.
        self.body: Obj = {"error": {name: value for name, value in fields.items() if value is not None}}


def missing(kind: str, object_id: str, param: str = "id") -> StripeFault:
    """404 for an id that names nothing, worded as Stripe does."""
    return StripeFault(f"No such {kind}: '{object_id}'", status=404, code="resource_missing", param=param)


def unknown_parameter(param: str) -> StripeFault:
    """400 for a parameter the endpoint does not take."""
    return StripeFault(f"Received unknown parameter: {param}", code="parameter_unknown", param=param)


def required(param: str) -> StripeFault:
    """400 for a parameter that is missing."""
    return StripeFault(f"Missing required param: {param}.", code="parameter_missing", param=param)


def unauthorized(key_shown: str | None) -> StripeFault:
    """401: no key, or one that this simulator did not hand out (it takes `sk_sim_...` only)."""
    if key_shown is None:
        return StripeFault(
            "You did not provide an API key. You need to provide your API key in the Authorization header, "
            "using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
            status=401,
        )
    return StripeFault(f"Invalid API Key provided: {key_shown}", status=401)
