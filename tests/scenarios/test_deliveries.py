"""Deliveries as they come in life: duplicated, dropped, late, in any order (A3, A8, A9). Seeded, so that a failure repeats.

Each run is a purchase with a story of its own; a world holds many of them. However the news travelled, every purchase is
credited once, every reversal is exact, and news that arrives at the very end changes nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from credits_core.errors import CreditsError
from tests.scenarios.conftest import CARD, Buyer, World, micros, new_key

WORLDS, PURCHASES, PEOPLE = 40, 25, 5
DOLLAR = micros("25")  # 500 credits for $20


class Story:
    """One purchase from its page to whatever becomes of its money."""

    def __init__(self, world: World, buyer: Buyer, admin: Buyer, chance: random.Random) -> None:
        self.world, self.buyer, self.admin, self.chance = world, buyer, admin, chance
        self.bought = buyer.start()
        self.charge = ""
        self.dispute = ""
        self.steps = chance.choice(
            [
                ["pay"],
                ["pay", "part", "part"],
                ["pay", "spend", "ask"],
                ["pay", "ask", "part"],
                ["pay", "spend", "contest", "win"],
                ["pay", "contest", "lose"],
                ["pay", "part", "contest", "respond", "win"],
                ["pay", "ask", "contest", "lose"],
                ["pay", "all"],
                ["pay", "part", "bounce"],
                ["pay", "spend", "inquire"],
                [],
            ]
        )

    def step(self) -> None:
        getattr(self, self.steps.pop(0))()

    def pay(self) -> None:
        self.world.control(f"sessions/{self.bought['session_id']}/pay", card=CARD)
        self.charge = self.world.charge(self.bought)
        if self.chance.random() < 0.3:
            self.buyer.get("success", session_id=self.bought["session_id"])

    def spend(self) -> None:
        self.try_(lambda: self.buyer.use(self.chance.randint(1, 300)))

    def ask(self) -> None:
        """An administrator's refund; nothing may be left to refund, or the purchase may not be credited yet."""
        terms = {"purchase_id": self.bought["purchase_id"], "amount_cents": 100 * self.chance.randint(1, 6)}
        more = {"reason": "asked for it", "idempotency_key": new_key()}
        self.try_(lambda: self.world.db.call("request_refund", self.admin.identity, **terms, **more))

    def part(self) -> None:
        self.in_the_dashboard(100 * self.chance.randint(1, 6))

    def all(self) -> None:
        self.in_the_dashboard(2000)

    def in_the_dashboard(self, cents: int) -> None:
        self.try_(lambda: self.world.stripe.money.create_refund(self.charge, cents, {}, new_key()))

    def bounce(self) -> None:
        for refund in self.world.at_stripe("refund", charge=self.charge)[:1]:
            self.world.control(f"refunds/{refund['id']}/settle", outcome="fail")

    def contest(self) -> None:
        self.dispute = self.world.control(f"charges/{self.charge}/dispute")["id"]

    def inquire(self) -> None:
        self.dispute = self.world.control(f"charges/{self.charge}/dispute", inquiry=True)["id"]

    def respond(self) -> None:
        self.world.control(f"disputes/{self.dispute}/respond")

    def win(self) -> None:
        self.world.control(f"disputes/{self.dispute}/win")

    def lose(self) -> None:
        self.world.control(f"disputes/{self.dispute}/lose")

    def try_(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except CreditsError as refusal:
            assert refusal.http_status < 500

    @property
    def kept_micros(self) -> int:
        """What Stripe's own books leave of the purchase's credits."""
        if not self.charge:
            return 0
        gone = sum(
            r["amount"] for r in self.world.at_stripe("refund", charge=self.charge) if r["status"] != "failed"
        )
        gone += sum(
            d["amount"]
            for d in self.world.at_stripe("dispute", charge=self.charge)
            if d["status"] in ("needs_response", "under_review", "lost")
        )
        return micros("500") - gone * DOLLAR // 100


def disturb(world: World, chance: random.Random) -> None:
    """The post between Stripe and us has a bad day."""
    some = chance.randint(1, 6)
    match chance.choice(["duplicate", "drop", "delay", "shuffle", "deliver", "deliver", "deliver"]):
        case "delay":
            world.control("webhooks/delay", limit=some, seconds=3600)
        case "shuffle":
            world.control("webhooks/shuffle", seed=chance.random())
        case other:
            world.control(f"webhooks/{other}", limit=some)


def settle(world: World) -> None:
    """What the background work does in the next minutes."""
    world.send_refunds()
    world.owner_sql("update credits.purchases set polled_at = null")
    world.poll()
    world.follow()


def check(world: World, stories: list[Story]) -> None:
    for buyer in {id(story.buyer): story.buyer for story in stories}.values():
        theirs = [story for story in stories if story.buyer is buyer]
        balance = buyer.balance
        kept = sum(story.kept_micros for story in theirs)
        assert balance["available_micros"] == kept - balance["total_used_micros"]
    rows = world.owner_sql(
        "select purchase_id, count(*) as n from credits.transactions where kind = 'purchase' group by 1"
    )
    credited = {str(row["purchase_id"]): row["n"] for row in rows}
    assert credited == {story.bought["purchase_id"]: 1 for story in stories if story.charge}
    at_stripe = [one["amount"] for one in world.at_stripe("refund") if one["metadata"].get("refund_id")]
    ours = world.owner_sql(
        "select amount_cents from credits.refunds where status = 'succeeded' and requested_by <> 'stripe'"
    )
    assert sorted(at_stripe) == sorted(row["amount_cents"] for row in ours)


@pytest.mark.parametrize("seed", range(WORLDS))
def test_however_the_news_travels(world: World, seed: int) -> None:
    chance = random.Random(seed)
    world.listen("manual")
    admin, people = world.person("admin"), [world.person() for _ in range(PEOPLE)]
    stories = [Story(world, chance.choice(people), admin, chance) for _ in range(PURCHASES)]
    while going_on := [story for story in stories if story.steps]:
        chance.choice(going_on).step()
        if chance.random() < 0.5:
            disturb(world, chance)
        if chance.random() < 0.03:
            chance.choice([world.send_refunds, world.poll, world.follow])()
    settle(world)
    check(world, stories)
    # The rest of the post arrives at last, and some of it once more: it says nothing new.
    world.control("webhooks/duplicate", limit=30)
    world.control("webhooks/shuffle", seed=seed)
    world.control("clock", advance_seconds=4000)
    while delivered := world.control("webhooks/deliver", limit=20)["data"]:
        assert {sent["http_status"] for sent in delivered} == {200}
    settle(world)
    check(world, stories)
