"""Cookies, CSRF tokens and origins: what a browser must prove before a form may change anything."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response

from credits_core.auth.sessions import SESSION_SECONDS
from credits_core.config import Settings

LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]")
PRE_SESSION_SECONDS = 3600
INVITATION_SECONDS = 30 * 24 * 3600
MAX_COOKIE_LENGTH = 256


class Cookies:
    """Names and attributes of our cookies, and the CSRF token bound to the pre-session one."""

    def __init__(self, settings: Settings, cookie_secret: str) -> None:
        self._settings = settings
        self._secret = cookie_secret.encode()
        # With the prefix a browser refuses the cookie unless it is Secure, for this host alone and for all of it.
        prefix = "__Host-" if settings.https else ""
        self.session_name = f"{prefix}credits_session"
        self.pre_session_name = f"{prefix}credits_pre_session"
        self.invitation_name = f"{prefix}credits_invitation"

    def session(self, cookies: Mapping[str, str]) -> str | None:
        """The session token in these cookies, or None."""
        return _sane(cookies.get(self.session_name))

    def set_session(self, response: Response, token: str) -> None:
        self._set(response, self.session_name, token, SESSION_SECONDS)

    def clear_session(self, response: Response) -> None:
        self._set(response, self.session_name, "", 0)

    def pre_session(self, cookies: Mapping[str, str]) -> str | None:
        return _sane(cookies.get(self.pre_session_name))

    def start_pre_session(self, response: Response, token: str) -> None:
        self._set(response, self.pre_session_name, token, PRE_SESSION_SECONDS)

    def clear_pre_session(self, response: Response) -> None:
        self._set(response, self.pre_session_name, "", 0)

    def invitation(self, cookies: Mapping[str, str]) -> str | None:
        """The code of an invitation that waits for a sign-in, or None."""
        return _sane(cookies.get(self.invitation_name))

    def set_invitation(self, response: Response, code: str) -> None:
        self._set(response, self.invitation_name, code, INVITATION_SECONDS)

    def clear_invitation(self, response: Response) -> None:
        self._set(response, self.invitation_name, "", 0)

    def csrf_token(self, pre_session: str) -> str:
        """The hidden field of the sign-in form for this pre-session."""
        return hmac.new(self._secret, b"csrf:" + pre_session.encode(), hashlib.sha256).hexdigest()

    def csrf_matches(self, pre_session: str | None, token: str) -> bool:
        if pre_session is None:
            return False
        return hmac.compare_digest(self.csrf_token(pre_session).encode(), token.encode())

    def _set(self, response: Response, name: str, value: str, seconds: int) -> None:
        response.set_cookie(
            name, value, max_age=seconds, path="/", httponly=True, samesite="lax", secure=self._settings.https
        )


def new_pre_session() -> str:
    return secrets.token_urlsafe(32)


def same_origin(headers: Headers, settings: Settings) -> bool:
    """Whether a browser sent this from a page of ours: by Origin, else by Sec-Fetch-Site; neither means no."""
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site") == "same-origin"
    return origin in (settings.base_url, local_base_url(headers, settings))


def local_base_url(headers: Headers, settings: Settings) -> str:
    """The address to send this browser back to: BASE_URL, or on a developer's machine the name it used.

    localhost and 127.0.0.1 have separate cookies; a return from Stripe to the other one would be signed out.
    """
    host = headers.get("host", "")
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    if not settings.base_url_given and name in LOCAL_HOSTS:
        return f"http://{host}"
    return settings.base_url


def safe_next(target: str | None) -> str:
    """`target` when it is a path of this app, else `/`: nobody is sent to another site after sign-in."""
    if not target or not target.startswith("/") or len(target) > 2000:
        return "/"
    if target.startswith(("//", "/\\")) or not target.isprintable() or "\\" in target:
        return "/"
    parts = urlsplit(target)
    if parts.scheme or parts.netloc or parts.path.startswith("/auth/"):
        return "/"
    return target


def _sane(value: str | None) -> str | None:
    return value if value and len(value) <= MAX_COOKIE_LENGTH and value.isascii() else None
