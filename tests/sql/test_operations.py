"""Operations alerts (F5): opened once by each condition, kept up to date, closed by themselves; and the webhook inbox (I7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from credits_core import errors
from tests.sql.conftest import Call, Clock, Person, Rows, new_key

JOBS = {"poll": 10, "verify": 3600}


@pytest.fixture
def look(service: Call, clock: Clock) -> Callable[[], dict[str, dict[str, Any]]]:
    """Detects now; answers the open alerts by kind."""

    def detect() -> dict[str, dict[str, Any]]:
        service("detect_operations", jobs=JOBS)
        return {alert["kind"]: alert for alert in service("operations_alerts")["items"]}

    return detect


Look = Callable[[], dict[str, dict[str, Any]]]


def run_job(service: Call, job: str, error: str | None = None, outcome: Any = None) -> None:
    service("claim_job", job=job, every_seconds=0, runner="r")
    service("finish_job", job=job, runner="r", outcome=outcome or {}, error=error)


def run_all(service: Call) -> None:
    for job, every in JOBS.items():
        service("claim_job", job=job, every_seconds=every, runner="r")
        service("finish_job", job=job, runner="r", outcome={})


def test_all_is_well(service: Call, look: Look) -> None:
    run_all(service)
    assert look() == {}


def test_a_job_that_does_not_run_is_told_once_and_closes_when_it_runs_again(
    service: Call, clock: Clock, look: Look
) -> None:
    run_all(service)
    clock.advance(minutes=4)
    assert look() == {}  # quick jobs get five minutes
    clock.advance(minutes=2)
    first = look()["job_late"]
    assert (first["about"], first["evidence"]["every_seconds"]) == ("poll", 10)
    clock.advance(minutes=1)
    assert look()["job_late"]["alert_id"] == first["alert_id"]
    run_all(service)
    assert look() == {}
    (over,) = service("operations_alerts", open_only=False)["items"]
    assert over["resolved_at"] is not None


def test_a_job_that_never_ran_counts_from_the_first_look(service: Call, clock: Clock, look: Look) -> None:
    assert look() == {}
    clock.advance(minutes=6)
    assert look()["job_late"]["about"] == "poll"
    clock.advance(hours=6)
    service("detect_operations", jobs=JOBS)
    assert {alert["about"] for alert in service("operations_alerts")["items"]} == {"poll", "verify"}


def test_a_job_that_is_running_is_not_late(service: Call, clock: Clock, look: Look) -> None:
    run_all(service)
    clock.advance(minutes=20)
    service("claim_job", job="poll", every_seconds=10, runner="r", lease_seconds=600)
    assert look() == {}


def test_three_failures_in_a_row_are_told_and_one_success_ends_it(service: Call, look: Look) -> None:
    run_all(service)
    for _ in range(2):
        run_job(service, "poll", "Stripe was away.")
    assert look() == {}
    run_job(service, "poll", "Stripe was away.")
    assert "Stripe was away." in look()["job_failing"]["sentence"]
    run_job(service, "poll")
    assert look() == {}


def test_a_ledger_difference_is_told_with_what_was_found(service: Call, look: Look) -> None:
    run_all(service)
    found = {"differences": [{"account_id": 7, "what": "posted", "expected_micros": 1, "found_micros": 2}]}
    for _ in range(3):
        run_job(service, "verify", "The ledger check found 1 differences.", found)
    alerts = look()
    assert set(alerts) == {"ledger_difference"}
    assert alerts["ledger_difference"]["evidence"]["differences"] == found["differences"]
    run_job(service, "verify", outcome={"differences": 0})
    assert look() == {}


def fail_payments(service: Call, count: int) -> None:
    for _ in range(count):
        event = {
            "event_id": new_key("evt"),
            "object_id": new_key("pi"),
            "type": "payment_intent.payment_failed",
        }
        service("record_stripe_event", livemode=False, payload={}, **event)
        service("finish_stripe_event", event_id=event["event_id"], outcome="processed")


@pytest.mark.parametrize(("failed", "told"), [(4, False), (5, True)])
def test_failing_payments_need_a_minimum_count(
    service: Call, look: Look, buy: Call, holder: Callable[..., Person], failed: int, told: bool
) -> None:
    run_all(service)
    for _ in range(3):
        buy(holder(), "usd_5")
    fail_payments(service, failed)
    assert ("payment_failures" in look()) is told


def test_failing_payments_are_measured_against_their_own_history(
    service: Call, clock: Clock, look: Look, buy: Call, holder: Callable[..., Person]
) -> None:
    """F5: half of the payments failing is nothing new here; nearly all is. The evidence says both rates."""
    anna = holder()
    for _ in range(5):
        buy(anna, "usd_5")
    fail_payments(service, 5)
    clock.advance(days=2)
    run_all(service)
    for _ in range(5):
        buy(anna, "usd_5")
    fail_payments(service, 6)
    assert "payment_failures" not in look()
    fail_payments(service, 60)
    told = look()["payment_failures"]
    assert told["evidence"]["failed"] == 66 and told["evidence"]["usual_failed"] == 5
    clock.advance(days=2)
    assert "payment_failures" not in look()


def test_messages_that_nobody_sends_are_told(
    service: Call, clock: Clock, look: Look, buy: Call, holder: Callable[..., Person]
) -> None:
    buy(holder(), "usd_5")  # its confirmation waits in the outbox
    run_all(service)
    assert look() == {}
    clock.advance(minutes=20)
    run_all(service)
    assert set(look()) == {"outbox_stuck"}


def test_the_same_payment_failing_five_times_counts_once(service: Call, look: Look) -> None:
    run_all(service)
    for number in range(6):
        service("record_stripe_event", event_id=f"evt_{number}", type="payment_intent.payment_failed", livemode=False,
                object_id="pi_same", payload={})  # fmt: skip
        service("finish_stripe_event", event_id=f"evt_{number}", outcome="processed")
    assert look() == {}


def test_held_referrals_wait_for_somebody(
    service: Call, look: Look, buy: Call, holder: Callable[..., Person], person: Callable[..., Person]
) -> None:
    """A13, F5: until the last of them is decided."""
    run_all(service)
    terms = {"referrer_micros": 1, "referee_micros": 1, "min_purchase_cents": 1, "open_days": 9}
    service("set_referral_program", on=True, total_rewards=0, **terms)
    anna, ben = holder(), holder()
    ben.call("claim_referral", code=anna.call("referral")["code"])
    assert look() == {}
    buy(ben, "usd_5")
    (alert,) = look().values()
    assert (alert["kind"], alert["evidence"]) == (
        "held_referrals",
        {"waiting": 1, "reasons": ["total_rewards"]},
    )
    (held,) = service("referrals", status="held")["items"]
    request = {"referral_id": held["referral_id"], "reason": "too many"}
    person("admin").call("decide_referral", approve=False, **request)
    assert look() == {}


def test_review_queue_and_webhook_failures(
    service: Call, look: Look, owner_sql: Callable[..., Rows], buy: Call, holder: Callable[..., Person]
) -> None:
    run_all(service)
    made = holder().call("create_purchase", idempotency_key="k", livemode=False, package="usd_5")
    owner_sql("update credits.purchases set status = 'review' where id = %s", made["purchase_id"])
    service("record_stripe_event", event_id="evt_1", type="x", livemode=False, payload={})
    service("finish_stripe_event", event_id="evt_1", outcome="failed", error="The database was away.")
    alerts = look()
    assert set(alerts) == {"review_queue", "webhook_failures"}
    assert alerts["webhook_failures"]["evidence"]["last_error"] == "The database was away."
    owner_sql("update credits.purchases set status = 'failed' where id = %s", made["purchase_id"])
    service("finish_stripe_event", event_id="evt_1", outcome="processed")
    assert look() == {}


def test_an_event_that_stays_unfinished_is_told(service: Call, clock: Clock, look: Look) -> None:
    service("record_stripe_event", event_id="evt_1", type="x", livemode=False, payload={})
    run_all(service)
    assert look() == {}
    clock.advance(minutes=20)
    run_all(service)
    assert look()["webhook_failures"]["evidence"]["unfinished"] == 1


def test_an_account_that_spends_many_times_its_usual_day(
    service: Call, clock: Clock, look: Look, holder: Callable[..., Person]
) -> None:
    """F5: against its own days; an account without a history is nothing unusual yet."""
    anna, ben = holder("1000"), holder("1000")
    for _ in range(6):
        anna.use("call", 60 * 40)  # 6 credits
        clock.advance(days=1)
    anna.use("call", 60 * 150)  # 28.50 in 24 hours: less than five times
    ben.use("call", 60 * 1900)
    service("rollup_usage")
    run_all(service)
    assert look() == {}
    anna.use("call", 60 * 60)
    service("rollup_usage")
    told = look()["unusual_usage"]
    assert (told["account_id"], told["evidence"]["used_micros"]) == (anna.account_id, 37_500_000)
    assert told["evidence"]["usual_day_micros"] == 6_000_000


def test_somebody_is_at_it_and_each_alert_is_handed_out_to_be_told_once(
    service: Call, clock: Clock, look: Look, person: Callable[..., Person], holder: Callable[..., Person]
) -> None:
    admin = person("admin")
    look()
    clock.advance(minutes=10)
    number = look()["job_late"]["alert_id"]
    for note in ("restarting it", "something else"):
        done = admin.call("acknowledge_operations_alert", alert_id=number, note=note)
        assert (done["note"], done["acknowledged_by"]) == ("restarting it", admin.identity.claims["sub"])
    assert [alert["alert_id"] for alert in service("claim_operations_alerts")["items"]] == [number]
    assert service("claim_operations_alerts")["items"] == []
    service("untell_operations", alert_ids=[number])
    assert len(service("claim_operations_alerts")["items"]) == 1
    with pytest.raises(errors.NotFound):
        admin.call("acknowledge_operations_alert", alert_id=99)
    for function, arguments in [
        ("operations_alerts", {}),
        ("acknowledge_operations_alert", {"alert_id": number}),
    ]:
        with pytest.raises(errors.NotAllowed):
            holder().call(function, **arguments)


# --- the webhook inbox and the system page -----------------------------------------------------------------------------


SECRETS = {
    "data": {
        "object": {"id": "pi_1", "client_secret": "pi_1_secret_abc", "note": "key sk_live_abc and whsec_xyz"}
    },
    "amount": 5,
}


def test_the_inbox_is_filtered_paged_and_shows_no_secret(
    service: Call, clock: Clock, person: Callable[..., Person]
) -> None:
    admin = person("admin")
    for number in range(5):
        kind = "charge.refunded" if number % 2 else "payment_intent.succeeded"
        service(
            "record_stripe_event",
            event_id=f"evt_{number}",
            type=kind,
            livemode=False,
            object_id=f"ch_{number}",
            payload=SECRETS,
        )
        clock.advance(seconds=1)
    service("finish_stripe_event", event_id="evt_0", outcome="failed", error="Away.")

    def ids(**filters: object) -> list[str]:
        return [event["event_id"] for event in admin.call("stripe_events", **filters)["items"]]

    assert ids() == ["evt_4", "evt_3", "evt_2", "evt_1", "evt_0"]
    assert ids(type="charge.refunded") == ["evt_3", "evt_1"]
    assert (ids(outcome="failed"), len(ids(outcome="waiting")), ids(search="ch_2")) == (
        ["evt_0"],
        4,
        ["evt_2"],
    )
    first = admin.call("stripe_events", limit=2)
    assert first["types"] == ["charge.refunded", "payment_intent.succeeded"]
    assert ids(limit=2, cursor=first["next_cursor"]) == ["evt_2", "evt_1"]
    for function in ("stripe_event", "reopen_stripe_event"):
        shown = admin.call(function, event_id="evt_1")["payload"]
        assert shown["amount"] == 5 and shown["data"]["object"]["id"] == "pi_1"
        assert not [secret for secret in ("pi_1_secret", "sk_live_abc", "whsec_xyz") if secret in str(shown)]
    with pytest.raises(errors.NotFound):
        admin.call("stripe_event", event_id="evt_99")
    with pytest.raises(errors.InvalidRequest):
        admin.call("stripe_events", cursor="evt_99")


@pytest.mark.parametrize("role", ["holder", "finance"])
def test_the_system_is_for_administrators(person: Callable[..., Person], role: str) -> None:
    somebody = person(role)
    for function, arguments in [
        ("system_status", {}), ("stripe_events", {}), ("stripe_event", {"event_id": "e"}), ("request_job", {"job": "poll"}),
        ("reopen_stripe_event", {"event_id": "e"}),
    ]:  # fmt: skip
        with pytest.raises(errors.NotAllowed):
            somebody.call(function, **arguments)


def test_the_status_counts_what_waits(
    service: Call, clock: Clock, person: Callable[..., Person], holder: Callable[..., Person]
) -> None:
    admin, anna = person("admin"), holder("10")
    anna.call("create_purchase", idempotency_key="k", livemode=False, package="usd_5")
    anna.call("place_hold", operation="call", quantity=60, idempotency_key="h")
    anna.use("call", 60)
    service("record_stripe_event", event_id="evt_1", type="x", livemode=False, payload={})
    status = admin.call("system_status")
    assert (status["purchases_waiting"], status["holds_open"], status["events_waiting"]) == (1, 1, 1)
    assert status["rollup_behind"] > 0
    assert status["last_verify"] is None and status["last_reconciliation"] is None
    assert status["database_bytes"] > 1_000_000 and status["postgres"]
