"""The payments desk in the database: the list, one payment, and the review queue (A3, A8, G3, I2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from credits_core import errors
from credits_core.units import parse_credits as micros
from tests.sql.conftest import Call, Clock, Person, Rows, new_key, paid, refused

Purchase = dict[str, Any]


@pytest.fixture
def anna(clock: Clock, holder: Callable[..., Person]) -> Person:
    return holder()


@pytest.fixture
def admin(clock: Clock, person: Callable[..., Person]) -> Person:
    return person("admin")


@pytest.fixture
def reviewed(anna: Person, service: Call) -> Callable[..., Purchase]:
    """`reviewed(amount_subtotal=500)`: a $10 package (unless another is named) that was paid in another way than agreed."""

    def make(package: str = "usd_10", **seen: object) -> Purchase:
        made = anna.call("create_purchase", idempotency_key=new_key(), livemode=False, package=package)
        opened = service("open_purchase", purchase_id=made["purchase_id"], session_id=new_key("cs_test"))
        facts = {"payment_intent_id": new_key("pi"), "amount_tax": 0} | seen
        if "amount_subtotal" in facts:
            facts["amount_total"] = facts["amount_subtotal"]
        session = paid(opened, **facts)
        found = service("fulfill_purchase", session=session)
        assert found["status"] == "review"
        return found | {"session": session}

    return make


@pytest.fixture
def settle(service: Call) -> Callable[..., Any]:
    """What the program does for a credit: claim, ask Stripe, settle, finish."""

    def run(session: dict[str, Any] | None, **later: object) -> list[Any]:
        answers = []
        for one in service("claim_reviews")["items"]:
            facts = None if session is None else session | {"refunded_cents": 0, "disputed": False} | later
            answers.append(service("settle_review", approval_id=one["approval_id"], session=facts))
            service("finish_review", approval_id=one["approval_id"])
        return answers

    return run


def decide(somebody: Person, purchase: Purchase, decision: str, **more: object) -> Any:
    arguments = {"reason": "looked at it", "idempotency_key": new_key("review")} | more
    return somebody.call("decide_review", purchase_id=purchase["purchase_id"], decision=decision, **arguments)


def test_crediting_gives_what_was_paid_for(
    anna: Person, admin: Person, reviewed: Call, settle: Call, service: Call
) -> None:
    """A3: $5 of $10 paid are half of the credits, at that cost; later looks at Stripe change nothing."""
    purchase = reviewed(amount_subtotal=500)
    shown = admin.call("payment", purchase_id=purchase["purchase_id"])["review"]
    assert (shown["paid_cents"], shown["expected_cents"], shown["credits_micros"]) == (500, 1000, micros("5"))
    decided = decide(admin, purchase, "credit", idempotency_key="k")
    assert decided["status"] == "approved"
    assert anna.available == 0  # Stripe is asked first
    assert [one["status"] for one in settle(purchase["session"])] == ["approved"]
    for _ in range(2):
        assert settle(purchase["session"]) == []
        answer = service("fulfill_purchase", session=purchase["session"])
        assert (answer["status"], answer["newly_credited"]) == ("credited", False)
    assert anna.available == micros("5")
    detail = admin.call("payment", purchase_id=purchase["purchase_id"])
    assert [(grant["granted_micros"], grant["cost_cents"]) for grant in detail["grants"]] == [
        (micros("5"), 500)
    ]
    preview = service("refund_preview", purchase_id=purchase["purchase_id"])
    assert (preview["allowed"], preview["max_cents"]) == (True, 500)
    assert decide(admin, purchase, "credit", idempotency_key="k")["status"] == "done"


@pytest.mark.parametrize(
    ("later", "why"),
    [
        ({"refunded_cents": 500}, "went back"),
        ({"disputed": True}, "disputed"),
        ({"payment_status": "unpaid"}, "paid"),
        ({"amount_total": 400}, "another amount"),
        ({"livemode": True}, "never mixed"),
    ],
)
def test_a_payment_that_changed_at_stripe_meanwhile_is_not_credited(
    anna: Person, admin: Person, reviewed: Call, settle: Call, later: dict[str, Any], why: str
) -> None:
    """A3: Stripe's state under the lock decides; the payment goes back to the queue with the reason."""
    purchase = reviewed(amount_subtotal=500)
    decide(admin, purchase, "credit")
    (answer,) = settle(purchase["session"], **later)
    assert answer["status"] == "failed"
    assert why in answer["failure_reason"]
    assert anna.available == 0
    shown = admin.call("payment", purchase_id=purchase["purchase_id"])
    assert (shown["status"], shown["review"]["decision"]) == ("review", None)
    assert decide(admin, purchase, "close")["status"] == "done"


