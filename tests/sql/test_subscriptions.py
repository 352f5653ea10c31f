"""Subscriptions (A11) in the database: what Stripe says of them and their invoices, credited once; roll-over, plans, the end."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from credits_core import errors
from credits_core.units import parse_credits as micros
from tests.sql.conftest import Call, Clock, Person, Rows, new_key, refused

_numbers = itertools.count(1)


def seconds(at: datetime) -> int:
    return int(at.timestamp())


def month_after(at: datetime) -> datetime:
    return at.replace(year=at.year + at.month // 12, month=at.month % 12 + 1)


@dataclass
class Subscription:
    """A subscription as Stripe would tell of it: `state()` and `invoice()` are what the gateway reads."""

    who: Person
    service: Call
    clock: Clock
    row: dict[str, Any]
    stripe_id: str = field(default_factory=lambda: f"sub_{next(_numbers)}")
    status: str = "active"
    plan: str = "team"
    starts: datetime = datetime(2027, 1, 4, 9, tzinfo=UTC)
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def ends(self) -> datetime:
        return month_after(self.starts)

    @property
    def reference(self) -> dict[str, Any]:
        return {
            "subscription_id": self.stripe_id, "customer_id": "cus_1", "currency": "usd", "quantity": 1, "livemode": False,
            "price_id": f"price_{self.plan}", "metadata": {"subscription_id": self.row["subscription_id"]},
        }  # fmt: skip

    def state(self, **more: Any) -> dict[str, Any]:
        return self.reference | {
            "status": self.status, "unit_amount_cents": CENTS[self.plan], "cancel_at_period_end": False, "ended_at": None,
            "current_period_start": seconds(self.starts), "current_period_end": seconds(self.ends),
            "created": seconds(self.starts),
        } | self.more | more  # fmt: skip

    def invoice(self, **more: Any) -> dict[str, Any]:
        cents = CENTS[self.plan]
        return self.reference | {
            "invoice_id": f"in_{self.stripe_id}_{seconds(self.starts)}", "status": "paid", "subtotal_cents": cents,
            "tax_cents": 0, "discount_cents": 0, "total_cents": cents, "amount_paid_cents": cents, "amount_due_cents": cents,
            "period_start": seconds(self.starts), "period_end": seconds(self.ends), "billing_reason": "subscription_cycle",
            "url": "https://stripe.test/in", "receipt_url": None, "attempt_count": 0, "next_attempt": None,
            "payment_intent_id": f"pi_{self.stripe_id}_{seconds(self.starts)}", "created": seconds(self.starts),
        } | more  # fmt: skip

    def sync(self, **more: Any) -> dict[str, Any]:
        return dict(self.service("sync_subscription", state=self.state(**more)))

    def settle(self, **more: Any) -> dict[str, Any]:
        return dict(self.service("settle_invoice", invoice=self.invoice(**more)))

    def renew(self, *, at: timedelta = timedelta(hours=1), plan: str = "") -> dict[str, Any]:
        """The next period begins and is paid an hour later."""
        self.starts, self.plan = self.ends, plan or self.plan
        self.clock.set(self.starts + at)
        paid = self.settle()
        self.sync()
        return paid

    def upgrade(self, plan: str) -> dict[str, Any]:
        self.starts, self.plan = self.clock.now, plan
        paid = self.settle(billing_reason="subscription_update")
        self.sync()
        return paid

    @property
    def seen(self) -> dict[str, Any]:
        return dict(self.who.call("subscription")["subscription"])


CENTS = {"mini": 500, "team": 2000, "large": 5000, "metered": 3000}
OWN: dict[str, Any] = {
    "code": "own", "name": "Our own", "currency": "usd",
    "packages": [{"code": "small", "name": "Small", "credits_micros": 10_000_000, "price_cents": 900}],
    "operations": [{"code": "fax", "name": "Fax", "measure": "count", "components": [{"unit": "item", "price_micros": 1_000_000}]}],
    "plans": [{"code": "free", "name": "Free", "allowances": {"fax": 10}},
              {"code": "pro", "name": "Pro", "allowances": {"fax": 100}}],
    "subscriptions": [
        {"code": "mini", "name": "Mini", "price_cents": 500, "credits_micros": micros("5")},
        {"code": "team", "name": "Team", "price_cents": 2000, "credits_micros": micros("20"),
         "rollover_cap_micros": micros("15")},
        {"code": "large", "name": "Large", "price_cents": 5000, "credits_micros": micros("60"),
         "rollover_cap_micros": micros("30")},
        {"code": "metered", "name": "Metered", "price_cents": 3000, "credits_micros": micros("10"), "plan": "pro"},
    ],
}  # fmt: skip


@pytest.fixture(autouse=True)
def plans(clock: Clock, service: Call) -> None:
    service("load_catalog", catalog=OWN)
    for code in CENTS:
        service(
            "set_subscription_price", catalog="own", code=code, product_id=f"prod_{code}",
            price_id=f"price_{code}", livemode=False,
        )  # fmt: skip


@pytest.fixture
def wish(clock: Clock, service: Call) -> Callable[..., Subscription]:
    """`wish(anna, "team")`: on the page at Stripe, not paid yet."""

    def act(who: Person, plan: str = "team") -> Subscription:
        row = who.call(
            "create_subscription",
            plan=plan,
            livemode=False,
            base_url="https://shop.test",
            idempotency_key=new_key(),
        )
        service(
            "open_subscription", subscription_id=row["subscription_id"], session_id=new_key("cs_test"),
            url="https://stripe.test/pay", customer_id="cus_1",
        )  # fmt: skip
        return Subscription(who, service, clock, row, plan=plan, starts=clock.now)

    return act


@pytest.fixture
def subscribe(wish: Callable[..., Subscription]) -> Callable[..., Subscription]:
    """`subscribe(anna, "team")`: the first period is paid."""

    def act(who: Person, plan: str = "team") -> Subscription:
        made = wish(who, plan)
        made.settle(billing_reason="subscription_create")
        made.sync()
        return made

    return act


# --- the first period --------------------------------------------------------------------------------------------


def test_a_paid_period_grants_its_credits_at_their_cost_until_its_end(
    subscribe: Callable[..., Subscription], holder: Callable[..., Person], grants: Call, ledger: Call
) -> None:
    """A11: the row was there before Stripe; the credits carry what was paid; the purchase is like any other."""
    anna = holder()
    made = subscribe(anna)
    (grant,) = grants(anna)
    assert (grant["source"], grant["is_promotional"], grant["cost_cents"]) == ("subscription", False, 2000)
    assert grant["remaining_micros"] == micros("20") == anna.available
    assert datetime.fromisoformat(grant["expires_at"]) == made.ends + timedelta(days=3)
    (row,) = ledger(anna)
    assert (row["kind"], row["amount_micros"]) == ("purchase", micros("20"))
    (purchase,) = anna.call("purchases")["items"]
    assert (purchase["flow"], purchase["status"], purchase["price_cents"]) == (
        "subscription",
        "credited",
        2000,
    )
    seen = made.seen
    assert (seen["status"], seen["code"], seen["left_micros"], seen["stays_micros"]) == (
        "active", "team", micros("20"), micros("15"),
    )  # fmt: skip
    assert seen["renewal_cents"] == 2000
    assert [change["what"] for change in anna.call("subscription")["changes"]] == [
        "started",
        "paid",
        "created",
    ]
    assert [alert["kind"] for alert in anna.call("alerts")["items"]] == ["purchase_credited"]


def test_an_invoice_is_credited_once_whoever_asks(
    subscribe: Callable[..., Subscription], holder: Callable[..., Person]
) -> None:
    """A3, A11: return page, webhook, poll, again and again."""
    anna = holder()
    made = subscribe(anna)
    for _ in range(3):
        again = made.settle(billing_reason="subscription_create")
        assert (again["status"], again["newly_credited"]) == ("credited", False)
        made.sync()
    assert anna.available == micros("20")
    assert len(anna.call("purchases")["items"]) == 1


def test_the_invoice_may_come_before_the_subscription(
    wish: Callable[..., Subscription], holder: Callable[..., Person]
) -> None:
    """A11: by what our own reference says, before Stripe's id is known here."""
    anna = holder()
    made = wish(anna)
    assert made.settle(billing_reason="subscription_create")["newly_credited"] is True
    assert anna.available == micros("20")
    assert made.sync()["status"] == "active"
    assert anna.available == micros("20")


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"currency": "eur"}, "currency"),
        ({"subtotal_cents": 1}, "amount"),
        ({"quantity": 20}, "amount"),
        ({"customer_id": "cus_other"}, "customer"),
        ({"price_id": "price_unknown"}, "none of ours"),
        ({"amount_paid_cents": 0}, "nothing was to be paid"),
    ],
)
def test_what_does_not_agree_goes_to_review_and_never_to_the_balance(
    wish: Callable[..., Subscription], holder: Callable[..., Person], wrong: dict[str, Any], why: str
) -> None:
    """A3, A11: currency, amount, customer and price are verified."""
    anna = holder()
    made = wish(anna)
    answer = made.settle(**wrong)
    assert (answer["status"], answer["newly_credited"]) == ("review", False)
    assert why in answer["review_reason"]
    assert anna.available == 0
    assert made.settle(**wrong)["status"] == "review"
    assert made.settle()["newly_credited"] is True  # put right at Stripe: credited, still once
    assert (made.settle()["newly_credited"], anna.available) == (False, micros("20"))


