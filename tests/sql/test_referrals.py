"""Referrals (A13): both sides rewarded once after a first paid purchase, within limits, and taken back with the money."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from credits_core import errors
from credits_core.units import parse_credits as micros
from tests.sql.conftest import Call, Clock, Person, Rows, new_key, paid, refused
from tests.sql.test_concurrency import at_once, succeeded
from tests.sql.test_disputes import dispute, made_at_stripe

TERMS = {
    "on": True,
    "referrer_micros": micros("5"),
    "referee_micros": micros("3"),
    "min_purchase_cents": 1000,
    "open_days": 30,
}


@pytest.fixture
def program(service: Call) -> Call:
    """`program(month_rewards=1)`: the usual terms with changes."""
    return lambda **changes: service("set_referral_program", **TERMS | changes)


@pytest.fixture
def anna(clock: Clock, holder: Callable[..., Person], program: Call) -> Person:
    """Somebody who invites: 5 credits for her, 3 for who comes, from $10 on, within 30 days."""
    program()
    return holder()


@pytest.fixture
def invite(holder: Callable[..., Person]) -> Callable[..., Person]:
    """`invite(anna)`: somebody new who entered her code."""

    def somebody(referrer: Person) -> Person:
        new = holder()
        new.call("claim_referral", code=code_of(referrer))
        return new

    return somebody


@pytest.fixture
def pay(service: Call) -> Call:
    """`pay(ben, "usd_10", card_fingerprint="...")`: buy, with what Stripe says of the payment."""

    def run(somebody: Person, package: str = "usd_10", **said: object) -> Any:
        made = somebody.call("create_purchase", idempotency_key=new_key(), livemode=False, package=package)
        opened = service("open_purchase", purchase_id=made["purchase_id"], session_id=new_key("cs_test"))
        return service("fulfill_purchase", session=paid(opened, **said))

    return run


@pytest.fixture
def converge(service: Call) -> Call:
    return lambda bought, **totals: service(
        "converge_purchase", purchase_id=bought["purchase_id"], totals=totals
    )


def code_of(somebody: Person) -> str:
    return str(somebody.call("referral")["code"])


def status_of(referrer: Person) -> str:
    return str(referrer.call("referral")["items"][0]["status"])


def available(*people: Person) -> list[str]:
    return [f"{somebody.available / 1_000_000:g}" for somebody in people]


# --- the story ---------------------------------------------------------------------------------------------------


def test_both_sides_are_rewarded_after_the_first_paid_purchase(
    anna: Person, invite: Callable[..., Person], pay: Call, grants: Call, ledger: Call
) -> None:
    """A13: as promotional credits of their own, in the transaction that credits the purchase, and once."""
    ben = invite(anna)
    assert available(anna, ben) == ["0", "0"]
    pay(ben)
    assert available(anna, ben) == ["5", "13"]
    pay(ben)
    assert available(anna, ben) == ["5", "23"]
    (reward,) = grants(anna)
    assert (reward["source"], reward["is_promotional"], reward["cost_cents"]) == ("referral", True, 0)
    assert [(t["kind"], t["amount_micros"]) for t in ledger(ben)][:2] == [
        ("purchase", micros("10")),
        ("grant", micros("3")),
    ]
    seen = anna.call("referral")
    assert (seen["joined"], seen["rewarded"], seen["earned_micros"], seen["waiting"]) == (
        1,
        1,
        micros("5"),
        0,
    )
    assert ben.call("referral")["invited"]["status"] == "rewarded"
    assert anna.balance["total_purchased_micros"] == 0


def test_a_code_is_short_clear_and_the_same_every_time(anna: Person, holder: Callable[..., Person]) -> None:
    codes = {code_of(anna) for _ in range(3)} | {answer["code"] for answer in succeeded(
        at_once(*[lambda: anna.call("referral")] * 8))}  # fmt: skip
    (code,) = codes
    assert len(code) == 8 and not set(code) & set("0O1ILU")
    written = f" {code[:4].lower()}-{code[4:].lower()} "
    assert holder().call("claim_referral", code=written)["status"] == "open"


def test_a_small_first_purchase_waits_for_one_that_is_large_enough(
    anna: Person, invite: Callable[..., Person], pay: Call
) -> None:
    ben = invite(anna)
    pay(ben, "usd_5")
    assert (available(anna), status_of(anna)) == (["0"], "open")
    pay(ben, "usd_10")
    assert available(anna, ben) == ["5", "18"]


def test_nothing_is_earned_after_the_days_are_over(
    anna: Person, invite: Callable[..., Person], pay: Call, clock: Clock
) -> None:
    ben = invite(anna)
    clock.advance(days=30)
    assert status_of(anna) == "expired"
    pay(ben)
    assert (available(anna, ben), status_of(anna)) == (["0", "10"], "expired")


def test_the_terms_are_those_of_the_day_the_code_was_entered(
    anna: Person, invite: Callable[..., Person], pay: Call, program: Call
) -> None:
    ben = invite(anna)
    program(referrer_micros=micros("1"), referee_micros=0)
    pay(ben)
    assert available(anna, ben) == ["5", "13"]
    carla = invite(anna)
    pay(carla)
    assert available(anna, carla) == ["6", "10"]


# --- who may not -------------------------------------------------------------------------------------------------


def claim(somebody: Person, code: str) -> errors.CreditsError:
    return refused(lambda: somebody.call("claim_referral", code=code))


def test_nobody_invites_themselves(
    anna: Person, make_user: Call, account_of: Call, holder: Callable[..., Person]
) -> None:
    """A13: neither with one's own code, nor from a second account of the same mailbox."""
    assert isinstance(claim(anna, code_of(anna)), errors.Conflict)

    def person(email: str) -> Person:
        identity = make_user(email)
        return Person(identity, account_of(identity), anna.database)

    first = person("dora.b@gmail.com")
    for other in ("d.ora.b+2@gmail.com", "DoraB@googlemail.com"):
        assert "your own e-mail address" in claim(person(other), code_of(first)).message
    work = person("dora.b@work.test")
    assert "your own" in claim(person("dora.b+two@work.test"), code_of(work)).message
    assert person("dorab@work.test").call("claim_referral", code=code_of(work))["status"] == "open"


