"""Operations alerts reach the people who run this (F5): a real SMTP server takes them, each once; a broken one loses none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from credits_core import operations_telling
from credits_core.config import Settings
from credits_core.db.port import SERVICE
from credits_core.errors import ConfigError
from credits_core.runtime import Runtime
from tests.notices.conftest import Inbox


@pytest.fixture
def alert(runtime: Runtime) -> Callable[[str], None]:
    """`alert("poll")`: a job that failed three times, looked at."""

    def failing(job: str) -> None:
        for _ in range(3):
            runtime.db.call("claim_job", SERVICE, job=job, every_seconds=0, runner="r")
            runtime.db.call("finish_job", SERVICE, job=job, runner="r", outcome={}, error="Away.")
        runtime.db.call("detect_operations", SERVICE, jobs={"poll": 10, "holds": 10})

    return failing


@pytest.fixture
def told(runtime: Runtime) -> Runtime:
    return replace(runtime, settings=replace(runtime.settings, operations_email="ops@example.com"))


def test_an_alert_is_mailed_once_with_what_to_do(
    told: Runtime, alert: Callable[[str], None], inbox: Inbox
) -> None:
    assert operations_telling.tell(told) == {}
    alert("poll")
    assert operations_telling.tell(told) == {"told": 1}
    assert operations_telling.tell(told) == {}
    (sent,) = inbox.mails
    assert (sent["To"], sent["Subject"]) == ("ops@example.com", "Operations: job failing")
    assert b"Job poll has failed 3 times in a row: Away." in inbox.raw[0].replace(b"=\r\n", b"")
    alert("holds")
    assert operations_telling.tell(told) == {"told": 1}
    assert len(inbox.mails) == 2


def test_a_mail_server_that_refuses_loses_nothing(
    told: Runtime, alert: Callable[[str], None], inbox: Inbox
) -> None:
    alert("poll")
    inbox.answer = "451 Try again later"
    assert operations_telling.tell(told) == {"not_told": 1}
    inbox.answer = None
    assert operations_telling.tell(told) == {"told": 1}
    assert len(inbox.mails) == 1


def test_without_a_channel_alerts_wait_on_the_page(runtime: Runtime, alert: Callable[[str], None]) -> None:
    alert("poll")
    assert operations_telling.tell(runtime) == {}
    assert len(runtime.db.call("claim_operations_alerts", SERVICE)["items"]) == 1


def test_settings_that_cannot_work_are_refused_at_the_start() -> None:
    smtp = "smtp://127.0.0.1:25?from=credits@example.com"
    for environ, says in [
        ({"OPERATIONS_EMAIL": "nobody", "SMTP_URL": smtp}, "not an e-mail address"),
        ({"OPERATIONS_EMAIL": "ops@example.com"}, "SMTP_URL"),
        ({"OPERATIONS_CHAT": "general"}, "not the address of a chat room"),
    ]:
        with pytest.raises(ConfigError, match=says):
            Settings.from_env(environ)
    assert Settings.from_env({"OPERATIONS_EMAIL": "ops@example.com", "SMTP_URL": smtp}).operations_email
