"""Nobody alone changes what customers pay, or moves credits worth more than the limit, whichever way they try (I2)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

from credits_core import errors
from credits_core.units import parse_credits as micros
from tests.sql.conftest import Call, Clock, Person, new_key, refused
from tests.sql.programs import program

DEARER = [{"unit": "minute", "price_micros": 200_000}]


@pytest.fixture
def maker(clock: Clock, person: Callable[..., Person]) -> Person:
    return person("admin")


@pytest.fixture
def checker(clock: Clock, person: Callable[..., Person]) -> Person:
    return person("super_admin")


def decide(somebody: Person, asked: dict[str, Any]) -> Any:
    return somebody.call("decide_approval", approval_id=asked["approval_id"], approve=True, reason="agreed")


def minute_costs(somebody: Person) -> int:
    return int(somebody.call("check_use", operation="call", quantity=60)["cost_micros"])


# --- prices -------------------------------------------------------------------------------------------------------


def test_no_administrator_sets_a_price_alone(
    maker: Person, checker: Person, service: Call, set_price: Call, clock: Clock
) -> None:
    """I2, I3: neither in person nor through a key; the operator's own command still does, and so does what was approved."""
    for somebody in (maker, checker, program(service, maker, "admin")):
        refusal = refused(lambda s=somebody: s.call("set_price", operation="call", components=DEARER))  # type: ignore[misc]
        assert isinstance(refusal, errors.NotAllowed)
        assert "second person" in refusal.message and "draft" in refusal.message
    assert minute_costs(maker) == 150_000
    set_price("call", {"unit": "minute", "price_micros": 100_000})
    assert minute_costs(maker) == 100_000
    clock.advance(minutes=1)
    change = {"operation": "call", "components": DEARER}
    asked = maker.call("request_price_change", change=change, reason="dearer", idempotency_key="dearer")
    assert minute_costs(maker) == 100_000
    assert isinstance(refused(lambda: decide(maker, asked)), errors.NotAllowed)
    assert decide(checker, asked)["result"]["operation"] == "call"
    assert minute_costs(maker) == 200_000


def test_other_prices_for_one_account_wait_too(
    maker: Person,
    checker: Person,
    holder: Callable[..., Person],
    catalog: Call,
    set_price: Call,
    service: Call,
) -> None:
    """I2, C1: a catalog of one's own is a price change for one account."""
    catalog("recruitment")
    catalog("ai_services")
    anna = holder("10.00")
    own = {"account_id": anna.account_id, "catalog": "recruitment"}
    refusal = refused(lambda: maker.call("set_account_settings", **own))
    assert isinstance(refusal, errors.NotAllowed) and "price change" in refusal.message
    anna.use("sms", 1)
    request: dict[str, Any] = {"reason": "as agreed", "idempotency_key": "own"}
    asked = maker.call("request_price_change", change=own, **request)
    assert (asked["account_id"], asked["preview"]) == (
        anna.account_id,
        {"now": "ai_services", "then": "recruitment"},
    )
    again = maker.call("request_price_change", change=own, reason="as agreed", idempotency_key="late")
    assert isinstance(refused(lambda: anna.use("vapi_call", 1)), errors.CreditsError)
    assert decide(checker, asked)["status"] == "done"
    assert anna.use("vapi_call", 60)["charged_micros"] > 0
    assert "price has changed" in refused(lambda: decide(checker, again)).message
    unknown = {"account_id": anna.account_id, "catalog": "nope"}
    for wrong, error in ((unknown, errors.NotFound), (own | {"account_id": 10**9}, errors.NotFound)):
        refusal = refused(
            lambda wrong=wrong: maker.call(
                "request_price_change", change=wrong, reason="no!", idempotency_key="x"
            )  # type: ignore[misc]
        )
        assert isinstance(refusal, error)
    service("set_account_settings", account_id=anna.account_id, catalog="ai_services")  # the operator's own
    anna.use("sms", 1)


# --- credits moved by hand ----------------------------------------------------------------------------------------