def test_others_subscriptions_and_the_other_mode_are_none_of_ours(
    subscribe: Callable[..., Subscription], holder: Callable[..., Person], service: Call
) -> None:
    """A11, A15: something else sold on this Stripe account; a copy with our reference; live and test mode."""
    anna = holder()
    made = subscribe(anna)
    for more in ({"subscription_id": "sub_other"}, {"livemode": True}):
        for function, argument in (
            ("sync_subscription", made.state(**more)),
            ("settle_invoice", made.invoice(**more)),
        ):
            name = "state" if function.startswith("sync") else "invoice"
            refusal = refused(lambda f=function, n=name, a=argument: service(f, **{n: a}))
            assert isinstance(refusal, errors.NotFound)
    assert anna.available == micros("20")


# --- one at a time, by its owner -----------------------------------------------------------------------------------


def test_an_account_has_one_subscription_at_a_time(
    subscribe: Callable[..., Subscription], wish: Callable[..., Subscription], holder: Callable[..., Person]
) -> None:
    """A11: also the page somebody may still pay on counts."""
    anna = holder()
    waiting = wish(anna)
    refusal = refused(lambda: wish(anna, "large"))
    assert isinstance(refusal, errors.Conflict)
    assert refusal.detail == {"pending": waiting.row["subscription_id"]}
    waiting.settle(billing_reason="subscription_create")
    waiting.sync()
    assert "change its plan" in refused(lambda: wish(anna, "large")).message
    wish(holder(), "large")


