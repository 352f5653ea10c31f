"""Subscriptions (A11) from the page to the end, on a virtual clock: over HTTP, the simulator, and with or without webhooks."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from credits_core import reversals, subscribing, subscriptions
from credits_core.db.port import SERVICE
from credits_core.errors import Conflict, CreditsError, NotFound, StripeUnavailable
from tests.scenarios.conftest import CARD, Buyer, World, micros, new_key
from tests.scenarios.test_reconciliation import check, found

DAY = 86_400
MONTH = 31 * DAY + 3_700  # a month at most, and the hour after which Stripe collects a renewal
PRO, TEAM = micros("500"), micros("5000")
SHOP = "https://shop.test"
FUNDS, LOST = "4000000000009995", "4000000000009987"


@pytest.fixture
def elapse(world: World) -> Callable[..., None]:
    """`elapse(days=3)`: time goes by at Stripe and in the database alike."""
    gone = 0

    def act(*, days: float = 0, seconds: int = 0) -> None:
        nonlocal gone
        step = int(days * DAY) + seconds
        gone += step
        world.owner_sql(
            "create or replace function credits._now() returns timestamptz language sql volatile set search_path = ''"
            f" as $$ select clock_timestamp() + interval '{gone} seconds' $$"
        )
        world.control("clock", advance_seconds=step)

    return act


def poll(world: World) -> dict[str, int]:
    world.owner_sql("update credits.subscriptions set polled_at = null")
    return subscriptions.poll(world.db, world.stripe)


def subscribe(buyer: Buyer, plan: str = "team", card: str = CARD) -> dict[str, Any]:
    """Over HTTP to Stripe's page, paid there, and back on the plan page."""
    begun = buyer.post("subscription", {"plan": plan})
    buyer.world.control(f"sessions/{begun['session_id']}/pay", card=card)
    return subscriptions.arrive(buyer.world, buyer.identity, begun["session_id"])


def now(buyer: Buyer) -> dict[str, Any]:
    return dict(buyer.get("subscription")["subscription"])


def change(buyer: Buyer, plan: str, expect: int = 200) -> Any:
    return buyer.post("subscription/change", {"plan": plan}, expect)


def method_of(world: World) -> str:
    return str(world.at_stripe("subscription")[0]["default_payment_method"])


def act_as(world: World, card: str) -> None:
    world.control(f"payment_methods/{method_of(world)}/act-as", card=card)


def credited(buyer: Buyer) -> list[str]:
    return [payment["status"] for payment in buyer.get("subscription")["payments"]]


def spend(buyer: Buyer, credits: int) -> None:
    """Beyond what the plan of the month includes."""
    allowance = buyer.world.db.call("limits", buyer.identity)["allowances"][0]
    buyer.use(int(allowance["remaining"]) + credits)


def test_three_periods_with_roll_over_up_to_the_cap(
    world: World, anna: Buyer, elapse: Callable[..., None]
) -> None:
    """Team: 5,000 credits a month, at most 5,000 roll over; allowances of 50,000 requests begin with each period."""
    first = subscribe(anna)["subscription"]
    assert (first["status"], first["code"], anna.available) == ("active", "team", TEAM)
    limits = world.db.call("limits", anna.identity)
    assert (limits["plan"], limits["allowances"][0]["included"]) == ("team", 50_000)
    spend(anna, 1_000)
    elapse(seconds=MONTH)
    poll(world)
    assert anna.available == micros("9000")
    spend(anna, 500)
    elapse(seconds=MONTH)
    poll(world)
    poll(world)
    assert anna.available == micros("10000")
    assert credited(anna) == ["credited"] * 3
    charges = [charge["amount"] for charge in world.at_stripe("charge")]
    assert charges == [19_900] * 3
    kinds = [row["kind"] for row in anna.get("transactions", limit=100)["items"]]
    assert (kinds.count("extension"), kinds.count("expiry"), kinds.count("purchase")) == (2, 1, 3)