DAY = timedelta(days=1)


@pytest.fixture
def anna(clock: Clock, holder: Callable[..., Person]) -> Person:
    return holder("20000.00")


def adjust(somebody: Person, anna: Person, credits: str, key: str = "") -> Any:
    request = {"reason": "goodwill", "idempotency_key": key or new_key("adjust")}
    return somebody.call("adjust", account_id=anna.account_id, amount_micros=micros(credits), **request)


def reverse(somebody: Person, transaction_id: str, key: str = "", reason: str = "a mistake") -> Any:
    request = {"reason": reason, "idempotency_key": key or new_key("reverse")}
    return somebody.call("reverse", transaction_id=transaction_id, **request)


def test_a_large_reversal_waits_and_goes_back_to_the_very_grants(
    maker: Person, checker: Person, anna: Person, set_price: Call, ledger: Call, grants: Call, clock: Clock
) -> None:
    """I2, B7: of a charge; booked once, in the name of who asked."""
    set_price("call", {"unit": "call", "price_micros": micros("10000")})
    clock.advance(minutes=1)
    charge = anna.use("call", 1)["transaction_id"]
    asked = reverse(maker, charge, key="r")
    assert (asked["status"], asked["transaction_id"], anna.available) == ("waiting", None, micros("10000"))
    assert reverse(maker, charge, key="r")["approval_id"] == asked["approval_id"]
    other = refused(lambda: reverse(maker, charge, key="r", reason="another"))
    assert isinstance(other, errors.IdempotencyKeyReused)
    assert isinstance(refused(lambda: adjust(maker, anna, "1", key="r")), errors.IdempotencyKeyReused)
    assert "asked for" in refused(lambda: reverse(checker, charge)).message
    assert isinstance(refused(lambda: decide(maker, asked)), errors.NotAllowed)
    (item,) = checker.call("approvals", view="for_me")["items"]
    assert (item["kind"], item["amount"], item["preview"]["available_after_micros"]) == (
        "reversal",
        micros("10000"),
        micros("20000"),
    )
    done = decide(checker, asked)
    assert (done["status"], anna.available) == ("done", micros("20000"))
    row = ledger(anna)[-1]
    assert (row["kind"], row["actor"]) == ("reversal", maker.identity.claims["sub"])
    again = reverse(maker, charge, key="r")
    assert (again["status"], again["transaction_id"]) == ("booked", done["result"]["transaction_id"])
    assert "reversed already" in refused(lambda: reverse(checker, charge)).message


def test_a_reversal_that_no_longer_fits_is_refused(
    maker: Person, checker: Person, holder: Callable[..., Person], give: Call, service: Call
) -> None:
    """I2: the gift was spent, or a program reversed it, between the question and the answer."""
    ben = holder()
    first, second = (give(ben, "15000")["transaction_id"] for _ in range(2))
    spent, gone = (reverse(maker, gift) for gift in (first, second))
    ben.use("call", 60)
    assert isinstance(refused(lambda: decide(checker, spent)), errors.InsufficientCredits)
    assert "asked for already" in refused(lambda: reverse(maker, first)).message
    service("reverse", transaction_id=second, reason="a mistake", idempotency_key="r")
    assert "reversed already" in refused(lambda: decide(checker, gone)).message
    assert checker.call("approvals_count")["waiting"] == 2
    assert isinstance(refused(lambda: reverse(maker, first, key="new")), errors.Conflict)