def test_the_same_key_answers_the_same_row(holder: Callable[..., Person]) -> None:
    """B6: and another request under it is refused."""
    anna = holder()
    wanted = {"plan": "team", "livemode": False, "base_url": "https://shop.test", "idempotency_key": "one"}
    first = anna.call("create_subscription", **wanted)
    again = anna.call("create_subscription", **wanted)
    assert (again["subscription_id"], again["replayed"]) == (first["subscription_id"], True)
    other = refused(lambda: anna.call("create_subscription", **wanted | {"plan": "large"}))
    assert isinstance(other, errors.IdempotencyKeyReused)


def test_a_plan_without_a_stripe_price_of_its_terms_cannot_be_sold(
    holder: Callable[..., Person], service: Call
) -> None:
    """A5, A11: nobody pays an old price for new terms."""
    changed = OWN | {"subscriptions": [dict(plan, credits_micros=1) for plan in OWN["subscriptions"]]}
    service("load_catalog", catalog=changed)
    anna = holder()
    assert {plan["stripe_price_id"] for plan in anna.call("subscription")["plans"]} == {None}
    wanted = {"plan": "team", "livemode": False, "base_url": "https://shop.test", "idempotency_key": "one"}
    assert "stripe-sync" in refused(lambda: anna.call("create_subscription", **wanted)).message
    assert isinstance(
        refused(lambda: anna.call("create_subscription", **wanted | {"plan": "huge"})), errors.NotFound
    )


