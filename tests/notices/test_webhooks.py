"""Signed webhooks (F3) at a real receiver: verified with the library's own verify, tried again, logged, sent again by hand."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from credits_core import chat, notifications, outbox
from credits_core.db.port import SERVICE
from credits_core.errors import Conflict, InvalidRequest, LimitReached
from credits_core.runtime import Runtime
from credits_core.sealing import Seal
from tests.notices.conftest import BASE, Receiver, state
from tests.sql.conftest import Call, Clock, Person, Rows, refused

DELAYS = [5, 60, 300, 1800, 7200, 18000, 36000, 50400, 72000]


def tell(
    service: Call, owner_sql: Callable[..., Rows], somebody: Person, once: str, kind: str = "debt"
) -> None:
    """Something happens that is told."""
    owner_sql(
        "select credits._tell(%s, %s, %s::jsonb, %s)", somebody.account_id, kind, '{"debt_micros": 1}', once
    )


@pytest.fixture
def happens(service: Call, owner_sql: Callable[..., Rows], anna: Person) -> Callable[..., None]:
    """`happens("1")`: something is told to Anna, by webhook alone."""
    anna.call("set_email_choices", choices={"debt": False, "webhook_disabled": False})
    return lambda once, somebody=anna, **more: tell(service, owner_sql, somebody, once, **more)


def test_a_webhook_arrives_signed(
    runtime: Runtime, receiver: Receiver, anna: Person, hook: dict[str, Any], buy: Call
) -> None:
    """F3: type, time and data; only the secret verifies it; once."""
    anna.call("set_email_choices", choices={"purchase_credited": False})
    buy(anna, "usd_20")
    assert outbox.run(runtime)["delivered"] == 1
    assert outbox.run(runtime)["delivered"] == 0
    ((headers, body),) = receiver.got
    event = Webhook(hook["secret"]).verify(body, headers)
    assert event["type"] == "credits.purchase_credited"
    assert event["data"]["credits_micros"] == 20_000_000
    assert event["data"]["account_id"] == anna.account_id
    assert headers["webhook-id"] == anna.call("deliveries")["items"][0]["message_id"]
    for other in ("whsec_" + "A" * 44, hook["secret"][:-4] + "AAA="):
        with pytest.raises(WebhookVerificationError):
            Webhook(other).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(hook["secret"]).verify(body.replace(b"20000000", b"90000000"), headers)
    last = anna.call("deliveries")["items"][0]["last"]
    assert (last["outcome"], last["status_code"], last["response"]) == ("delivered", 200, "thank you")


def test_two_secrets_sign_while_one_is_changed(
    clock: Clock,
    runtime: Runtime,
    receiver: Receiver,
    anna: Person,
    hook: dict[str, Any],
    happens: Callable[..., None],
) -> None:
    """F3: the old one for the hours of the overlap; both are shown once and stored sealed."""
    changed = notifications.rotate_secret(runtime, anna.identity, hook["target_id"], overlap_hours=2)
    assert changed["secret"] != hook["secret"]
    happens("1")
    outbox.run(runtime)
    clock.advance(hours=2, minutes=1)
    happens("2")
    outbox.run(runtime)
    (headers, body), (later, after) = receiver.got
    for secret in (hook["secret"], changed["secret"]):
        Webhook(secret).verify(body, headers)
    Webhook(changed["secret"]).verify(after, later)
    with pytest.raises(WebhookVerificationError):
        Webhook(hook["secret"]).verify(after, later)


def test_secrets_are_sealed_in_the_database(
    runtime: Runtime, owner_sql: Callable[..., Rows], hook: dict[str, Any], anna: Person
) -> None:
    """K4: neither secrets nor chat addresses stand there; another COOKIE_SECRET cannot open them, and says so."""
    notifications.add_chat(runtime, anna.identity, "room", "tgram://123456789:abcdefg_hijklmnop/12315544/")
    stored = str(owner_sql("select to_jsonb(t) as t from credits.notice_targets as t"))
    assert hook["secret"] not in stored and "abcdefg_hijklmnop" not in stored
    (row, _) = owner_sql("select sealed from credits.notice_targets order by id")
    assert runtime.seal.open(row["sealed"]) == hook["secret"]
    with pytest.raises(Exception, match="another COOKIE_SECRET"):
        Seal("another").open(row["sealed"])


def test_a_failing_receiver_is_asked_later_and_later_and_then_given_up(
    clock: Clock,
    runtime: Runtime,
    receiver: Receiver,
    anna: Person,
    hook: dict[str, Any],
    happens: Callable[..., None],
) -> None:
    """F3: ten attempts of the same message in two days, each in the log; then a clear end, and by hand all of it again."""
    happens("1")
    receiver.status, receiver.body = 500, b"broken"
    for delay in DELAYS:
        assert outbox.run(runtime)["failed"] == 1
        clock.advance(seconds=delay - 1)
        assert outbox.run(runtime)["failed"] == 0
        clock.advance(seconds=1)
    assert outbox.run(runtime)["failed"] == 1
    ((_, status, reason),) = state(anna)
    assert status == "gave_up" and "500" in str(reason)
    assert len(receiver.got) == 10 and len(set(receiver.ids)) == 1
    assert len({body for _, body in receiver.got}) == 1
    (message,) = anna.call("deliveries")["items"]
    log = notifications.delivery(runtime.db, anna.identity, message["message_id"])["tries"]
    assert [(tried["outcome"], tried["status_code"], tried["response"]) for tried in log] == [
        ("failed", 500, "broken")
    ] * 10
    clock.advance(days=30)
    assert outbox.run(runtime)["failed"] == 0
    receiver.status = 204
    notifications.resend(runtime.db, anna.identity, message["message_id"])
    assert outbox.run(runtime)["delivered"] == 1
    assert receiver.ids[-1] == message["message_id"]
    assert state(anna) == [("webhook", "sent", None)]


def test_what_arrived_can_be_sent_again(
    runtime: Runtime, receiver: Receiver, anna: Person, hook: dict[str, Any], happens: Callable[..., None]
) -> None:
    """F3: the same message id, a new attempt in its log."""
    happens("1")
    outbox.run(runtime)
    again = anna.call("deliveries")["items"][0]["message_id"]
    notifications.resend(runtime.db, anna.identity, again)
    outbox.run(runtime)
    assert receiver.ids == [again, again]
    assert len(notifications.delivery(runtime.db, anna.identity, again)["tries"]) == 2


def test_a_sender_that_dies_leaves_its_message_to_the_next(
    clock: Clock,
    runtime: Runtime,
    receiver: Receiver,
    anna: Person,
    hook: dict[str, Any],
    happens: Callable[..., None],
) -> None:
    """F3: killed between claim and finish: sent by another after the lease, under the same id; the lost attempt is in the log,
    and if it says later that it did arrive, that counts."""
    happens("1")
    (lost,) = runtime.db.call("claim_deliveries", SERVICE, lease_seconds=60)["items"]
    assert runtime.db.call("claim_deliveries", SERVICE)["items"] == []
    assert isinstance(refused(lambda: anna.call("resend_delivery", message_id=lost["message_id"])), Conflict)
    clock.advance(seconds=61)
    receiver.status = 500
    assert outbox.run(runtime)["failed"] == 1
    assert receiver.ids == [lost["message_id"]]
    log = notifications.delivery(runtime.db, anna.identity, lost["message_id"])["tries"]
    assert [tried["outcome"] for tried in log] == ["failed", "abandoned"]
    late = runtime.db.call("finish_delivery", SERVICE, attempt_id=lost["attempt_id"], outcome="delivered")
    assert late["status"] == "sent"
    clock.advance(days=1)
    assert outbox.run(runtime)["failed"] == 0


def test_many_senders_send_each_message_once(
    make: Callable[..., Runtime],
    receiver: Receiver,
    anna: Person,
    hook: dict[str, Any],
    happens: Callable[..., None],
) -> None:
    """F3, L4: six at once."""
    for number in range(30):
        happens(str(number))
    with ThreadPoolExecutor(6) as processes:
        counts = list(processes.map(outbox.run, [make() for _ in range(6)]))
    assert sum(count["delivered"] for count in counts) <= 30
    outbox.run(make())
    for _ in range(5):
        outbox.run(make())
    assert len(receiver.got) == 30 and len(set(receiver.ids)) == 30


def test_a_slow_receiver_keeps_nobody_waiting(
    runtime: Runtime, receiver: Receiver, anna: Person, person: Callable[..., Person], hook: dict[str, Any],
    happens: Callable[..., None],
) -> None:  # fmt: skip
    """F3: at most five messages at once for one receiver, however many wait for it."""
    for number in range(20):
        happens(str(number))
    ben = person()
    ben.call("set_email_choices", choices={"debt": False})
    notifications.add_webhook(runtime, ben.identity, "his", receiver.url)
    happens("1", somebody=ben)
    claimed = runtime.db.call("claim_deliveries", SERVICE, limit=10)["items"]
    assert sorted(item["account_id"] for item in claimed) == [anna.account_id] * 5 + [ben.account_id]


def test_a_receiver_that_fails_for_a_day_is_switched_off_and_its_owner_told(
    clock: Clock,
    runtime: Runtime,
    receiver: Receiver,
    anna: Person,
    hook: dict[str, Any],
    happens: Callable[..., None],
) -> None:
    """F3: twenty failures in a row over a day; what waited is kept for sending by hand; a success in between begins anew."""
    receiver.status = 500
    for number in range(5):
        happens(str(number))
        outbox.run(runtime)
    receiver.status = 200
    happens("well")
    outbox.run(runtime)
    assert anna.call("notice_settings")["targets"][0]["failures"] == 0
    receiver.status = 503
    for number in range(19):
        happens(f"b{number}")
        outbox.run(runtime)
    clock.advance(hours=25)
    assert anna.call("notice_settings")["targets"][0]["is_on"]
    outbox.run(runtime)
    (target,) = anna.call("notice_settings")["targets"]
    assert not target["is_on"] and "in a row" in target["off_reason"]
    assert anna.call("alerts")["items"][0]["kind"] == "webhook_disabled"
    assert {status for _, status, _ in state(anna)} == {"sent", "not_sent"}
    before = len(receiver.got)
    happens("unheard")
    outbox.run(runtime)
    held = anna.call("deliveries", status="not_sent")["items"][0]["message_id"]
    assert isinstance(refused(lambda: anna.call("resend_delivery", message_id=held)), Conflict)
    assert len(receiver.got) == before
    receiver.status = 200
    notifications.change_target(runtime.db, anna.identity, target["target_id"], is_on=True)
    anna.call("resend_delivery", message_id=held)
    assert outbox.run(runtime)["delivered"] == 1


def test_a_receiver_that_is_gone_is_switched_off_at_once(
    runtime: Runtime, receiver: Receiver, anna: Person, hook: dict[str, Any], happens: Callable[..., None]
) -> None:
    """F3: it answered 410."""
    receiver.status = 410
    happens("1")
    assert outbox.run(runtime)["rejected"] == 1
    (target,) = anna.call("notice_settings")["targets"]
    assert not target["is_on"] and "410" in target["off_reason"]


def test_a_private_address_is_refused_at_delivery_too(
    make: Callable[..., Runtime],
    receiver: Receiver,
    anna: Person,
    happens: Callable[..., None],
    runtime: Runtime,
) -> None:
    """F3: whatever stands in the database."""
    guarded = make(webhook_allow_private=False)
    with pytest.raises(InvalidRequest, match="private network"):
        notifications.add_webhook(guarded, anna.identity, "ours", receiver.url)
    sealed = guarded.seal.close("whsec_" + "A" * 44)
    for address in (receiver.url, "file:///etc/passwd", "http://metadata"):
        anna.call("add_notice_target", channel="webhook", name="x", address=address, sealed=sealed)
    happens("1")
    outbox.run(guarded)
    assert receiver.got == []
    assert {status for _, status, _ in state(anna)} == {"waiting", "gave_up"}


def test_test_messages_arrive_and_have_an_end(
    runtime: Runtime, receiver: Receiver, anna: Person, hook: dict[str, Any], clock: Clock
) -> None:
    """F3: ten an hour."""
    for _ in range(10):
        notifications.send_test(runtime.db, anna.identity, target_id=hook["target_id"])
    with pytest.raises(LimitReached):
        notifications.send_test(runtime.db, anna.identity)
    for _ in range(2):
        outbox.run(runtime)
    assert len(receiver.got) == 10
    assert json.loads(receiver.got[0][1])["type"] == "credits.test"
    assert anna.call("alerts")["items"] == []
    clock.advance(hours=1, seconds=1)
    notifications.send_test(runtime.db, anna.identity)


CHATS = [
    ("https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX", "Slack"),
    ("https://discord.com/api/webhooks/123456789012345678/abcdefghijklmnopqrstuvwxyz", "Discord"),
    ("tgram://123456789:abcdefg_hijklmnop/12315544/", "Telegram"),
    ("https://chat.googleapis.com/v1/spaces/AAA/messages?key=kkkkkk&token=tttttt", "Google Chat"),
]
NO_CHATS = [
    "", "x", "file:///etc/passwd", "syslog://", "dbus://", "windows://", "macosx://", "script:///bin/sh", "json://127.0.0.1",
    "xml://10.0.0.1", "form://h", "mailto://a:b@c.test", "mmost://10.0.0.1/token", "ntfy://127.0.0.1/t", "matrix://h",
    "slack://T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX?template=/etc/passwd",
    "workflows://127.0.0.1/a/b", "https://prod-1.westus.logic.azure.com.evil.test/workflows/a/triggers/manual/paths/invoke?sig=x",
    "tgram://123456789:abcdefg_hijklmnop/12315544/\r\nX", "https://example.com/", "gchat://", "slack://" + "x" * 3000,
]  # fmt: skip


@pytest.mark.parametrize(("address", "service"), CHATS)
def test_chat_services_are_taken_and_shown_without_their_secrets(address: str, service: str) -> None:
    """F2: the address is a secret."""
    name, shown = chat.check(address, allow_private=False)
    assert name == service
    assert not any(secret in shown for secret in ("XXXXXXXX", "abcdefg", "kkkkkk", "tttttt", "?"))


@pytest.mark.parametrize("address", NO_CHATS)
def test_other_addresses_are_no_chats(address: str) -> None:
    """F2: no files, commands, hosts of one's own, nor options that read files."""
    with pytest.raises(InvalidRequest):
        chat.check(address, allow_private=False)


