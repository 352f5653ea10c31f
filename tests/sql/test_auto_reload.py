"""Auto-reload (A10): consent, threshold, target, caps, one attempt in flight, back-off, a pause only the owner ends."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from credits_core import errors
from credits_core.db.port import SERVICE, user_identity
from credits_core.units import parse_credits as micros
from tests.sql.conftest import Call, Clock, Person, Rows, paid, refused

WORDS = "I allow automatic payments with my saved card within these limits until I switch them off."


def agree(anna: Person, **changes: object) -> Any:
    customer = f"cus_{anna.account_id}"
    anna.database.call(
        "set_customer", SERVICE, account_id=anna.account_id, livemode=False, customer_id=customer
    )
    terms: dict[str, object] = {
        "threshold_micros": micros("5"),
        "target_micros": micros("25"),
        "cap_day_cents": 5000,
        "cap_month_cents": 8000,
        "customer_id": customer,
        "payment_method_id": "pm_1",
        "consent_text": WORDS,
        "text_version": "1",
    }
    return anna.call("set_auto_reload", **(terms | changes))


@pytest.fixture
def claim(service: Call) -> Call:
    return lambda: service("claim_auto_reloads", livemode=False)["items"]


@pytest.fixture
def finish(service: Call) -> Call:
    """Answer for Stripe; a success credits the purchase as fulfill does."""

    def run(attempt: dict[str, Any], outcome: str, **more: object) -> Any:
        if outcome == "succeeded":
            purchase = service("purchase", purchase_id=attempt["purchase_id"])
            service("fulfill_purchase", session=paid(purchase))
        return service("finish_auto_reload", attempt_id=attempt["attempt_id"], outcome=outcome, **more)

    return run


def test_one_reload_closes_the_gap_at_once(
    holder: Callable[..., Person], clock: Clock, claim: Call, finish: Call
) -> None:
    """Below 5 it buys up to 25: from 3.50 that is $21.50, not a series of small ones."""
    anna = holder("5.00")
    agree(anna)
    assert claim() == []  # at the threshold is not below it
    anna.use("call", 600)
    (attempt,) = claim()
    assert (attempt["amount_cents"], attempt["customer_id"]) == (2150, f"cus_{anna.account_id}")
    assert "3.50" in attempt["why"]
    finish(attempt, "succeeded")
    assert anna.available == micros("25")
    assert claim() == []
    state = anna.call("auto_reload")
    assert (state["state"], state["reloaded_today_cents"]) == ("on", 2150)
    assert state["attempts"][0]["status"] == "succeeded"


def test_ten_workers_open_one_attempt(
    holder: Callable[..., Person], claim: Call, owner_sql: Callable[..., Rows]
) -> None:
    anna = holder("1.00")
    agree(anna)
    with ThreadPoolExecutor(10) as pool:
        found = [attempt for items in pool.map(lambda _: claim(), range(10)) for attempt in items]
    assert len(found) == 1
    assert owner_sql("select count(*) as n from credits.purchases")[0]["n"] == 1


def test_a_worker_that_died_leaves_the_same_attempt_to_the_next(
    holder: Callable[..., Person], clock: Clock, claim: Call
) -> None:
    anna = holder("1.00")
    agree(anna)
    (first,) = claim()
    assert claim() == []
    clock.advance(minutes=3)
    (again,) = claim()
    assert (again["attempt_id"], again["purchase_id"]) == (first["attempt_id"], first["purchase_id"])


def test_declines_back_off_and_the_third_pauses_until_the_owner_resumes(
    holder: Callable[..., Person], buy: Call, clock: Clock, claim: Call, finish: Call
) -> None:
    anna = holder("1.00")
    agree(anna)
    for hours in (1, 2):
        (attempt,) = claim()
        finish(
            attempt, "declined", decline_code="insufficient_funds", detail="Your card has insufficient funds."
        )
        clock.advance(minutes=59)
        assert claim() == []
        clock.advance(hours=hours)
    (attempt,) = claim()
    finish(attempt, "declined", decline_code="insufficient_funds")
    state = anna.call("auto_reload")
    assert state["state"] == "paused"
    assert "three times" in state["next"]
    clock.advance(days=60)
    buy(anna, "usd_5")  # buying by hand changes nothing about the consent
    assert claim() == []
    anna.use("call", 60 * 30)
    assert claim() == []
    anna.call("switch_auto_reload", action="resume")
    assert len(claim()) == 1


def test_a_hard_decline_and_authentication_pause_at_once_with_a_link(
    holder: Callable[..., Person], claim: Call, finish: Call
) -> None:
    anna = holder("1.00")
    agree(anna)
    (attempt,) = claim()
    finish(attempt, "authentication_required", pay_url="https://pay.test/1")
    state = anna.call("auto_reload")
    assert (state["state"], state["pay_url"]) == ("paused", "https://pay.test/1")
    anna.call("switch_auto_reload", action="resume")
    (attempt,) = claim()
    finish(attempt, "declined", decline_code="lost_card", is_hard=True)
    state = anna.call("auto_reload")
    assert (state["state"], state["attempts"][0]["decline_code"]) == ("paused", "lost_card")
    assert claim() == []


def test_an_outage_is_no_decline_and_the_attempt_stays_the_same(
    holder: Callable[..., Person], clock: Clock, claim: Call, finish: Call
) -> None:
    anna = holder("1.00")
    agree(anna)
    (attempt,) = claim()
    for _ in range(5):
        finish(attempt, "outage", detail="Stripe does not answer.")
        assert claim() == []
        clock.advance(hours=1)
        (again,) = claim()
        assert again["attempt_id"] == attempt["attempt_id"]
    finish(attempt, "succeeded")
    state = anna.call("auto_reload")
    assert (state["state"], len(state["attempts"])) == ("on", 1)


def test_caps_of_the_day_and_the_month_hold(
    holder: Callable[..., Person], clock: Clock, claim: Call, finish: Call
) -> None:
    """$24 a reload, $50 a day, $80 a month: two today, one tomorrow, then nothing until the next month."""
    anna = holder("1.00")
    agree(anna)
    made = []
    for _ in range(40):
        for attempt in claim():
            finish(attempt, "succeeded")
            made.append((clock.now.date(), attempt["amount_cents"]))
            anna.use("call", 60 * int((anna.available - micros("1")) / micros("0.15")))
        clock.advance(hours=12)
    january = [cents for day, cents in made if day.month == 1]
    assert sum(january) <= 8000
    assert len(january) == 3
    for day in {day for day, _ in made}:
        assert sum(cents for at, cents in made if at == day) <= 5000


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"consent_text": "ok"}, "Agree to the words"),
        ({"target_micros": micros("5")}, "above the threshold"),
        ({"cap_day_cents": 499}, "at least one reload"),
        ({"cap_month_cents": 4000}, "at least one day"),
    ],
)
def test_terms_that_make_no_sense_are_refused(
    changes: dict[str, object], words: str, holder: Callable[..., Person]
) -> None:
    no = refused(lambda: agree(holder(), **changes))
    assert isinstance(no, errors.InvalidRequest)
    assert words in no.message


def test_only_the_owner_consents_and_every_consent_stays(
    holder: Callable[..., Person], service: Call, owner_sql: Callable[..., Rows]
) -> None:
    anna = holder("1.00")
    key = Person(
        user_identity({**anna.identity.claims, "api_key_id": 7, "scopes": ["admin"]}), 1, anna.database
    )
    assert isinstance(refused(lambda: agree(key)), errors.NotAllowed)
    agree(anna)
    agree(anna, cap_day_cents=6000)
    anna.call("switch_auto_reload", action="off")
    rows = owner_sql("select is_given, consent_text, actor from credits.auto_reload_consents order by id")
    assert [row["is_given"] for row in rows] == [True, True, False]
    assert {row["actor"] for row in rows} == {str(anna.identity.claims["sub"])}
    assert service("claim_auto_reloads", livemode=False)["items"] == []
    assert "off" in anna.call("auto_reload")["next"]


def test_the_same_click_twice_is_one_consent(
    holder: Callable[..., Person], owner_sql: Callable[..., Rows]
) -> None:
    """A server that restarts in between sends the click again."""
    anna = holder("1.00")
    first = agree(anna)
    assert agree(anna) == first
    agree(anna, target_micros=micros("30"))
    anna.call("switch_auto_reload", action="off")
    agree(anna, target_micros=micros("30"))
    rows = owner_sql("select is_given from credits.auto_reload_consents order by id")
    assert [row["is_given"] for row in rows] == [True, True, False, True]
    assert [one["is_given"] for one in anna.call("auto_reload")["consents"]] == [True, False, True, True]


def test_nobody_agrees_for_a_card_of_somebody_else(
    holder: Callable[..., Person], owner_sql: Callable[..., Rows]
) -> None:
    """K1: the customer at Stripe must be the caller's own, also for calls that go straight to the database."""
    anna, ben = holder("1.00"), holder("1.00")
    agree(anna)
    stolen = refused(lambda: agree(ben, customer_id=f"cus_{anna.account_id}"))
    assert isinstance(stolen, errors.NotFound)
    assert owner_sql("select account_id from credits.auto_reload") == [{"account_id": anna.account_id}]