def test_nobody_is_without_credits_between_two_periods(
    world: World, anna: Buyer, elapse: Callable[..., None]
) -> None:
    """Stripe collects an hour after the period's end; a call at that time goes on."""
    subscribe(anna, "pro")
    end = world.stripe.subscriptions.subscription(now(anna)["stripe_id"]).current_period_end
    elapse(seconds=end - int(world.simulator.store.now()) + 60)
    poll(world)
    world.db.call("expire_grants", SERVICE)
    assert (now(anna)["status"], anna.available) == ("active", PRO)
    spend(anna, 100)
    elapse(seconds=3_700)
    poll(world)
    assert anna.available == PRO  # no roll-over: 400 expired, 500 came


def test_a_failed_renewal_is_paid_on_its_page(world: World, anna: Buyer, elapse: Callable[..., None]) -> None:
    """Past due with the way to pay; the plan is kept until Stripe gives up; paid, it goes on."""
    subscribe(anna)
    act_as(world, FUNDS)
    elapse(seconds=MONTH)
    poll(world)
    waiting = now(anna)
    assert (waiting["status"], waiting["attempts"], waiting["amount_due_cents"]) == ("past_due", 1, 19_900)
    assert waiting["pay_url"].startswith("http")
    assert world.db.call("limits", anna.identity)["plan"] == "team"
    assert change(anna, "pro", 409)["error"]["message"].startswith("An invoice waits")
    elapse(days=4)
    poll(world)
    assert now(anna)["attempts"] == 2
    told = [alert["kind"] for alert in anna.get("alerts")["items"]]
    assert told.count("subscription_payment_failed") == 2
    act_as(world, CARD)
    invoice = world.at_stripe("invoice")[0]["id"]
    world.stripe.subscriptions.pay_invoice(invoice, method_of(world), new_key())
    poll(world)
    assert (now(anna)["status"], now(anna)["pay_url"], anna.available) == ("active", None, 2 * TEAM)


def test_stripe_gives_up_and_the_account_is_where_it_was(
    world: World, anna: Buyer, elapse: Callable[..., None]
) -> None:
    """Ended, told once; the allowances are those of before; somebody may begin anew."""
    world.db.call("set_plan", SERVICE, account_id=anna.account_id, plan="free")
    elapse(seconds=60)
    subscribe(anna, "pro")
    act_as(world, FUNDS)
    elapse(seconds=MONTH)
    elapse(days=20)
    poll(world)
    ended = now(anna)
    assert (ended["status"], ended["ended_reason"], anna.available) == ("ended", "payment_failed", 0)
    assert world.db.call("limits", anna.identity)["plan"] == "free"
    told = [alert["kind"] for alert in anna.get("alerts")["items"]]
    assert told.count("subscription_ended") == 1
    assert subscribe(anna, "pro")["subscription"]["status"] == "active"
    assert anna.available == PRO


def test_upgrade_now_and_downgrade_later(world: World, anna: Buyer, elapse: Callable[..., None]) -> None:
    """The dearer plan is paid in full at once and nothing is lost; the cheaper one comes with the next period."""
    subscribe(anna, "pro")
    spend(anna, 100)
    elapse(days=10)
    choice = {plan["code"]: plan for plan in anna.get("subscription")["plans"]}
    assert (choice["team"]["choice"], choice["team"]["pays_now_cents"]) == ("upgrade", 19_900)
    up = change(anna, "team")["subscription"]
    assert (up["code"], up["next"], anna.available) == ("team", None, TEAM + micros("400"))
    assert [charge["amount"] for charge in world.at_stripe("charge")] == [19_900, 2_900]
    down = change(anna, "pro")["subscription"]
    assert (down["code"], down["next"]["code"], down["renewal_cents"]) == ("team", "pro", 2_900)
    assert len(world.at_stripe("charge")) == 2
    assert {plan["code"]: plan["choice"] for plan in anna.get("subscription")["plans"]}["team"] == "stay"
    change(anna, "team")
    assert (now(anna)["next"], len(world.at_stripe("charge"))) == (None, 2)
    change(anna, "pro")
    elapse(seconds=MONTH)
    poll(world)
    assert (now(anna)["code"], world.db.call("limits", anna.identity)["plan"]) == ("pro", "pro")
    assert [charge["amount"] for charge in world.at_stripe("charge")] == [2_900, 19_900, 2_900]
    assert anna.available == PRO