def test_who_subscribed_keeps_the_terms(
    subscribe: Callable[..., Subscription], holder: Callable[..., Person], service: Call
) -> None:
    """A11, C3: a change of the catalog changes nothing for those who pay already."""
    anna = holder()
    made = subscribe(anna)
    changed = OWN | {
        "subscriptions": [dict(plan, credits_micros=1, price_cents=9900) for plan in OWN["subscriptions"]]
    }
    service("load_catalog", catalog=changed)
    service(
        "set_subscription_price",
        catalog="own",
        code="team",
        product_id="p",
        price_id="price_new",
        livemode=False,
    )
    anna.use("fax", 20)
    made.renew()
    assert anna.available == micros("20")
    assert made.seen["price_cents"] == 2000


# --- roll-over ---------------------------------------------------------------------------------------------------


def test_unused_credits_stay_up_to_the_cap(
    subscribe: Callable[..., Subscription], holder: Callable[..., Person], ledger: Call, grants: Call
) -> None:
    """A11: of 18 left 15 stay until the new period's end, 3 expire; each a row of its own."""
    anna = holder()
    made = subscribe(anna)
    anna.use("fax", 2)
    made.renew()
    rows = [(row["kind"], row["amount_micros"]) for row in ledger(anna)[2:]]
    assert rows == [("extension", 0), ("expiry", -micros("3")), ("purchase", micros("20"))]
    assert anna.available == micros("35")
    left = [
        (g["remaining_micros"], g["cost_cents"], g["expires_at"])
        for g in grants(anna)
        if g["remaining_micros"]
    ]
    assert [(amount, cost) for amount, cost, _ in left] == [(micros("15"), 1500), (micros("20"), 2000)]
    assert {datetime.fromisoformat(until) for _, _, until in left} == {made.ends + timedelta(days=3)}
    made.renew()  # nothing was used: 35 left, 15 stay
    assert anna.available == micros("35")
    assert anna.call("balance_as_of", at=made.clock.now.isoformat())["posted_micros"] == micros("35")


def test_without_roll_over_each_period_begins_anew(
    subscribe: Callable[..., Subscription], holder: Callable[..., Person], ledger: Call
) -> None:
    """A11: and credits that were bought are not touched."""
    anna = holder("7")
    made = subscribe(anna, "mini")
    anna.use("fax", 1)
    made.renew()
    assert anna.available == micros("12")
    assert ledger(anna)[-2]["kind"] == "expiry"
    assert ledger(anna)[-2]["amount_micros"] == -micros("4")


def test_the_credits_last_while_the_renewal_is_collected_and_come_back_when_it_is_late(
    subscribe: Callable[..., Subscription], holder: Callable[..., Person], service: Call, ledger: Call
) -> None:
    """A11: an hour after the period's end nobody is without credits; after three days they rest until it is paid."""
    anna = holder()
    made = subscribe(anna)
    made.clock.set(made.ends + timedelta(hours=1))
    anna.use("fax", 1)
    made.clock.set(made.ends + timedelta(days=4))
    service("expire_grants")
    assert anna.available == 0
    made.renew(at=timedelta(days=10))
    assert anna.available == micros("35")
    kinds = [(row["kind"], row["amount_micros"]) for row in ledger(anna)[2:]]
    assert kinds == [("expiry", -micros("19")), ("extension", micros("15")), ("purchase", micros("20"))]


def test_periods_paid_out_of_order_are_each_credited_once(
    subscribe: Callable[..., Subscription], holder: Callable[..., Person]
) -> None:
    """A11: an old invoice that comes last gives credits that can still be used."""
    anna = holder()
    made = subscribe(anna)
    anna.use("fax", 20)
    made.starts = made.ends
    late = made.invoice()
    made.renew()
    assert anna.available == micros("20")
    made.clock.advance(days=2)
    assert made.service("settle_invoice", invoice=late)["newly_credited"] is True
    assert made.service("settle_invoice", invoice=late)["newly_credited"] is False
    assert anna.available == micros("40")
    assert made.seen["paid_until"] == made.seen["period_end"]


