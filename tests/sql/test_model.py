"""The database against a small model of the rules: any order of anything, with a moving clock, must end the same (B, D2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from credits_core.errors import Conflict, InsufficientCredits
from tests.sql.conftest import Call, Clock, Person, Rows, new_key, paid
from tests.sql.model import Account, Booking, Hold, Refused

CATALOG: dict[str, Any] = {
    "code": "model",
    "name": "Model",
    "currency": "usd",
    "packages": [
        {"code": "plain", "name": "Plain", "credits_micros": 100, "price_cents": 100},
        {
            "code": "with_bonus",
            "name": "With bonus",
            "credits_micros": 200,
            "bonus_micros": 50,
            "price_cents": 150,
        },
    ],
    "operations": [
        {
            "code": "cheap",
            "name": "Cheap",
            "measure": "count",
            "components": [{"unit": "item", "price_micros": 1}],
        },
        {
            "code": "dear",
            "name": "Dear",
            "measure": "count",
            "components": [{"unit": "call", "price_micros": 2}, {"unit": "item", "price_micros": 3}],
        },
    ],
}
COSTS: dict[str, Callable[[int], int]] = {"cheap": lambda n: n, "dear": lambda n: 2 + 3 * n}

operations = st.sampled_from(sorted(COSTS))
quantities = st.integers(0, 60)
picks = st.integers(0, 3)  # which of the latest holds or bookings
lives = st.one_of(st.none(), st.integers(1, 20).map(lambda minutes: timedelta(minutes=minutes)))
# `repeat` stands first because it does nothing at the beginning: a failing story is made of few other steps.
step = st.one_of(
    st.tuples(st.just("repeat")),
    st.tuples(st.just("purchase"), st.sampled_from([0, 1])),
    st.tuples(st.just("adjust"), st.integers(1, 120), lives),
    st.tuples(st.just("adjust"), st.integers(-80, 40).filter(bool), lives),
    st.tuples(st.just("use"), operations, quantities),
    st.tuples(st.just("use"), st.just("cheap"), st.integers(1, 9)),
    st.tuples(st.just("use"), st.just("cheap"), st.integers(1, 9)),
    st.tuples(st.just("place"), operations, quantities, st.integers(1, 60)),
    st.tuples(st.just("extend"), picks, quantities),
    st.tuples(st.just("capture"), picks, quantities),
    st.tuples(st.just("release"), picks),
    st.tuples(st.just("reverse"), picks),
    st.tuples(st.just("time_passes"), st.integers(1, 12)),
    st.tuples(st.just("time_passes"), st.integers(1, 12)),
    st.tuples(
        st.just("a_job_runs"),
        st.sampled_from(["expire_holds", "expire_holds", "expire_grants", "rollup_usage"]),
    ),
)


@dataclass
class World:
    """What a story needs of the test's database."""

    service: Call
    clock: Clock
    person: Callable[[], Person]
    owner_sql: Callable[..., Rows]


def latest(things: list[tuple[Any, Any]], pick: int) -> tuple[Any, Any]:
    return things[-1 - pick % len(things)]


