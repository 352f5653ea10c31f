"""What is told and when (F1 to F4): in the transaction of what happened, once, over the channels that are on for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from credits_core import errors
from credits_core.units import parse_credits as micros
from tests.sql.conftest import Call, Clock, Person, Rows, new_key, paid, refused


@pytest.fixture
def anna(clock: Clock, person: Callable[..., Person]) -> Person:
    return person()


def told(somebody: Person) -> list[str]:
    """Kinds of the notices in the app, oldest first."""
    return [item["kind"] for item in somebody.call("alerts", limit=500)["items"]][::-1]


def sent(somebody: Person, **only: object) -> list[tuple[str, str]]:
    """Channel and kind of the messages in the outbox, oldest first."""
    items = somebody.call("deliveries", limit=500, **only)["items"][::-1]
    return [(item["channel"], item["kind"]) for item in items]


def webhook(somebody: Person, **more: object) -> dict[str, Any]:
    made: dict[str, Any] = somebody.call(
        "add_notice_target",
        channel="webhook",
        name="ours",
        address="https://hooks.example.test/credits",
        sealed="sealed",
        **more,
    )
    return made


def test_a_purchase_is_confirmed_once(anna: Person, buy: Call, service: Call) -> None:
    """F2: with what was paid and what it gave; a second look at Stripe tells nothing more."""
    done = buy(anna, "usd_20")
    service("fulfill_purchase", session=paid(done))
    assert told(anna) == ["purchase_credited"]
    assert sent(anna) == [("email", "purchase_credited")]
    (alert,) = anna.call("alerts")["items"]
    expected = {"amount_cents": 2000, "currency": "usd", "credits_micros": micros("20"), "bonus_micros": 0}
    assert expected.items() <= alert["detail"].items()


def test_a_purchase_that_does_not_match_is_told_to_be_under_review(anna: Person, service: Call) -> None:
    """F2, A3: the money came; its owner must not wonder."""
    made = anna.call("create_purchase", idempotency_key=new_key(), livemode=False, package="usd_5")
    opened = service("open_purchase", purchase_id=made["purchase_id"], session_id="cs_test_r")
    service("fulfill_purchase", session=paid(opened, amount_subtotal=1))
    assert told(anna) == ["purchase_in_review"]


def test_a_payment_that_fails_after_its_owner_left_is_told(anna: Person, service: Call) -> None:
    """F2: a bank debit under way that does not come; what fails before their eyes, or is left, is not news."""
    left, debit = (
        anna.call("create_purchase", idempotency_key=new_key(), livemode=False, package="usd_5")
        for _ in range(2)
    )
    service("open_purchase", purchase_id=left["purchase_id"], session_id="cs_test_l")
    service("fail_purchase", purchase_id=left["purchase_id"], status="expired")
    assert told(anna) == []
    opened = service("open_purchase", purchase_id=debit["purchase_id"], session_id="cs_test_d")
    service("fulfill_purchase", session=paid(opened, payment_status="unpaid"))
    assert told(anna) == []
    for _ in range(2):
        service(
            "fail_purchase", purchase_id=debit["purchase_id"], status="failed", reason="Too little money."
        )
    assert told(anna) == ["payment_failed"]
    assert anna.call("alerts")["items"][0]["detail"]["reason"] == "Too little money."


def test_a_refund_is_told_when_the_money_is_on_its_way(
    anna: Person, buy: Call, service: Call, person: Callable[..., Person]
) -> None:
    """F2, A8: ours when Stripe confirms it, and one that was made at Stripe; each once."""
    bought = buy(anna, "usd_20")
    wish = {"purchase_id": bought["purchase_id"], "reason": "asked for it", "amount_cents": 500}
    refund = person("admin").call("request_refund", idempotency_key="r", **wish)
    assert told(anna) == ["purchase_credited"]
    for _ in range(2):
        service("record_refund", refund_id=refund["refund_id"], status="succeeded", stripe_refund_id="re_1")
    assert told(anna) == ["purchase_credited", "refund_succeeded"]
    theirs = {"id": "re_2", "amount_cents": 300, "status": "succeeded", "reason": None, "refund_id": None}
    for _ in range(2):
        service("converge_purchase", purchase_id=bought["purchase_id"], totals={"refunds": [theirs]})
    assert told(anna) == ["purchase_credited", "refund_succeeded", "refund_succeeded"]
    amounts = [item["detail"].get("amount_cents") for item in anna.call("alerts")["items"]]
    assert amounts == [300, 500, 2000]


def test_the_ladder_before_credits_expire(
    clock: Clock, anna: Person, give: Call, service: Call, grants: Call, person: Callable[..., Person]
) -> None:
    """F4: 30, 7 and 1 days before, each once, with what is left then; the amounts of an account together; anew when
    what is left is given a later end."""

    def tell() -> list[tuple[int, int]]:
        before = len(told(anna))
        service("tell_expiring")
        assert service("tell_expiring") == {"alerts": 0}
        items = anna.call("alerts", limit=500)["items"][::-1][before:]
        return [(item["detail"]["days"], item["detail"]["amount_micros"]) for item in items]

    give(anna, "3.00", expires_at=clock.now + timedelta(days=40))
    give(anna, "2.00", expires_at=clock.now + timedelta(days=40, hours=2))
    give(anna, "9.00")
    assert tell() == []
    clock.advance(days=10, hours=3)
    assert tell() == [(30, micros("5"))]
    anna.use("call", 600)  # 1.50 of the ones that expire soonest
    clock.advance(days=23)
    assert tell() == [(7, micros("3.50"))]
    clock.advance(days=5)
    assert tell() == []
    clock.advance(days=1)
    assert tell() == [(1, micros("3.50"))]
    last = grants(anna)[1]
    assert last["remaining_micros"] == micros("2")
    later = {"expires_at": clock.now + timedelta(days=20), "reason": "asked for it", "idempotency_key": "x"}
    person("admin").call("extend_grant", grant_id=last["id"], **later)
    assert tell() == [(30, micros("2"))]
    clock.advance(days=2)
    service("expire_grants")
    assert tell() == []
    clock.advance(days=17, hours=12)  # both steps were passed: the nearest is told
    assert tell() == [(1, micros("2"))]


def test_who_has_spent_what_expires_hears_nothing(
    clock: Clock, anna: Person, give: Call, service: Call
) -> None:
    """F4: nothing is at risk."""
    give(anna, "1.50", expires_at=clock.now + timedelta(days=5))
    give(anna, "5.00")
    anna.use("call", 600)
    service("tell_expiring")
    assert told(anna) == []


def test_a_call_that_must_end_is_told_to_the_calling_system(clock: Clock, anna: Person, give: Call) -> None:
    """D5, F3: over its webhook, once each for the last slice and the end, with what the system knows the call by; no e-mail,
    and nothing unread for people."""
    give(anna, "0.30")
    webhook(anna, kinds=["call_ending"])
    call = anna.call("start_call", operation="call", idempotency_key="c", metadata={"sid": "CA1"})
    for seconds, state in [(10, "low"), (70, "ending"), (75, "ending"), (120, "end"), (121, "end")]:
        at = clock.now + timedelta(seconds=seconds)
        assert (seconds, anna.call("heartbeat", call_id=call["call_id"], at=at)["status"]) == (seconds, state)
    assert sent(anna) == [("webhook", "call_ending")] * 2
    items = anna.call("deliveries")["items"]
    assert [item["detail"]["status"] for item in items] == ["end", "ending"]
    assert items[0]["detail"]["metadata"] == {"sid": "CA1"}
    assert anna.call("unread_alerts") == {"unread": 0}
    give(anna, "0.15")  # it goes on: its end is told again
    for _ in range(2):
        again = anna.call("heartbeat", call_id=call["call_id"], at=clock.now + timedelta(seconds=125))
        assert again["status"] == "ending"
    assert len(sent(anna)) == 3


def test_each_channel_gets_what_is_chosen_for_it(
    anna: Person, buy: Call, person: Callable[..., Person]
) -> None:
    """F2: e-mail by kind, each target by its kinds; a target that is off gets nothing; other accounts' targets neither."""
    everything = webhook(anna, idempotency_key="a")
    webhook(anna, kinds=["debt"])
    off = webhook(anna)
    anna.call("change_notice_target", target_id=off["target_id"], is_on=False)
    webhook(person())
    buy(anna, "usd_5")
    assert sent(anna) == [("email", "purchase_credited"), ("webhook", "purchase_credited")]
    assert anna.call("deliveries")["items"][0]["target_id"] == everything["target_id"]
    chosen = anna.call("set_email_choices", choices={"purchase_credited": False, "call_ending": True})
    emails = {kind["kind"]: kind["email"] for kind in chosen["kinds"]}
    assert (emails["purchase_credited"], emails["call_ending"], emails["debt"]) == (False, True, True)
    anna.call("remove_notice_target", target_id=everything["target_id"])
    buy(anna, "usd_5")
    assert sent(anna, status="waiting") == [("email", "purchase_credited")]
    assert told(anna) == ["purchase_credited"] * 2