def test_two_accounts_do_not_invite_each_other_nor_a_ring(
    anna: Person, invite: Callable[..., Person]
) -> None:
    ben = invite(anna)
    carla = invite(ben)
    for closing in (ben, carla):
        assert "cannot invite each other" in claim(anna, code_of(closing)).message


def test_only_new_accounts_and_only_the_first_code(
    anna: Person, holder: Callable[..., Person], invite: Callable[..., Person], pay: Call, program: Call
) -> None:
    ben, carla = holder(), holder()
    pay(ben, "usd_5")
    assert "before their first purchase" in claim(ben, code_of(anna)).message
    assert ben.call("referral")["may_claim"] is False
    assert carla.call("referral")["may_claim"] is True
    carla.call("claim_referral", code=code_of(anna))
    assert carla.call("claim_referral", code=code_of(anna))["replayed"] is True
    assert "only the first one counts" in claim(carla, code_of(ben)).message
    assert isinstance(claim(holder(), "ABCDEFGH"), errors.NotFound)
    assert isinstance(claim(holder(), ""), errors.NotFound)
    program(on=False)
    assert isinstance(claim(holder(), code_of(anna)), errors.Conflict)


def test_who_joined_is_masked_and_others_see_nothing(
    anna: Person, invite: Callable[..., Person], holder: Callable[..., Person], as_person: Call
) -> None:
    """K1: the referrer recognises somebody, and reads no row."""
    ben = invite(anna)
    email = str(ben.identity.claims["email"])
    (item,) = anna.call("referral")["items"]
    assert item["who"] == f"{email[0]}•••@example.test"
    assert email not in str(anna.call("referral"))
    assert isinstance(
        refused(lambda: holder().call("referral", account_id=anna.account_id)), errors.NotAllowed
    )
    for table in ("referrals", "referral_codes", "referral_program"):
        assert as_person(anna.identity, f"select to_jsonb(t) from credits.{table} as t") == []


# --- limits ------------------------------------------------------------------------------------------------------


