"""E-mails (F2) at a real SMTP server: what they say, that each arrives once, and what happens when it does not take them."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from credits_core import mail, messages, outbox
from credits_core.errors import ConfigError
from credits_core.mail import parse_smtp_url
from credits_core.runtime import Runtime
from tests.notices.conftest import BASE, Inbox, state
from tests.sql.conftest import Call, Clock, Person

HOSTILE = "Ben\r\nBcc: victim@example.test\r\n\r\nhello <script>alert(1)</script>"


def test_a_purchase_is_confirmed_by_e_mail_once(
    runtime: Runtime, inbox: Inbox, anna: Person, buy: Call
) -> None:
    """F2: amount, credits and what is there now, as text and HTML, to the address of the profile; the message keeps its id."""
    buy(anna, "usd_20")
    assert outbox.run(runtime) == {"delivered": 1, "failed": 0, "rejected": 0, "not_sent": 0}
    assert outbox.run(runtime)["delivered"] == 0
    (arrived,) = inbox.mails
    assert arrived["subject"] == "20.00 credits are in your account"
    assert arrived["to"] == anna.identity.claims["email"]
    assert arrived["from"] == "Credits <credits@example.test>"
    (message,) = anna.call("deliveries")["items"]
    assert arrived["message-id"] == f"<{message['message_id']}@example.test>"
    assert arrived["list-unsubscribe"] == f"<{BASE}/notifications>"
    text, html = (arrived.get_body((kind,)) for kind in ("plain", "html"))
    assert text is not None and html is not None
    for part in (text.get_content(), html.get_content()):
        assert "$20.00" in part and "20.00 credits" in part and f"{BASE}/transactions" in part
    assert state(anna) == [("email", "sent", None)]


def test_the_receipt_is_linked_when_stripe_has_one(anna: Person, runtime: Runtime) -> None:
    """F2, A6: an https address alone."""
    detail = {"credits_micros": 5_000_000, "amount_cents": 500, "currency": "usd", "available_micros": 1}
    for url, action in [
        ("https://pay.stripe.com/r", ("Receipt", "https://pay.stripe.com/r")),
        ("javascript:alert(1)", ("See your transactions", f"{BASE}/transactions")),
    ]:
        said = messages.render("purchase_credited", detail | {"receipt_url": url}, base_url=BASE)
        assert said.action == action


def test_without_a_mail_server_nothing_is_lost_and_it_says_how_to_send(
    make: Callable[..., Runtime], runtime: Runtime, inbox: Inbox, anna: Person, buy: Call
) -> None:
    """F2: kept, with the reason; sent by hand once SMTP_URL is set."""
    buy(anna, "usd_20")
    assert outbox.run(make()) == {"delivered": 0, "failed": 0, "rejected": 0, "not_sent": 1}
    assert state(anna) == [("email", "not_sent", mail.NOT_SET)]
    (message,) = anna.call("deliveries")["items"]
    anna.call("resend_delivery", message_id=message["message_id"])
    assert outbox.run(runtime)["delivered"] == 1
    assert len(inbox.mails) == 1


def test_a_busy_server_is_asked_again_and_a_refusal_is_final(
    clock: Clock, runtime: Runtime, inbox: Inbox, anna: Person, buy: Call
) -> None:
    """F2: 4xx is tried again later, 5xx is given up; both with what the server said."""
    buy(anna, "usd_20")
    inbox.answer = "451 Try again later"
    assert outbox.run(runtime)["failed"] == 1
    assert outbox.run(runtime)["failed"] == 0
    ((_, status, reason),) = state(anna)
    assert status == "waiting" and "451" in str(reason)
    clock.advance(seconds=6)
    inbox.answer = "550 No such mailbox"
    assert outbox.run(runtime)["rejected"] == 1
    ((_, status, reason),) = state(anna)
    assert status == "gave_up" and "550" in str(reason)
    message = anna.call("delivery", message_id=anna.call("deliveries")["items"][0]["message_id"])
    assert [tried["outcome"] for tried in message["tries"]] == ["rejected", "failed"]


def test_a_server_that_is_gone_is_asked_again(
    make: Callable[..., Runtime], inbox: Inbox, anna: Person, buy: Call
) -> None:
    """F2: nothing of the address or password is written down."""
    buy(anna, "usd_20")
    gone = make(smtp=parse_smtp_url("smtp://me:geheim@127.0.0.1:9?from=a@b.test"))
    assert outbox.run(gone)["failed"] == 1
    ((_, status, reason),) = state(anna)
    assert status == "waiting" and "geheim" not in str(reason)


def test_a_password_is_not_sent_in_the_clear(inbox: Inbox) -> None:
    """K4: to another machine without TLS."""
    smtp = parse_smtp_url(f"smtp://me:geheim@0.0.0.0:{inbox.port}?from=a@b.test")
    composed = mail.compose(messages.Message("t", ("l",)), "a@b.test", smtp.sender, "msg_1", BASE)
    with pytest.raises(ConfigError, match="offers no TLS"):
        mail.send(smtp, composed)
    assert inbox.mails == []


def test_headers_cannot_be_injected(
    runtime: Runtime, inbox: Inbox, anna: Person, caplog: pytest.LogCaptureFixture
) -> None:
    """K3: whatever people name their things; in HTML it is text."""
    target = anna.call(
        "add_notice_target", channel="webhook", name=HOSTILE[:80], address="https://a.test", sealed="s"
    )
    detail = {"name": HOSTILE, "reason": HOSTILE, "address": HOSTILE, "target_id": target["target_id"]}
    said = messages.render("webhook_disabled", detail, base_url=BASE)
    assert runtime.settings.smtp is not None
    mail.send(
        runtime.settings.smtp, mail.compose(said, "anna@example.test", "credits@example.test", "msg_1", BASE)
    )
    (arrived,) = inbox.mails
    assert arrived["bcc"] is None and arrived["to"] == "anna@example.test"
    assert set(arrived.keys()) >= {"From", "To", "Subject"} and len(arrived.get_all("subject", [])) == 1
    html = arrived.get_body(("html",))
    assert html is not None and "<script>" not in html.get_content()
    for wrong in ("anna@example.test\r\nBcc: x@y.test", "anna@example.test\nX: y"):
        with pytest.raises(ValueError):
            mail.compose(said, wrong, "credits@example.test", "msg_1", BASE)
    with caplog.at_level(logging.DEBUG):
        outbox.run(runtime)
    assert "geheim" not in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "mail.example.test",
        "http://mail.example.test",
        "smtp://",
        "smtp://h:port",
        "smtp://h:25?from=nobody",
        "smtp://u:geheim@h?from=a%0d%0ab@c.test",
    ],
)
def test_a_wrong_smtp_url_says_how_to_write_it(url: str) -> None:
    """Without repeating it: it may hold a password."""
    with pytest.raises(ConfigError, match="SMTP_URL") as refused:
        parse_smtp_url(url)
    assert "geheim" not in refused.value.message


def test_the_parts_of_an_smtp_url() -> None:
    made = parse_smtp_url("smtps://me%40x.test:p%2Fw@mail.x.test?from=Credits%20<c@x.test>")
    assert (made.host, made.port, made.implicit_tls) == ("mail.x.test", 465, True)
    assert (made.user, made.password, made.sender) == ("me@x.test", "p/w", "Credits <c@x.test>")
    assert parse_smtp_url("smtp://mail.x.test").port == 587
    assert "p/w" not in repr(made)


def test_every_kind_has_words(service: Call, anna: Person, clock: Clock) -> None:
    """F2: for what any kind may carry, and for one that nobody wrote words for."""
    kinds = [kind["kind"] for kind in anna.call("notice_settings")["kinds"]]
    for kind in (*kinds, "test", "something_new"):
        said = messages.render(kind, {}, base_url=BASE)
        assert said.title and said.lines and said.text().strip()
