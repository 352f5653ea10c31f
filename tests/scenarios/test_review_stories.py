"""Paid, but not matching (A3, A8, I2): from the queue to credits, to money that goes back, or to nothing; Stripe in between."""

from __future__ import annotations

from typing import Any

import pytest

from credits_core import fulfillment, payments
from credits_core.db.port import SERVICE
from tests.scenarios.conftest import CARD, Buyer, World, micros, new_key


@pytest.fixture
def queued(world: World, anna: Buyer) -> dict[str, Any]:
    """Anna paid the old price, $20; while her page was open the package became $40 (500 credits)."""
    bought = anna.start("small")
    world.owner_sql(
        "update credits.purchases set price_cents = 4000, list_price_cents = 4000 where id = %s",
        bought["purchase_id"],
    )
    world.control(f"sessions/{bought['session_id']}/pay", card=CARD)
    found = fulfillment.fulfill(world, anna.identity, bought["session_id"])
    assert found["status"] == "review"
    return found


def decide(admin: Buyer, queued: dict[str, Any], decision: str, expect: int = 200) -> Any:
    body = {"decision": decision, "reason": "looked at it", "idempotency_key": new_key()}
    return admin.post(f"admin/payments/{queued['purchase_id']}/review", body, expect)


def shown(admin: Buyer, queued: dict[str, Any]) -> Any:
    return admin.get(f"admin/payments/{queued['purchase_id']}")


def settle(world: World) -> dict[str, int]:
    return payments.settle_reviews(world.db, world.stripe)


def test_half_of_the_price_becomes_half_of_the_credits(
    world: World, anna: Buyer, admin: Buyer, queued: dict[str, Any]
) -> None:
    """A3: in whatever order webhook, poll, return page and the decision come, credited once; it can be refunded afterwards."""
    assert decide(admin, queued, "credit")["status"] == "approved"
    for _ in range(2):
        fulfillment.fulfill(world, anna.identity, queued["session_id"])
        world.poll()
    assert anna.available == 0
    assert settle(world) == {"credited": 1, "refused": 0, "waiting": 0}
    assert settle(world) == {"credited": 0, "refused": 0, "waiting": 0}
    fulfillment.fulfill(world, anna.identity, queued["session_id"])
    assert anna.available == micros("250")
    asked = admin.post("admin/refunds", {"purchase_id": queued["purchase_id"], "reason": "changed her mind"})
    assert (asked["amount_cents"], asked["credits"]) == (2000, "250.00")
    world.send_refunds()
    assert [one["amount"] for one in world.at_stripe("refund")] == [2000]
    assert (anna.available, shown(admin, queued)["state"]) == (0, "refunded")


@pytest.mark.parametrize("change", ["refund", "dispute"])
def test_what_happens_at_stripe_before_the_credit_stops_it(
    world: World, anna: Buyer, admin: Buyer, queued: dict[str, Any], change: str
) -> None:
    """A3, A9: the decision was made on what is no longer so: nothing is credited, the payment waits for a decision again."""
    decide(admin, queued, "credit")
    if change == "refund":
        world.stripe.money.create_refund(queued["payment_intent_id"], 500, {}, new_key())
    else:
        world.control(f"charges/{world.charge(queued)}/dispute")
    assert settle(world) == {"credited": 0, "refused": 1, "waiting": 0}
    assert anna.available == 0
    assert shown(admin, queued)["status"] == "review"
    assert decide(admin, queued, "close")["status"] == "done"
    world.follow()
    assert (anna.available, anna.balance["debt_micros"]) == (0, 0)


def test_a_crash_after_the_credit_loses_neither_it_nor_a_refund_made_meanwhile(
    world: World, anna: Buyer, admin: Buyer, queued: dict[str, Any]
) -> None:
    """A3: credited, then the program dies; a refund in Stripe's dashboard is followed by whoever goes on."""
    decide(admin, queued, "credit")
    (claimed,) = world.db.call("claim_reviews", SERVICE)["items"]
    session = world.stripe.retrieve(queued["session_id"]).as_sql() | {"refunded_cents": 0, "disputed": False}
    world.db.call("settle_review", SERVICE, approval_id=claimed["approval_id"], session=session)
    assert anna.available == micros("250")
    world.stripe.money.create_refund(queued["payment_intent_id"], 1000, {}, new_key())
    assert settle(world) == {"credited": 0, "refused": 0, "waiting": 0}  # its lease is not over
    world.owner_sql("update credits.approvals set lease_until = lease_until - interval '2 minutes'")
    assert settle(world) == {"credited": 1, "refused": 0, "waiting": 0}
    assert anna.available == micros("125")


def test_the_money_goes_back_whole_and_no_credits_with_it(
    world: World, anna: Buyer, admin: Buyer, queued: dict[str, Any]
) -> None:
    """A8: and an already refunded charge is a clear state to decide anew."""
    anna.buy("starter")
    before = anna.available
    decide(admin, queued, "refund")
    assert world.send_refunds() == {"sent": 1, "failed": 0, "waiting": 0}
    assert [one["amount"] for one in world.at_stripe("refund")] == [2000]
    fulfillment.fulfill(world, anna.identity, queued["session_id"])
    world.follow()
    found = shown(admin, queued)
    assert (found["state"], found["refunds"][0]["status"]) == ("refunded", "succeeded")
    assert anna.available == before


def test_a_refund_that_stripe_refuses_brings_the_payment_back_to_the_queue(
    world: World, anna: Buyer, admin: Buyer, queued: dict[str, Any]
) -> None:
    world.stripe.money.create_refund(
        queued["payment_intent_id"], 2000, {}, new_key()
    )  # in Stripe's dashboard
    decide(admin, queued, "refund")
    assert world.send_refunds() == {"sent": 0, "failed": 1, "waiting": 0}
    found = shown(admin, queued)
    assert (found["status"], found["refunds"][0]["status"]) == ("review", "failed")
    assert "refunded" in found["refunds"][0]["failure_reason"]
    decide(admin, queued, "close")
    assert anna.available == 0


def test_without_stripe_the_decision_waits(
    world: World, anna: Buyer, admin: Buyer, queued: dict[str, Any]
) -> None:
    """No answer, no credit; the next run goes on once the lease is over."""
    decide(admin, queued, "credit")
    world.control("fail-next", kind="500", count=20, path="checkout")
    assert settle(world) == {"credited": 0, "refused": 0, "waiting": 1}
    assert anna.available == 0
    world.control("fail-next", kind="500", count=0)
    world.owner_sql("update credits.approvals set lease_until = lease_until - interval '2 minutes'")
    assert settle(world)["credited"] == 1
    assert anna.available == micros("250")