def test_shuffled_news_end_in_the_same_place(
    wish: Callable[..., Subscription], holder: Callable[..., Person]
) -> None:
    """A11: seeded; every order of states and invoices, doubled, credits each of three periods once."""
    for seed in range(20):
        anna = holder()
        made = wish(anna)
        made.clock.advance(days=91)
        news: list[tuple[str, dict[str, Any]]] = []
        for number in range(3):
            news.append(
                (
                    "invoice",
                    made.invoice(
                        billing_reason="subscription_create" if not number else "subscription_cycle"
                    ),
                )
            )
            news.append(("state", made.state()))
            made.starts = made.ends if number < 2 else made.starts
        news *= 2
        random.Random(seed).shuffle(news)
        for kind, argument in [*news, ("state", made.state())]:
            made.service("settle_invoice" if kind == "invoice" else "sync_subscription", **{kind: argument})
        credited = anna.call("purchases")["items"]
        assert [purchase["status"] for purchase in credited] == ["credited"] * 3
        assert anna.balance["total_purchased_micros"] == micros("60")
        assert (made.seen["status"], made.seen["paid_until"]) == ("active", made.seen["period_end"])
        made.clock.set(datetime(2027, 1, 4, 9, tzinfo=UTC))


# --- changes of plan -----------------------------------------------------------------------------------------------


def test_an_upgrade_takes_nothing_away(
    subscribe: Callable[..., Subscription], holder: Callable[..., Person], grants: Call
) -> None:
    """A11: the new plan is paid in full, its credits come at once; what is left stays up to the new cap, the rest to its end."""
    anna = holder()
    made = subscribe(anna)
    made.renew()  # 15 + 20 left
    made.clock.advance(days=10)
    old_end = made.ends
    made.upgrade("large")
    assert anna.available == micros("95")
    assert (made.seen["code"], made.seen["price_cents"], made.seen["next"]) == ("large", 5000, None)
    made.clock.set(old_end + timedelta(days=4))
    assert anna.available == micros("90")
    changes = [change["what"] for change in anna.call("subscription")["changes"]]
    assert changes[:2] == ["upgraded", "paid"]


def test_a_downgrade_counts_from_the_next_period(
    subscribe: Callable[..., Subscription], holder: Callable[..., Person]
) -> None:
    """A11: until then nothing changes but what is planned; it can be taken back."""
    anna = holder()
    made = subscribe(anna, "large")
    made.plan = "team"
    made.sync()
    seen = made.seen
    assert (seen["code"], seen["next"]["code"], seen["renewal_cents"]) == ("large", "team", 2000)
    choices = {plan["code"]: plan["choice"] for plan in anna.call("subscription")["plans"]}
    assert choices == {"mini": "downgrade", "team": "planned", "large": "stay", "metered": "downgrade"}
    made.plan = "large"
    made.sync()
    assert made.seen["next"] is None
    made.renew(plan="team")
    assert (made.seen["code"], made.seen["renewal_cents"], anna.available) == ("team", 2000, micros("35"))
    what = [change["what"] for change in anna.call("subscription")["changes"]]
    assert what[:4] == ["downgraded", "change_withdrawn", "change_planned", "started"]


def test_a_wish_is_one_row_and_says_whether_it_is_paid_now(
    subscribe: Callable[..., Subscription], holder: Callable[..., Person], clock: Clock
) -> None:
    """A11, B6: the same wish under way is the same row, another one waits."""
    anna = holder()
    subscribe(anna)
    ask = {"livemode": False, "action": "change"}
    up = anna.call("request_subscription_change", plan="large", idempotency_key="up", **ask)
    assert (up["is_now"], up["price_id"], up["replayed"]) == (True, "price_large", False)
    again = anna.call("request_subscription_change", plan="large", idempotency_key="again", **ask)
    assert (again["request_id"], again["replayed"]) == (up["request_id"], True)
    for wish in ({"action": "cancel"}, {"plan": "mini"}):
        other = refused(
            lambda w=wish: anna.call("request_subscription_change", **ask | {"idempotency_key": "x"} | w)
        )
        assert isinstance(other, errors.Conflict)
    clock.advance(minutes=3)
    down = anna.call("request_subscription_change", plan="mini", idempotency_key="down", **ask)
    assert (down["is_now"], down["replayed"]) == (False, False)
    reused = refused(
        lambda: anna.call("request_subscription_change", plan="mini", idempotency_key="up", **ask)
    )
    assert isinstance(reused, errors.IdempotencyKeyReused)