def test_an_upgrade_that_is_not_paid_changes_nothing(world: World, anna: Buyer) -> None:
    """Declined or to be confirmed: a sentence, and the same key says it again; with a good card it works."""
    subscribe(anna, "pro")
    act_as(world, LOST)
    wish = {"plan": "team", "idempotency_key": "up-1"}
    for _ in range(2):
        refusal = anna.post("subscription/change", wish, 409)["error"]
        assert "nothing was charged" in refusal["message"]
    act_as(world, "4000002760003184")
    assert "confirm" in change(anna, "team", 409)["error"]["message"]
    assert (now(anna)["code"], anna.available, len(world.at_stripe("invoice"))) == ("pro", PRO, 1)
    act_as(world, CARD)
    assert change(anna, "team")["subscription"]["code"] == "team"


def test_cancel_keep_and_the_end(world: World, anna: Buyer, elapse: Callable[..., None]) -> None:
    """Until the period's end everything stays; then credits and allowances of the plan end, what was bought stays."""
    anna.buy()
    subscribe(anna)
    assert anna.post("subscription/cancel")["subscription"]["cancel_at_period_end"] is True
    assert change(anna, "pro", 409)["error"]["message"].startswith("Your subscription is set to end")
    assert anna.post("subscription/keep")["subscription"]["cancel_at_period_end"] is False
    anna.post("subscription/cancel")
    anna.post("subscription/cancel", None, 409)
    elapse(seconds=MONTH)
    poll(world)
    ended = now(anna)
    assert (ended["status"], ended["ended_reason"], anna.available) == ("ended", "canceled", micros("500"))
    assert len(world.at_stripe("charge")) == 2
    what = [one["what"] for one in anna.get("subscription")["changes"]]
    assert what == [
        "closed",
        "ended",
        "cancel_planned",
        "kept",
        "cancel_planned",
        "started",
        "paid",
        "created",
    ]


def test_what_was_changed_at_stripe_is_taken_in(world: World, anna: Buyer) -> None:
    """The billing portal, or Stripe's dashboard: no word of it came, the poll sees it."""
    subscribe(anna)
    world.stripe.subscriptions.cancel(now(anna)["stripe_id"], new_key())
    assert now(anna)["cancel_at_period_end"] is False
    poll(world)
    assert now(anna)["cancel_at_period_end"] is True


def test_news_doubled_and_mixed_credit_each_invoice_once(world: World, elapse: Callable[..., None]) -> None:
    """Seeded: three periods and an upgrade of three people; every delivery doubled, shuffled, some dropped."""
    world.listen("manual")
    people = [world.person() for _ in range(3)]
    for number, buyer in enumerate(people):
        begun = buyer.post("subscription", {"plan": "team"})
        world.control(f"sessions/{begun['session_id']}/pay", card=CARD)
        if number == 0:
            subscriptions.arrive(world, buyer.identity, begun["session_id"])
    for seed in range(3):
        world.control("webhooks/duplicate")
        world.control("webhooks/shuffle", seed=seed)
        if seed == 1:
            world.control("webhooks/drop", type="invoice.paid")
        while delivered := world.control("webhooks/deliver", limit=20)["data"]:
            assert {sent["http_status"] for sent in delivered} == {200}
        if seed < 2:
            elapse(seconds=MONTH)
    for buyer in people:
        assert credited(buyer) == ["credited"] * 3
        assert buyer.available == 2 * TEAM
        assert now(buyer)["status"] == "active"
    assert len(world.at_stripe("charge")) == 9


