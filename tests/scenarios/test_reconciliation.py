"""Our books against Stripe's (H5): a healthy world has no difference; each planted one is found, and nothing else."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from credits_core import errors, reconcile, subscriptions
from credits_core.db.port import SERVICE
from tests.scenarios.conftest import CARD, Buyer, World, micros, new_key

DAY = 86_400
Plant = Callable[[World, Buyer, Buyer], None]


def check(world: World, *, days: int = 9) -> dict[str, Any]:
    """One reconciliation of the last days."""
    now = datetime.now(UTC)
    asked = reconcile.start(
        world.db, SERVICE, now - timedelta(days=days), now, livemode=False, idempotency_key=new_key()
    )
    done = reconcile.run(world.db, world.stripe, reconciliation_id=asked["reconciliation_id"])
    assert done is not None and done["status"] == "finished"
    return done


def found(world: World, status: str = "open") -> list[dict[str, Any]]:
    return list(reconcile.differences(world.db, SERVICE, status=status)["items"])


def kinds(world: World) -> list[str]:
    return sorted(one["kind"] for one in found(world))


def ask_refund(world: World, admin: Buyer, bought: dict[str, Any], cents: int) -> str:
    body = {
        "purchase_id": bought["purchase_id"],
        "amount_cents": cents,
        "reason": "asked",
        "idempotency_key": new_key(),
    }
    refund: str = admin.post("admin/refunds", body)["refund_id"]
    return refund


@pytest.fixture
def busy(world: World, admin: Buyer) -> World:
    """Purchases, refunds of ours and of Stripe's dashboard, disputes won and lost, a declined card, and payouts."""
    anna, ben, cleo = (world.person() for _ in range(3))
    first, second, third = anna.buy(), ben.buy("popular"), cleo.buy("power")
    ask_refund(world, admin, first, 500)
    world.send_refunds()
    world.stripe.money.create_refund(world.charge(second), 1000, {}, "dashboard")
    lost = world.control(f"charges/{world.charge(third)}/dispute")["id"]
    won = world.control(f"charges/{world.charge(cleo.buy())}/dispute")["id"]
    world.control(f"disputes/{won}/win")
    world.follow()
    world.control(f"disputes/{lost}/lose")
    declined = anna.start()
    with pytest.raises(AssertionError, match="declined"):
        world.control(f"sessions/{declined['session_id']}/pay", card="4000000000000002")
    world.follow()
    return world


def days_ago(world: World, days: int) -> None:
    """Stripe's clock begins in the past, so that what takes days is over by now."""
    world.simulator.store.set_setting("clock_offset_seconds", -days * DAY)


def pay_out(world: World) -> str:
    """Everything that is there becomes available and goes to the bank."""
    world.control("clock", advance_seconds=2 * DAY + 60)
    payout: str = world.control("payouts/create")["id"]
    return payout


def test_a_healthy_world_has_no_difference_and_its_totals_add_up(busy: World) -> None:
    """H5: gross less refunds, disputes and fees is what was paid out and what will be."""
    done = check(busy)
    assert (done["found"], found(busy)) == (0, [])
    (total,) = done["totals"]
    entries = busy.at_stripe("balance_transaction")
    assert total["gross_cents"] == 2000 + 3500 + 15000 + 2000
    assert (total["refunds_cents"], total["disputes_cents"]) == (1500, 15000)
    assert total["fees_cents"] == sum(entry["fee"] for entry in entries)
    assert total["net_cents"] == sum(entry["net"] for entry in entries) == total["to_pay_out_cents"]
    assert (total["difference_cents"], total["others_cents"], total["paid_out_cents"]) == (0, 0, 0)