def test_a_gap_above_the_cap_is_bought_up_to_the_cap(
    holder: Callable[..., Person], service: Call, claim: Call, finish: Call
) -> None:
    """Agreed: $20 a reload, at most $20 a day. From 1.00 to 25.00 would be $24: it buys for $20, not for nothing."""
    anna = holder("1.00")
    agree(anna, cap_day_cents=2000, cap_month_cents=2000)
    assert anna.call("auto_reload")["amount_cents"] == 2000
    (attempt,) = claim()
    assert attempt["amount_cents"] == 2000
    finish(attempt, "succeeded")
    anna.use("call", 60 * 120)
    assert claim() == []
    state = anna.call("auto_reload")
    assert (state["next_status"], state["reloaded_today_cents"]) == ("cap_day", 2000)
    assert state["until"] is not None


def test_a_debt_is_part_of_the_gap(
    holder: Callable[..., Person], clock: Clock, claim: Call, finish: Call
) -> None:
    """It is recovered first: the reload buys it, too, and the balance reaches the target at once."""
    anna = holder("0.30")
    agree(anna)
    call = anna.call("start_call", operation="call", idempotency_key="long")["call_id"]
    clock.advance(minutes=4)
    anna.call("heartbeat", call_id=call)
    anna.call("end_call", call_id=call)
    assert anna.balance["debt_micros"] == micros("0.3")
    (attempt,) = claim()
    assert attempt["amount_cents"] == 2530
    finish(attempt, "succeeded")
    assert (anna.available, anna.balance["debt_micros"]) == (micros("25"), 0)


