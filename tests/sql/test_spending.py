"""Spending: which credits go first (B8), what a refusal leaves as it was (B5), keys (B6), late usage (D6), super admins (E5)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from credits_core import errors
from credits_core.units import parse_credits as micros
from tests.sql.conftest import Call, Clock, Person, Rows, new_key, refused

MINUTE = 60  # seconds: 0.15 credits in the catalog `voice`


def remaining(grants: Rows) -> list[int]:
    return [grant["remaining_micros"] for grant in grants]


def drawn(person: Person, transaction_id: str) -> list[tuple[int, int]]:
    """Which grants a charge drew on, in order, as its explanation tells."""
    told = person.call("explain", transaction_id=transaction_id)
    return [(entry["grant_id"], entry["amount_micros"]) for entry in told["entries"]]


def test_what_expires_first_is_spent_first(
    clock: Clock, holder: Callable[..., Person], give: Call, grants: Call
) -> None:
    """B8: expiring soonest before later before never, whatever came first."""
    anna = holder()
    give(anna, "1.00")
    give(anna, "1.00", expires_at=clock.now + timedelta(days=30))
    give(anna, "1.00", expires_at=clock.now + timedelta(days=3))
    anna.use("call", 8 * MINUTE)  # 1.20
    assert remaining(grants(anna)) == [micros("1.00"), micros("0.80"), 0]


def test_promotional_credits_go_before_paid_ones_and_older_before_newer(
    clock: Clock, holder: Callable[..., Person], catalog: Call, buy: Call, grants: Call
) -> None:
    """B8: bonus first (Professional brings 500 + 50), then the older purchase."""
    catalog("recruitment")
    anna = holder()
    for package in ("professional", "starter", "professional"):
        buy(anna, package)
        clock.advance(days=1)
    spent = [("bonus", "50"), ("bonus", "50"), ("purchase", "500"), ("purchase", "100"), ("purchase", "500")]
    in_order = [(source, micros(credits)) for source, credits in spent]
    used = anna.use("workflow_execution", 600)  # 1,200: all there is
    told = anna.call("explain", transaction_id=used["transaction_id"])
    assert [(entry["source"], -entry["amount_micros"]) for entry in told["entries"]] == in_order
    ids = [entry["grant_id"] for entry in told["entries"]]
    assert sorted(ids) == [grant["id"] for grant in grants(anna)]
    assert ids[0] < ids[1] and ids[2] < ids[3] < ids[4]


def test_priority_goes_before_everything(
    clock: Clock, holder: Callable[..., Person], give: Call, grants: Call, owner_sql: Callable[..., Rows]
) -> None:
    """B8: a grant of a later priority is kept even if it expires sooner."""
    anna = holder()
    give(anna, "1.00", expires_at=clock.now + timedelta(days=1))
    owner_sql("update credits.grants set priority = 5")
    give(anna, "1.00")
    anna.use("call", 8 * MINUTE)
    assert remaining(grants(anna)) == [micros("0.80"), 0]


def test_a_charge_names_the_grants_it_drew_on(
    clock: Clock, holder: Callable[..., Person], give: Call, grants: Call
) -> None:
    """B3: with amounts, whether it took one grant or several."""
    anna = holder()
    give(anna, "0.20", expires_at=clock.now + timedelta(days=1))
    give(anna, "0.20", expires_at=clock.now + timedelta(days=2))
    give(anna, "5.00")
    first, second, third = (grant["id"] for grant in grants(anna))
    within = anna.use("call", MINUTE)
    across = anna.use("call", 2 * MINUTE)
    assert drawn(anna, within["transaction_id"]) == [(first, -150_000)]
    assert drawn(anna, across["transaction_id"]) == [(first, -50_000), (second, -200_000), (third, -50_000)]


def test_every_purchased_grant_names_its_purchase(
    holder: Callable[..., Person], buy: Call, grants: Call
) -> None:
    """B3: and what it cost."""
    anna = holder()
    bought = buy(anna, "usd_10")
    (grant,) = grants(anna)
    assert str(grant["purchase_id"]) == bought["purchase_id"]
    assert (grant["cost_cents"], grant["currency"], grant["is_promotional"]) == (1000, "usd", False)


def test_credits_expire_at_the_instant(clock: Clock, holder: Callable[..., Person], give: Call) -> None:
    """B9: a microsecond before they pay, at the moment itself they do not; no job has to run."""
    anna = holder()
    end = clock.now + timedelta(days=1)
    give(anna, "1.00", expires_at=end)
    clock.set(end - timedelta(microseconds=1))
    assert anna.available == micros("1.00")
    anna.use("call", MINUTE)
    clock.set(end)
    assert anna.available == 0
    assert anna.balance["posted_micros"] == 0
    refusal = refused(lambda: anna.use("call", MINUTE))
    assert refusal.detail == {"needed_micros": 150_000, "available_micros": 0}


def test_a_grant_for_some_operations_pays_for_them_alone(
    catalog: Call, holder: Callable[..., Person], give: Call, grants: Call, owner_sql: Callable[..., Rows]
) -> None:
    """B11: text messages do not eat the credits that were given for calls."""
    catalog("ai_services")
    anna = holder("2.00")
    owner_sql("update credits.grants set operations = '{voice_call}'")
    give(anna, "1.00")
    assert drawn(anna, anna.use("sms", 1)["transaction_id"]) == [(grants(anna)[1]["id"], -micros("1"))]
    assert isinstance(refused(lambda: anna.use("sms", 1)), errors.InsufficientCredits)
    assert anna.call("check_use", operation="sms", quantity=1)["allowed"] is False
    assert anna.use("voice_call", 2 * MINUTE)["charged_micros"] == micros("2")


def test_a_charge_beyond_the_balance_changes_nothing(holder: Callable[..., Person], ledger: Call) -> None:
    """B5: refused with what is needed and what is there."""
    anna = holder("0.40")
    before, booked = anna.balance, ledger(anna)
    refusal = refused(lambda: anna.use("call", 3 * MINUTE))
    assert isinstance(refusal, errors.InsufficientCredits)
    assert refusal.detail == {"needed_micros": 450_000, "available_micros": 400_000}
    after = anna.balance
    assert {**after, "as_of": ""} == {**before, "as_of": ""}
    assert ledger(anna) == booked


def test_the_same_key_charges_once(holder: Callable[..., Person], ledger: Call) -> None:
    """B6: a retry answers as the first time, also after other charges and on an empty account."""
    anna = holder("0.30")
    first = anna.use("call", MINUTE, "k1", metadata={"a": 1})
    anna.use("call", MINUTE)
    again = anna.use("call", MINUTE, "k1", metadata={"a": 1})
    assert again == first | {"replayed": True}
    assert len(ledger(anna)) == 3


def test_the_same_key_with_other_arguments_is_refused(
    clock: Clock, holder: Callable[..., Person], catalog: Call
) -> None:
    """B6: it must be a mistake; nothing is charged."""
    catalog("ai_services")
    anna = holder("100")
    request = {"operation": "voice_call", "quantity": "60", "idempotency_key": "k1", "metadata": {"a": 1}}
    anna.call("use", **request)
    for other in (
        {"quantity": "61"},
        {"operation": "gpt_4"},
        {"metadata": {"a": 2}},
        {"metadata": None},
        {"occurred_at": "2026-12-31T00:00:00Z"},
    ):
        refusal = refused(lambda other=other: anna.call("use", **request | other))
        assert (other, type(refusal)) == (other, errors.IdempotencyKeyReused)
    assert anna.available == micros("99")


def test_a_key_belongs_to_its_account(holder: Callable[..., Person]) -> None:
    """B6: two customers may choose the same key."""
    anna, ben = holder("1.00"), holder("1.00")
    assert anna.use("call", MINUTE, "k1")["replayed"] is False
    assert ben.use("call", MINUTE, "k1")["replayed"] is False


def test_a_key_of_another_kind_of_write_is_not_a_key_of_a_charge(
    holder: Callable[..., Person], give: Call
) -> None:
    """B6: the key of an adjustment cannot be the retry of a charge."""
    anna = holder()
    give(anna, "1.00", idempotency_key="k1")
    assert isinstance(refused(lambda: anna.use("call", MINUTE, "k1")), errors.IdempotencyKeyReused)


BAD_USE: list[tuple[dict[str, Any], type[errors.CreditsError]]] = [
    *[
        ({"quantity": bad}, errors.InvalidRequest)
        for bad in ("NaN", "Infinity", "-Infinity", "1e300", "-1", "-0.5")
    ],
    *[({"quantity": bad}, errors.InvalidRequest) for bad in ("1000000000001", "0.0000001", "many", "", None)],
    ({"operation": "teleport"}, errors.NotFound),
    ({"operation": "x" * 10_000}, errors.NotFound),
    ({"operation": None}, errors.InvalidRequest),
    ({"idempotency_key": ""}, errors.InvalidRequest),
    ({"idempotency_key": "k" * 256}, errors.InvalidRequest),
    ({"idempotency_key": None}, errors.InvalidRequest),
    ({"occurred_at": "2027-01-04T09:06:00Z"}, errors.InvalidRequest),  # in six minutes
    ({"occurred_at": "infinity"}, errors.InvalidRequest),
    ({"occurred_at": "yesterday at noon"}, errors.InvalidRequest),
    ({"metadata": {str(n): n for n in range(2_000)}}, errors.InvalidRequest),
    ({"account_id": 10**12}, errors.NotAllowed),
    ({"quantity": "1000000000000"}, errors.InsufficientCredits),  # the largest there is
]


def test_bad_input_is_refused_with_a_sentence_and_charges_nothing(
    clock: Clock, holder: Callable[..., Person], ledger: Call
) -> None:
    """B5: every line of bad input for a charge."""
    anna = holder("5.00")
    good = {"operation": "call", "quantity": "60", "idempotency_key": "k1"}
    for wrong, error in BAD_USE:
        refusal = refused(lambda wrong=wrong: anna.call("use", **good | wrong))
        assert (wrong, type(refusal)) == (wrong, error)
    assert anna.available == micros("5.00")
    assert len(ledger(anna)) == 1


def test_a_program_names_an_account_that_exists(service: Call, holder: Callable[..., Person]) -> None:
    """B5: the service acts for somebody."""
    request = {"operation": "call", "quantity": 60, "idempotency_key": new_key()}
    anna = holder("1.00")
    assert isinstance(refused(lambda: service("use", **request)), errors.InvalidRequest)
    assert isinstance(refused(lambda: service("use", account_id=10**12, **request)), errors.NotFound)
    used = service("use", account_id=anna.account_id, **request)
    assert anna.call("explain", transaction_id=used["transaction_id"])["actor"] == "service"


def test_usage_may_arrive_late(clock: Clock, holder: Callable[..., Person], ledger: Call) -> None:
    """D6: it is charged now and says when it happened."""
    anna = holder("1.00")
    a_month_ago = clock.now - timedelta(days=31)
    anna.use("call", MINUTE, occurred_at=a_month_ago)
    late = ledger(anna)[-1]
    assert (late["created_at"], late["occurred_at"]) == (clock.now, a_month_ago)
    assert anna.available == micros("0.85")


def test_a_super_admin_is_metered_and_never_charged(person: Callable[..., Person], ledger: Call) -> None:
    """E5: full price in the log, nothing deducted, whatever the balance."""
    root = person("super_admin")
    used = root.use("call", 10 * MINUTE)
    assert (used["charged_micros"], used["available_micros"]) == (0, 0)
    booked = ledger(root)[-1]
    assert (booked["amount_micros"], booked["rated_micros"]) == (0, micros("1.50"))
    assert root.call("check_use", operation="call", quantity=10**9)["reason"] == "unlimited"
    assert (root.balance["unlimited"], root.balance["total_used_micros"]) == (True, 0)


def test_even_absurd_metering_keeps_the_sums_in_range(person: Callable[..., Person], service: Call) -> None:
    """E5, B10: the largest quantities of somebody unlimited do not stop the job that sums usage up."""
    root = person("super_admin")
    for _ in range(5):
        root.use("call", 10**12)
    assert service("rollup_usage")["rows"] == 5


def test_an_overdraft_is_explicit_and_has_an_end(
    holder: Callable[..., Person], give: Call, owner_sql: Callable[..., Rows]
) -> None:
    """B5: below zero only as far as agreed; what is owed is taken from the next credits first."""
    anna = holder("0.10")
    owner_sql("update credits.accounts set overdraft_micros = 500000 where id = %s", anna.account_id)
    assert anna.available == micros("0.60")
    anna.use("call", 4 * MINUTE)
    balance = anna.balance
    assert (balance["posted_micros"], balance["debt_micros"]) == (-micros("0.50"), micros("0.50"))
    assert balance["available_micros"] == 0
    assert isinstance(refused(lambda: anna.use("call", MINUTE)), errors.InsufficientCredits)
    give(anna, "0.20")
    assert (anna.balance["debt_micros"], anna.available) == (micros("0.30"), micros("0.20"))


def test_a_debt_is_recovered_before_anything_can_be_spent(
    holder: Callable[..., Person], buy: Call, grants: Call, ledger: Call, owner_sql: Callable[..., Rows]
) -> None:
    """B3, B5: from the next purchase, as a row of the ledger that names the grant."""
    anna = holder()
    owner_sql("update credits.accounts set overdraft_micros = 3000000 where id = %s", anna.account_id)
    anna.use("call", 20 * MINUTE)
    owner_sql("update credits.accounts set overdraft_micros = 0 where id = %s", anna.account_id)
    buy(anna, "usd_5")
    assert [row["kind"] for row in ledger(anna)] == ["use", "purchase", "debt_recovery"]
    assert remaining(grants(anna)) == [micros("2.00")]
    assert (anna.available, anna.balance["debt_micros"]) == (micros("2.00"), 0)


def test_totals_tell_what_was_bought_and_what_was_used(holder: Callable[..., Person], buy: Call) -> None:
    """B2: given credits are not purchased ones."""
    anna = holder("1.00")
    buy(anna, "usd_10")
    buy(anna, "usd_5")
    anna.use("call", 20 * MINUTE)
    balance = anna.balance
    assert balance["total_purchased_micros"] == micros("15.00")
    assert balance["total_used_micros"] == micros("3.00")
    assert balance["posted_micros"] == balance["available_micros"] == micros("13.00")
