"""What only tells of the past is pruned when its time is over (F2, F3); nothing that has work ahead, and nothing happens twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from credits_core import errors, retention
from credits_core.db.psycopg_transport import PsycopgDatabase
from tests.sql.conftest import Call, Clock, Person, Rows, refused

WEBHOOK = {"channel": "webhook", "name": "ours", "address": "https://example.test/hook", "sealed": "s"}


@pytest.fixture
def anna(clock: Clock, holder: Callable[..., Person]) -> Person:
    return holder("10.00")


@pytest.fixture
def tell(owner_sql: Callable[..., Rows]) -> Call:
    """`tell(anna, "debt", "this one")`: a notice, once for what it is about."""
    return lambda somebody, kind, once=None: owner_sql(
        "select credits._tell(%s, %s, '{}', %s)::text as told", somebody.account_id, kind, once
    )


@pytest.fixture
def send(service: Call) -> Call:
    """`send("delivered")`: hand out what is due, and say what became of it."""

    def run(outcome: str = "delivered") -> int:
        items = service("claim_deliveries")["items"]
        for item in items:
            service("finish_delivery", attempt_id=item["attempt_id"], outcome=outcome, error="away")
        return len(items)

    return run


def outbox(somebody: Person) -> list[str]:
    return [item["status"] for item in somebody.call("deliveries")["items"]]


def test_messages_go_when_their_time_is_over_with_their_attempts(
    anna: Person, tell: Call, send: Call, service: Call, clock: Clock, owner_sql: Callable[..., Rows]
) -> None:
    """F2, F3: ninety days after the end of the last attempt, not of the first; the notice in the app stays."""
    tell(anna, "debt")
    assert send("failed") == 1
    clock.advance(minutes=1)
    assert send() == 1
    clock.advance(days=90)
    assert service("prune") == {"messages": 0, "attempts": 0, "stripe_events": 0}
    clock.advance(seconds=1)
    (message,) = anna.call("deliveries")["items"]
    assert service("prune") == {"messages": 1, "attempts": 2, "stripe_events": 0}
    assert outbox(anna) == []
    assert [item["kind"] for item in anna.call("alerts")["items"]] == ["debt"]
    gone = refused(lambda: anna.call("resend_delivery", message_id=message["message_id"]))
    assert isinstance(gone, errors.NotFound)
    assert owner_sql("select count(*) as n from credits.delivery_attempts") == [{"n": 0}]


def test_what_was_told_once_is_not_told_again(
    anna: Person, tell: Call, send: Call, service: Call, clock: Clock
) -> None:
    """F1: the key of a notice stands in the notice, and that stays."""
    tell(anna, "debt", "this one")
    send()
    clock.advance(days=365)
    assert service("prune")["messages"] == 1
    tell(anna, "debt", "this one")
    assert (outbox(anna), send()) == ([], 0)
    tell(anna, "debt", "another")
    assert send() == 1


def test_what_waits_is_never_pruned_and_what_was_given_up_is(
    anna: Person, tell: Call, send: Call, service: Call, clock: Clock
) -> None:
    """F3: a sender that was off for a year finds its messages; one that is sent again by hand counts from then."""
    tell(anna, "debt")
    clock.advance(days=365)
    assert (service("prune")["messages"], outbox(anna)) == (0, ["waiting"])
    send()  # tried for too long by now: given up in the open
    assert outbox(anna) == ["gave_up"]
    clock.advance(days=89)
    (message,) = anna.call("deliveries")["items"]
    anna.call("resend_delivery", message_id=message["message_id"])
    clock.advance(days=2)
    assert (service("prune")["messages"], outbox(anna)) == (0, ["waiting"])
    send("rejected")
    clock.advance(days=91)
    assert (service("prune")["messages"], outbox(anna)) == (1, [])


def test_portions_are_bounded_and_the_job_takes_them_all(
    anna: Person,
    tell: Call,
    send: Call,
    service: Call,
    clock: Clock,
    database: PsycopgDatabase,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """F3: the oldest first; one run takes many portions, but not without end."""
    for _ in range(7):
        tell(anna, "debt")
        send()
        clock.advance(minutes=1)
    clock.advance(days=91)
    newest = anna.call("deliveries")["items"][:4]
    assert service("prune", limit=3)["messages"] == 3
    assert anna.call("deliveries")["items"] == newest
    monkeypatch.setattr(retention, "PORTION", 1)
    monkeypatch.setattr(retention, "MOST_PORTIONS", 3)
    assert retention.prune(database) == {"messages": 3, "attempts": 3, "stripe_events": 0}
    assert retention.prune(database)["messages"] == 1
    assert isinstance(refused(lambda: service("prune", limit=0)), errors.InvalidRequest)


def event(service: Call, name: str, outcome: str | None = "processed") -> Any:
    said = {"id": name, "data": {"object": {"id": "ch_1", "payment_intent": "pi_1", "customer": "cus_1"}}}
    known = service(
        "record_stripe_event",
        event_id=name,
        type="charge.refunded",
        livemode=False,
        object_id="ch_1",
        payload=said,
    )
    if outcome:
        service("finish_stripe_event", event_id=name, outcome=outcome, error=None)
    return known


def test_an_event_keeps_its_id_when_its_payload_goes(
    service: Call, clock: Clock, person: Callable[..., Person]
) -> None:
    """A3, I7: sent once more after a year it is known as processed; the inbox says that its payload is gone."""
    event(service, "evt_1")
    event(service, "evt_ignored", "ignored")
    event(service, "evt_failed", "failed")
    event(service, "evt_waits", None)
    clock.advance(days=90, seconds=1)
    assert service("prune")["stripe_events"] == 2
    assert service("prune")["stripe_events"] == 0
    admin = person("admin")
    listed = {item["event_id"]: item["pruned_at"] for item in admin.call("stripe_events")["items"]}
    assert {name for name, pruned in listed.items() if pruned} == {"evt_1", "evt_ignored"} < set(listed)
    shown = admin.call("stripe_event", event_id="evt_1")
    assert shown["payload"] == {"data": {"object": {"payment_intent": "pi_1"}}}
    assert (
        admin.call("stripe_event", event_id="evt_failed")["payload"]["data"]["object"]["customer"] == "cus_1"
    )
    assert event(service, "evt_1", None) == {"new": False, "processed": True}
    again = refused(lambda: admin.call("reopen_stripe_event", event_id="evt_1"))
    assert isinstance(again, errors.Conflict) and "no longer kept" in again.message
    admin.call("reopen_stripe_event", event_id="evt_failed")


def test_a_payment_still_knows_its_pruned_events(
    service: Call, clock: Clock, holder: Callable[..., Person], buy: Call, owner_sql: Callable[..., Rows]
) -> None:
    """I7: by the payment that the event named."""
    bought = buy(holder(), "usd_5")
    owner_sql("update credits.purchases set payment_intent_id = 'pi_1' where id = %s", bought["purchase_id"])
    event(service, "evt_1")
    clock.advance(days=91)
    service("prune")
    (known,) = service("payment", purchase_id=bought["purchase_id"])["events"]
    assert (known["event_id"], known["outcome"]) == ("evt_1", "processed")


def test_days_are_a_setting_of_super_admins(
    anna: Person, tell: Call, send: Call, service: Call, clock: Clock, person: Callable[..., Person]
) -> None:
    """I4, I5: with a reason, in the audit trail, each kind apart, never so short that alerts lose their comparison."""
    boss, admin = person("super_admin"), person("admin")
    new = {"what": "messages", "days": 40, "reason": "agreed with the data protection officer"}
    assert isinstance(refused(lambda: admin.call("set_retention", **new)), errors.NotAllowed)
    assert isinstance(refused(lambda: anna.call("retention")), errors.NotAllowed)
    for wrong in ({"days": 34}, {"days": 3651}, {"days": None}, {"reason": " "}):
        no = refused(lambda wrong=wrong: boss.call("set_retention", **new | wrong))  # type: ignore[misc]
        assert isinstance(no, errors.InvalidRequest)
    assert isinstance(
        refused(lambda: boss.call("set_retention", **new | {"what": "ledger"})), errors.NotFound
    )
    tell(anna, "debt")
    send()
    event(service, "evt_1")
    boss.call("set_retention", **new)
    clock.advance(days=41)
    assert service("prune") == {"messages": 1, "attempts": 1, "stripe_events": 0}
    kept = {item["what"]: item["days"] for item in person("finance").call("retention")["items"]}
    assert kept == {"messages": 40, "stripe_events": 90}
    (row,) = admin.call("audit", action="set_retention")["items"]
    assert (row["detail"]["before"], row["detail"]["days"]) == (90, 40)