def test_what_is_paid_afterwards_counts_against_the_caps(
    holder: Callable[..., Person], service: Call, claim: Call, finish: Call
) -> None:
    """The owner confirmed it: that money was taken for a reload as well."""
    anna = holder("1.00")
    agree(anna, cap_day_cents=3000)
    (attempt,) = claim()
    finish(attempt, "authentication_required", pay_url="https://pay.test/1")
    assert anna.call("auto_reload")["reloaded_today_cents"] == 0
    purchase = service("purchase", purchase_id=attempt["purchase_id"])
    assert purchase["status"] in ("created", "open")  # it waits for its owner
    service("fulfill_purchase", session=paid(purchase))
    state = anna.call("auto_reload")
    assert (state["reloaded_today_cents"], state["pay_url"]) == (2400, None)
    assert "paid afterwards" in state["attempts"][0]["outcome"]
    anna.call("switch_auto_reload", action="resume")
    anna.use("call", 60 * 150)
    assert claim() == []
    assert anna.call("auto_reload")["next_status"] == "cap_day"


@pytest.mark.parametrize("meanwhile", ["bought", "off"])
def test_what_is_not_needed_any_more_is_handed_out_to_be_settled_only(
    holder: Callable[..., Person], buy: Call, clock: Clock, claim: Call, finish: Call, meanwhile: str
) -> None:
    """After an outage of hours: its owner bought by hand, or switched it off. The card is not charged for it then."""
    anna = holder("1.00")
    agree(anna)
    (attempt,) = claim()
    assert attempt["is_needed"] is True
    finish(attempt, "outage")
    if meanwhile == "bought":
        buy(anna, "usd_20")
    else:
        anna.call("switch_auto_reload", action="off")
    clock.advance(hours=2)
    (again,) = claim()
    assert (again["attempt_id"], again["is_needed"]) == (attempt["attempt_id"], False)
    finish(again, "not_needed")
    state = anna.call("auto_reload")
    assert state["attempts"][0]["status"] == "not_needed"
    assert "not needed any more" in state["attempts"][0]["outcome"]
    assert (state["failures"], state["reloaded_today_cents"]) == (0, 0)
    assert claim() == []


def test_terms_that_cannot_be_bought_any_more_pause_one_account_alone(
    holder: Callable[..., Person], claim: Call, owner_sql: Callable[..., Rows]
) -> None:
    """Prices are in another currency, or what is for sale has changed: the others go on."""
    anna, ben = holder("1.00"), holder("1.00")
    agree(anna)
    agree(ben)
    owner_sql("update credits.auto_reload set currency = 'eur' where account_id = %s", anna.account_id)
    assert [attempt["account_id"] for attempt in claim()] == [ben.account_id]
    state = anna.call("auto_reload")
    assert (state["state"], state["paused_for"]) == ("paused", "terms")
    assert "another currency" in state["paused_reason"]
    (told,) = anna.call("alerts")["items"]
    assert told["kind"] == "auto_reload_paused"


def test_the_owner_is_told_of_each_failure_once(
    holder: Callable[..., Person], clock: Clock, claim: Call, finish: Call
) -> None:
    """F1: a decline, then the pause; what was told is not told again."""
    anna = holder("1.00")
    agree(anna)
    for _ in range(3):
        (attempt,) = claim()
        for _ in range(2):
            finish(attempt, "declined", decline_code="insufficient_funds", detail="Insufficient funds.")
        clock.advance(hours=5)
    told = [alert["kind"] for alert in anna.call("alerts")["items"]]
    assert told == ["auto_reload_paused", "payment_failed", "payment_failed"]


