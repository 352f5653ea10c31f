"""HTTP to addresses that customers name: never to our own network, whatever the name resolves to at that moment.

The host is resolved here, every address it has is checked, and the connection goes to the very address that was checked:
a name that changes in between (DNS rebinding) changes nothing. No redirects, no proxies, a deadline for the whole exchange,
and only the beginning of the answer is read.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpcore

from credits_core.errors import InvalidRequest

DEADLINE_SECONDS = 10.0
MAX_RESPONSE_BYTES = 2_000
MAX_URL_LENGTH = 2_000
_GLOBAL_V6 = ipaddress.ip_network("2000::/3")
# Kept for protocols and old relays; not every Python counts them as private.
_SPECIAL_V4 = [ipaddress.ip_network(text) for text in ("192.0.0.0/24", "192.88.99.0/24")]
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\.?|[0-9a-f:.]{2,45}", re.ASCII)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Refused(Exception):
    """The address lies where nothing may be sent; `str()` is a sentence."""


@dataclass(frozen=True)
class Answer:
    """What a receiver said: status, the beginning of its body as text, and how long it took."""

    status: int
    text: str
    milliseconds: int


def is_public(address: Address) -> bool:
    """Whether an address is on the internet: not private, loopback, link-local, metadata, multicast, reserved, nor one
    of those inside an IPv6 form of an IPv4 address."""
    if isinstance(address, ipaddress.IPv4Address):
        return (
            address.is_global and not address.is_multicast and not any(address in net for net in _SPECIAL_V4)
        )
    if address.ipv4_mapped is not None:
        return is_public(address.ipv4_mapped)
    tunnelled = address.sixtofour is not None or address.teredo is not None
    return address.is_global and address in _GLOBAL_V6 and not tunnelled


def check_url(url: str, *, allow_http: bool, allow_private: bool) -> str:
    """The URL, in order. InvalidRequest for what is no plain web address, or leads into a private network."""
    check_form(url, allow_http=allow_http, allow_private=allow_private)
    try:
        _resolve(urlsplit(url).hostname or "", 443, allow_private=allow_private)
    except Refused as refusal:
        raise InvalidRequest(str(refusal)) from None
    return url


def check_form(url: str, *, allow_http: bool, allow_private: bool) -> str:
    """The URL, as far as it can be checked without resolving its host. InvalidRequest as `check_url`."""
    parts = _split(url)
    schemes = ("https", "http") if allow_http or allow_private else ("https",)
    if parts.scheme not in schemes:
        raise InvalidRequest(f"The address must begin with {' or '.join(s + '://' for s in schemes)}.")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if port < 1024 and port not in (80, 443) and not allow_private:
        raise InvalidRequest("Use port 443, 80, or one from 1024 on.")
    return url


def _split(url: str) -> SplitResult:
    wrong = "This is not a web address; write one such as https://example.com/credits-webhook."
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url or len(url) > MAX_URL_LENGTH:
        raise InvalidRequest(wrong)
    try:
        parts = urlsplit(url)
        has_port = parts.port is None or parts.port > 0
    except ValueError:
        raise InvalidRequest(wrong) from None
    if parts.username is not None or parts.password is not None:
        raise InvalidRequest("Leave user and password out of the address; messages are signed instead.")
    if not parts.hostname or not _HOST.fullmatch(parts.hostname) or not has_port or parts.fragment:
        raise InvalidRequest(wrong)
    return parts


def _resolve(host: str, port: int, *, allow_private: bool) -> str:
    """An address of the host that may be connected to. Refused unless all of its addresses may."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Refused(f"The host “{host}” cannot be found; check its name.") from None
    addresses = [str(entry[4][0]) for entry in found]
    if not allow_private and not all(is_public(ipaddress.ip_address(a.partition("%")[0])) for a in addresses):
        raise Refused(f"The host “{host}” is in a private network; use an address on the internet.")
    return addresses[0]


def post(url: str, body: bytes, headers: Mapping[str, str], *, allow_private: bool) -> Answer:
    """Send a POST. Refused, or httpcore's errors and OSError for what went wrong on the way."""
    started = time.monotonic()
    backend = _CheckedBackend(started + DEADLINE_SECONDS, allow_private=allow_private)
    with (
        httpcore.ConnectionPool(ssl_context=ssl.create_default_context(), network_backend=backend) as pool,
        pool.stream(
            "POST",
            url,
            headers=list(headers.items()),
            content=body,
            extensions={"timeout": dict.fromkeys(("connect", "read", "write", "pool"), DEADLINE_SECONDS)},
        ) as response,
    ):
        text = b""
        for chunk in response.iter_stream():
            text += chunk
            if len(text) >= MAX_RESPONSE_BYTES:
                break
    shown = "".join(
        c if c.isprintable() else " " for c in text[:MAX_RESPONSE_BYTES].decode("utf-8", "replace")
    )
    return Answer(response.status, shown.strip(), round((time.monotonic() - started) * 1000))


class _CheckedBackend(httpcore.SyncBackend):
    """Connects to an address that was checked a moment ago; TLS and the Host header keep the name."""

    def __init__(self, deadline: float, *, allow_private: bool) -> None:
        self._deadline = deadline
        self._allow_private = allow_private

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        address = _resolve(host, port, allow_private=self._allow_private)
        stream = super().connect_tcp(
            address, port, _left(self._deadline, timeout), local_address, socket_options
        )
        return _Hurried(stream, self._deadline)


class _Hurried(httpcore.NetworkStream):
    """A stream with a deadline for everything together: a receiver that drips a byte a second holds nobody up."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(self._deadline, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(self._deadline, timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        secure = self._stream.start_tls(ssl_context, server_hostname, _left(self._deadline, timeout))
        return _Hurried(secure, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(deadline: float, timeout: float | None) -> float:
    left = min(deadline - time.monotonic(), timeout or DEADLINE_SECONDS)
    if left <= 0:
        raise httpcore.ReadTimeout("The deadline has passed.")
    return left