def test_a_payment_credited_meanwhile_is_not_credited_again(
    anna: Person, admin: Person, reviewed: Call, settle: Call, service: Call
) -> None:
    """A3: another session of the purchase was paid as agreed before anybody decided: that one counts, the decision is late."""
    purchase = reviewed(session_id=new_key("cs_other"))
    service("fulfill_purchase", session=paid(purchase))
    assert anna.available == micros("10")
    assert "not in review" in refused(lambda: decide(admin, purchase, "credit")).message
    assert settle(purchase["session"]) == []
    assert anna.available == micros("10")


def test_a_refund_after_review_gives_the_money_back_and_no_credits(
    anna: Person, admin: Person, reviewed: Call, service: Call, clock: Clock
) -> None:
    """A8: sent like every refund; when Stripe refuses it, somebody decides anew."""
    purchase = reviewed(amount_subtotal=500)
    assert decide(admin, purchase, "refund")["status"] == "done"
    (sent,) = service("claim_refunds")["items"]
    assert (sent["total_cents"], sent["credits_micros"]) == (500, 0)
    assert sent["payment_intent_id"] == purchase["session"]["payment_intent_id"]
    assert (
        service("fulfill_purchase", session=purchase["session"])["status"] == "failed"
    )  # Stripe still calls it paid
    service(
        "record_refund", refund_id=sent["refund_id"], status="failed", stripe_refund_id="re_1", reason="no"
    )
    assert admin.call("payment", purchase_id=purchase["purchase_id"])["status"] == "review"
    clock.advance(minutes=1)
    decide(admin, purchase, "refund")
    (sent,) = service("claim_refunds")["items"]
    service("record_refund", refund_id=sent["refund_id"], status="pending", stripe_refund_id="re_2")
    totals = {"refunds": [{"id": "re_2", "amount_cents": 500, "status": "succeeded"}]}
    service("converge_purchase", purchase_id=purchase["purchase_id"], totals=totals)
    shown = admin.call("payment", purchase_id=purchase["purchase_id"])
    assert (shown["state"], [refund["status"] for refund in shown["refunds"]]) == (
        "refunded",
        ["failed", "succeeded"],
    )
    assert anna.available == 0


def test_closing_ends_it_and_the_same_session_does_not_bring_it_back(
    anna: Person, admin: Person, reviewed: Call, service: Call
) -> None:
    purchase = reviewed(amount_subtotal=500)
    decide(admin, purchase, "close")
    assert service("fulfill_purchase", session=purchase["session"])["status"] == "failed"
    assert "not in review" in refused(lambda: decide(admin, purchase, "refund")).message
    assert admin.call("approvals_count")["in_review"] == 0


@pytest.mark.parametrize(
    ("seen", "decision", "why"),
    [
        ({"currency": "eur"}, "credit", "another currency"),
        ({"livemode": True}, "credit", "never mixed"),
        ({"livemode": True}, "refund", "other mode"),
        ({"mode": "subscription"}, "credit", "one-time"),
        ({"amount_subtotal": 0, "payment_status": "no_payment_required"}, "credit", "Nothing was paid"),
        ({"amount_subtotal": 500, "payment_intent_id": None}, "refund", "no payment"),
    ],
)
def test_what_cannot_be_done_says_why(
    admin: Person, reviewed: Call, seen: dict[str, Any], decision: str, why: str
) -> None:
    """A15: no credits for another currency, for test money, for nothing."""
    no = refused(lambda: decide(admin, reviewed(**seen), decision))
    assert isinstance(no, errors.Conflict)
    assert why in no.message


def test_from_the_limit_on_a_second_person_decides(
    anna: Person, admin: Person, person: Callable[..., Person], reviewed: Call, settle: Call, clock: Clock
) -> None:
    """I2: and only one decision about a payment waits at a time; an expired one makes room."""
    purchase = reviewed("usd_100", amount_subtotal=10_001)
    asked = decide(admin, purchase, "credit")
    assert asked["status"] == "waiting"
    second = person("super_admin")
    no = refused(lambda: decide(second, purchase, "refund"))
    assert "already" in no.message
    assert settle(purchase["session"]) == []
    decision = {"approval_id": asked["approval_id"], "approve": True}
    assert isinstance(refused(lambda: admin.call("decide_approval", **decision)), errors.NotAllowed)
    clock.advance(days=7)
    assert "expired" in refused(lambda: second.call("decide_approval", **decision)).message
    asked = decide(admin, purchase, "credit")
    done = second.call("decide_approval", approval_id=asked["approval_id"], approve=True)
    assert done["status"] == "approved"
    settle(purchase["session"])
    assert anna.available == micros("100.01")
    assert second.call("approvals", view="decided")["items"][0]["status"] == "done"