def test_a_preview_says_what_terms_would_do_and_changes_nothing(
    holder: Callable[..., Person], person: Callable[..., Person], owner_sql: Callable[..., Rows]
) -> None:
    anna = holder("3.50")
    terms = {"threshold_micros": micros("5"), "target_micros": micros("25")}
    caps = {"cap_day_cents": 5000, "cap_month_cents": 9000}
    shown = anna.call("auto_reload_preview", **terms, **caps)
    assert shown | {
        "refusal": None, "status": "due", "amount_cents": 2150, "credits_micros": micros("21.5"), "one_reload_cents": 2000,
        "available_micros": micros("3.5"), "until": None,
    } == shown  # fmt: skip
    low = anna.call("auto_reload_preview", **terms | {"threshold_micros": micros("1")}, **caps)
    assert (low["status"], low["amount_cents"]) == ("idle", 2400)
    no = anna.call("auto_reload_preview", **terms, cap_day_cents=1999, cap_month_cents=9000)
    assert "at least one reload" in no["refusal"] and no["one_reload_cents"] == 2000
    for wrong in ({"target_micros": 2**62}, {"threshold_micros": -1}, {"target_micros": 0}):
        assert anna.call("auto_reload_preview", **terms | wrong, **caps)["refusal"]
    ben = holder("1.00")
    theirs = {**terms, **caps, "account_id": anna.account_id}
    assert isinstance(refused(lambda: ben.call("auto_reload_preview", **theirs)), errors.NotAllowed)
    assert person("finance").call("auto_reload_preview", **theirs)["amount_cents"] == 2150
    assert owner_sql("select count(*) as n from credits.auto_reload")[0]["n"] == 0


def test_attempts_under_way_keep_nobody_waiting(
    holder: Callable[..., Person], service: Call, finish: Call, clock: Clock
) -> None:
    """A10: bank debits take days; the accounts whose reload is under way do not fill up the places of the others."""
    people = [holder("1.00") for _ in range(5)]
    for somebody in people:
        agree(somebody)
    taken = [service("claim_auto_reloads", livemode=False, limit=2)["items"] for _ in range(3)]
    assert [len(items) for items in taken] == [2, 2, 1]
    assert {item["account_id"] for items in taken for item in items} == {p.account_id for p in people}


def test_a_payment_that_is_not_credited_is_not_made_again(
    holder: Callable[..., Person], clock: Clock, claim: Call, service: Call
) -> None:
    """A10, A3: the card was charged, but the payment does not match and waits for a person: the balance stays low, and no card is
    charged for it a second time."""
    anna = holder("1.00")
    agree(anna)
    (attempt,) = claim()
    purchase = service("purchase", purchase_id=attempt["purchase_id"])
    assert service("fulfill_purchase", session=paid(purchase, amount_subtotal=1))["status"] == "review"
    service("finish_auto_reload", attempt_id=attempt["attempt_id"], outcome="succeeded")
    assert claim() == []
    state = anna.call("auto_reload")
    assert (state["state"], state["paused_for"]) == ("paused", "review")
    assert "a person looks at" in state["attempts"][0]["outcome"]


@pytest.mark.parametrize("how", ["dispute", "refund here", "refund at Stripe"])
def test_money_that_goes_back_is_not_charged_again_by_itself(
    how: str, holder: Callable[..., Person], clock: Clock, claim: Call, finish: Call, service: Call
) -> None:
    """A10, A9: a dispute or a refund takes the credits and brings the balance below the threshold. The same card is not charged at
    once; the owner is told, once, and resumes."""
    anna = holder("1.00")
    agree(anna)
    (attempt,) = claim()
    finish(attempt, "succeeded")
    totals: dict[str, Any] = {"refunds": [], "disputes": []}
    if how == "dispute":
        totals["disputes"] = [
            {"id": "dp_1", "amount_cents": 2400, "status": "needs_response", "reason": "fraudulent"}
        ]
    elif how == "refund at Stripe":
        totals["refunds"] = [{"id": "re_1", "amount_cents": 2400, "status": "succeeded"}]
    if how == "refund here":
        service(
            "request_refund", purchase_id=attempt["purchase_id"], reason="not wanted", idempotency_key="r"
        )
    for _ in range(2):
        service("converge_purchase", purchase_id=attempt["purchase_id"], totals=totals)
    assert anna.available == micros("1")
    assert claim() == []
    state = anna.call("auto_reload")
    assert (state["state"], state["paused_for"]) == ("paused", "disputed" if how == "dispute" else "refunded")
    told = [alert["kind"] for alert in anna.call("alerts")["items"]]
    assert told.count("auto_reload_paused") == 1
    anna.call("switch_auto_reload", action="resume")
    assert len(claim()) == 1