def test_payouts_and_what_is_still_to_come(world: World, anna: Buyer) -> None:
    days_ago(world, 5)
    anna.buy()
    pay_out(world)
    later = world.person().buy("popular")
    (total,) = check(world)["totals"]
    assert found(world) == []
    assert total["paid_out_cents"] == 2000 - 88
    assert total["to_pay_out_cents"] == 3500 - 132 == total["net_cents"] - total["paid_out_cents"]
    row = world.owner_sql(
        "select fee_cents, net_cents from credits.purchases where id = %s", later["purchase_id"]
    )
    assert row == [{"fee_cents": 132, "net_cents": 3368}]


def test_a_failed_payout_is_still_to_be_paid_out(world: World, anna: Buyer) -> None:
    days_ago(world, 5)
    anna.buy()
    world.control(f"payouts/{pay_out(world)}/fail")
    (total,) = check(world)["totals"]
    assert (total["paid_out_cents"], total["to_pay_out_cents"], found(world)) == (0, 1912, [])


def test_other_business_on_the_same_stripe_account_is_counted_apart(world: World, anna: Buyer) -> None:
    anna.buy()
    paid_intent(world, {"order": "a mug"})
    (total,) = check(world)["totals"]
    assert (total["gross_cents"], total["others_cents"], found(world)) == (4000, 2000, [])


def paid_intent(world: World, marks: dict[str, str], cents: int = 2000) -> str:
    params: Any = {"amount": cents, "currency": "usd", "metadata": marks}
    intent: str = world.stripe.call(lambda v1: v1.payment_intents.create(params)).id
    world.control(f"payment_intents/{intent}/pay", card=CARD)
    return intent


# --- planted differences -------------------------------------------------------------------------------------------


def paid_not_credited(world: World, anna: Buyer, admin: Buyer) -> None:
    opened = anna.start()
    world.control(f"sessions/{opened['session_id']}/pay", card=CARD)


def charge_missing(world: World, anna: Buyer, admin: Buyer) -> None:
    made = anna.start()
    session = {
        "session_id": made["session_id"], "purchase_id": made["purchase_id"], "status": "complete", "payment_status": "paid",
        "mode": "payment", "livemode": False, "currency": "usd", "amount_subtotal": 2000, "amount_total": 2000,
        "payment_intent_id": "pi_made_up",
    }  # fmt: skip
    assert world.db.call("fulfill_purchase", SERVICE, session=session)["status"] == "credited"


def amount_differs(world: World, anna: Buyer, admin: Buyer) -> None:
    bought = anna.buy()
    world.owner_sql(
        "update credits.purchases set amount_total_cents = 1999 where id = %s", bought["purchase_id"]
    )


def currency_differs(world: World, anna: Buyer, admin: Buyer) -> None:
    bought = anna.buy()
    world.owner_sql("update credits.purchases set currency = 'eur' where id = %s", bought["purchase_id"])


def refund_missing(world: World, anna: Buyer, admin: Buyer) -> None:
    world.stripe.money.create_refund(world.charge(anna.buy()), 400, {}, "dashboard")


def refund_unknown(world: World, anna: Buyer, admin: Buyer) -> None:
    refund = ask_refund(world, admin, anna.buy(), 500)
    world.db.call("claim_refunds", SERVICE)
    world.db.call(
        "record_refund", SERVICE, refund_id=refund, status="succeeded", stripe_refund_id="re_made_up"
    )


def refund_differs(world: World, anna: Buyer, admin: Buyer) -> None:
    """It failed at Stripe after it had succeeded, and nobody has told us."""
    ask_refund(world, admin, anna.buy(), 500)
    world.send_refunds()
    made, *_ = world.at_stripe("refund")
    world.control(f"refunds/{made['id']}/settle", outcome="fail")


def dispute_missing(world: World, anna: Buyer, admin: Buyer) -> None:
    world.control(f"charges/{world.charge(anna.buy())}/dispute")


def dispute_differs(world: World, anna: Buyer, admin: Buyer) -> None:
    dispute = world.control(f"charges/{world.charge(anna.buy())}/dispute")["id"]
    world.follow()
    world.control(f"disputes/{dispute}/win")


