"""E-mail over SMTP_URL: smtp://user:password@host:587?from=Credits <credits@example.com> (STARTTLS when offered) or smtps://.

A password never leaves in the clear: without TLS it is sent to this machine alone.
"""

from __future__ import annotations

import ipaddress
import smtplib
import ssl
from dataclasses import dataclass, field
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, parseaddr
from html import escape
from urllib.parse import parse_qs, unquote, urlsplit

from credits_core.errors import ConfigError
from credits_core.messages import Message

TIMEOUT_SECONDS = 15
EXAMPLE = "smtp://user:password@host:587?from=credits@example.com"
HOW_TO_SET = f"set SMTP_URL to {EXAMPLE}"
NOT_SET = "Not sent: SMTP_URL is not set."
_PERMANENT = 500  # SMTP answers from here on will be the same tomorrow


class Undeliverable(Exception):
    """The server says that this message will never be taken; `str()` says why."""


@dataclass(frozen=True)
class Smtp:
    """Where e-mails are handed in, and in whose name."""

    host: str
    port: int
    implicit_tls: bool
    sender: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)


def parse_smtp_url(url: str) -> Smtp:
    """The parts of SMTP_URL. ConfigError with what to write, never with the URL itself: it holds a password."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError(f"SMTP_URL has a port that is no number; {HOW_TO_SET}.") from None
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise ConfigError(f"SMTP_URL is not an address of a mail server; {HOW_TO_SET}.")
    sender = parse_qs(parts.query).get("from", [f"credits@{parts.hostname}"])[0]
    name, address = parseaddr(sender)
    if "@" not in address or not address.isascii() or not sender.isprintable():
        raise ConfigError(f"SMTP_URL has no e-mail address after from=; {HOW_TO_SET}.")
    implicit = parts.scheme == "smtps"
    return Smtp(
        host=parts.hostname,
        port=port or (465 if implicit else 587),
        implicit_tls=implicit,
        sender=f"{name} <{address}>" if name else address,
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
    )


def compose(message: Message, to: str, sender: str, message_id: str, settings_url: str) -> EmailMessage:
    """The e-mail: plain text with HTML beside it. Line breaks in headers are impossible: the subject is one line, addresses
    are parsed, and the library refuses the rest (ValueError)."""
    mail = EmailMessage(policy=SMTP)
    name, address = parseaddr(sender)
    user, _, domain = address.rpartition("@")
    mail["From"] = Address(display_name=name, username=user, domain=domain)
    to_user, _, to_domain = to.rpartition("@")
    mail["To"] = Address(username=to_user, domain=to_domain)
    mail["Subject"] = " ".join(message.title.split())
    mail["Date"] = formatdate()
    mail["Message-ID"] = f"<{message_id}@{domain}>"
    mail["List-Unsubscribe"] = f"<{settings_url}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.text(settings_url))
    mail.add_alternative(_html(message, settings_url), subtype="html")
    return mail


def send(smtp: Smtp, mail: EmailMessage) -> None:
    """Hand an e-mail in. Undeliverable for a final refusal; OSError or SMTPException for what may work later."""
    tls = ssl.create_default_context()
    made: smtplib.SMTP = (
        smtplib.SMTP_SSL(smtp.host, smtp.port, timeout=TIMEOUT_SECONDS, context=tls)
        if smtp.implicit_tls
        else smtplib.SMTP(smtp.host, smtp.port, timeout=TIMEOUT_SECONDS)
    )
    with made as server:
        server.ehlo()
        secure = smtp.implicit_tls
        if not secure and server.has_extn("starttls"):
            server.starttls(context=tls)
            server.ehlo()
            secure = True
        if smtp.user is not None:
            if not secure and not _is_here(smtp.host):
                raise ConfigError(
                    "The mail server offers no TLS, so the password was not sent; use smtps://."
                )
            server.login(smtp.user, smtp.password or "")
        try:
            server.send_message(mail)
        except smtplib.SMTPRecipientsRefused as refusal:
            code, text = next(iter(refusal.recipients.values()))
            raise _verdict(code, text) from None
        except smtplib.SMTPResponseException as refusal:
            raise _verdict(refusal.smtp_code, refusal.smtp_error) from None


def _verdict(code: int, text: bytes | str) -> Exception:
    said = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    sentence = f"The mail server said {code}: {said[:200]}"
    return Undeliverable(sentence) if code >= _PERMANENT else smtplib.SMTPException(sentence)


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _html(message: Message, settings_url: str) -> str:
    """Plain, readable everywhere: one column, no pictures, nothing loaded from elsewhere."""
    rows = "".join(
        f'<tr><td style="padding:4px 16px 4px 0;color:#64748b">{escape(label)}</td>'
        f'<td style="padding:4px 0;font-weight:600">{escape(value)}</td></tr>'
        for label, value in message.facts
    )
    lines = "".join(f'<p style="margin:0 0 12px">{escape(line)}</p>' for line in message.lines)
    button = ""
    if message.action:
        label, url = message.action
        button = (
            f'<p style="margin:20px 0"><a href="{escape(url)}" style="background:#2563eb;color:#ffffff;padding:10px 18px;'
            f'border-radius:8px;text-decoration:none;font-weight:600">{escape(label)}</a></p>'
        )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(message.title)}</title></head>"
        '<body style="margin:0;background:#f8fafc;color:#0f172a;font:15px/1.5 system-ui,sans-serif">'
        '<div style="max-width:560px;margin:0 auto;padding:32px 24px;background:#ffffff">'
        f'<h1 style="font-size:20px;margin:0 0 16px">{escape(message.title)}</h1>{lines}'
        f'<table style="border-collapse:collapse;margin:8px 0">{rows}</table>{button}'
        '<p style="margin:28px 0 0;color:#64748b;font-size:13px">You get this because of your '
        f'<a href="{escape(settings_url)}" style="color:#64748b">notification settings</a>; '
        "there you can switch it off.</p></div></body></html>"
    )