def test_the_same_card_is_held_for_a_person_to_look_at(
    anna: Person, invite: Callable[..., Person], pay: Call, person: Callable[..., Person]
) -> None:
    """A13: the referrer's own card, and one card behind two invited accounts."""
    pay(anna, card_fingerprint="card_anna")
    ben, carla, dora = (invite(anna) for _ in range(3))
    pay(ben, card_fingerprint="card_anna")
    pay(carla, card_fingerprint="card_new")
    pay(dora, card_fingerprint="card_new")
    admin = person("admin")
    held = admin.call("referrals", status="held")["items"]
    assert [(row["referee_account_id"], row["hold_reason"]) for row in held] == [
        (dora.account_id, "same_card"),
        (ben.account_id, "same_card"),
    ]
    assert admin.call("approvals_count")["held_referrals"] == 2
    assert available(anna, ben, carla, dora) == ["15", "10", "13", "10"]
    assert {item["held_for"] for item in anna.call("referral")["items"]} == {"check", None}


@pytest.mark.parametrize(
    ("cap", "reason"),
    [
        ({"month_rewards": 1}, "month_rewards"),
        ({"month_micros": micros("9")}, "month_credits"),
        ({"total_rewards": 1}, "total_rewards"),
        ({"total_micros": micros("9.99")}, "total_credits"),
    ],
)
def test_caps_of_a_referrer(
    cap: dict[str, int], reason: str, anna: Person, invite: Callable[..., Person], pay: Call, program: Call,
    service: Call, clock: Clock,
) -> None:  # fmt: skip
    """A13: the second reward is over the limit: nobody gets it until a person decides; a month's cap ends with the month."""
    program(**cap)
    ben, carla, dora = (invite(anna) for _ in range(3))
    pay(ben)
    assert 0 in {anna.call("referral")["left"][name] for name in cap} or "micros" in str(cap)
    pay(carla)
    assert available(anna, ben, carla) == ["5", "13", "10"]
    assert service("referrals", status="held")["items"][0]["hold_reason"] == reason
    clock.advance(days=28)
    pay(dora)
    assert available(anna, dora) == (["10", "13"] if "month" in reason else ["5", "10"])


def test_many_friends_paying_at_once_stay_within_the_cap(
    anna: Person, invite: Callable[..., Person], pay: Call, program: Call, service: Call
) -> None:
    program(month_rewards=3)
    friends = [invite(anna) for _ in range(8)]
    at_once(*[lambda friend=friend: pay(friend) for friend in friends])  # type: ignore[misc]
    assert available(anna) == ["15"]
    assert len(service("referrals", status="held")["items"]) == 5
    assert sum(friend.available for friend in friends) == micros("89")


def test_a_held_referral_is_decided_by_an_administrator(
    anna: Person, invite: Callable[..., Person], pay: Call, program: Call, person: Callable[..., Person], converge: Call,
    owner_sql: Callable[..., Rows],
) -> None:  # fmt: skip
    program(total_rewards=0)
    friends = [invite(anna) for _ in range(3)]
    bought = [pay(friend) for friend in friends]
    admin = person("admin")
    third, second, first = (row["referral_id"] for row in admin.call("referrals", status="held")["items"])
    for role in ("finance", "holder"):
        somebody, decision = person(role), {"approve": True, "reason": "a friend"}
        no = refused(partial(somebody.call, "decide_referral", referral_id=first, **decision))
        assert isinstance(no, errors.NotAllowed)
    admin.call("decide_referral", referral_id=first, approve=True, reason="a real friend")
    admin.call("decide_referral", referral_id=second, approve=False, reason="looks made up")
    assert available(anna, *friends) == ["5", "13", "10", "10"]
    again = refused(
        lambda: admin.call("decide_referral", referral_id=first, approve=True, reason="once more")
    )
    assert isinstance(again, errors.Conflict)
    converge(bought[2], refunds=[made_at_stripe("re_1", 1000)])
    gone = refused(lambda: admin.call("decide_referral", referral_id=third, approve=True, reason="too late"))
    assert "refunded or disputed" in gone.message
    audited = owner_sql("select detail from credits.audit_log where action = 'decide_referral' order by id")
    assert [row["detail"]["approved"] for row in audited] == [True, False]


# --- once, whatever races ----------------------------------------------------------------------------------------