def dispute_unknown(world: World, anna: Buyer, admin: Buyer) -> None:
    bought = anna.buy()
    totals = {
        "disputes": [{"id": "du_made_up", "amount_cents": 2000, "status": "lost", "reason": "fraudulent"}]
    }
    world.db.call("converge_purchase", SERVICE, purchase_id=bought["purchase_id"], totals=totals)


def charged_twice(world: World, anna: Buyer, admin: Buyer) -> None:
    paid_intent(world, {"purchase_id": anna.buy()["purchase_id"], "type": "credit_purchase"})


def two_purchases(world: World, anna: Buyer, admin: Buyer) -> None:
    other = anna.start()
    world.control(f"charge/{world.charge(anna.buy())}/alter", metadata={"purchase_id": other["purchase_id"]})


def fee_missing(world: World, anna: Buyer, admin: Buyer) -> None:
    world.control(f"charge/{world.charge(anna.buy())}/alter", balance_transaction=None)


def fee_differs(world: World, anna: Buyer, admin: Buyer) -> None:
    anna.buy()
    entry, *_ = world.at_stripe("balance_transaction")  # the newest
    world.control(f"balance_transaction/{entry['id']}/alter", net=entry["net"] - 1)


def payout_differs(world: World, anna: Buyer, admin: Buyer) -> None:
    days_ago(world, 5)
    anna.buy()
    world.control(f"payout/{pay_out(world)}/alter", amount=1900)


def wrong_mode(world: World, anna: Buyer, admin: Buyer) -> None:
    world.control(f"charge/{world.charge(anna.buy())}/alter", livemode=True)


def payment_not_taken(world: World, anna: Buyer, admin: Buyer) -> None:
    """A subscription has renewed, and nobody has told us."""
    days_ago(world, 36)
    begun = anna.post("subscription", {"plan": "pro"})
    world.control(f"sessions/{begun['session_id']}/pay", card=CARD)
    subscriptions.arrive(world, anna.identity, begun["session_id"])
    world.control("clock", advance_seconds=31 * DAY + 3_700)


def unknown_charge(world: World, anna: Buyer, admin: Buyer) -> None:
    paid_intent(world, {"purchase_id": str(uuid.uuid4()), "type": "credit_purchase"})


PLANTED = [
    (paid_not_credited, 0, 2000), (charge_missing, 2000, 0), (amount_differs, 1999, 2000), (currency_differs, 2000, 2000),
    (refund_missing, 0, 400), (refund_unknown, 500, 0), (refund_differs, 500, 500), (dispute_missing, 0, 2000),
    (dispute_differs, 2000, 2000), (dispute_unknown, 2000, 0), (charged_twice, 0, 2000), (two_purchases, None, None),
    (fee_missing, 2000, None), (fee_differs, 1912, 1911), (payout_differs, 1912, 1900), (wrong_mode, None, None),
    (payment_not_taken, 0, 2900),
    (unknown_charge, 0, 2000),
]  # fmt: skip


@pytest.mark.parametrize(
    ("plant", "expected", "at_stripe"), PLANTED, ids=lambda one: getattr(one, "__name__", "")
)
def test_each_planted_difference_is_found_and_nothing_else(
    world: World, anna: Buyer, admin: Buyer, plant: Plant, expected: int | None, at_stripe: int | None
) -> None:
    """H5: among healthy purchases; a second run sees the same one again."""
    world.person().buy("popular")
    plant(world, anna, admin)
    assert check(world)["found"] == 1
    (one,) = found(world)
    assert one["kind"] == plant.__name__
    assert (one["expected_cents"], one["found_cents"]) == (expected, at_stripe)
    assert one["explanation"].endswith(".")
    again = check(world)
    (same,) = found(world)
    assert (same["difference_id"], same["last_seen_in"]) == (one["difference_id"], again["reconciliation_id"])