class Story:
    """One account in the database and one in the model; every step does the same to both."""

    def __init__(self, world: World, overdraft: int) -> None:
        self.world = world
        world.clock.advance(minutes=1)
        self.somebody = world.person()
        self.id = self.somebody.account_id
        if overdraft:
            self.world.owner_sql(
                "update credits.accounts set overdraft_micros = %s where id = %s", overdraft, self.id
            )
        self.model = Account(self.world.clock.now, overdraft)
        self.holds: list[tuple[int, Hold]] = []
        self.bookings: list[tuple[str, Booking]] = []
        self.past: dict[datetime, int] = {}
        self.again: Callable[[], Any] | None = None

    def both(self, in_model: Callable[[], Any], in_database: Callable[[], dict[str, Any]]) -> tuple[Any, Any]:
        """Do it in both; both must allow it, or both refuse it. Answers what each gave, or (None, None)."""
        try:
            expected = in_model()
        except Refused:
            try:
                in_database()
            except (InsufficientCredits, Conflict):
                return None, None
            raise AssertionError("the database allowed what the rules refuse") from None
        answer = in_database()
        self.again = in_database
        return expected, answer

    def book(self, booking: Booking | None, answer: dict[str, Any] | None) -> None:
        if booking and answer:
            self.bookings.append((answer["transaction_id"], booking))

    def purchase(self, number: int) -> None:
        package = CATALOG["packages"][number]
        made = self.somebody.call(
            "create_purchase", idempotency_key=new_key(), livemode=False, package=package["code"]
        )
        opened = self.world.service(
            "open_purchase", purchase_id=made["purchase_id"], session_id=new_key("cs")
        )
        self.both(
            lambda: self.model.purchase(package["credits_micros"], package.get("bonus_micros", 0)),
            lambda: self.world.service("fulfill_purchase", session=paid(opened)),
        )

    def adjust(self, amount: int, life: timedelta | None) -> None:
        until = self.world.clock.now + life if life and amount > 0 else None
        request = {
            "account_id": self.id,
            "amount_micros": amount,
            "reason": "model",
            "idempotency_key": new_key(),
        }
        self.book(
            *self.both(
                lambda: self.model.adjust(amount, until),
                lambda: self.world.service("adjust", expires_at=until, **request),
            )
        )

    def use(self, operation: str, quantity: int) -> None:
        key = new_key()
        self.book(
            *self.both(
                lambda: self.model.use(COSTS[operation](quantity)),
                lambda: self.somebody.use(operation, quantity, key),
            )
        )

    def place(self, operation: str, quantity: int, minutes: int) -> None:
        hold = Hold(operation, quantity, self.world.clock.now + timedelta(minutes=minutes))
        request = {"operation": operation, "quantity": quantity, "expires_in_seconds": minutes * 60}
        key = new_key()
        _, answer = self.both(
            lambda: self.model.grow(hold, quantity, COSTS[operation](quantity)),
            lambda: self.somebody.call("place_hold", idempotency_key=key, **request),
        )
        if answer:
            self.holds.append((answer["hold_id"], hold))

    def extend(self, pick: int, quantity: int) -> None:
        if not self.holds:
            return
        hold_id, hold = latest(self.holds, pick)
        total = max(quantity, hold.quantity)

        def grow() -> None:
            if hold.status != "open":
                raise Refused
            self.model.grow(hold, total, COSTS[hold.operation](total))
            hold.expires_at = max(hold.expires_at, self.world.clock.now + timedelta(minutes=30))

        request = {"hold_id": hold_id, "quantity": quantity, "expires_in_seconds": 1800}
        self.both(grow, lambda: self.somebody.call("extend_hold", **request))
        self.again = None  # extending once more makes it last longer: no repetition

    def capture(self, pick: int, quantity: int) -> None:
        if not self.holds:
            return
        hold_id, hold = latest(self.holds, pick)
        if hold.captured:
            return  # the same capture again is an answer, another one a conflict: see test_holds.py and `repeat`

        def settle() -> Booking:
            if hold.status == "released":
                raise Refused
            return self.model.capture(hold, COSTS[hold.operation](quantity))

        self.book(
            *self.both(settle, lambda: self.somebody.call("capture_hold", hold_id=hold_id, quantity=quantity))
        )

    def release(self, pick: int) -> None:
        if not self.holds:
            return
        hold_id, hold = latest(self.holds, pick)

        def let_go() -> None:
            if hold.captured:
                raise Refused
            self.model.release(hold, "released" if hold.status == "open" else hold.status)

        self.both(let_go, lambda: self.somebody.call("release_hold", hold_id=hold_id))

    def reverse(self, pick: int) -> None:
        if not self.bookings:
            return
        transaction_id, booking = latest(self.bookings, pick)
        request = {"transaction_id": transaction_id, "reason": "model", "idempotency_key": new_key()}
        self.both(lambda: self.model.reverse(booking), lambda: self.world.service("reverse", **request))

    def time_passes(self, minutes: int) -> None:
        self.model.move_to(self.world.clock.advance(minutes=minutes))

    def a_job_runs(self, job: str) -> None:
        self.world.service(job)
        if job == "expire_holds":
            self.model.expire_holds()

    def repeat(self) -> None:
        """The last write once more, with the same key or the same hold: changes nothing (B6)."""
        if self.again:
            self.again()

    def compare(self) -> None:
        balance, model = self.somebody.balance, self.model
        found = {name: balance[f"{name}_micros"] for name in ("posted", "held", "available", "debt")}
        expected = {
            "posted": model.posted,
            "held": model.held,
            "available": model.available,
            "debt": model.debt,
        }
        assert found == expected
        assert (balance["total_used_micros"], balance["total_purchased_micros"]) == (
            model.used,
            model.purchased,
        )
        grants = self.world.owner_sql(
            "select case when expires_at > %s then remaining_micros else 0 end as left_micros"
            " from credits.grants_now where account_id = %s order by id",
            self.world.clock.now,
            self.id,
        )
        assert [grant["left_micros"] for grant in grants] == [grant.remaining for grant in model.grants]
        self.past[self.world.clock.now] = model.posted

    def end(self) -> None:
        """The ledger adds up, and remembers every balance it had."""
        assert self.world.service("verify")["differences"] == []
        for moment, posted in self.past.items():
            assert self.somebody.call("balance_as_of", at=moment)["posted_micros"] == posted


def test_the_database_keeps_the_rules_of_the_model(
    service: Call, clock: Clock, person: Callable[..., Person], owner_sql: Callable[..., Rows]
) -> None:
    """B2, B4, B5, B6, B7, B8, B9, D2: purchases, uses, adjustments, holds and reversals in any order."""
    service("load_catalog", catalog=CATALOG)
    world = World(service, clock, person, owner_sql)

    @settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(overdraft=st.sampled_from([0, 0, 75]), steps=st.lists(step, min_size=25, max_size=50))
    def tell(overdraft: int, steps: list[tuple[Any, ...]]) -> None:
        story = Story(world, overdraft)
        for name, *arguments in steps:
            getattr(story, name)(*arguments)
            story.model.recover()
            story.compare()
        story.end()

    tell()
