"""Money that goes back (A8, A9), from the administrator's request or the bank's letter to the last credit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from credits_core import refunds, reversals
from credits_core.db.port import SERVICE
from credits_core.stripe_sim.webhooks import body_of, signature
from tests.scenarios.conftest import Buyer, World, micros, new_key
from tests.stripe.conftest import SECRET


def ask(admin: Buyer, bought: dict[str, Any], expect: int = 200, **terms: Any) -> dict[str, Any]:
    body = {"purchase_id": bought["purchase_id"], "reason": "asked for it", "idempotency_key": new_key()}
    found: dict[str, Any] = admin.post("admin/refunds", body | terms, expect)
    return found


def statuses(admin: Buyer) -> list[str]:
    return [one["status"] for one in admin.get("admin/refunds")["items"]]


def dispute(world: World, bought: dict[str, Any], **terms: Any) -> str:
    made: str = world.control(f"charges/{world.charge(bought)}/dispute", **terms)["id"]
    return made


def deliver_all(world: World) -> None:
    for sent in world.control("webhooks/deliver")["data"]:
        assert sent["http_status"] == 200


def test_five_of_twenty_dollars_take_125_and_the_rest_is_capped(
    world: World, anna: Buyer, admin: Buyer
) -> None:
    """500 credits for $20, 125 spent: $5 takes 125; of the other $15 only $10 are left, and the answer says why."""
    bought = anna.buy()
    anna.use(125)
    preview = admin.post("admin/refunds/preview", {"purchase_id": bought["purchase_id"], "amount_cents": 500})
    assert (preview["allowed"], preview["credits"], preview["max_cents"]) == (True, "125.00", 1500)
    asked = ask(admin, bought, amount_cents=500)
    assert (asked["status"], asked["credits"]) == ("approved", "125.00")
    assert anna.available == micros("250")
    assert world.send_refunds() == {"sent": 1, "failed": 0, "waiting": 0}
    (made,) = world.at_stripe("refund")
    assert (made["amount"], made["metadata"]["refund_id"]) == (500, asked["refund_id"])
    assert statuses(admin) == ["succeeded"]
    preview = admin.post(
        "admin/refunds/preview", {"purchase_id": bought["purchase_id"], "amount_cents": 1500}
    )
    assert (preview["allowed"], preview["max_cents"]) == (False, 1000)
    assert "spent" in preview["reason"]
    no = ask(admin, bought, 402, amount_cents=1500)["error"]
    assert no["detail"] == {"max_cents": 1000, "amount_cents": 1500}
    ask(admin, bought)
    world.send_refunds()
    assert sum(one["amount"] for one in world.at_stripe("refund")) == 1500
    assert anna.available == 0
    assert ask(admin, bought, 409, amount_cents=1)["error"]["message"].startswith("Nothing is left")


def test_a_dispute_after_spending_leaves_a_debt_that_the_next_purchase_pays_first(
    world: World, anna: Buyer
) -> None:
    world.listen("manual")
    bought = anna.buy()
    anna.use(400)
    dispute(world, bought)
    deliver_all(world)
    shown = anna.get("balance")
    assert (shown["available"], shown["debt"]) == ("-400.00", "400.00")
    no = anna.post("use", {"operation": "api_request", "quantity": 1}, 402)["error"]
    assert no["code"] == "insufficient_credits"
    anna.buy()
    assert (anna.available, anna.balance["debt_micros"]) == (micros("100"), 0)


def test_a_won_dispute_gives_the_same_grants_back(world: World, anna: Buyer) -> None:
    def grants() -> list[Any]:
        return world.owner_sql(
            "select id, remaining_micros from credits.grants_now where account_id = %s order by id",
            anna.account_id,
        )

    world.listen("manual")
    bought = anna.buy()
    anna.use(100)
    before = grants()
    found = dispute(world, bought)
    deliver_all(world)
    assert anna.available == -micros("100")
    later = anna.buy()
    assert anna.available == micros("400")
    world.control(f"disputes/{found}/respond")
    world.control(f"disputes/{found}/win")
    deliver_all(world)
    assert grants()[: len(before)] == before
    assert anna.available == micros("900")
    assert later["status"] == "credited"


def test_a_lost_dispute_stays_taken_and_nothing_is_refunded_beside_it(
    world: World, anna: Buyer, admin: Buyer
) -> None:
    world.listen("manual")
    bought = anna.buy()
    found = dispute(world, bought)
    deliver_all(world)
    assert "disputed" in ask(admin, bought, 409)["error"]["message"]
    world.control(f"disputes/{found}/lose")
    deliver_all(world)
    assert anna.available == 0


def test_an_inquiry_takes_nothing(world: World, anna: Buyer) -> None:
    world.listen("manual")
    bought = anna.buy()
    found = dispute(world, bought, inquiry=True)
    deliver_all(world)
    assert anna.available == micros("500")
    world.control(f"disputes/{found}/win")
    deliver_all(world)
    assert anna.available == micros("500")


@pytest.mark.parametrize("webhooks", [True, False])
def test_a_refund_made_in_stripes_dashboard(world: World, anna: Buyer, admin: Buyer, webhooks: bool) -> None:
    """Forced: own grants first, the rest a debt; by webhook, or by asking Stripe when there are none."""
    if webhooks:
        world.listen("manual")
    bought = anna.buy()
    anna.use(450)
    world.stripe.money.create_refund(world.charge(bought), 1000, {}, "made in the dashboard")
    for _ in range(2):
        if webhooks:
            deliver_all(world)
            world.control("webhooks/duplicate", type="charge.refunded")
        assert world.follow()["failed"] == 0
        assert anna.balance["debt_micros"] == micros("200")
    (found,) = admin.get("admin/refunds", account=str(anna.account_id))["items"]
    assert (found["requested_by"], found["status"], found["amount_cents"]) == ("stripe", "succeeded", 1000)


def test_the_news_of_a_refund_can_overtake_that_of_the_payment(world: World, anna: Buyer) -> None:
    """Paid and refunded in part before anybody here heard of it: credited, then taken."""
    opened = anna.start()
    world.control(f"sessions/{opened['session_id']}/pay", card="4242424242424242")
    world.stripe.money.create_refund(world.charge(opened), 400, {}, "early")
    assert world.follow()["ours"] == 1
    assert anna.available == micros("400")
    world.poll()
    assert anna.available == micros("400")


@pytest.mark.parametrize("failure", ["500", "429", "lost", "timeout"])
def test_stripe_fails_in_the_middle_and_the_refund_is_made_once(
    world: World, anna: Buyer, admin: Buyer, failure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bought = anna.buy()
    ask(admin, bought, amount_cents=500)
    monkeypatch.setattr(world.stripe._http, "_timeout", 0.5)
    world.control("fail-next", kind=failure, count=20, seconds=0.7, path="refunds")
    assert world.send_refunds() == {"sent": 0, "failed": 0, "waiting": 1}
    assert statuses(admin) == ["sent"]
    assert world.send_refunds() == {"sent": 0, "failed": 0, "waiting": 0}  # somebody may still be at it
    world.control("fail-next", kind="500", count=0)
    world.later(61)
    assert world.send_refunds()["sent"] == 1
    assert statuses(admin) == ["succeeded"]
    assert [one["amount"] for one in world.at_stripe("refund")] == [500]
    assert anna.available == micros("375")


def test_killed_between_record_and_call_and_between_call_and_record(
    world: World, anna: Buyer, admin: Buyer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bought = anna.buy()
    for place in ("_create", "_record"):
        ask(admin, bought, amount_cents=500)
        with monkeypatch.context() as broken:
            broken.setattr(refunds, place, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                world.send_refunds()
        world.later(2 * 86_400)  # Stripe has forgotten the idempotency key by then
        world.simulator.store.db.execute("delete from idempotency")
        assert world.send_refunds()["sent"] == 1
    assert [one["amount"] for one in world.at_stripe("refund")] == [500, 500]
    assert statuses(admin) == ["succeeded", "succeeded"]
    assert anna.available == micros("250")


def test_a_refund_that_fails_later_gives_the_credits_back(world: World, anna: Buyer, admin: Buyer) -> None:
    """The card of this test refunds at first, and a minute later the bank sends the money back."""
    bought = anna.buy(card="4000000000005126")
    ask(admin, bought, amount_cents=500)
    world.send_refunds()
    assert (anna.available, statuses(admin)) == (micros("375"), ["succeeded"])
    world.later(120)
    world.follow()
    assert (anna.available, statuses(admin)) == (micros("500"), ["failed"])
    (failed,) = admin.get("admin/refunds", status="failed")["items"]
    assert failed["failure_reason"] == "expired_or_canceled_card"


def test_a_refund_that_takes_its_time(world: World, anna: Buyer, admin: Buyer) -> None:
    bought = anna.buy(card="4000000000007726")
    ask(admin, bought, amount_cents=500)
    world.send_refunds()
    assert (anna.available, statuses(admin)) == (micros("375"), ["sent"])
    world.later(120)
    world.follow()
    assert (anna.available, statuses(admin)) == (micros("375"), ["succeeded"])


def test_stripe_refuses_a_refund_of_what_the_bank_has_taken_meanwhile(
    world: World, anna: Buyer, admin: Buyer
) -> None:
    """Approved, then disputed before it was sent: the refund fails, and the dispute holds the whole purchase."""
    bought = anna.buy()
    ask(admin, bought, amount_cents=500)
    found = dispute(world, bought)
    world.follow()
    assert anna.available == 0
    assert world.send_refunds() == {"sent": 0, "failed": 1, "waiting": 0}
    world.follow()
    assert (anna.available, statuses(admin)) == (0, ["failed"])
    world.control(f"disputes/{found}/win")
    world.follow()
    assert anna.available == micros("500")


def test_from_a_hundred_dollars_on_a_second_administrator_decides(  # I2
    world: World, anna: Buyer, admin: Buyer
) -> None:
    bought = anna.buy("power")
    asked = ask(admin, bought)
    assert asked["status"] == "requested"
    assert world.send_refunds()["sent"] == 0
    path = f"admin/refunds/{asked['refund_id']}"
    assert admin.post(f"{path}/approve", None, 403)["error"]["code"] == "not_allowed"
    other = world.person("admin")
    assert other.post(f"{path}/approve", {"reason": "agreed"})["status"] == "approved"
    assert other.post(f"{path}/reject", None, 409)["error"]["code"] == "conflict"
    assert world.send_refunds()["sent"] == 1
    assert (anna.available, world.at_stripe("refund")[0]["amount"]) == (0, 15_000)


def test_two_at_once_and_many_senders_refund_no_more_than_there_is(
    world: World, anna: Buyer, admin: Buyer
) -> None:
    bought = anna.buy()

    def attempt(_: int) -> int:
        body = {"purchase_id": bought["purchase_id"], "amount_cents": 1500, "reason": "twice"}
        headers = {"Authorization": f"Bearer {admin.token}"}
        answer = world.client.post(f"{world.url}/api/credits/admin/refunds", json=body, headers=headers)
        return answer.status_code

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(attempt, range(4))) == [200, 402, 402, 402]
        list(pool.map(lambda _: world.send_refunds(), range(4)))
    assert [one["amount"] for one in world.at_stripe("refund")] == [1500]


def test_who_may_not_and_what_is_malformed(world: World, anna: Buyer, admin: Buyer) -> None:
    bought = anna.buy()
    for somebody in (anna, world.person("finance")):
        assert ask(somebody, bought, 403)["error"]["code"] == "not_allowed"
    assert anna.get("admin/refunds")["items"] == []
    assert ask(admin, {"purchase_id": "nonsense"}, 422)["error"]["detail"]["fields"] == ["purchase_id"]
    assert ask(admin, bought, 422, amount_cents=100, credits="1")["error"]["code"] == "invalid_request"
    ask(admin, bought, 422, amount_cents=-5)
    ask(admin, bought, 422, credits="-1")
    ask(admin, {"purchase_id": "0b4de6b3-8a86-44a8-97a0-2d5a2b0d7f10"}, 404)
    unpaid = anna.start()
    assert "credited" in ask(admin, unpaid, 409)["error"]["message"]


def test_events_about_money_that_is_none_of_ours_are_kept_and_ignored(world: World) -> None:
    foreign = world.stripe.call(
        lambda v1: v1.payment_intents.create(
            {"amount": 900, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
        )
    )
    world.stripe.money.create_refund(foreign.id, 900, {}, "foreign")
    (event,) = world.at_stripe("event", type="charge.refunded")
    gone = event | {
        "id": "evt_gone",
        "data": {"object": {"id": "ch_1", "payment_intent": "pi_gone", "object": "charge"}},
    }
    for one in (event, gone):
        body = body_of(one)
        headers = {"Stripe-Signature": signature(body, SECRET)}
        answer = world.client.post(f"{world.url}/api/credits/webhook", content=body, headers=headers)
        assert (answer.status_code, answer.json()["outcome"]) == (200, "ignored")
    found = world.follow()
    assert (found["payments"], found["ours"], found["failed"]) == (1, 0, 0)
    assert world.db.call("refunds", SERVICE)["items"] == []


def test_following_goes_on_where_it_stopped(world: World, anna: Buyer) -> None:
    """Stripe is down in the middle: the same stretch of time is looked at again, and nothing twice."""
    bought = anna.buy()
    world.stripe.money.create_refund(world.charge(bought), 400, {}, "k")
    world.control("fail-next", kind="500", count=9, path="charges")
    failed = world.follow()
    assert (failed["failed"], failed["ours"], anna.available) == (1, 0, micros("500"))
    world.control("fail-next", kind="500", count=0)
    again = reversals.follow(world.db, world.stripe, failed["until"])
    assert (again["ours"], again["failed"], anna.available) == (1, 0, micros("400"))
    quiet = reversals.follow(world.db, world.stripe, again["until"])
    assert (quiet["failed"], anna.available) == (0, micros("400"))