def test_choices_that_make_no_sense_are_refused(anna: Person) -> None:
    """F2: with a sentence, and nothing changes."""
    for wrong in ({"nothing": True}, {"debt": "yes"}, {"debt": None}, [], "debt", 1):
        assert isinstance(
            refused(lambda w=wrong: anna.call("set_email_choices", choices=w)), errors.InvalidRequest
        )
    for wrong in (["nothing"], ["debt", "nothing"], ["test"], {}, "debt"):
        assert isinstance(refused(lambda w=wrong: webhook(anna, kinds=w)), errors.InvalidRequest)
    for change in ({"name": ""}, {"name": "x" * 81}, {"channel": "pigeon"}, {"address": ""}, {"sealed": ""}):
        more = {"channel": "webhook", "name": "n", "address": "https://a.test", "sealed": "s"} | change
        assert isinstance(refused(lambda m=more: anna.call("add_notice_target", **m)), errors.InvalidRequest)
    assert anna.call("notice_settings")["targets"] == []


def test_ten_of_each_and_one_for_each_key(anna: Person) -> None:
    """F3: the same key again answers the same webhook, and says that its secret was shown."""
    first = webhook(anna, idempotency_key="k")
    again = webhook(anna, idempotency_key="k")
    assert (first["replayed"], again["replayed"]) == (False, True)
    assert again["target_id"] == first["target_id"]
    other = refused(lambda: webhook(anna, idempotency_key="k", kinds=["debt"]))
    assert isinstance(other, errors.IdempotencyKeyReused)
    for _ in range(9):
        webhook(anna)
    assert isinstance(refused(lambda: webhook(anna)), errors.LimitReached)