def test_a_long_life_for_many_credits_waits(
    maker: Person, checker: Person, anna: Person, give: Call, grants: Call, clock: Clock, ledger: Call
) -> None:
    """I2, B9: of what expires and of what expired; never for more than was asked for."""
    give(anna, "15000", expires_at=clock.now + DAY)
    (_, ending) = grants(anna)
    request = {"grant_id": ending["id"], "expires_at": clock.now + 30 * DAY, "reason": "goodwill"}
    asked = maker.call("extend_grant", idempotency_key="e", **request)
    assert (asked["status"], asked["grant_id"]) == ("waiting", None)
    assert maker.call("extend_grant", idempotency_key="e", **request)["approval_id"] == asked["approval_id"]
    changed = request | {"expires_at": clock.now + 40 * DAY}
    reused = refused(lambda: maker.call("extend_grant", idempotency_key="e", **changed))
    assert isinstance(reused, errors.IdempotencyKeyReused)
    assert len(grants(anna)) == 2
    clock.advance(days=2)
    assert anna.available == micros("20000")
    done = decide(checker, asked)
    assert (done["status"], anna.available) == ("done", micros("35000"))
    assert grants(anna)[-1]["id"] == done["result"]["grant_id"]
    assert ledger(anna)[-1]["actor"] == maker.identity.claims["sub"]
    assert maker.call("extend_grant", idempotency_key="e", **request)["status"] == "booked"


def test_an_extension_of_more_than_was_asked_for_is_refused(
    maker: Person, checker: Person, anna: Person, give: Call, grants: Call, clock: Clock, set_price: Call
) -> None:
    """I2: credits that came back to the grant meanwhile were not part of the question."""
    give(anna, "15000", expires_at=clock.now + DAY)
    set_price("call", {"unit": "call", "price_micros": micros("1000")})
    clock.advance(minutes=1)
    hold = anna.call("place_hold", operation="call", quantity=1, idempotency_key="h")["hold_id"]
    request = {"grant_id": grants(anna)[1]["id"], "expires_at": clock.now + 30 * DAY, "reason": "goodwill"}
    asked = maker.call("extend_grant", idempotency_key="e", **request)
    anna.call("release_hold", hold_id=hold)
    assert "asked for" in refused(lambda: decide(checker, asked)).message
    assert len(grants(anna)) == 2


def test_many_small_moves_of_one_administrator_add_up(
    maker: Person, checker: Person, anna: Person, holder: Callable[..., Person], service: Call, clock: Clock
) -> None:
    """I2: adjustments, reversals and extensions on one account within 24 hours, in person or through a key, up and down."""
    first = adjust(maker, anna, "4000")
    clock.advance(hours=1)
    adjust(program(service, maker, "admin"), anna, "-3000")
    preview = maker.call("adjust_preview", account_id=anna.account_id, amount_micros=micros("3000"))
    assert (preview["needs_approval"], preview["moved_micros"]) == (True, micros("7000"))
    assert "adds up" in preview["approval_reason"] and "7,000.00" in preview["approval_reason"]
    assert not maker.call("adjust_preview", account_id=anna.account_id, amount_micros=micros("2999"))[
        "needs_approval"
    ]
    waits = adjust(maker, anna, "3000")
    assert waits["status"] == "waiting" and "adds up" in waits["approval_reason"]
    assert reverse(maker, first["transaction_id"])["status"] == "waiting"
    assert adjust(maker, anna, "2999")["status"] == "booked"
    assert adjust(maker, anna, "1")["status"] == "waiting"
    # others have their own sum, other accounts too, and what a second person approved is no longer one person's
    assert adjust(checker, anna, "9999")["status"] == "booked"
    assert adjust(maker, holder(), "9999")["status"] == "booked"
    assert decide(checker, waits)["status"] == "done"
    clock.advance(hours=23, minutes=1)  # 4,000 is over a day ago: 5,999 are left of the sum
    assert adjust(maker, anna, "4000")["status"] == "booked"
    assert adjust(maker, anna, "1")["status"] == "waiting"


