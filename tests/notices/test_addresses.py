"""Addresses that customers name (F3): never into our own network, by no spelling, and not by a name that changes meanwhile."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from credits_core import outside
from credits_core.errors import InvalidRequest
from tests.notices.conftest import Receiver

PRIVATE = [
    "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0.0.0.0", "0", "localhost", "localhost.", "10.0.0.1",
    "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "198.18.0.1", "192.0.0.8", "192.88.99.1", "224.0.0.1",
    "240.0.0.1", "255.255.255.255", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[fe80::1]",
    "[fc00::1]", "[fd00:ec2::254]", "[fec0::1]", "[ff02::1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::a00:1]", "[2002:7f00:1::]",
    "[2001:0:7f00:1::]", "[2001:db8::1]", "[5f00::1]", "[::ffff:169.254.169.254]",
]  # fmt: skip
NO_ADDRESS = [
    "", "example.com", "//example.com", "ftp://example.com", "file:///etc/passwd", "gopher://example.com", "javascript:alert(1)",
    "https://", "https:///x", "https://exa mple.com", "https://example.com\r\nX: y", "https://example.com\\@127.0.0.1",
    "https://user:pass@example.com", "https://user@example.com", "https://example.com:0", "https://example.com:99999",
    "https://example.com:25/", "https://example.com:6379/", "https://ex%61mple.com/", "https://exämple.com", "https://-x.com",
    "https://example.com/#f", "https://[::1", "https://[fe80::1%25eth0]/", "https://" + "a" * 2000, "https://example.com\t/",
]  # fmt: skip


def check(url: str, **more: Any) -> str:
    return outside.check_url(url, **({"allow_http": False, "allow_private": False} | more))


@pytest.mark.parametrize("host", PRIVATE)
def test_private_addresses_are_refused(host: str) -> None:
    """Loopback, private, link-local, metadata, shared, multicast, reserved; also written as numbers or inside IPv6."""
    with pytest.raises(InvalidRequest):
        check(f"https://{host}/hook")
    with pytest.raises(outside.Refused):
        outside.post(f"https://{host}/hook", b"{}", {}, allow_private=False)


@pytest.mark.parametrize("url", NO_ADDRESS)
def test_what_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest):
        check(url)


def test_public_addresses_are_taken() -> None:
    for url in ("https://8.8.8.8/hook", "https://[2606:4700::1111]/x?y=z", "https://1.1.1.1:8443/"):
        assert check(url) == url
    with pytest.raises(InvalidRequest, match="https"):
        check("http://8.8.8.8/")
    assert check("http://8.8.8.8/", allow_http=True) == "http://8.8.8.8/"


def resolver(*answers: list[str]) -> Any:
    """A name server that answers otherwise each time; the last answer stays."""
    left = list(answers)

    def resolve(host: str, port: int, **more: Any) -> list[Any]:
        found = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    return resolve


def test_a_name_is_judged_by_all_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them inside is enough to refuse."""
    monkeypatch.setattr(socket, "getaddrinfo", resolver(["8.8.8.8", "10.0.0.1"]))
    with pytest.raises(InvalidRequest, match="private network"):
        check("https://two.example.test/")


def test_a_name_that_changes_meanwhile_leads_nowhere(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver
) -> None:
    """DNS rebinding: public when it was saved, loopback when it is sent to; nothing connects."""
    port = receiver.url.rsplit(":", 1)[1].partition("/")[0]
    monkeypatch.setattr(socket, "getaddrinfo", resolver(["8.8.8.8"], ["127.0.0.1"]))
    assert check(f"http://changes.example.test:{port}/", allow_http=True)
    with pytest.raises(outside.Refused, match="private network"):
        outside.post(f"http://changes.example.test:{port}/", b"{}", {}, allow_private=False)
    assert receiver.got == []


def test_the_connection_goes_to_the_address_that_was_checked(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver
) -> None:
    """The name is asked once for each delivery, and nothing else asks it again on the way."""
    asked: list[str] = []
    connected: list[tuple[str, int]] = []
    answer = resolver(["127.0.0.1"], ["203.0.113.1"])

    def once(host: str, port: int, **more: Any) -> list[Any]:
        asked.append(host)
        return list(answer(host, port))

    def connect(address: tuple[str, int], *more: Any, **others: Any) -> socket.socket:
        connected.append(address)
        made = socket.socket()
        made.connect(address)
        return made

    port = int(receiver.url.rsplit(":", 1)[1].partition("/")[0])
    monkeypatch.setattr(socket, "getaddrinfo", once)
    monkeypatch.setattr(socket, "create_connection", connect)
    sent = outside.post(f"http://name.example.test:{port}/hook", b"{}", {}, allow_private=True)
    assert (sent.status, sent.text) == (200, "thank you")
    assert (asked, connected) == (["name.example.test"], [("127.0.0.1", port)])
    assert receiver.got[0][0]["host"] == f"name.example.test:{port}"


def test_redirects_are_not_followed_and_answers_are_cut(receiver: Receiver) -> None:
    """The receiver cannot send us elsewhere, nor fill our memory."""
    receiver.status, receiver.location = 302, "http://169.254.169.254/latest/meta-data/"
    assert outside.post(receiver.url, b"{}", {}, allow_private=True).status == 302
    receiver.status, receiver.body = 200, b"\x00<b>" + b"x" * 5_000_000
    answer = outside.post(receiver.url, b"{}", {}, allow_private=True)
    assert len(answer.text) <= outside.MAX_RESPONSE_BYTES and "\x00" not in answer.text


def test_a_receiver_that_drips_is_left_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte at a time keeps nobody: the whole exchange has one deadline."""
    monkeypatch.setattr(outside, "DEADLINE_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        stop = threading.Event()

        def drip() -> None:
            taken, _ = server.accept()
            with taken:
                for letter in b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1000:
                    if stop.wait(0.05):
                        return
                    try:
                        taken.sendall(bytes([letter]))
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        with pytest.raises(Exception, match=r"(?i)time|deadline"):
            outside.post(f"http://127.0.0.1:{server.getsockname()[1]}/", b"{}", {}, allow_private=True)
        stop.set()
        thread.join()