@pytest.mark.parametrize("kind", ["500", "lost"])
def test_trouble_at_stripe_in_the_middle_charges_once(world: World, anna: Buyer, kind: str) -> None:
    """The page, its answer, an upgrade: each fails at first and goes on with the same key."""
    for path in ("products", "prices", "customers", "checkout/sessions"):
        world.control("fail-next", kind=kind, count=20, path=path)
        with pytest.raises(StripeUnavailable):
            subscribing.subscribe(world, anna.identity, plan="pro", base_url=SHOP, idempotency_key="sub-1")
        world.control("fail-next", kind=kind, count=1, path="nowhere")
    begun = subscribing.subscribe(world, anna.identity, plan="pro", base_url=SHOP, idempotency_key="sub-1")
    again = subscribing.subscribe(world, anna.identity, plan="pro", base_url=SHOP, idempotency_key="sub-1")
    assert again["session_id"] == begun["session_id"]
    assert len(world.at_stripe("checkout.session")) == 1
    world.control(f"sessions/{begun['session_id']}/pay", card=CARD)
    poll(world)
    stripe_id = now(anna)["stripe_id"]
    world.control("fail-next", kind=kind, count=20, path=f"subscriptions/{stripe_id}")
    for key in ("up-1", "up-2"):
        with pytest.raises(StripeUnavailable):
            subscriptions.change(world, anna.identity, "change", plan="team", idempotency_key=key)
    world.control("fail-next", kind=kind, count=1, path="nowhere")
    subscriptions.change(world, anna.identity, "change", plan="team", idempotency_key="up-3")
    assert now(anna)["code"] == "team"
    assert [charge["amount"] for charge in world.at_stripe("charge")] == [19_900, 2_900]


def test_ten_clicks_at_once_are_one_upgrade(world: World, anna: Buyer) -> None:
    """Keys of their own: one request is under way, the others follow it or wait."""
    subscribe(anna, "pro")

    def click(number: int) -> str:
        try:
            subscriptions.change(
                world, anna.identity, "change", plan="team", idempotency_key=f"click-{number}"
            )
        except CreditsError as error:
            return type(error).__name__
        return "done"

    with ThreadPoolExecutor(5) as pool:
        outcomes = list(pool.map(click, range(10)))
    assert "done" in outcomes
    assert set(outcomes) <= {"done", "Conflict"}
    assert [charge["amount"] for charge in world.at_stripe("charge")] == [19_900, 2_900]
    assert anna.available == TEAM + PRO


def test_two_tabs_pay_once(world: World, anna: Buyer) -> None:
    """The same plan leads to the same page; another plan closes it; a page that was paid meanwhile is taken in."""
    first = anna.post("subscription", {"plan": "pro"})
    assert anna.post("subscription", {"plan": "pro"})["session_id"] == first["session_id"]
    second = anna.post("subscription", {"plan": "team"})
    assert [page["status"] for page in world.at_stripe("checkout.session")] == ["open", "expired"]
    world.control(f"sessions/{second['session_id']}/pay", card=CARD)
    refusal = anna.post("subscription", {"plan": "pro"}, 409)["error"]
    assert "change its plan" in refusal["message"]
    assert (now(anna)["code"], anna.available) == ("team", TEAM)


def test_a_page_nobody_paid_on_makes_room(world: World, anna: Buyer, elapse: Callable[..., None]) -> None:
    """It expires after a day; the poll sees it."""
    anna.post("subscription", {"plan": "pro"})
    elapse(days=1.1)
    poll(world)
    assert anna.get("subscription")["subscription"] is None
    assert subscribe(anna)["subscription"]["status"] == "active"


def test_pages_of_others_and_pages_of_purchases_are_refused(world: World, anna: Buyer) -> None:
    """A session id in an address proves nothing."""
    begun = anna.post("subscription", {"plan": "pro"})
    with pytest.raises(NotFound):
        subscriptions.arrive(world, world.person().identity, begun["session_id"])
    with pytest.raises(NotFound):
        subscriptions.arrive(world, anna.identity, anna.start()["session_id"])


def test_a_refund_at_stripe_overtakes_the_invoice(world: World, anna: Buyer, admin: Buyer) -> None:
    """The news of the refund comes first: the invoice is credited, then its credits are taken."""
    world.listen("manual")
    begun = anna.post("subscription", {"plan": "pro"})
    world.control(f"sessions/{begun['session_id']}/pay", card=CARD)
    charge = world.at_stripe("charge")[0]["id"]
    world.stripe.money.create_refund(world.at_stripe("payment_intent")[0]["id"], 2_900, {}, new_key())
    for type_ in ("checkout.session.completed", "invoice.paid", "customer.subscription.created"):
        world.control("webhooks/drop", type=type_)
    reversals.follow(world.db, world.stripe, world.since)
    assert credited(anna) == ["credited"]
    assert anna.available == 0
    assert charge
    assert [row["kind"] for row in anna.get("transactions")["items"]] == ["refund", "purchase"]


