"""The whole program: somebody buys, and its own jobs tell the mail server and the buyer's system (F2, F3, L4)."""

from __future__ import annotations

from pathlib import Path

from standardwebhooks import Webhook

from tests.notices.conftest import Inbox, Receiver
from tests.program import Program

SECONDS = 60


def test_a_purchase_is_told_by_the_running_program(tmp_path: Path, inbox: Inbox, receiver: Receiver) -> None:
    """By e-mail and webhook, each once; the secrets are in no log."""
    mail_server = f"smtp://127.0.0.1:{inbox.port}?from=credits@example.test"
    program = Program(tmp_path, SMTP_URL=mail_server, WEBHOOK_ALLOW_PRIVATE="1")
    try:
        with program.api() as api:
            hook = api.post("webhooks", json={"name": "Ours", "url": receiver.url}).json()
            bought = api.post("checkout", json={"package": "usd_10"}).json()
            program.pay(bought["session_id"])
            assert (
                api.get("success", params={"session_id": bought["session_id"]}).json()["status"] == "credited"
            )
            assert inbox.arrived.wait(SECONDS) and receiver.arrived.wait(SECONDS), program.said()
        program.stop()
    finally:
        program.close()
    ((headers, body),) = receiver.got
    told = Webhook(hook["secret"]).verify(body, headers)
    assert (told["type"], told["data"]["credits_micros"]) == ("credits.purchase_credited", 10_000_000)
    (mail,) = inbox.mails
    assert (mail["to"], mail["subject"]) == ("holder@demo.test", "10.00 credits are in your account")
    assert hook["secret"] not in program.said()