def test_wishes_that_make_no_sense_are_refused(
    subscribe: Callable[..., Subscription], holder: Callable[..., Person]
) -> None:
    """A11: each with a sentence that says what to do."""
    anna = holder()
    ask = {"livemode": False, "idempotency_key": new_key()}

    def no(wanted: type[errors.CreditsError], **more: Any) -> str:
        refusal = refused(lambda: anna.call("request_subscription_change", **ask | more))
        assert isinstance(refusal, wanted)
        return refusal.message

    no(errors.NotFound, action="cancel")
    made = subscribe(anna)
    no(errors.InvalidRequest, action="pause")
    no(errors.InvalidRequest, action="change")
    no(errors.InvalidRequest, action="cancel", plan="mini")
    no(errors.NotFound, action="change", plan="huge")
    assert "already" in no(errors.Conflict, action="change", plan="team")
    assert "nothing to keep" in no(errors.Conflict, action="keep")
    made.sync(cancel_at_period_end=True)
    assert "keep it first" in no(errors.Conflict, action="change", plan="large")
    assert "already" in no(errors.Conflict, action="cancel")


def test_only_the_owner_subscribes_and_changes(
    subscribe: Callable[..., Subscription],
    holder: Callable[..., Person],
    person: Callable[..., Person],
    service: Call,
) -> None:
    """A11, K2: it agrees to payments that repeat; no program and no administrator does that for somebody."""
    anna = holder()
    subscribe(anna)
    wanted = {"plan": "team", "livemode": False, "base_url": "https://shop.test", "idempotency_key": "one"}
    assert isinstance(refused(lambda: service("create_subscription", **wanted)), errors.NotAllowed)
    ask = {"livemode": False, "idempotency_key": "x", "action": "cancel"}
    assert isinstance(refused(lambda: service("request_subscription_change", **ask)), errors.NotAllowed)
    admin = person("admin")
    assert isinstance(refused(lambda: admin.call("request_subscription_change", **ask)), errors.NotFound)
    assert admin.call("subscription", account_id=anna.account_id)["subscription"]["code"] == "team"
    assert isinstance(
        refused(lambda: holder().call("subscription", account_id=anna.account_id)), errors.NotAllowed
    )


# --- failed renewals and the end -------------------------------------------------------------------------------------


def test_a_failed_renewal_is_told_once_an_attempt_with_the_way_to_pay(
    subscribe: Callable[..., Subscription], holder: Callable[..., Person]
) -> None:
    """A11: past due, where to pay and when it is tried again; paid, all of it is over."""
    anna = holder()
    made = subscribe(anna)
    made.starts, made.status = made.ends, "past_due"
    made.clock.set(made.starts + timedelta(hours=1))
    failed = {"status": "open", "attempt_count": 1, "next_attempt": seconds(made.starts + timedelta(days=3))}
    for _ in range(2):
        made.settle(**failed)
        made.sync()
    seen = made.seen
    assert (seen["status"], seen["pay_url"], seen["amount_due_cents"], seen["attempts"]) == (
        "past_due", "https://stripe.test/in", 2000, 1,
    )  # fmt: skip
    told = [alert["kind"] for alert in anna.call("alerts")["items"]]
    assert told.count("subscription_payment_failed") == 1
    ask = {"livemode": False, "idempotency_key": "x", "action": "change", "plan": "large"}
    assert "pay it first" in refused(lambda: anna.call("request_subscription_change", **ask)).message
    made.settle(**failed | {"attempt_count": 2})
    told = [alert["kind"] for alert in anna.call("alerts")["items"]]
    assert told.count("subscription_payment_failed") == 2
    made.status = "active"
    made.settle()
    made.sync()
    seen = made.seen
    assert (seen["status"], seen["pay_url"], seen["attempts"]) == ("active", None, 0)
    assert anna.available == micros("35")
    assert [change["what"] for change in anna.call("subscription")["changes"]][:2] == ["recovered", "paid"]