def test_small_reversals_and_extensions_count(
    maker: Person, anna: Person, give: Call, grants: Call, clock: Clock
) -> None:
    """I2: whatever the way: three times 4,000 are 12,000."""
    gift = give(anna, "4000")["transaction_id"]
    give(anna, "4000", expires_at=clock.now + DAY)
    ending = grants(anna)[-1]["id"]
    assert reverse(maker, gift)["status"] == "booked"
    later = {"expires_at": clock.now + 9 * DAY, "reason": "goodwill"}
    extended = maker.call("extend_grant", grant_id=ending, idempotency_key="e", **later)
    assert extended["status"] == "booked"
    assert adjust(maker, anna, "4000")["status"] == "waiting"
    again = {"grant_id": extended["grant_id"], "expires_at": clock.now + 19 * DAY, "reason": "goodwill"}
    assert maker.call("extend_grant", idempotency_key="f", **again)["status"] == "waiting"
    assert adjust(maker, anna, "1999")["status"] == "booked"


def test_small_adjustments_at_once_do_not_slip_through(maker: Person, anna: Person) -> None:
    """I2: ten threads, one sum: 10 x 3,000 leave three of them booked."""
    with ThreadPoolExecutor(10) as pool:
        done = list(pool.map(lambda _: adjust(maker, anna, "3000")["status"], range(10)))
    assert (done.count("booked"), done.count("waiting")) == (3, 7)
    assert anna.available == micros("29000")


def test_programs_are_not_held_up(anna: Person, give: Call, service: Call) -> None:
    """I2: whoever has the service key can do anything anyway."""
    gift = give(anna, "50000")["transaction_id"]
    done = service("reverse", transaction_id=gift, reason="a mistake", idempotency_key="r")
    assert done["status"] == "booked"


def test_reversals_and_extensions_follow_the_limit_of_adjustments(
    maker: Person, checker: Person, anna: Person, give: Call
) -> None:
    """I2: one limit for what is moved by hand; it cannot be had apart."""
    assert "reversal" not in {item["kind"] for item in maker.call("approval_limits")["items"]}
    new = {"amount": micros("5"), "reason": "until the audit is over", "valid_days": 3}
    assert "adjustment" in refused(lambda: checker.call("set_approval_limit", kind="reversal", **new)).message
    gift = give(anna, "5")["transaction_id"]
    checker.call("set_approval_limit", kind="adjustment", **new)
    asked = reverse(maker, gift)
    assert asked["status"] == "waiting"
    span = datetime.fromisoformat(asked["expires_at"]) - datetime.fromisoformat(asked["created_at"])
    assert span == timedelta(days=3)


# --- one's own account, and money -----------------------------------------------------------------------------------


def test_nobody_moves_credits_on_their_own_account_alone(
    maker: Person, checker: Person, service: Call, give: Call
) -> None:
    """I2: however few, in person or through a key; the other person decides, and what takes them back waits as well."""
    for somebody in (maker, program(service, maker, "admin")):
        asked = adjust(somebody, maker, "0.01")
        assert asked["status"] == "waiting" and "your own account" in asked["approval_reason"]
        assert isinstance(refused(lambda a=asked: decide(maker, a)), errors.NotAllowed)  # type: ignore[misc]
    preview = maker.call("adjust_preview", account_id=maker.account_id, amount_micros=1)
    assert (preview["needs_approval"], preview["is_own"]) == (True, True)
    gift = give(maker, "1")["transaction_id"]
    assert reverse(maker, gift)["status"] == "waiting"
    assert decide(checker, asked)["status"] == "done"
    assert maker.available == micros("1.01")
    assert adjust(checker, maker, "1")["status"] == "booked"


def refund(somebody: Person, bought: dict[str, Any], cents: int) -> Any:
    request = {"amount_cents": cents, "reason": "asked for it", "idempotency_key": new_key("refund")}
    return somebody.call("request_refund", purchase_id=bought["purchase_id"], **request)


