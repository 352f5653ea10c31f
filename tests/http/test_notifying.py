"""Notifications and webhooks over HTTP (F1 to F3): settings, secrets shown once, deliveries, bad input, other people's things."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from credits_core import outbox
from credits_core.runtime import Runtime
from tests.http.answers import Answers
from tests.http.conftest import FINANCE, HOLDER, Api, problem

PUBLIC = {"name": "Ours", "url": "https://8.8.8.8/hook"}
SLACK = "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX"


def about_notifying(holder: Api) -> Answers:
    """For a holder who adds a webhook and a chat, tests and removes them."""
    made = holder.post("webhooks", PUBLIC)
    chat = holder.post("chats", {"address": SLACK})
    target = f"notifications/targets/{made.json()['target_id']}"
    tested = holder.post("notifications/test", {"target_id": made.json()["target_id"]})
    message = f"notifications/deliveries/{tested.json()['message_id']}"
    return {
        ("GET", "/credits/notifications"): holder.get("notifications"),
        ("POST", "/credits/notifications/email"): holder.post(
            "notifications/email", {"emails": {"debt": False}}
        ),
        ("GET", "/credits/webhooks"): holder.get("webhooks"),
        ("POST", "/credits/webhooks"): made,
        ("POST", "/credits/chats"): chat,
        ("POST", "/credits/webhooks/{target_id}/rotate"): holder.post(
            f"webhooks/{made.json()['target_id']}/rotate"
        ),
        ("POST", "/credits/notifications/targets/{target_id}"): holder.post(target, {"name": "Dialer"}),
        ("POST", "/credits/notifications/test"): tested,
        ("GET", "/credits/notifications/deliveries"): holder.get("notifications/deliveries"),
        ("GET", "/credits/notifications/deliveries/{message_id}"): holder.get(message),
        ("POST", "/credits/notifications/deliveries/{message_id}/resend"): holder.post(f"{message}/resend"),
        ("DELETE", "/credits/notifications/targets/{target_id}"): holder.client.delete(
            f"/api/credits/{target}", headers=holder.headers
        ),
    }


@pytest.fixture
def nobody_is_called(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The internet is not there."""
    monkeypatch.setattr(
        "credits_core.outside.post", lambda *a, **k: (_ for _ in ()).throw(OSError("no internet"))
    )
    yield


def test_a_secret_is_shown_once(holder: Api) -> None:
    """F3: not by a repetition, not in any list."""
    made = holder.post("webhooks", PUBLIC, Idempotency_Key="w").json()
    assert made["secret"].startswith("whsec_") and made["idempotency_key"] == "w"
    again = holder.post("webhooks", PUBLIC, Idempotency_Key="w").json()
    assert (again["secret"], again["target_id"]) == (None, made["target_id"])
    problem(
        holder.post("webhooks", PUBLIC | {"name": "x"}, Idempotency_Key="w"), 409, "idempotency_key_reused"
    )
    for path in ("webhooks", "notifications", "notifications/deliveries"):
        assert "whsec_" not in holder.get(path).text and "sealed" not in holder.get(path).text
    other = holder.post(f"webhooks/{made['target_id']}/rotate", {"overlap_hours": 1}).json()
    assert other["secret"] not in (None, made["secret"]) and other["old_secret_until"]


def test_a_chat_is_shown_masked(holder: Api) -> None:
    """F2: and cannot be given a signing secret."""
    made = holder.post("chats", {"address": SLACK, "kinds": ["debt"]})
    assert made.status_code == 200 and "XXXXXX" not in made.text
    assert (made.json()["name"], made.json()["kinds"]) == ("Slack", ["debt"])
    problem(holder.post(f"webhooks/{made.json()['target_id']}/rotate"), 422, "invalid_request")