def test_an_older_look_at_an_invoice_does_not_undo_its_payment(
    holder: Callable[..., Person], subscribe: Callable[..., Subscription]
) -> None:
    """A11: the invoice was read before it was paid, and the look arrives after it: nothing waits to be paid, nobody is told so."""
    anna = holder()
    one = subscribe(anna)
    one.renew()
    one.settle(status="open", attempt_count=1)
    assert (one.seen["pay_url"], one.seen["attempts"]) == (None, 0)
    kinds = [alert["kind"] for alert in anna.call("alerts")["items"]]
    assert "subscription_payment_failed" not in kinds
    anna.call(
        "request_subscription_change",
        action="change",
        plan="large",
        livemode=False,
        idempotency_key=new_key(),
    )


def test_when_stripe_gives_up_it_ends_and_a_late_payment_is_credited_all_the_same(
    subscribe: Callable[..., Subscription], holder: Callable[..., Person], service: Call
) -> None:
    """A11: the money came, so the credits come; the subscription stays ended."""
    anna = holder()
    made = subscribe(anna)
    made.starts, made.status = made.ends, "past_due"
    made.clock.set(made.starts + timedelta(hours=1))
    made.settle(status="open", attempt_count=4)
    made.sync()
    made.clock.advance(days=15)
    made.status = "canceled"
    ended = made.sync(ended_at=seconds(made.clock.now))
    assert (ended["status"], ended["ended_reason"]) == ("ended", "payment_failed")
    assert ended["closed_at"] is not None
    assert anna.available == 0
    assert anna.call("alerts")["items"][0]["kind"] == "subscription_ended"
    made.status = "active"
    assert made.sync()["status"] == "ended"  # an old look at Stripe
    assert made.settle()["newly_credited"] is True
    assert anna.available == micros("20")
    assert made.seen["status"] == "ended"


def test_canceled_with_the_period_it_ends_with_its_credits(
    subscribe: Callable[..., Subscription], holder: Callable[..., Person], ledger: Call, service: Call
) -> None:
    """A11: until then everything stays; it can be kept."""
    anna = holder("3")
    made = subscribe(anna)
    made.sync(cancel_at_period_end=True)
    assert (made.seen["cancel_at_period_end"], made.seen["renewal_cents"]) == (True, None)
    made.sync()
    assert made.seen["renewal_cents"] == 2000
    made.sync(cancel_at_period_end=True)
    made.clock.set(made.ends - timedelta(minutes=1))
    anna.use("fax", 4)
    made.clock.set(made.ends)
    made.status = "canceled"
    ended = made.sync(ended_at=seconds(made.ends), cancel_at_period_end=True)
    assert (ended["status"], ended["ended_reason"], anna.available) == ("ended", "canceled", micros("3"))
    assert (ledger(anna)[-1]["kind"], ledger(anna)[-1]["amount_micros"]) == ("expiry", -micros("16"))
    what = [change["what"] for change in anna.call("subscription")["changes"]]
    assert what[:5] == ["closed", "ended", "cancel_planned", "kept", "cancel_planned"]
    assert anna.call("subscription")["plans"][0]["choice"] == "subscribe"


def test_ended_at_once_at_stripe_the_paid_period_stays(
    subscribe: Callable[..., Subscription], holder: Callable[..., Person], service: Call
) -> None:
    """A11: what was paid for can be used to its end; the poll closes it then."""
    anna = holder()
    made = subscribe(anna)
    made.status = "canceled"
    made.clock.advance(days=5)
    ended = made.sync(ended_at=seconds(made.clock.now))
    assert (ended["ended_reason"], ended["closed_at"], anna.available) == ("canceled", None, micros("20"))
    service("subscriptions_to_poll", livemode=False)
    made.clock.advance(days=1)
    assert service("subscriptions_to_poll", livemode=False)["items"] == []
    made.clock.set(made.ends + timedelta(minutes=1))
    (item,) = service("subscriptions_to_poll", livemode=False)["items"]
    assert item["subscription_id"] == made.row["subscription_id"]
    assert made.sync(ended_at=seconds(made.clock.now))["closed_at"] is not None
    assert anna.available == 0
    assert service("subscriptions_to_poll", livemode=False)["items"] == []


# --- allowances ----------------------------------------------------------------------------------------------------