def test_small_refunds_of_one_administrator_add_up(
    maker: Person, checker: Person, holder: Callable[..., Person], buy: Call, service: Call, clock: Clock
) -> None:
    """A8, I2: to one account within 24 hours, over all of its purchases; not those that somebody approved."""
    ben, carla = holder(), holder()
    first, second, third = buy(ben, "usd_100"), buy(ben, "usd_50"), buy(ben, "usd_20")
    assert refund(maker, first, 6000)["status"] == "approved"
    preview = maker.call("refund_preview", purchase_id=second["purchase_id"], amount_cents=4000)
    assert (preview["needs_approval"], preview["refunded_cents"]) == (True, 6000)
    assert not maker.call("refund_preview", purchase_id=second["purchase_id"], amount_cents=3999)[
        "needs_approval"
    ]
    waits = refund(program(service, maker, "admin"), second, 4000)
    assert waits["status"] == "requested"
    assert refund(checker, third, 1000)["status"] == "approved"
    assert refund(maker, buy(carla, "usd_100"), 9999)["status"] == "approved"
    assert isinstance(
        refused(lambda: maker.call("decide_refund", refund_id=waits["refund_id"], approve=True)),
        errors.NotAllowed,
    )
    checker.call("decide_refund", refund_id=waits["refund_id"], approve=True)
    assert refund(maker, third, 500)["status"] == "approved"
    assert (
        refund(service_of(service), first, 3000)["status"] == "approved"
    )  # a program has its own limit, each time
    clock.advance(days=1, seconds=1)
    assert refund(maker, buy(ben, "usd_100"), 9999)["status"] == "approved"


def service_of(service: Call) -> Any:
    """The operator's own program, in the shape of a person."""
    return type("Program", (), {"call": staticmethod(service)})


def test_ones_own_money_goes_back_by_somebody_else(maker: Person, checker: Person, buy: Call) -> None:
    """A8, I2: however little."""
    bought = buy(maker, "usd_5")
    assert maker.call("refund_preview", purchase_id=bought["purchase_id"])["is_own"] is True
    asked = refund(maker, bought, 1)
    assert asked["status"] == "requested"
    checker.call("decide_refund", refund_id=asked["refund_id"], approve=True)
    assert refund(checker, bought, 1)["status"] == "approved"


# --- promises -----------------------------------------------------------------------------------------------------


def test_one_person_promises_less_than_they_may_give(maker: Person, service: Call) -> None:
    """I2, A12, A13: a code or an invitation is no way around the limit of adjustments; the operator may promise more."""
    code = {"code": "MUCH", "name": "Much", "kind": "bonus_credits", "amount": 10000}
    refusal = refused(lambda: maker.call("create_campaign", **code))
    assert isinstance(refusal, errors.NotAllowed) and "10,000.00" in refusal.message
    maker.call("create_campaign", **code | {"amount": "9999.99"})
    service("create_campaign", **code | {"code": "MORE"})
    terms = {"on": True, "referrer_micros": micros("10000"), "min_purchase_cents": 1000, "open_days": 30}
    for change in ({"referee_micros": 0}, {"referrer_micros": 0, "referee_micros": micros("10000")}):
        no = refused(lambda c=change: maker.call("set_referral_program", **terms | c))  # type: ignore[misc]
        assert isinstance(no, errors.NotAllowed)
    maker.call("set_referral_program", **terms | {"referrer_micros": micros("9999"), "referee_micros": 1})
    service("set_referral_program", **terms | {"referee_micros": 1})


def test_who_made_a_code_does_not_use_it(maker: Person, service: Call, holder: Callable[..., Person]) -> None:
    """I2, A12: neither in person nor made through a key; for others it counts."""
    code = {"name": "Gift", "kind": "bonus_credits", "amount": 5}
    maker.call("create_campaign", code="MINE", **code)
    program(service, maker, "admin").call("create_campaign", code="KEYS", **code)
    for name in ("MINE", "KEYS"):
        quote = {"package": "usd_10", "promo_code": name}
        assert "for others" in refused(lambda q=quote: maker.call("purchase_quote", **q)).message  # type: ignore[misc]
        assert (
            "for others"
            in refused(
                lambda q=quote: maker.call("create_purchase", idempotency_key=new_key(), livemode=False, **q)  # type: ignore[misc]
            ).message
        )
        assert holder().call("purchase_quote", **quote)["bonus_micros"] == micros("5")
