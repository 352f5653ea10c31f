"""Auto-reload (A10) and saved cards (A7) from the owner's consent to the charges at the bank: it never runs away."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from credits_core import auto_reload, card_payments, fulfillment, saved_cards
from credits_core.errors import NotFound
from tests.scenarios.conftest import CARD, World, micros, new_key
from tests.sql.conftest import Clock

BASE = "https://shop.test"
NO_FUNDS, LOST, ASKS = "4000000000009995", "4000000000009987", "4000002760003184"
TERMS = {
    "threshold": "50",
    "target": "550",
    "cap_day_cents": 6000,
    "cap_month_cents": 12_000,
    "consent_text": auto_reload.CONSENT_TEXT,
}


class Owner:
    """A holder with a saved card who agreed, with 20 credits left of 100: a reload of 530 for $26.50 is due."""

    def __init__(self, world: World, **changes: Any) -> None:
        self.world, self.buyer = world, world.person()
        page = self.buyer.post("cards")
        world.control(f"sessions/{page['session_id']}/pay", card=CARD)
        saved = saved_cards.finish_saving(world, self.buyer.identity, page["session_id"])
        assert saved.payment_method_id is not None
        self.card: str = saved.payment_method_id
        self.customer = saved.customer_id
        self.buyer.buy("starter")
        self.buyer.post("auto-reload", TERMS | changes)
        self.buyer.use(80)

    def card_becomes(self, number: str) -> None:
        self.world.control(f"payment_methods/{self.card}/act-as", card=number)

    @property
    def state(self) -> dict[str, Any]:
        return dict(self.buyer.get("auto-reload"))

    @property
    def charges(self) -> list[str]:
        """How the attempts to charge the saved card ended at Stripe, first one first."""
        return [c["status"] for c in self.world.at_stripe("charge", customer=self.customer)[::-1]]

    @property
    def intents(self) -> int:
        return len(self.world.at_stripe("payment_intent", customer=self.customer))


@pytest.fixture
def owner(world: World) -> Owner:
    return Owner(world)


def work(world: World) -> dict[str, int]:
    return auto_reload.run(world.db, world.stripe, BASE)


def ten_workers(world: World) -> list[str]:
    """What ten workers at once did, altogether."""
    with ThreadPoolExecutor(10) as pool:
        return [
            name
            for counts in pool.map(lambda _: work(world), range(10))
            for name, n in counts.items()
            for _ in range(n)
        ]


def test_a_card_that_declines_then_asks_for_its_owner_then_works(world: World, owner: Owner) -> None:
    """Ten workers all the time: one charge an attempt, back-off after a decline, a pause that only the owner ends."""
    owner.card_becomes(NO_FUNDS)
    assert ten_workers(world) == ["refused"]
    assert (owner.charges, owner.state["state"]) == (["failed"], "on")
    assert "Waits until" in owner.state["next"]
    world.later(3500)
    assert ten_workers(world) == []
    owner.card_becomes(ASKS)
    world.later(200)
    assert ten_workers(world) == ["refused"]
    paused = owner.state
    assert (paused["state"], owner.intents) == ("paused", 2)
    assert "confirm" in paused["paused_reason"]
    assert paused["pay_url"].startswith(f"{BASE}/auth/confirm-payment?payment=pi_")
    assert paused["attempts"][0]["decline_code"] == "authentication_required"
    world.later(30 * 86_400)
    assert ten_workers(world) == []
    owner.card_becomes(CARD)
    assert owner.buyer.post("auto-reload/switch", {"action": "resume"})["state"] == "on"
    assert ten_workers(world) == ["charged"]
    assert (owner.buyer.available, owner.charges.count("succeeded")) == (micros("550"), 1)
    assert ten_workers(world) == []
    last = owner.state["attempts"][0]
    assert (last["status"], last["amount_cents"]) == ("succeeded", 2650)
    assert "20.00 credits, below 50.00" in last["why"]


def test_the_caps_of_day_and_month_hold(world: World, owner: Owner) -> None:
    """$26.50 a reload, $60 a day, $120 a month: two a day, four a month. Whatever day it is today."""
    clock = Clock(world.owner_sql)
    of_next_month = (datetime.now(UTC).replace(day=1) + timedelta(days=32)).replace(day=14, hour=9)
    for day in range(3):
        clock.set(of_next_month + timedelta(days=day))
        for _ in range(3):
            ten_workers(world)
            if owner.buyer.available == micros("550"):
                owner.buyer.use(530)
        assert owner.charges == ["succeeded"] * min(2 * day + 2, 4)
        assert "Waits until" in owner.state["next"]
    clock.set(of_next_month + timedelta(days=31))
    assert ten_workers(world) == ["charged"]


def test_a_hard_decline_pauses_at_once_and_buying_by_hand_resumes_nothing(world: World, owner: Owner) -> None:
    owner.card_becomes(LOST)
    assert ten_workers(world) == ["refused"]
    assert (owner.state["state"], owner.state["attempts"][0]["decline_code"]) == ("paused", "lost_card")
    owner.buyer.buy("starter")
    owner.buyer.use(110)
    world.later(86_400)
    assert ten_workers(world) == []
    assert owner.charges == ["failed"]


def test_three_declines_in_a_row_pause(world: World, owner: Owner) -> None:
    owner.card_becomes(NO_FUNDS)
    for _ in range(5):
        ten_workers(world)
        world.later(5 * 3600)
    assert owner.charges == ["failed"] * 3
    assert "three times" in owner.state["paused_reason"]


@pytest.mark.parametrize("failure", ["500", "429", "lost", "timeout"])
def test_an_outage_is_no_decline_and_ends_in_one_charge(
    world: World, owner: Owner, failure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.stripe._http, "_timeout", 0.5)
    world.control("fail-next", kind=failure, count=50, seconds=0.7, path="payment_intents")
    for _ in range(2):
        assert work(world) == {"charged": 0, "refused": 0, "waiting": 1}
        assert work(world)["waiting"] == 0
        world.later(300)
    assert owner.state["state"] == "on"
    assert [one["status"] for one in owner.state["attempts"]] == ["in_flight"]
    world.control("fail-next", kind="500", count=0)
    assert ten_workers(world) == ["charged"]
    assert (owner.intents, owner.charges, owner.buyer.available) == (1, ["succeeded"], micros("550"))


def test_an_outage_that_outlasts_the_need_charges_nothing(world: World, owner: Owner) -> None:
    """Hours later the owner has bought by hand: what was begun is settled, and the card is left alone."""
    world.control("fail-next", kind="500", count=50, path="payment_intents")
    assert work(world)["waiting"] == 1
    world.control("fail-next", kind="500", count=0)
    owner.buyer.buy("small")
    world.later(7200)
    assert ten_workers(world) == ["refused"]
    last = owner.state["attempts"][0]
    assert (last["status"], owner.charges, owner.intents) == ("not_needed", [], 0)
    assert "Nothing was charged" in last["outcome"] and owner.state["next_status"] == "idle"
    owner.buyer.use(480)
    assert ten_workers(world) == ["charged"]
    assert owner.charges == ["succeeded"]


def test_a_confirmation_that_fails_can_be_tried_again_or_left(world: World, owner: Owner) -> None:
    """The bank's page says no: nothing is charged, the link stays. Resuming cancels that payment before a new one is made."""
    owner.card_becomes(ASKS)
    work(world)
    payment = owner.state["pay_url"].rpartition("=")[2]
    url = card_payments.confirmation_url(world, owner.buyer.identity, payment, BASE, new_key())
    world.client.post(url, data={"outcome": "fail"})
    back = fulfillment.fulfill(world, owner.buyer.identity, payment)
    assert back["status"] == "failed" and back["failure_reason"]
    assert owner.state["pay_url"] is not None
    again = card_payments.confirmation_url(world, owner.buyer.identity, payment, BASE, new_key())
    assert "/challenge/" in again
    owner.card_becomes(CARD)
    resumed = owner.buyer.post("auto-reload/switch", {"action": "resume"})
    assert (resumed["state"], resumed["pay_url"], resumed["next_status"]) == ("on", None, "due")
    (canceled,) = world.at_stripe("payment_intent", id=payment)
    assert canceled["status"] == "canceled"
    assert ten_workers(world) == ["charged"]
    assert (owner.charges.count("succeeded"), owner.buyer.available) == (1, micros("550"))


