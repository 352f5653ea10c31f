"""The simulator never runs beside a real Stripe key, and its control plane answers only this machine."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from credits_core.errors import ConfigError

_REAL_KEY = re.compile(r"\s*(sk|rk)_(live|test)_\S")
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


def refuse_real_keys(values: Mapping[str, str]) -> None:
    """Raise ConfigError when any of the named values (the environment) is a real Stripe secret key."""
    for name, value in values.items():
        if match := _REAL_KEY.match(value or ""):
            raise ConfigError(
                f"{name} holds a real Stripe key ({match[1]}_{match[2]}_...), so the Stripe simulator will"
                f" not start. Unset {name} to use the simulator, or keep it and let the program use Stripe.",
                detail={"variable": name},
            )


def is_loopback(host: str | None) -> bool:
    """Whether a host name or address is this machine itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address((host or "").strip("[]")).is_loopback
    except ValueError:
        return False


def may_control(client: str | None, headers: Mapping[str, str]) -> bool:
    """Whether a request may use the control plane: from this machine, not through a proxy, and not sent by a
    web page of somebody else (a foreign Origin, or a foreign name that resolves to this machine)."""
    if not is_loopback(client) or any(name in headers for name in _FORWARDED):
        return False
    host = urlsplit(f"//{headers.get('host', '')}").hostname
    origin = headers.get("origin")
    return is_loopback(host) and (origin is None or urlsplit(origin).netloc == headers.get("host"))