def test_two_codes_entered_at_once_count_once(anna: Person, holder: Callable[..., Person], pay: Call) -> None:
    dora, ben = holder(), holder()
    codes = [code_of(anna), code_of(dora)]
    answers = at_once(*[lambda code=code: ben.call("claim_referral", code=code) for code in codes * 4])  # type: ignore[misc]
    assert len({answer["code"] for answer in succeeded(answers)}) == 1
    pay(ben)
    assert sorted(available(anna, dora)) == ["0", "5"]


def test_a_purchase_credited_ten_times_at_once_rewards_once(
    anna: Person, invite: Callable[..., Person], service: Call
) -> None:
    ben = invite(anna)
    made = ben.call("create_purchase", idempotency_key="k", livemode=False, package="usd_10")
    opened = service("open_purchase", purchase_id=made["purchase_id"], session_id="cs_test_x")
    answers = succeeded(at_once(*[lambda: service("fulfill_purchase", session=paid(opened))] * 10))
    assert [answer["newly_credited"] for answer in answers].count(True) == 1
    assert available(anna, ben) == ["5", "13"]


def test_a_code_and_a_purchase_at_the_same_time(
    anna: Person, holder: Callable[..., Person], service: Call, no_second_attempt: None
) -> None:
    """Whichever comes first decides: the code counts and is rewarded, or it is refused."""
    for _ in range(6):
        ben, before = holder(), anna.available
        made = ben.call("create_purchase", idempotency_key=new_key(), livemode=False, package="usd_10")
        opened = service("open_purchase", purchase_id=made["purchase_id"], session_id=new_key("cs_test"))
        code = code_of(anna)
        claimed, _bought = at_once(
            lambda code=code, ben=ben: ben.call("claim_referral", code=code),  # type: ignore[misc]
            lambda opened=opened: service("fulfill_purchase", session=paid(opened)),  # type: ignore[misc]
        )
        rewarded = anna.available - before
        assert (rewarded, ben.available) == (
            (micros("5"), micros("13")) if isinstance(claimed, dict) else (0, micros("10"))
        )


# --- money that goes back ----------------------------------------------------------------------------------------


@pytest.fixture
def ben(anna: Person, invite: Callable[..., Person]) -> Person:
    return invite(anna)


def test_a_refund_takes_both_rewards_back_and_what_is_spent_is_a_debt(
    anna: Person, ben: Person, pay: Call, service: Call
) -> None:
    """A8, A13: the referrer spent 4 of her 5; she owes them, and her next purchase pays first. The preview names the reward."""
    bought = pay(ben)
    anna.use("call", 60 * 26)
    assert available(anna) == ["1.1"]
    preview = service("refund_preview", purchase_id=bought["purchase_id"])
    assert (
        preview["referral"].items()
        >= {
            "referrer_account_id": anna.account_id,
            "referrer_email": anna.identity.claims["email"],
            "referrer_micros": micros("5"),
            "referee_micros": micros("3"),
        }.items()
    )
    service("request_refund", purchase_id=bought["purchase_id"], reason="not happy", idempotency_key="k")
    assert available(anna, ben) == ["-3.9", "0"]
    assert anna.balance["debt_micros"] == micros("3.9")
    assert status_of(anna) == "taken_back"
    pay(anna, "usd_5")
    assert (available(anna), anna.balance["debt_micros"]) == (["1.1"], 0)


def test_a_refund_that_leaves_enough_leaves_the_rewards(
    anna: Person, ben: Person, pay: Call, service: Call
) -> None:
    bought = pay(ben, "usd_20")
    ask = {"purchase_id": bought["purchase_id"], "reason": "half of it"}
    this = {"purchase_id": bought["purchase_id"]}
    assert service("refund_preview", **this, amount_cents=1000)["referral"] is None
    assert service("refund_preview", **this, amount_cents=1001)["referral"]["referrer_micros"] == micros("5")
    service("request_refund", **ask, idempotency_key="k1", amount_cents=1000)
    assert available(anna, ben) == ["5", "13"]
    assert service("refund_preview", **this, amount_cents=1)["referral"] is not None
    service("request_refund", **ask, idempotency_key="k2", amount_cents=1)
    assert available(anna, ben) == ["0", "9.99"]
    assert service("refund_preview", **this, amount_cents=1)["referral"] is None  # gone already


