"""Above a limit a second person approves (I2): who asks never decides, it is carried out once, and only while it still fits."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from credits_core import errors
from credits_core.units import parse_credits as micros
from tests.sql.conftest import Call, Clock, Person, Rows, new_key, refused
from tests.sql.programs import program

LARGE = "12000"


@pytest.fixture
def anna(clock: Clock, holder: Callable[..., Person]) -> Person:
    return holder("10.00")


@pytest.fixture
def maker(clock: Clock, person: Callable[..., Person]) -> Person:
    return person("admin")


@pytest.fixture
def checker(clock: Clock, person: Callable[..., Person]) -> Person:
    return person("super_admin")


def ask(maker: Person, anna: Person, credits: str = LARGE, **more: object) -> Any:
    request = {"reason": "a large gift", "idempotency_key": new_key("ask")} | more
    return maker.call("adjust", account_id=anna.account_id, amount_micros=micros(credits), **request)


def decide(somebody: Person, asked: dict[str, Any], approve: bool = True, reason: str = "agreed") -> Any:
    return somebody.call("decide_approval", approval_id=asked["approval_id"], approve=approve, reason=reason)


def test_a_large_adjustment_waits_and_is_booked_once_by_somebody_else(
    anna: Person,
    maker: Person,
    checker: Person,
    ledger: Callable[[Person], Rows],
    owner_sql: Callable[..., Rows],
) -> None:
    """I1, I2, I5: nothing moves before; the ledger names who asked, the audit trail who approved."""
    preview = maker.call("adjust_preview", account_id=anna.account_id, amount_micros=micros(LARGE))
    assert (preview["needs_approval"], preview["limit_micros"]) == (True, micros("10000"))
    asked = ask(maker, anna, idempotency_key="once")
    assert (asked["status"], asked["transaction_id"]) == ("waiting", None)
    assert anna.available == micros("10")
    assert ask(maker, anna, idempotency_key="once")["approval_id"] == asked["approval_id"]
    other = refused(lambda: ask(maker, anna, "13000", idempotency_key="once"))
    assert isinstance(other, errors.IdempotencyKeyReused)

    done = decide(checker, asked)
    assert (done["status"], done["decided_by"]) == ("done", checker.identity.claims["sub"])
    assert anna.available == micros("12010")
    assert ledger(anna)[-1]["actor"] == maker.identity.claims["sub"]
    again = ask(maker, anna, idempotency_key="once")  # the same key: what became of it
    assert (again["status"], again["transaction_id"]) == ("booked", done["result"]["transaction_id"])
    assert isinstance(refused(lambda: decide(checker, asked)), errors.Conflict)
    actions = [row["action"] for row in owner_sql("select action from credits.audit_log order by id")]
    assert actions[-3:] == ["ask_adjustment", "adjust", "decide_adjustment"]


def test_below_the_limit_nobody_is_asked(anna: Person, maker: Person) -> None:
    asked = ask(maker, anna, "9999.999999")
    assert asked["status"] == "booked"
    assert maker.call("approvals")["items"] == []


def test_nobody_approves_what_they_asked_for_not_even_through_a_key(
    anna: Person, maker: Person, checker: Person, service: Call
) -> None:
    """I2: not in person, not with an own API key, not when the key asked; and a key decides nothing at all."""
    asked = ask(maker, anna)
    assert "Another administrator" in refused(lambda: decide(maker, asked)).message
    key = program(service, maker, "admin")
    by_key = ask(key, anna)  # type: ignore[arg-type]
    assert isinstance(refused(lambda: decide(maker, by_key)), errors.NotAllowed)
    assert "API key" in refused(lambda: decide(key, asked)).message  # type: ignore[arg-type]
    assert [item["is_own"] for item in maker.call("approvals", view="mine")["items"]] == [True, True]
    assert maker.call("approvals_count")["for_me"] == 0
    assert checker.call("approvals_count") == {
        "waiting": 2,
        "for_me": 2,
        "in_review": 0,
        "held_referrals": 0,
    }
    assert anna.available == micros("10")


def test_a_balance_that_no_longer_covers_it_is_a_clear_refusal(
    anna: Person, maker: Person, checker: Person, give: Call
) -> None:
    """I2: what was asked for is not cut down; it stays waiting and can be rejected."""
    give(anna, "12000.00")
    asked = ask(maker, anna, "-12000")
    anna.use("call", 60 * 1000)  # 150 credits
    no = refused(lambda: decide(checker, asked))
    assert isinstance(no, errors.Conflict)
    assert "balance has changed" in no.message
    assert no.detail["needed_micros"] == micros("12000")
    assert checker.call("approvals")["items"][0]["status"] == "waiting"
    assert decide(checker, asked, approve=False)["status"] == "rejected"
    too_much = refused(lambda: ask(maker, anna, "-12000"))  # would not fit from the start
    assert isinstance(too_much, errors.InsufficientCredits)


def test_a_rejection_says_why_and_is_final(anna: Person, maker: Person, checker: Person) -> None:
    asked = ask(maker, anna, idempotency_key="no")
    assert "Say why" in refused(lambda: decide(checker, asked, approve=False, reason=" ")).message
    done = decide(checker, asked, approve=False, reason="not agreed with anybody")
    assert (done["status"], done["decision_reason"]) == ("rejected", "not agreed with anybody")
    no = refused(lambda: decide(checker, asked))
    assert isinstance(no, errors.Conflict) and no.detail == {"status": "rejected"}
    assert ask(maker, anna, idempotency_key="no")["status"] == "rejected"
    own = ask(maker, anna)
    assert decide(maker, own, approve=False, reason="a slip of mine")["status"] == "rejected"
    assert anna.available == micros("10")


def test_a_request_expires(anna: Person, maker: Person, checker: Person, clock: Clock) -> None:
    asked = ask(maker, anna)
    clock.advance(days=7)
    assert "expired" in refused(lambda: decide(checker, asked)).message
    assert checker.call("approvals", view="for_me")["items"] == []
    (mine,) = maker.call("approvals", view="mine")["items"]
    assert mine["status"] == "expired"
    assert anna.available == micros("10")


def test_a_gift_that_would_have_ended_by_now_is_refused(
    anna: Person, maker: Person, checker: Person, clock: Clock
) -> None:
    asked = ask(maker, anna, expires_at=clock.now.replace(hour=23), operations="{call}")
    clock.advance(days=1)
    assert isinstance(refused(lambda: decide(checker, asked)), errors.Conflict)


def test_many_who_approve_at_once_book_it_once(
    anna: Person, maker: Person, person: Callable[..., Person], ledger: Callable[[Person], Rows]
) -> None:
    asked = ask(maker, anna)

    def approve(somebody: Person) -> bool:
        try:
            return bool(decide(somebody, asked))
        except errors.Conflict:
            return False

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(approve, [person("admin") for _ in range(4)])) == 1
    assert [row["kind"] for row in ledger(anna)] == ["adjustment", "adjustment"]


def test_a_price_change_waits_and_is_refused_when_the_price_moved(
    anna: Person, maker: Person, checker: Person, set_price: Call
) -> None:
    """I2, C3: tried when it is asked for, carried out when approved, never over somebody else's change."""
    change = {"operation": "call", "components": [{"unit": "minute", "price_micros": 200_000}]}
    asked = [
        maker.call("request_price_change", change=change, reason="dearer", idempotency_key=str(n))
        for n in range(2)
    ]
    assert [part["price_micros"] for part in asked[0]["preview"]["now"]] == [150_000]
    assert [part["price_micros"] for part in asked[0]["preview"]["then"]] == [200_000]
    assert maker.call("check_use", operation="call", quantity=60)["cost_micros"] == 150_000
    bad = {"change": change | {"operation": "nothing"}, "reason": "dearer", "idempotency_key": "bad"}
    assert isinstance(refused(lambda: maker.call("request_price_change", **bad)), errors.NotFound)
    assert decide(checker, asked[0])["status"] == "done"
    assert maker.call("check_use", operation="call", quantity=60)["cost_micros"] == 200_000
    assert "price has changed" in refused(lambda: decide(checker, asked[1])).message