@pytest.mark.parametrize(
    "body",
    [
        {"url": "http://169.254.169.254/latest"}, {"url": "https://127.0.0.1/"}, {"url": "https://localhost/"},
        {"url": "https://[::ffff:10.0.0.1]/"}, {"url": "ftp://8.8.8.8/"}, {"url": "8.8.8.8"}, {"url": ""}, {"url": None},
        {"url": "https://user:pass@8.8.8.8/"}, {"url": 5}, {"name": ""}, {"name": "x" * 81}, {"kinds": ["nothing"]},
        {"kinds": "debt"}, {"kinds": ["debt"] * 51}, {"kinds": ["DROP TABLE"]}, {"more": 1},
    ],
)  # fmt: skip
def test_bad_webhooks_are_refused(holder: Api, body: dict[str, Any]) -> None:
    """F3: with a sentence."""
    problem(holder.post("webhooks", PUBLIC | body), 422, "invalid_request")
    assert holder.get("webhooks").json()["items"] == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("notifications/email", {"emails": {"nothing": True}}), ("notifications/email", {"emails": {"debt": "yes"}}),
        ("notifications/email", {}), ("chats", {"address": "file:///etc/passwd"}), ("chats", {"address": "json://127.0.0.1"}),
        ("webhooks/0/rotate", {}), ("webhooks/1/rotate", {"overlap_hours": 169}), ("notifications/test", {"target_id": 0}),
        ("notifications/deliveries/x/resend", None), ("notifications/targets/1", {"kinds": [1]}),
    ],
)  # fmt: skip
def test_bad_input_is_refused(holder: Api, path: str, body: Any) -> None:
    problem(holder.post(path, body), 422, "invalid_request")


def test_others_get_the_same_answer_as_for_what_is_not_there(
    holder: Api, admin: Api, api: Callable[[str | None], Api]
) -> None:
    """K1: read, changed, sent again, or tested by nobody but the owner and administrators."""
    made = holder.post("webhooks", PUBLIC).json()["target_id"]
    message = holder.post("notifications/test", {"target_id": made}).json()["message_id"]
    stranger = api(FINANCE)
    for target in (made, made + 99):
        problem(stranger.post(f"notifications/targets/{target}", {"is_on": False}), 404, "not_found")
        problem(stranger.post(f"webhooks/{target}/rotate"), 404, "not_found")
        problem(stranger.post("notifications/test", {"target_id": target}), 404, "not_found")
    for unknown in (message, "msg_" + "0" * 32):
        problem(stranger.post(f"notifications/deliveries/{unknown}/resend"), 404, "not_found")
    problem(stranger.post("webhooks", PUBLIC | {"account": HOLDER}), 403, "not_allowed")
    problem(api(None).get("notifications"), 401, "not_signed_in")
    assert admin.post(f"notifications/targets/{made}", {"is_on": False}).json()["is_on"] is False


def test_what_could_not_be_sent_is_listed_and_sent_again(
    holder: Api, runtime: Runtime, nobody_is_called: None
) -> None:
    """F3: with the reason, the attempts, and the same id."""
    made = holder.post("webhooks", PUBLIC).json()["target_id"]
    message = holder.post("notifications/test", {"target_id": made}).json()["message_id"]
    assert outbox.run(runtime)["failed"] == 1
    (listed,) = holder.get("notifications/deliveries", channel="webhook", status="waiting").json()["items"]
    assert (listed["message_id"], listed["attempts"]) == (message, 1)
    assert listed["reason"] and listed["next_at"] and listed["last"]["outcome"] == "failed"
    assert len(holder.get(f"notifications/deliveries/{message}").json()["tries"]) == 1
    assert holder.post(f"notifications/deliveries/{message}/resend").json()["status"] == "waiting"
    assert outbox.run(runtime)["failed"] == 1
    assert len(holder.get(f"notifications/deliveries/{message}").json()["tries"]) == 2
    assert holder.get("notifications/deliveries", channel="email").json()["items"] == []


def test_http_is_refused_with_a_live_key(
    holder: Api, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F3: in test mode it is taken, for trying out."""
    plain = {"name": "Ours", "url": "http://8.8.8.8/hook"}
    assert holder.post("webhooks", plain).status_code == 200
    monkeypatch.setattr(runtime, "settings", replace(runtime.settings, stripe_secret_key="sk_live_1"))
    problem(holder.post("webhooks", plain), 422, "invalid_request")