def test_the_allowances_of_the_plan_come_and_go_with_it(
    subscribe: Callable[..., Subscription], holder: Callable[..., Person], service: Call, clock: Clock
) -> None:
    """A11, E1: from the period's start; at the end the account is where it was before."""
    anna = holder()
    service("set_plan", account_id=anna.account_id, plan="free")
    anna.use("fax", 10)
    clock.advance(minutes=1)
    made = subscribe(anna, "metered")
    limits = anna.call("limits")
    assert (limits["plan"], limits["anchor_day"]) == ("pro", 4)
    assert [(a["included"], a["used"]) for a in limits["allowances"]] == [(100, 0)]
    anna.use("fax", 60)
    made.renew()
    assert anna.call("limits")["allowances"][0]["used"] == 0
    made.status = "past_due"
    made.sync()
    assert anna.call("limits")["plan"] == "pro"  # kept until Stripe gives up
    made.status = "canceled"
    made.clock.set(made.ends)
    made.sync(ended_at=seconds(made.ends))
    assert anna.call("limits")["plan"] == "free"


def test_an_upgrade_to_allowances_and_a_downgrade_from_them(
    subscribe: Callable[..., Subscription], holder: Callable[..., Person]
) -> None:
    """A11, E1."""
    anna = holder()
    made = subscribe(anna)
    assert anna.call("limits")["plan"] is None
    made.clock.advance(days=3)
    made.upgrade("metered")
    assert (anna.call("limits")["plan"], anna.call("limits")["anchor_day"]) == ("pro", 7)
    made.renew(plan="mini")
    assert anna.call("limits")["plan"] is None


def test_what_an_administrator_set_stays(
    subscribe: Callable[..., Subscription], holder: Callable[..., Person], service: Call
) -> None:
    """A11, I3: a plan given by hand is not taken by a renewal or an end."""
    anna = holder()
    made = subscribe(anna, "metered")
    made.clock.advance(days=1)
    service("set_plan", account_id=anna.account_id, plan="free")
    made.renew()
    assert anna.call("limits")["plan"] == "free"
    made.status = "canceled"
    made.clock.set(made.ends)
    made.sync(ended_at=seconds(made.ends))
    assert anna.call("limits")["plan"] == "free"


# --- money that goes back ----------------------------------------------------------------------------------------------


def test_a_refund_of_a_period_takes_its_credits_back(
    subscribe: Callable[..., Subscription], holder: Callable[..., Person], service: Call
) -> None:
    """A8, A11: like every purchase; rolled-over credits are still those of the period that was paid for them."""
    anna = holder()
    made = subscribe(anna)
    anna.use("fax", 10)
    made.renew()
    (second, first) = anna.call("purchases")["items"]
    preview = service("refund_preview", purchase_id=first["purchase_id"])
    assert (preview["max_cents"], preview["credits_micros"]) == (1000, micros("10"))
    service(
        "request_refund", purchase_id=second["purchase_id"], reason="not wanted", idempotency_key=new_key()
    )
    assert anna.available == micros("10")


def test_a_dispute_of_a_period_leaves_what_is_owed(
    subscribe: Callable[..., Subscription], holder: Callable[..., Person], service: Call
) -> None:
    """A9, A11: found by the payment of the invoice; recovered from the next period first."""
    anna = holder()
    made = subscribe(anna)
    anna.use("fax", 20)
    purchase = service("purchase_of_payment", payment_intent_id=made.invoice()["payment_intent_id"])
    dispute = {"id": "dp_1", "amount_cents": 2000, "status": "needs_response", "reason": "fraudulent"}
    service("converge_purchase", purchase_id=purchase["purchase_id"], totals={"disputes": [dispute]})
    assert anna.available == -micros("20")
    made.renew()
    assert anna.available == 0


def test_changes_are_never_changed(
    subscribe: Callable[..., Subscription], holder: Callable[..., Person], owner_sql: Callable[..., Rows]
) -> None:
    """B1: the base of recurring revenue."""
    subscribe(holder())
    for statement in (
        "update credits.subscription_changes set price_cents = 1",
        "delete from credits.subscription_changes",
    ):
        with pytest.raises(Exception, match="never changed or removed"):
            owner_sql(statement)
    rows = owner_sql(
        "select what, code, price_cents, billing_interval, livemode from credits.subscription_changes order by id"
    )
    assert [tuple(row.values()) for row in rows] == [
        (what, "team", 2000, "month", False) for what in ("created", "paid", "started")
    ]
