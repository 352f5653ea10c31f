"""Refunds, disputes, and Stripe's books: A8, A9, H5."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from credits_core.errors import IdempotencyKeyReused, InvalidRequest, NotFound, StripeUnavailable
from credits_core.stripe_gateway import StripeGateway
from credits_core.stripe_sim import Simulator
from credits_core.stripe_states import ChargeTotals
from tests.stripe.conftest import CANCEL, SUCCESS, purchase

Control = Callable[..., Any]
VISA = "4242424242424242"
DAY = 86_400


@pytest.fixture
def pay(gateway: StripeGateway, control: Control) -> Callable[..., str]:
    """`pay()`: a paid purchase of $20; answers its PaymentIntent."""
    numbers = itertools.count()

    def act(card: str = VISA, cents: int = 2000) -> str:
        row = purchase(purchase_id=f"p-{next(numbers)}", price_cents=cents)
        session_id = gateway.create_checkout_session(row, SUCCESS, CANCEL).session_id
        control(f"sessions/{session_id}/pay", card=card)
        intent = gateway.retrieve(session_id).payment_intent_id
        assert intent is not None
        return intent

    return act


def kinds(control: Control, *beginnings: str) -> list[str]:
    return [event["type"] for event in control("events")["data"] if event["type"].startswith(beginnings)]


def totals(gateway: StripeGateway, intent: str) -> ChargeTotals:
    found = gateway.money.totals_of_charge(intent)
    assert gateway.money.totals_of_charge(found.charge_id) == found
    return found


def test_a_payment_has_its_fee_and_what_is_left(
    gateway: StripeGateway, pay: Callable[..., str]
) -> None:  # H5
    found = totals(gateway, pay())
    assert (found.amount_cents, found.refunded_cents, found.dispute, found.disputed_cents) == (
        2000,
        0,
        "none",
        0,
    )
    assert (found.fee_cents, found.net_cents) == (88, 1912)  # 2.9 % + 30 c
    assert (found.purchase_id, found.paid, found.livemode) == ("p-0", True, False)
    assert found.receipt_url is not None
    assert found.as_sql() == {"refunded_cents": 0, "refunds": [], "disputes": []}


def test_parts_are_refunded_and_never_more_than_the_whole(  # A8
    gateway: StripeGateway, control: Control, pay: Callable[..., str]
) -> None:
    intent = pay()
    first = gateway.money.create_refund(
        intent, 500, {"refund_id": "r-1"}, "refund-r-1", reason="requested_by_customer"
    )
    assert (first.amount_cents, first.status, first.counts) == (500, "succeeded", True)
    assert gateway.money.create_refund(
        intent, 500, {"refund_id": "r-1"}, "refund-r-1", reason="requested_by_customer"
    ) == first  # fmt: skip
    with pytest.raises(IdempotencyKeyReused):
        gateway.money.create_refund(intent, 600, {"refund_id": "r-1"}, "refund-r-1")
    with pytest.raises(InvalidRequest, match="greater than unrefunded amount"):
        gateway.money.create_refund(intent, 1501, {}, "refund-r-2")
    found = totals(gateway, intent)
    assert (found.refunded_cents, found.fee_cents, found.net_cents) == (500, 88, 1412)
    assert found.as_sql()["refunds"] == [
        {"id": first.refund_id, "amount_cents": 500, "status": "succeeded", "reason": "requested_by_customer",
         "refund_id": "r-1"}
    ]  # fmt: skip
    gateway.money.create_refund(found.charge_id, 1500, {}, "refund-r-3")
    with pytest.raises(InvalidRequest, match="already been refunded"):
        gateway.money.create_refund(intent, 1, {}, "refund-r-4")
    assert [refund.amount_cents for refund in gateway.money.refunds_of(intent)] == [1500, 500]
    assert kinds(control, "charge.refunded", "refund.") == ["charge.refunded", "refund.created"] * 2


def test_a_refund_may_take_its_time(
    gateway: StripeGateway, control: Control, pay: Callable[..., str]
) -> None:
    intent = pay("4000000000007726")
    made = gateway.money.create_refund(intent, 500, {}, "refund-1")
    assert (made.status, totals(gateway, intent).pending_refunds_cents) == ("pending", 500)
    control("clock", advance_seconds=61)
    assert gateway.money.refund(made.refund_id).status == "succeeded"
    found = totals(gateway, intent)
    assert (found.refunded_cents, found.pending_refunds_cents, found.net_cents) == (500, 0, 1412)
    assert "refund.updated" in kinds(control, "refund.")


def test_a_refund_may_come_back(gateway: StripeGateway, control: Control, pay: Callable[..., str]) -> None:
    intent = pay("4000000000005126")
    made = gateway.money.create_refund(intent, 2000, {}, "refund-1")
    assert made.status == "succeeded"
    control("clock", advance_seconds=61)
    failed = gateway.money.refund(made.refund_id)
    assert (failed.status, failed.counts, failed.failure_reason) == (
        "failed",
        False,
        "expired_or_canceled_card",
    )
    found = totals(gateway, intent)
    assert (found.refunded_cents, found.net_cents) == (0, 1912)
    assert kinds(control, "refund.")[-1] == "refund.failed"
    control(f"refunds/{made.refund_id}/settle", outcome="succeed")  # too late
    assert gateway.money.refund(made.refund_id).status == "failed"


def test_a_dispute_from_beginning_to_end(
    gateway: StripeGateway, control: Control, pay: Callable[..., str]
) -> None:
    for outcome in ("win", "lose"):  # A9
        intent = pay()
        charge = gateway.money.charge_of(intent)
        opened = control(f"charges/{charge}/dispute", reason="product_not_received")
        state = gateway.money.dispute(opened["id"])
        assert (state.outcome, state.withheld_cents, state.fee_cents, state.reason) == (
            "open", 2000, 1500, "product_not_received",
        )  # fmt: skip
        found = totals(gateway, intent)
        assert (found.dispute, found.disputed_cents, found.net_cents) == ("open", 2000, 1912 - 2000 - 1500)
        with pytest.raises(InvalidRequest, match="charged back"):
            gateway.money.create_refund(intent, 100, {}, f"refund-{outcome}")
        control(f"disputes/{state.dispute_id}/respond")
        assert gateway.money.dispute(state.dispute_id).status == "under_review"
        for _ in range(2):  # deciding twice changes nothing
            control(f"disputes/{state.dispute_id}/{outcome}")
        found = totals(gateway, intent)
        won = outcome == "win"
        assert (found.dispute, found.disputed_cents) == (("won", 0) if won else ("lost", 2000))
        assert found.net_cents == 1912 - 1500 - (0 if won else 2000)
        assert found.as_sql()["disputes"][0]["status"] == ("won" if won else "lost")
        assert gateway.money.dispute(state.dispute_id).withheld_cents == (0 if won else 2000)
    end = ["charge.dispute.updated", "charge.dispute.funds_reinstated", "charge.dispute.closed"]
    begin = ["charge.dispute.created", "charge.dispute.funds_withdrawn"]
    assert kinds(control, "charge.dispute") == [*begin, *end, *begin, end[0], end[2]]
    assert [state.outcome for state in gateway.money.disputes(0)] == ["lost", "won"]


def test_a_won_dispute_leaves_the_charge_refundable(
    gateway: StripeGateway, control: Control, pay: Callable[..., str]
) -> None:
    intent = pay()
    opened = control(f"charges/{gateway.money.charge_of(intent)}/dispute")
    control(f"disputes/{opened['id']}/win")
    assert gateway.money.create_refund(intent, 100, {}, "refund-1").status == "succeeded"


def test_part_of_a_charge_is_disputed(
    gateway: StripeGateway, control: Control, pay: Callable[..., str]
) -> None:
    intent = pay()
    gateway.money.create_refund(intent, 500, {}, "refund-1")
    charge = gateway.money.charge_of(intent)
    control(f"charges/{charge}/dispute", expect=400, amount=1501)
    control(f"charges/{charge}/dispute", amount=700)
    found = totals(gateway, intent)
    assert (found.refunded_cents, found.disputed_cents) == (500, 700)


def test_an_inquiry_takes_no_money_until_it_grows(
    gateway: StripeGateway, control: Control, pay: Callable[..., str]
) -> None:
    intent = pay()
    charge = gateway.money.charge_of(intent)
    asked = control(f"charges/{charge}/dispute", inquiry=True)
    found = totals(gateway, intent)
    assert (found.dispute, found.disputed_cents, found.net_cents) == ("inquiry", 0, 1912)
    control(f"disputes/{asked['id']}/lose", expect=400)
    assert gateway.money.create_refund(intent, 100, {}, "refund-1").status == "succeeded"
    assert control(f"charges/{charge}/dispute")["id"] == asked["id"]
    assert totals(gateway, intent).dispute == "open"
    other = pay()
    asked = control(f"charges/{gateway.money.charge_of(other)}/dispute", inquiry=True)
    control(f"disputes/{asked['id']}/win")
    assert totals(gateway, other).dispute == "closed"


def test_the_disputed_card_is_disputed_after_a_minute(
    gateway: StripeGateway, control: Control, pay: Callable[..., str]
) -> None:
    intent = pay("4000000000000259")
    assert totals(gateway, intent).dispute == "none"
    control("clock", advance_seconds=61)
    assert totals(gateway, intent).dispute == "open"


def test_the_books_add_up(  # H5
    gateway: StripeGateway, control: Control, pay: Callable[..., str], simulator: Simulator
) -> None:
    intents = [pay(), pay(), pay()]
    gateway.money.create_refund(intents[0], 500, {}, "refund-1")
    control(f"charges/{gateway.money.charge_of(intents[1])}/dispute")
    entries = list(gateway.money.balance_entries())
    assert sum(entry.net_cents for entry in entries) == sum(
        totals(gateway, intent).net_cents or 0 for intent in intents
    )
    assert all(entry.amount_cents - entry.fee_cents == entry.net_cents for entry in entries)
    control("payouts/create", expect=400)  # nothing is available yet
    control("clock", advance_seconds=2 * DAY + 1)
    payout_id = control("payouts/create")["id"]
    (payout,) = gateway.money.payouts(0)
    inside = list(gateway.money.balance_entries(payout=payout_id))
    assert payout.amount_cents == sum(entry.net_cents for entry in entries)
    assert sum(entry.net_cents for entry in inside) == 0  # the payout's own entry is one of them
    assert {entry.entry_id for entry in entries} < {entry.entry_id for entry in inside}
    control("clock", advance_seconds=2 * DAY + 1)
    assert [found.status for found in gateway.money.payouts(0)] == ["paid"]
    control("payouts/create", expect=400)
    control(f"payouts/{payout_id}/fail")
    (payout,) = gateway.money.payouts(0)
    assert (payout.status, payout.failure_code) == ("failed", "account_closed")
    assert kinds(control, "payout.") == [
        "payout.created", "payout.paid", "payout.reconciliation_completed", "payout.failed",
    ]  # fmt: skip
    assert simulator.store.find("balance_transaction", {})[0]["type"] == "payout_failure"


def test_lists_are_walked_to_their_end_and_within_their_time(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("credits_core.stripe_money._PAGE", 2)
    gateway = StripeGateway.for_simulator(simulator, "http://127.0.0.1:1/sim")
    made = [_paid_inside(gateway, number) for number in range(5)]
    assert [charge.payment_intent_id for charge in gateway.money.charges(0)] == made[::-1]
    first = next(gateway.money.charges(0))
    assert (first.status, first.amount_cents, first.metadata["purchase_id"]) == ("succeeded", 2000, "in-4")
    assert list(gateway.money.charges(first.created + 1)) == []
    assert list(gateway.money.charges(0, until=1)) == []
    gateway.money.create_refund(made[0], 100, {"refund_id": "r-1"}, "refund-1")
    assert [refund.metadata for refund in gateway.money.refunds(0)] == [{"refund_id": "r-1"}]


def _paid_inside(gateway: StripeGateway, number: int) -> str:
    params: Any = {"amount": 2000, "currency": "usd", "confirm": True, "payment_method": "pm_card_visa",
                   "metadata": {"purchase_id": f"in-{number}"}}  # fmt: skip
    return str(gateway.call(lambda v1: v1.payment_intents.create(params)).id)


def test_what_stripe_does_not_know_is_not_found(gateway: StripeGateway) -> None:
    with pytest.raises(NotFound):
        gateway.money.totals_of_charge("ch_nothing")
    with pytest.raises(NotFound):
        gateway.money.create_refund("pi_nothing", 100, {}, "refund-1")
    with pytest.raises(NotFound):
        gateway.money.dispute("du_nothing")
    unpaid = gateway.create_payment_intent(purchase(flow="payment_intent"))
    with pytest.raises(NotFound, match="nothing was paid"):
        gateway.money.totals_of_charge(unpaid.session_id)


@pytest.mark.parametrize("kind", ["500", "429", "lost"])
def test_a_refund_survives_trouble_and_is_made_once(
    gateway: StripeGateway, control: Control, pay: Callable[..., str], kind: str
) -> None:
    intent = pay()
    control("fail-next", kind=kind, count=20, path="refunds")
    with pytest.raises(StripeUnavailable):
        gateway.money.create_refund(intent, 500, {"refund_id": "r-1"}, "refund-r-1")
    control("fail-next", kind=kind, count=1, path="nowhere")
    made = gateway.money.create_refund(intent, 500, {"refund_id": "r-1"}, "refund-r-1")
    assert [refund.refund_id for refund in gateway.money.refunds_of(intent)] == [made.refund_id]