def test_refunds_stand_in_the_same_list_and_are_decided_there(
    anna: Person, maker: Person, checker: Person, buy: Call, clock: Clock
) -> None:
    """A8, I2: one desk for all requests; an expired one is not approved."""
    requests = []
    for number in range(2):
        bought = buy(anna, "usd_100")
        more = {"reason": "wrong package", "idempotency_key": f"r{number}"}
        requests.append(maker.call("request_refund", purchase_id=bought["purchase_id"], **more))
    listed = checker.call("approvals", view="for_me")["items"]
    assert [(item["kind"], item["amount"], item["currency"]) for item in listed] == [
        ("refund", 10000, "usd")
    ] * 2
    first, second = ({"approval_id": request["refund_id"]} for request in requests)
    assert isinstance(refused(lambda: decide(maker, first)), errors.NotAllowed)
    assert decide(checker, first)["status"] == "approved"
    clock.advance(days=8)
    assert "expired" in refused(lambda: decide(checker, second)).message
    assert decide(checker, second, approve=False)["status"] == "rejected"
    assert len(checker.call("approvals", view="decided")["items"]) == 2
    assert anna.available == micros("110")


def test_the_list_is_paged_by_key(anna: Person, maker: Person, checker: Person, clock: Clock) -> None:
    for _ in range(5):
        ask(maker, anna)
        clock.advance(minutes=1)
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(3):
        page = checker.call("approvals", limit=2, cursor=cursor)
        seen += [item["approval_id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert len(set(seen)) == 5 and cursor is None
    assert isinstance(refused(lambda: checker.call("approvals", cursor="x")), errors.InvalidRequest)
    assert isinstance(refused(lambda: checker.call("approvals", view="all")), errors.InvalidRequest)


def test_limits_are_settings_that_staff_see_and_super_admins_change(
    anna: Person, maker: Person, checker: Person, person: Callable[..., Person]
) -> None:
    known = {item["kind"]: item["amount"] for item in person("finance").call("approval_limits")["items"]}
    assert known["adjustment"] == micros("10000") and known["refund"] == 10000
    new = {"kind": "adjustment", "amount": micros("5"), "reason": "until the audit is over"}
    assert isinstance(refused(lambda: maker.call("set_approval_limit", **new)), errors.NotAllowed)
    checker.call("set_approval_limit", **new)
    assert ask(maker, anna, "5")["status"] == "waiting"
    for wrong in ({"amount": 0}, {"kind": "price_change"}, {"valid_days": 0}, {"reason": ""}):
        assert isinstance(
            refused(lambda wrong=wrong: checker.call("set_approval_limit", **new | wrong)),  # type: ignore[misc]
            errors.InvalidRequest,
        )
    assert isinstance(
        refused(lambda: checker.call("set_approval_limit", **new | {"kind": "no"})), errors.NotFound
    )


def test_who_may_not(anna: Person, maker: Person, person: Callable[..., Person]) -> None:
    """I4: holders see nothing of it; finance reads and decides nothing."""
    asked = ask(maker, anna)
    for function in ("approvals", "approvals_count", "approval_limits"):
        assert isinstance(refused(lambda f=function: anna.call(f)), errors.NotAllowed)  # type: ignore[misc]
        person("finance").call(function)
    for somebody in (anna, person("finance")):
        assert isinstance(refused(lambda s=somebody: decide(s, asked)), errors.NotAllowed)  # type: ignore[misc]