def test_a_chat_message_arrives(
    runtime: Runtime, receiver: Receiver, anna: Person, buy: Call, caplog: pytest.LogCaptureFixture
) -> None:
    """F2: through Apprise, at a server of one's own where internal addresses are allowed; the token is in no log."""
    anna.call("set_email_choices", choices={"purchase_credited": False})
    host = receiver.url.removeprefix("http://").partition("/")[0]
    made = notifications.add_chat(runtime, anna.identity, "", f"mmost://{host}/0123456789abcdefgehim")
    assert made["name"] == "Mattermost" and "0123456789abcdefgehim" not in made["address"]
    with caplog.at_level("DEBUG"):
        buy(anna, "usd_20")
        assert outbox.run(runtime)["delivered"] == 1
    assert "$20.00" in receiver.got[0][1].decode() and BASE in receiver.got[0][1].decode()
    assert "0123456789abcdefgehim" not in caplog.text
    receiver.status = 500
    notifications.send_test(runtime.db, anna.identity, target_id=made["target_id"])
    assert outbox.run(runtime)["failed"] == 1


def test_nothing_of_a_claim_is_lost_when_finishing_twice(
    runtime: Runtime, receiver: Receiver, anna: Person, hook: dict[str, Any], happens: Callable[..., None]
) -> None:
    """F3: an attempt counts once, whatever is said of it later."""
    happens("1")
    (item,) = runtime.db.call("claim_deliveries", SERVICE)["items"]
    say = {"attempt_id": item["attempt_id"]}
    assert runtime.db.call("finish_delivery", SERVICE, outcome="delivered", **say)["status"] == "sent"
    assert runtime.db.call("finish_delivery", SERVICE, outcome="failed", **say)["status"] == "sent"
    assert anna.call("notice_settings")["targets"][0]["failures"] == 0


def test_a_receiver_that_does_not_answer_is_a_failure(
    runtime: Runtime, receiver: Receiver, anna: Person, hook: dict[str, Any], happens: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """F3: after the deadline; in the log as such."""
    monkeypatch.setattr("credits_core.outside.DEADLINE_SECONDS", 0.3)
    receiver.hold = threading.Event()
    happens("1")
    assert outbox.run(runtime)["failed"] == 1
    receiver.hold.set()
    ((_, _, reason),) = state(anna)
    assert "No answer" in str(reason)