def test_another_purchase_of_who_was_invited_has_no_reward_to_lose(
    ben: Person, pay: Call, service: Call
) -> None:
    first, second = pay(ben), pay(ben)
    assert service("refund_preview", purchase_id=second["purchase_id"])["referral"] is None
    assert service("refund_preview", purchase_id=first["purchase_id"])["referral"] is not None


def test_a_refund_that_stripe_refuses_gives_the_rewards_back(
    anna: Person, ben: Person, pay: Call, service: Call
) -> None:
    bought = pay(ben)
    refund = service(
        "request_refund", purchase_id=bought["purchase_id"], reason="not happy", idempotency_key="k"
    )
    service("claim_refunds")
    service("record_refund", refund_id=refund["refund_id"], status="failed", reason="closed account")
    assert (available(anna, ben), status_of(anna)) == (["5", "13"], "rewarded")


def test_a_dispute_takes_and_a_won_one_restores_the_very_grants(
    anna: Person, ben: Person, pay: Call, converge: Call, grants: Call
) -> None:
    """A9, A13: as often as the bank changes its mind."""
    bought = pay(ben)
    anna.use("call", 60 * 10)
    before = [(g["id"], g["remaining_micros"]) for g in [*grants(anna), *grants(ben)]]
    for status in ("needs_response", "won", "lost", "under_review", "won", "won"):
        converge(bought, disputes=[dispute(status, 1000)])
        expected = ["3.5", "13"] if status == "won" else ["-1.5", "0"]
        assert available(anna, ben) == expected, status
    assert [(g["id"], g["remaining_micros"]) for g in [*grants(anna), *grants(ben)]] == before
    converge(bought, disputes=[dispute("lost", 1000)])
    assert available(anna, ben) == ["-1.5", "0"]
    assert anna.call("referral")["earned_micros"] == 0


def test_a_debt_paid_meanwhile_comes_back_when_the_dispute_is_won(
    anna: Person, ben: Person, pay: Call, converge: Call
) -> None:
    bought = pay(ben)
    anna.use("call", 60 * 30)
    converge(bought, disputes=[dispute("needs_response", 1000)])
    pay(anna, "usd_5")
    assert (available(anna), anna.balance["debt_micros"]) == (["0.5"], 0)
    converge(bought, disputes=[dispute("won", 1000)])
    assert available(anna) == ["5.5"]


def test_refunds_and_purchases_of_friends_never_wait_for_each_other(
    anna: Person, invite: Callable[..., Person], pay: Call, service: Call, no_second_attempt: None
) -> None:
    """Chains where each invited the next: accounts are locked in id order, so nothing deadlocks."""
    people = [anna]
    for _ in range(5):
        people.append(invite(people[-1]))
    bought = [pay(somebody) for somebody in people]
    answers = at_once(
        *[
            lambda b=b: service("request_refund", purchase_id=b["purchase_id"], reason="all of it", idempotency_key="k")  # type: ignore[misc]
            for b in bought
        ]
    )  # fmt: skip
    assert len(succeeded(answers)) == len(people)
    assert {somebody.available for somebody in people} == {0}


# --- terms -------------------------------------------------------------------------------------------------------


def test_terms_are_set_by_administrators_and_audited(
    person: Callable[..., Person], owner_sql: Callable[..., Rows], service: Call
) -> None:
    """I5: with what they were before."""
    admin = person("admin")
    for role in ("holder", "finance"):
        no = refused(partial(person(role).call, "set_referral_program", **TERMS))
        assert isinstance(no, errors.NotAllowed)
    admin.call("set_referral_program", **TERMS)
    (row,) = owner_sql("select actor, detail from credits.audit_log where action = 'set_referral_program'")
    assert row["actor"] == str(admin.identity.claims["sub"])
    assert (row["detail"]["before"]["on"], row["detail"]["after"]["on"]) == (False, True)
    assert person("finance").call("referral_program")["month_rewards"] is None
    for wrong in (
        {"referrer_micros": -1},
        {"referrer_micros": 0, "referee_micros": 0},
        {"min_purchase_cents": 0},
        {"open_days": 0},
        {"month_rewards": -1},
        {"on": None},
    ):
        no = refused(partial(admin.call, "set_referral_program", **TERMS | wrong))
        assert isinstance(no, errors.InvalidRequest)