def test_all_planted_differences_at_once(world: World, admin: Buyer) -> None:
    """H5: those that listen to Stripe themselves come first, or they would mend the others."""
    plants = sorted(
        (plant for plant, *_ in PLANTED if plant not in (payout_differs, payment_not_taken)),
        key=lambda one: one is not dispute_differs,
    )
    for plant in plants:
        plant(world, world.person(), admin)
    check(world)
    assert kinds(world) == sorted(plant.__name__ for plant in plants)


# --- repairs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plant", "credits"),
    [
        (paid_not_credited, "500"),
        (payment_not_taken, "500"),
        (refund_missing, "400"),
        (refund_differs, "500"),
        (dispute_missing, "0"),
        (dispute_differs, "500"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_safe_repairs_bring_us_to_what_stripe_says_once(
    world: World, anna: Buyer, admin: Buyer, plant: Plant, credits: str
) -> None:
    plant(world, anna, admin)
    check(world)
    (one,) = found(world)
    assert one["repairable"]
    for _ in range(2):
        assert (
            reconcile.repair(world.db, world.stripe, admin.identity, one["difference_id"])["status"]
            == "repaired"
        )
        assert anna.available == micros(credits)
    assert check(world)["found"] == 0
    (kept,) = found(world, "repaired")
    assert kept["decided_by"] == admin.identity.claims["sub"]


@pytest.mark.parametrize("plant", [charge_missing, wrong_mode, unknown_charge], ids=lambda one: one.__name__)
def test_what_only_a_person_can_settle_is_not_repaired(
    world: World, anna: Buyer, admin: Buyer, plant: Plant
) -> None:
    plant(world, anna, admin)
    check(world)
    (one,) = found(world)
    with pytest.raises(errors.Conflict, match="cannot be repaired by itself"):
        reconcile.repair(world.db, world.stripe, admin.identity, one["difference_id"])
    assert reconcile.repair_all(world.db, world.stripe, SERVICE) == {"repaired": 0, "left": 0}


def test_a_payment_in_review_is_named_and_left_to_people(world: World, anna: Buyer, admin: Buyer) -> None:
    opened = anna.start()
    world.control(f"checkout.session/{opened['session_id']}/alter", amount_subtotal=1900, amount_total=1900)
    world.control(f"sessions/{opened['session_id']}/pay", card=CARD)
    world.poll()
    check(world)
    (one,) = found(world)
    assert (one["kind"], one["repairable"]) == ("paid_not_credited", False)
    assert "review" in one["explanation"]


def test_what_has_come_right_by_itself_closes(world: World, anna: Buyer, admin: Buyer) -> None:
    paid_not_credited(world, anna, admin)
    check(world)
    world.poll()
    assert check(world)["found"] == 0
    (kept,) = found(world, "repaired")
    assert kept["decided_by"] == "reconciliation"


def test_accepted_differences_stay_so_until_they_change(world: World, anna: Buyer, admin: Buyer) -> None:
    finance = world.person("finance")
    bought = anna.buy()
    world.owner_sql(
        "update credits.purchases set amount_total_cents = 1999 where id = %s", bought["purchase_id"]
    )
    check(world)
    (one,) = found(world)
    with pytest.raises(errors.InvalidRequest):
        reconcile.accept(world.db, finance.identity, one["difference_id"], "  ")
    for _ in range(2):
        accepted = reconcile.accept(world.db, finance.identity, one["difference_id"], "Rounded by hand")
        assert (accepted["status"], accepted["reason"]) == ("accepted", "Rounded by hand")
    assert check(world)["found"] == 0
    world.owner_sql(
        "update credits.purchases set amount_total_cents = 1998 where id = %s", bought["purchase_id"]
    )
    assert check(world)["found"] == 1
    with pytest.raises(errors.Conflict):
        reconcile.repair(world.db, world.stripe, admin.identity, found(world)[0]["difference_id"])


# --- runs ----------------------------------------------------------------------------------------------------------


def test_the_daily_run_is_made_once_a_day_and_goes_back_to_open_differences(
    world: World, anna: Buyer, admin: Buyer
) -> None:
    amount_differs(world, anna, admin)
    check(world)
    world.owner_sql(
        "update credits.reconciliation_differences set occurred_at = occurred_at - interval '60 days'"
    )
    daily = reconcile.run(world.db, world.stripe)
    assert daily is not None and daily["requested_by"] == "daily"
    assert reconcile.run(world.db, world.stripe) is None
    length = datetime.fromisoformat(daily["to"]) - datetime.fromisoformat(daily["from"])
    assert timedelta(days=59) < length < timedelta(days=61)


def test_only_one_runs_at_a_time_and_a_dead_worker_leaves_it_to_the_next(world: World, anna: Buyer) -> None:
    anna.buy()
    now = datetime.now(UTC)
    asked = reconcile.start(
        world.db, SERVICE, now - timedelta(days=1), now, livemode=False, idempotency_key="one"
    )
    with pytest.raises(errors.Conflict, match="running already"):
        reconcile.start(
            world.db, SERVICE, now - timedelta(days=2), now, livemode=False, idempotency_key="two"
        )
    world.db.call("claim_reconciliation", SERVICE, livemode=False)
    number = asked["reconciliation_id"]
    world.db.call("stage_reconciliation", SERVICE, reconciliation_id=number, kind="charge", items=[])
    assert reconcile.run(world.db, world.stripe, reconciliation_id=number) is None
    world.owner_sql("update credits.reconciliations set lease_until = lease_until - interval '6 minutes'")
    done = reconcile.run(world.db, world.stripe, reconciliation_id=number)
    assert done is not None and (done["status"], done["found"]) == ("finished", 0)
    again = reconcile.start(
        world.db, SERVICE, now - timedelta(days=1), now, livemode=False, idempotency_key="one"
    )
    assert (again["reconciliation_id"], again["replayed"]) == (number, True)


def test_stripe_does_not_answer_and_the_run_says_so(
    world: World, anna: Buyer, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna.buy()
    world.control("fail-next", kind="500", count=50, path="charges")
    with pytest.raises(errors.StripeUnavailable):
        check(world)
    (failed,) = reconcile.reconciliations(world.db, SERVICE)["items"]
    assert failed["status"] == "failed" and "Stripe" in failed["error"]
    world.control("fail-next", kind="500", count=0, path="charges")
    assert check(world)["found"] == 0


@pytest.mark.parametrize("days", [0, -1, 500])
def test_a_range_that_makes_no_sense_is_refused(world: World, days: int) -> None:
    now = datetime.now(UTC)
    with pytest.raises(errors.InvalidRequest):
        reconcile.start(
            world.db, SERVICE, now - timedelta(days=days), now, livemode=False, idempotency_key=new_key()
        )


def test_nobody_without_a_role_starts_reads_accepts_or_repairs(
    world: World, anna: Buyer, admin: Buyer
) -> None:
    """K2: finance reads, starts and accepts; repairs change balances and are for administrators."""
    refund_missing(world, anna, admin)
    check(world)
    (one,) = found(world)
    now, finance = datetime.now(UTC), world.person("finance").identity
    with pytest.raises(errors.NotAllowed):
        reconcile.start(world.db, anna.identity, now, now, livemode=False, idempotency_key=new_key())
    for forbidden in (reconcile.reconciliations, reconcile.differences):
        with pytest.raises(errors.NotAllowed):
            forbidden(world.db, anna.identity)
    with pytest.raises(errors.NotAllowed):
        reconcile.accept(world.db, anna.identity, one["difference_id"], "mine")
    with pytest.raises(errors.NotAllowed):
        reconcile.repair(world.db, world.stripe, finance, one["difference_id"])
    assert len(reconcile.differences(world.db, finance)["items"]) == 1
