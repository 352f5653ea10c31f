"""Everybody at the same time: no balance is spent twice, whatever races with what (B5, B6, A3, D2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from threading import Barrier

from credits_core.errors import Conflict, CreditsError, InsufficientCredits
from credits_core.units import parse_credits as micros
from tests.sql.conftest import Call, Clock, Person, Rows, new_key, paid

ONE_CREDIT = {"unit": "item", "price_micros": 1_000_000}


def at_once(*attempts: Callable[[], object]) -> list[object]:
    """Run all at the same time, each in a thread; answers what each answered or was refused with."""
    start = Barrier(len(attempts))

    def run(attempt: Callable[[], object]) -> object:
        start.wait()
        try:
            return attempt()
        except CreditsError as refusal:
            return refusal

    with ThreadPoolExecutor(len(attempts)) as threads:
        return list(threads.map(run, attempts))


def succeeded(answers: list[object]) -> list[dict[str, object]]:
    return [answer for answer in answers if isinstance(answer, dict)]


def test_fifty_at_once_spend_exactly_what_is_there(holder: Callable[..., Person], set_price: Call) -> None:
    """B5: 50 uses of 1.00 on a balance of 10.00: ten succeed, forty are refused, nothing is left."""
    set_price("call", ONE_CREDIT)
    anna = holder("10.00")
    answers = at_once(*[lambda: anna.use("call", 1)] * 50)
    assert Counter(type(answer) for answer in answers) == {dict: 10, InsufficientCredits: 40}
    assert anna.available == 0
    left = sorted(int(str(answer["available_micros"])) for answer in succeeded(answers))
    assert left == [micros(str(n)) for n in range(10)]


def test_spending_across_many_small_grants_is_exact_too(
    holder: Callable[..., Person], give: Call, set_price: Call
) -> None:
    """B5, B8: the careful way, where every charge takes several grants."""
    set_price("call", ONE_CREDIT)
    anna = holder()
    for _ in range(25):
        give(anna, "0.40")
    answers = at_once(*[lambda: anna.use("call", 1)] * 30)
    assert len(succeeded(answers)) == 10
    assert anna.available == 0


def test_one_key_sent_many_times_at_once_charges_once(holder: Callable[..., Person], ledger: Call) -> None:
    """B6: all get the same answer; one of them did it."""
    anna = holder("10.00")
    answers = succeeded(at_once(*[lambda: anna.use("call", 60, "k1")] * 20))
    assert len(answers) == 20
    assert [answer["replayed"] for answer in answers].count(False) == 1
    assert len({answer["transaction_id"] for answer in answers}) == 1
    assert len(ledger(anna)) == 2


def test_one_key_for_each_kind_of_write_makes_one_of_it(
    holder: Callable[..., Person], service: Call, owner_sql: Callable[..., Rows]
) -> None:
    """B6: adjustments, reversals, holds, calls and purchases alike."""
    anna = holder("10.00")
    used = anna.use("call", 60)
    writes: dict[str, Callable[[], object]] = {
        "adjust": lambda: service(
            "adjust", account_id=anna.account_id, amount_micros=5, reason="gift", idempotency_key="k2"
        ),
        "reverse": lambda: service(
            "reverse", transaction_id=used["transaction_id"], reason="mistake", idempotency_key="k3"
        ),
        "hold": lambda: anna.call("place_hold", operation="call", quantity=60, idempotency_key="k4"),
        "call": lambda: anna.call("start_call", operation="call", idempotency_key="k5"),
        "purchase": lambda: anna.call(
            "create_purchase", idempotency_key="k6", livemode=False, package="usd_5"
        ),
    }
    for name, write in writes.items():
        answers = succeeded(at_once(*[write] * 8))
        assert (name, len(answers)) == (name, 8)
        assert (name, [answer["replayed"] for answer in answers].count(False)) == (name, 1)
    (made,) = owner_sql(
        "select (select count(*) from credits.transactions) as transactions,"
        " (select count(*) from credits.holds) as holds, (select count(*) from credits.calls) as calls,"
        " (select count(*) from credits.purchases) as purchases"
    )
    assert made == {"transactions": 4, "holds": 2, "calls": 1, "purchases": 1}


def test_return_page_webhook_and_poll_at_once_credit_a_purchase_once(
    holder: Callable[..., Person], service: Call, grants: Call
) -> None:
    """A3: twelve looks at the same paid session."""
    anna = holder()
    made = anna.call("create_purchase", idempotency_key=new_key(), livemode=False, package="usd_10")
    opened = service("open_purchase", purchase_id=made["purchase_id"], session_id="cs_test_1")
    answers = succeeded(at_once(*[lambda: service("fulfill_purchase", session=paid(opened))] * 12))
    assert Counter(answer["status"] for answer in answers) == {"credited": 12}
    assert [answer["newly_credited"] for answer in answers].count(True) == 1
    assert len(grants(anna)) == 1
    assert anna.available == micros("10.00")


def test_a_hold_ends_in_one_way_only(holder: Callable[..., Person], service: Call) -> None:
    """D2: capture and release at the same moment: one wins, the other is told."""
    anna = holder("10.00")
    for _ in range(10):
        before = anna.available
        hold = anna.call("place_hold", operation="call", quantity=600, idempotency_key=new_key())["hold_id"]
        answers = at_once(
            lambda hold=hold: anna.call("capture_hold", hold_id=hold, quantity=60),
            lambda hold=hold: anna.call("release_hold", hold_id=hold),
            lambda hold=hold: anna.call("capture_hold", hold_id=hold, quantity=120),
        )
        assert Counter(type(answer) for answer in answers) == {dict: 1, Conflict: 2}
        (winner,) = succeeded(answers)
        assert anna.call("hold", hold_id=hold)["status"] == winner["status"]
        assert anna.available == before - int(str(winner["charged_micros"]))


def test_holds_and_charges_racing_never_overspend(holder: Callable[..., Person], set_price: Call) -> None:
    """B5, D2: what is reserved by one cannot be spent by another."""
    set_price("call", ONE_CREDIT)
    anna = holder("10.00")

    def hold() -> object:
        placed = anna.call("place_hold", operation="call", quantity=2, idempotency_key=new_key())
        return anna.call("capture_hold", hold_id=placed["hold_id"], quantity=1)

    answers = at_once(*[hold, lambda: anna.use("call", 1)] * 15)
    refusals = [answer for answer in answers if not isinstance(answer, dict)]
    assert all(isinstance(refusal, InsufficientCredits) for refusal in refusals)
    balance = anna.balance
    assert balance["available_micros"] == micros("10.00") - len(succeeded(answers)) * 1_000_000
    assert (balance["held_micros"], balance["debt_micros"]) == (0, 0)
    assert balance["available_micros"] >= 0
    assert len(succeeded(answers)) >= 5  # ten, unless five holds of 2.00 were there at once


def test_jobs_and_batches_lock_accounts_in_the_same_order(
    clock: Clock, holder: Callable[..., Person], service: Call, no_second_attempt: None
) -> None:
    """D2, L4: holds and calls that are over in the opposite order of their accounts block no batch in a circle."""
    people = [holder("100.00") for _ in range(8)]
    for round_ in range(5):
        for place, somebody in enumerate(people):
            request = {"operation": "call", "quantity": 60, "idempotency_key": f"h{round_}"}
            somebody.call("place_hold", expires_in_seconds=100 - place, **request)
            begun = clock.now - timedelta(seconds=place)
            somebody.call("start_call", operation="call", idempotency_key=f"c{round_}", started_at=begun)
        clock.advance(minutes=10)
        events = [
            {
                "operation": "call",
                "quantity": 1,
                "idempotency_key": f"{round_}-{n}",
                "account_id": somebody.account_id,
            }
            for n in range(20)
            for somebody in people
        ]
        jobs = [partial(service, "expire_holds"), partial(service, "settle_abandoned_calls")]
        answers = at_once(*jobs, partial(service, "use_batch", events=events))
        assert len(succeeded(answers)) == 3