def test_others_reach_no_settings_and_no_deliveries(
    anna: Person, person: Callable[..., Person], buy: Call
) -> None:
    """K1: the same answer for what is another's and what is not there; secrets to nobody, not even staff."""
    target = webhook(anna)["target_id"]
    buy(anna, "usd_5")
    message = anna.call("deliveries")["items"][0]["message_id"]
    ben, finance, admin = person(), person("finance"), person("admin")
    for somebody in (ben, finance):
        for call, more in [
            ("change_notice_target", {"target_id": target, "is_on": False}),
            ("rotate_target_secret", {"target_id": target, "sealed": "mine"}),
            ("remove_notice_target", {"target_id": target}),
            ("send_test_notice", {"target_id": target}),
            ("resend_delivery", {"message_id": message}),
        ]:
            assert isinstance(refused(lambda s=somebody, c=call, m=more: s.call(c, **m)), errors.NotFound)
    assert isinstance(refused(lambda: ben.call("delivery", message_id=message)), errors.NotFound)
    assert finance.call("delivery", message_id=message)["message_id"] == message
    for somebody in (anna, admin):
        found = somebody.call("notice_settings", account_id=anna.account_id)
        assert "sealed" not in str(found)
    assert isinstance(refused(lambda: anna.call("claim_deliveries")), errors.CreditsError)


def test_one_notice_or_all_of_them_are_read(anna: Person, buy: Call, owner_sql: Callable[..., Rows]) -> None:
    """F2: the bell counts what is unread."""
    for _ in range(3):
        buy(anna, "usd_5")
    assert anna.call("unread_alerts") == {"unread": 3}
    newest = anna.call("alerts")["items"][0]["alert_id"]
    assert anna.call("mark_alerts_read", alert_id=newest) == {"read": 1}
    assert anna.call("unread_alerts") == {"unread": 2}
    assert anna.call("mark_alerts_read") == {"read": 2}
    (count,) = owner_sql("select count(*) as n from credits.alerts where read_at is null")
    assert count == {"n": 0}