@pytest.mark.parametrize("meanwhile", ["nothing", "the poll", "the key is forgotten"])
def test_a_worker_killed_after_the_charge(
    world: World, owner: Owner, meanwhile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(fulfillment, "fulfill_session", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            work(world)
    assert (owner.charges, owner.buyer.available) == (["succeeded"], micros("20"))
    assert ten_workers(world) == []  # somebody may still be at it
    if meanwhile == "the poll":
        assert world.poll()["credited"] == 1
    world.later(121)
    if meanwhile == "the key is forgotten":
        world.simulator.store.db.execute("delete from idempotency")
        world.owner_sql(
            "update credits.auto_reload_attempts set created_at = created_at - interval '5 minutes'"
        )
    assert ten_workers(world) == ["charged"]
    assert (owner.intents, owner.charges, owner.buyer.available) == (1, ["succeeded"], micros("550"))
    assert owner.state["attempts"][0]["status"] == "succeeded"


def test_the_owner_follows_the_link_and_pays(world: World, owner: Owner) -> None:
    """The same payment, confirmed: one charge. The pause stays until the owner ends it."""
    owner.card_becomes(ASKS)
    work(world)
    payment = owner.state["pay_url"].rpartition("=")[2]
    url = card_payments.confirmation_url(world, owner.buyer.identity, payment, BASE, new_key())
    assert "/challenge/" in url
    assert card_payments.confirmation_url(world, owner.buyer.identity, payment, BASE, new_key()) == url
    with pytest.raises(NotFound):
        card_payments.confirmation_url(world, world.person().identity, payment, BASE, new_key())
    world.client.post(url, data={"outcome": "complete"})
    if owner.charges[-1:] != ["succeeded"]:
        world.control(f"payment_intents/{payment}/pay", card=ASKS)
    if owner.buyer.available == micros("20"):
        assert world.poll()["credited"] == 1  # nobody came back from the bank's page
    assert owner.buyer.available == micros("550")
    assert card_payments.confirmation_url(world, owner.buyer.identity, payment, BASE, new_key()).startswith(
        f"{BASE}/checkout_return"
    )
    assert owner.state["state"] == "paused"
    assert owner.buyer.post("auto-reload/switch", {"action": "resume"})["pay_url"] is None
    assert ten_workers(world) == []
    assert owner.charges.count("succeeded") == 1


def test_new_terms_end_the_payment_that_waited_for_its_owner(world: World, owner: Owner) -> None:
    """Who agrees to new terms instead of confirming pays once: by the next reload, not by the old link, too."""
    owner.card_becomes(ASKS)
    work(world)
    payment = owner.state["pay_url"].rpartition("=")[2]
    owner.card_becomes(CARD)
    assert owner.buyer.post("auto-reload", TERMS | {"target": "560"})["state"] == "on"
    assert ten_workers(world) == ["charged"]
    done = card_payments.confirmation_url(world, owner.buyer.identity, payment, BASE, new_key())
    assert done.startswith(f"{BASE}/checkout_return")
    world.control(f"payment_intents/{payment}/pay", card=CARD, expect=400)
    world.poll()
    assert (owner.buyer.available, owner.charges.count("succeeded")) == (micros("560"), 1)


def test_switched_off_while_ten_workers_are_at_it(world: World, owner: Owner) -> None:
    """At the very moment: either the reload was made, once and credited, or it was not made; after it there is none."""
    with ThreadPoolExecutor(11) as pool:
        workers = [pool.submit(work, world) for _ in range(10)]
        off = pool.submit(owner.buyer.post, "auto-reload/switch", {"action": "off"})
        charged = sum(worker.result()["charged"] for worker in workers)
        assert off.result()["state"] == "off"
    assert charged in (0, 1)
    world.later(3600)  # a worker that was too late for its lease
    assert ten_workers(world).count("charged") == 0
    assert owner.charges == ["succeeded"] * charged
    assert owner.buyer.available == micros("550" if charged else "20")
    assert owner.state["state"] == "off"


def test_off_is_off_and_only_the_owner_agrees(world: World, owner: Owner) -> None:
    admin = world.person("admin")
    assert admin.get("auto-reload", account=str(owner.buyer.account_id))["state"] == "on"
    assert owner.buyer.post("auto-reload/switch", {"action": "off"})["state"] == "off"
    assert ten_workers(world) == []
    assert admin.post("auto-reload/switch", {"action": "resume"})["account_id"] != owner.buyer.account_id
    wrong = TERMS | {"consent_text": "I agree to everything, whatever it may be."}
    no = owner.buyer.post("auto-reload", wrong, 422)["error"]
    assert no["detail"]["consent_text"] == auto_reload.CONSENT_TEXT
    assert (
        world.person()
        .post("auto-reload", TERMS, 404)["error"]["message"]
        .startswith("There is no such saved")
    )
    for changes in ({"target": "50"}, {"cap_day_cents": 499}, {"cap_month_cents": 5999}, {"threshold": "-1"}):
        assert owner.buyer.post("auto-reload", TERMS | changes, 422)["error"]["code"] == "invalid_request"
    assert owner.charges == []


def test_a_card_is_saved_used_and_removed(world: World, owner: Owner) -> None:
    (card,) = owner.buyer.get("cards")["items"]
    assert (card["payment_method_id"], card["last4"], card["is_default"]) == (owner.card, "4242", True)
    path = f"cards/{owner.card}"
    assert owner.buyer._answer("DELETE", path, 409)["error"]["code"] == "conflict"
    assert world.person()._answer("DELETE", path, 404)["error"]["code"] == "not_found"
    owner.buyer.post("auto-reload/switch", {"action": "off"})
    assert owner.buyer._answer("DELETE", path)["items"] == []
    assert owner.buyer._answer("DELETE", path, 404)["error"]["code"] == "not_found"


def test_a_page_for_saving_a_card_is_its_owners(world: World) -> None:
    anna, ben = world.person(), world.person()
    page = anna.post("cards")
    assert saved_cards.finish_saving(world, anna.identity, page["session_id"]).payment_method_id is None
    world.control(f"sessions/{page['session_id']}/pay", card=CARD)
    with pytest.raises(NotFound):
        saved_cards.finish_saving(world, ben.identity, page["session_id"])
    assert ben.get("cards")["items"] == []
