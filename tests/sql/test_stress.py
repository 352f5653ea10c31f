"""Everything that moves credits, at once, on a few accounts that are bound together by an invitation (B5, A3, A8, A9, A10, A13).

No deadlock may surface, nobody's refusal may be anything but a sentence meant for it, and the ledger adds up at the end.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from credits_core import errors
from tests.sql.conftest import Call, Person, Rows, new_key, paid
from tests.sql.test_auto_reload import agree
from tests.sql.test_subscriptions import OWN

WORKERS = 8
SECONDS_MORE = 60  # on a busy machine, until each act has come through
SECONDS = float(os.environ.get("STRESS_SECONDS", "4"))
REFUSALS = (
    errors.InsufficientCredits, errors.Conflict, errors.NotFound, errors.IdempotencyKeyReused, errors.LimitReached,
    errors.InvalidRequest,
)  # fmt: skip


@dataclass
class Bustle:
    """What workers do to the accounts, at random; what they made is known to all of them."""

    people: list[Person]
    service: Call
    purchases: list[dict[str, Any]] = field(default_factory=list)
    uses: list[str] = field(default_factory=list)
    holds: list[Any] = field(default_factory=list)
    invoices: list[dict[str, Any]] = field(default_factory=list)

    def use(self, rng: random.Random) -> None:
        made = rng.choice(self.people).use("fax", rng.randint(1, 4))
        self.uses.append(made["transaction_id"])

    def hold(self, rng: random.Random) -> None:
        placed = rng.choice(self.people).call(
            "place_hold",
            operation="fax",
            quantity=rng.randint(1, 5),
            idempotency_key=new_key(),
            expires_in_seconds=1,
        )
        self.holds.append(placed["hold_id"])

    def end_hold(self, rng: random.Random) -> None:
        if self.holds:
            one = rng.choice(self.holds[-6:])
            how: dict[str, Any] = {"function": "release_hold", "hold_id": one}
            if rng.random() < 0.6:
                how = {"function": "capture_hold", "hold_id": one, "quantity": rng.randint(0, 5)}
            self.service(how.pop("function"), idempotency_key=new_key(), **how)

    def buy(self, rng: random.Random) -> None:
        made = rng.choice(self.people).call(
            "create_purchase", idempotency_key=new_key("buy"), livemode=False, package="small",
            promo_code=rng.choice([None, "TEN"]),
        )  # fmt: skip
        opened = self.service(
            "open_purchase", purchase_id=made["purchase_id"], session_id=new_key("cs_test"),
            payment_intent_id=new_key("pi"),
        )  # fmt: skip
        self.purchases.append(opened)
        self.pay(rng)

    def pay(self, rng: random.Random) -> None:
        if self.purchases:
            self.service("fulfill_purchase", session=paid(rng.choice(self.purchases[-4:])))

    def refund(self, rng: random.Random) -> None:
        if self.purchases:
            self.service(
                "request_refund", purchase_id=rng.choice(self.purchases[-8:])["purchase_id"], reason="stress",
                amount_cents=rng.randint(1, 900), idempotency_key=new_key("refund"),
            )  # fmt: skip

    def send(self, rng: random.Random) -> None:
        for one in self.service("claim_refunds", limit=3)["items"]:
            self.service(
                "record_refund", refund_id=one["refund_id"], status=rng.choice(["succeeded", "failed"])
            )

    def converge(self, rng: random.Random) -> None:
        if self.purchases:
            one = rng.choice(self.purchases[-8:])
            status = rng.choice(["needs_response", "under_review", "won", "warning_closed"])
            number = one["session_id"].rpartition("-")[2]
            totals: dict[str, Any] = {"refunds": [], "disputes": []}
            if rng.random() < 0.6:
                totals["disputes"] = [
                    {"id": f"dp_{number}", "amount_cents": 900, "status": status, "reason": None}
                ]
            else:
                totals["refunds"] = [
                    {"id": f"re_{number}", "amount_cents": 300, "status": rng.choice(["succeeded", "failed"])}
                ]
            self.service("converge_purchase", purchase_id=one["purchase_id"], totals=totals)

    def undo(self, rng: random.Random) -> None:
        if self.uses:
            self.service(
                "reverse",
                transaction_id=rng.choice(self.uses),
                reason="stress",
                idempotency_key=new_key("undo"),
            )

    def adjust(self, rng: random.Random) -> None:
        soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
        self.service(
            "adjust", account_id=rng.choice(self.people).account_id, amount_micros=rng.choice([3_000_000, -1_000_000]),
            reason="stress", idempotency_key=new_key("adjust"), expires_at=rng.choice([None, soon]),
        )  # fmt: skip

    def expire(self, _rng: random.Random) -> None:
        self.service("expire_grants", limit=10)
        self.service("expire_holds", limit=10)

    def reload(self, rng: random.Random) -> None:
        for one in self.service("claim_auto_reloads", livemode=False, limit=2)["items"]:
            outcome = rng.choice(["succeeded", "declined", "not_needed"])
            if outcome == "succeeded":
                self.service(
                    "fulfill_purchase", session=paid(self.service("purchase", purchase_id=one["purchase_id"]))
                )
            self.service("finish_auto_reload", attempt_id=one["attempt_id"], outcome=outcome)

    def switch(self, rng: random.Random) -> None:
        agree(rng.choice(self.people), cap_day_cents=100_000, cap_month_cents=1_000_000)
        rng.choice(self.people).call("switch_auto_reload", action=rng.choice(["off", "resume"]))

    def period(self, rng: random.Random) -> None:
        who = rng.choice(self.people)
        seen = who.call("subscription")["subscription"]
        if seen is None or seen["status"] in ("ended", "expired"):
            seen = who.call(
                "create_subscription",
                plan="team",
                livemode=False,
                base_url="https://shop.test",
                idempotency_key=new_key(),
            )
        now = int(time.time())
        self.invoices.append(
            {
                "invoice_id": new_key("in"), "subscription_id": f"sub_{seen['subscription_id']}", "status": "paid",
                "customer_id": None, "currency": "usd", "subtotal_cents": 2000, "tax_cents": 0, "discount_cents": 0,
                "total_cents": 2000, "amount_paid_cents": 2000, "amount_due_cents": 0, "price_id": "price_team",
                "quantity": 1, "period_start": now, "period_end": now + 1, "billing_reason": "subscription_cycle",
                "url": None, "receipt_url": None, "attempt_count": 1, "next_attempt": None, "livemode": False,
                "payment_intent_id": new_key("pi"), "created": now, "card_fingerprint": None,
                "metadata": {"subscription_id": seen["subscription_id"]},
            }
        )  # fmt: skip
        self.settle(rng)

    def settle(self, rng: random.Random) -> None:
        if self.invoices:
            one = rng.choice(self.invoices[-3:])
            self.service("settle_invoice", invoice=one | {"status": rng.choice(["paid", "paid", "open"])})
            state = {
                "status": rng.choice(["active", "active", "past_due"]), "unit_amount_cents": 2000, "ended_at": None,
                "cancel_at_period_end": False, "current_period_start": one["period_start"],
                "current_period_end": one["period_end"],
            }  # fmt: skip
            self.service("sync_subscription", state=one | state)

    def change(self, rng: random.Random) -> None:
        wish = rng.choice([{"action": "cancel"}, {"action": "change", "plan": "large"}])
        asked = rng.choice(self.people).call(
            "request_subscription_change", livemode=False, idempotency_key=new_key(), **wish
        )
        self.service("finish_subscription_change", request_id=asked["request_id"], status="failed")


@pytest.mark.usefixtures("no_second_attempt")
def test_everything_at_once(
    holder: Callable[..., Person], service: Call, owner_sql: Callable[..., Rows]
) -> None:
    service(
        "load_catalog",
        catalog=OWN | {"custom": {"min_cents": 100, "max_cents": 100_000, "micros_per_cent": 10_000}},
    )
    for plan in ("team", "large"):
        service(
            "set_subscription_price",
            catalog="own",
            code=plan,
            product_id=plan,
            price_id=f"price_{plan}",
            livemode=False,
        )
    service(
        "set_referral_program", on=True, referrer_micros=2_000_000, referee_micros=1_000_000, min_purchase_cents=500,
        open_days=60,
    )  # fmt: skip
    service(
        "create_campaign", code="TEN", name="Ten", kind="bonus_percent", amount=10, max_per_account=1_000_000
    )
    people = [holder("5.00") for _ in range(4)]
    code = people[0].call("referral")["code"]
    for friend in people[1:]:
        friend.call("claim_referral", code=code)
    bustle = Bustle(people, service)
    acts = [
        getattr(bustle, name)
        for name in vars(Bustle)
        if not name.startswith("_") and callable(vars(Bustle)[name])
    ]
    names = {act.__name__ for act in acts}
    until = time.monotonic() + SECONDS
    said: Counter[str] = Counter()
    broken: list[str] = []

    def work(seed: int) -> None:
        rng = random.Random(seed)
        while time.monotonic() < until or (
            not names <= said.keys() and time.monotonic() < until + SECONDS_MORE
        ):
            act = rng.choice(acts)
            try:
                act(rng)
                said[act.__name__] += 1
            except REFUSALS as refusal:
                said[f"{act.__name__}: {refusal.message}"] += 1
            except errors.CreditsError as error:  # a deadlock: say between whom
                diag = getattr(error.__cause__, "diag", None)
                broken.append(
                    f"{act.__name__}: {diag and (diag.message_primary, diag.message_detail, diag.context)}"
                )

    with ThreadPoolExecutor(WORKERS) as pool:
        for done in [pool.submit(work, seed) for seed in range(WORKERS)]:
            done.result()
    if os.environ.get("STRESS_SECONDS"):
        for what, times in said.most_common():
            print(f"{times:6} {what}")
    assert broken == []
    assert names <= said.keys()
    twice = owner_sql(
        "select purchase_id from credits.transactions where kind = 'purchase' group by 1 having count(*) > 1"
    )
    assert twice == []