def test_payments_of_everybody_are_found(
    anna: Person,
    admin: Person,
    holder: Callable[..., Person],
    reviewed: Call,
    buy: Call,
    service: Call,
    clock: Clock,
) -> None:
    """G3: by status, account, e-mail, Stripe's ids and ours, dates, currency and mode; page by page."""
    review = reviewed(amount_subtotal=500)
    bought = []
    for _ in range(2):
        clock.advance(minutes=1)
        bought.append(buy(anna, "usd_10"))
    clock.advance(minutes=1)
    theirs = buy(holder(), "usd_20")
    service(
        "request_refund",
        purchase_id=bought[0]["purchase_id"],
        amount_cents=400,
        reason="asked",
        idempotency_key="r",
    )

    def found(**filters: object) -> list[str]:
        return [item["purchase_id"] for item in admin.call("payments", **filters)["items"]]

    everything = found()
    assert everything == [p["purchase_id"] for p in (theirs, bought[1], bought[0], review)]
    assert found(status="review") == [review["purchase_id"]]
    assert found(status="refunded") == [bought[0]["purchase_id"]]
    assert found(status="disputed") == []
    assert found(search=str(anna.account_id)) == everything[1:]
    assert found(search=str(theirs["email"])[1:].upper()) == [theirs["purchase_id"]]
    for one in (theirs["session_id"], theirs["purchase_id"]):
        assert found(search=str(one).upper()) == [theirs["purchase_id"]]
    assert found(search=review["session"]["payment_intent_id"]) == [review["purchase_id"]]
    assert found(currency="eur") == [] and found(livemode=True) == [] and len(found(livemode=False)) == 4
    assert found(to="2020-01-01T00:00:00Z") == []
    first = admin.call("payments", limit=3)
    rest = admin.call("payments", limit=3, cursor=first["next_cursor"])
    assert [p["purchase_id"] for p in first["items"] + rest["items"]] == everything
    assert isinstance(refused(lambda: admin.call("payments", cursor="x")), errors.InvalidRequest)
    (part,) = admin.call("payments", status="refunded")["items"]
    assert (part["state"], part["refunded_cents"]) == ("partly_refunded", 400)
    assert "url" not in part and "client_secret" not in part


def test_one_payment_tells_everything(anna: Person, admin: Person, buy: Call, service: Call) -> None:
    """G3: grants left, refunds, disputes, Stripe's events about it, and what happened when."""
    bought = buy(anna, "usd_10")
    session = {"id": bought["session_id"]}
    event = {"event_id": "evt_1", "type": "checkout.session.completed", "livemode": False}
    service("record_stripe_event", **event, object_id=session["id"], payload={"data": {"object": session}})
    anna.use("call", 60)
    service(
        "request_refund",
        purchase_id=bought["purchase_id"],
        amount_cents=400,
        reason="asked for it",
        idempotency_key="r",
    )
    totals = {
        "disputes": [{"id": "du_1", "amount_cents": 600, "status": "needs_response", "reason": "fraudulent"}]
    }
    service("converge_purchase", purchase_id=bought["purchase_id"], totals=totals)
    shown = admin.call("payment", purchase_id=bought["purchase_id"])
    assert shown["state"] == "disputed"
    assert [event["type"] for event in shown["events"]] == ["checkout.session.completed"]
    assert [(refund["amount_cents"], refund["requested_by_name"]) for refund in shown["refunds"]] == [
        (400, "A program")
    ]
    happened = {entry["what"] for entry in shown["timeline"]}
    assert {"created", "opened", "credited", "refund_requested", "dispute_opened"} <= happened
    times = [entry["at"] for entry in shown["timeline"]]
    assert times == sorted(times)
    unknown = refused(lambda: admin.call("payment", purchase_id="00000000-0000-4000-8000-000000000000"))
    assert isinstance(unknown, errors.NotFound)


def test_who_may_not(
    anna: Person, person: Callable[..., Person], reviewed: Call, owner_sql: Callable[..., Rows]
) -> None:
    """I4: finance reads; holders see nothing of it and nobody but administrators decides."""
    purchase = reviewed(amount_subtotal=500)
    finance = person("finance")
    assert len(finance.call("payments")["items"]) == 1
    for somebody in (anna, finance):
        assert isinstance(refused(lambda s=somebody: decide(s, purchase, "close")), errors.NotAllowed)  # type: ignore[misc]
    for call in (
        lambda: anna.call("payments"),
        lambda: anna.call("payment", purchase_id=purchase["purchase_id"]),
    ):
        assert isinstance(refused(call), errors.NotAllowed)
    assert owner_sql("select * from credits.approvals") == []