def test_an_administrator_refunds_a_period(world: World, anna: Buyer, admin: Buyer) -> None:
    """Like any purchase: preview, request, Stripe, and the credits are gone; the subscription goes on."""
    (payment,) = subscribe(anna, "pro")["payments"]
    spend(anna, 250)
    body = {"purchase_id": payment["purchase_id"], "reason": "asked for it", "idempotency_key": new_key()}
    asked = admin.post("admin/refunds", body)
    assert (asked["amount_cents"], asked["credits"]) == (1_450, "250.00")
    assert world.send_refunds()["sent"] == 1
    assert anna.available == 0
    assert now(anna)["status"] == "active"


def test_events_about_something_else_are_harmless(world: World, anna: Buyer) -> None:
    """Another shop's subscription on the same Stripe account, with no word of ours."""
    world.listen("manual")
    customer = world.stripe.cards.create_customer(9, "other@shop.test", "other")
    world.stripe.catalog.create_product("other", "Other", {})
    price = world.stripe.subscriptions.create_price("other", "usd", 700, "month", "other", {})
    page = world.stripe.subscriptions.create_session(customer, price, {}, SHOP, SHOP, "other-1")
    world.control(f"sessions/{page.session_id}/pay", card=CARD)
    sent = world.control("webhooks/deliver")["data"]
    assert {one["http_status"] for one in sent} == {200}
    assert world.owner_sql("select count(*) as n from credits.purchases")[0]["n"] == 0
    outcomes = world.owner_sql("select distinct outcome from credits.stripe_events")
    assert [row["outcome"] for row in outcomes] == ["ignored"]


def test_a_random_life_of_a_subscription(world: World, elapse: Callable[..., None]) -> None:
    """Seeded: wishes, cards, months and polls in any order; every paid invoice is credited once and nothing else is."""
    for seed in range(4):
        chance, buyer = random.Random(seed), world.person()
        subscribe(buyer, chance.choice(["pro", "team"]))
        for _ in range(12):
            step = chance.choice(["month", "days", "change", "cancel", "keep", "spend", "card", "poll"])
            try:
                if step == "month":
                    elapse(seconds=MONTH)
                elif step == "days":
                    elapse(days=chance.randint(1, 9))
                elif step == "spend":
                    spend(buyer, chance.randint(1, 300))
                elif step == "card":
                    act_as(world, chance.choice([CARD, CARD, FUNDS]))
                elif step == "poll":
                    poll(world)
                else:
                    plan = chance.choice(["pro", "team"]) if step == "change" else None
                    subscriptions.change(world, buyer.identity, step, plan=plan, idempotency_key=new_key())
            except (Conflict, NotFound, CreditsError):
                continue
        act_as(world, CARD)
        poll(world)
        subscription = now(buyer)["stripe_id"]
        paid = {i["id"] for i in world.at_stripe("invoice") if i["status"] == "paid"
                and i["parent"]["subscription_details"]["subscription"] == subscription}  # fmt: skip
        rows = world.owner_sql(
            "select invoice_id, status from credits.purchases where account_id = %s", buyer.account_id
        )
        assert {row["invoice_id"] for row in rows} == paid
        assert {row["status"] for row in rows} == {"credited"}
        assert len(rows) == len(paid)


def test_reconciliation_knows_the_payments_of_invoices(world: World, anna: Buyer, admin: Buyer) -> None:
    """H5: a first period and an upgrade are charges at Stripe and purchases here; nothing differs."""
    subscribe(anna, "pro")
    change(anna, "team")
    body = {"purchase_id": anna.get("subscription")["payments"][1]["purchase_id"], "reason": "asked for it"}
    admin.post("admin/refunds", body | {"idempotency_key": new_key()})
    world.send_refunds()
    assert check(world)["status"] == "finished"
    assert found(world) == []
