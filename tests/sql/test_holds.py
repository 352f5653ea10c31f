"""Holds (D2): credits reserved for work that has begun, back to the very grants they came from (B7), over an expiry too (B9)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from credits_core import errors
from credits_core.units import parse_credits as micros
from tests.sql.conftest import Call, Clock, Person, Rows, new_key, refused

Hold = dict[str, Any]


@pytest.fixture
def place(clock: Clock) -> Callable[..., Hold]:
    """`place(anna, minutes=3)`: a hold for a call of so many minutes, at 0.15 each."""

    def hold(somebody: Person, minutes: int = 1, **more: object) -> Hold:
        request = {"operation": "call", "quantity": 60 * minutes, "idempotency_key": new_key("hold")}
        return dict(somebody.call("place_hold", **request | more))

    return hold


def remaining(grants: Rows) -> list[int]:
    return [grant["remaining_micros"] for grant in grants]


def test_what_is_held_is_still_there_and_cannot_be_spent(
    clock: Clock, holder: Callable[..., Person], place: Call
) -> None:
    """B2, D2: available = posted - held."""
    anna = holder("1.00")
    hold = place(anna, 4)
    assert (hold["held_micros"], hold["available_micros"], hold["status"]) == (600_000, 400_000, "open")
    assert hold["expires_at"] == (clock.now + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    balance = anna.balance
    assert (balance["posted_micros"], balance["held_micros"]) == (1_000_000, 600_000)
    assert balance["available_micros"] == 400_000
    refusal = refused(lambda: anna.use("call", 180))
    assert refusal.detail == {"needed_micros": 450_000, "available_micros": 400_000}
    assert isinstance(refused(lambda: place(anna, 3)), errors.InsufficientCredits)


def test_a_capture_charges_what_was_used_and_gives_back_the_rest(
    holder: Callable[..., Person], place: Call, ledger: Call
) -> None:
    """D2: as a charge in the ledger, at the price the hold was placed with; repeating it answers the same."""
    anna = holder("1.00")
    hold = place(anna, 4)
    answer = anna.call("capture_hold", hold_id=hold["hold_id"], quantity=90)
    assert (answer["charged_micros"], answer["released_micros"]) == (300_000, 300_000)
    assert (answer["status"], answer["available_micros"], answer["debt_micros"]) == ("captured", 700_000, 0)
    again = anna.call("capture_hold", hold_id=hold["hold_id"], quantity=90)
    assert again == answer | {"replayed": True}
    assert [row["amount_micros"] for row in ledger(anna)] == [1_000_000, -300_000]
    balance = anna.balance
    assert (balance["held_micros"], balance["total_used_micros"]) == (0, 300_000)


def test_without_a_quantity_the_whole_hold_is_captured(holder: Callable[..., Person], place: Call) -> None:
    anna = holder("1.00")
    answer = anna.call("capture_hold", hold_id=place(anna, 4)["hold_id"])
    assert (answer["charged_micros"], answer["released_micros"]) == (600_000, 0)


def test_a_release_gives_back_everything_to_the_very_grants(
    clock: Clock, holder: Callable[..., Person], give: Call, place: Call, grants: Call, ledger: Call
) -> None:
    """B7: grant by grant, nothing in the ledger; repeating it answers the same."""
    anna = holder()
    give(anna, "0.20", expires_at=clock.now + timedelta(days=1))
    give(anna, "0.20")
    give(anna, "0.20")
    before = grants(anna)
    anna.use("call", 60)
    hold = place(anna, 2)
    assert remaining(grants(anna)) == [0, 0, micros("0.15")]
    answer = anna.call("release_hold", hold_id=hold["hold_id"])
    assert (answer["status"], answer["released_micros"]) == ("released", 300_000)
    assert remaining(grants(anna)) == [micros("0.05"), micros("0.20"), micros("0.20")]
    assert anna.call("release_hold", hold_id=hold["hold_id"]) == answer
    assert len(before) == 3 and len(ledger(anna)) == 4


def test_a_partly_used_hold_restores_the_grants_it_did_not_need(
    clock: Clock, holder: Callable[..., Person], give: Call, place: Call, grants: Call
) -> None:
    """B7, B8: what is charged goes by the spend order at the time of the hold."""
    anna = holder()
    give(anna, "0.20")
    give(anna, "0.50")
    hold = place(anna, 4)  # 0.20 of the first, 0.40 of the second
    give(anna, "1.00", expires_at=clock.now + timedelta(days=1))  # would now be spent first
    anna.call("capture_hold", hold_id=hold["hold_id"], quantity=120)
    assert remaining(grants(anna)) == [0, micros("0.40"), micros("1.00")]


def test_an_extended_hold_covers_more_and_lasts_longer(
    clock: Clock, holder: Callable[..., Person], place: Call
) -> None:
    """D2: to a total, never to less; a refusal leaves it as it is."""
    anna = holder("1.00")
    hold = place(anna, 2, expires_in_seconds=600)["hold_id"]
    clock.advance(minutes=5)
    grown = anna.call("extend_hold", hold_id=hold, quantity=240, expires_in_seconds=600)
    assert (grown["held_micros"], grown["quantity"], grown["available_micros"]) == (600_000, 240, 400_000)
    assert grown["expires_at"] == (clock.now + timedelta(minutes=10)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert anna.call("extend_hold", hold_id=hold, quantity=60, expires_in_seconds=1) == grown
    assert isinstance(
        refused(lambda: anna.call("extend_hold", hold_id=hold, quantity=600)), errors.InsufficientCredits
    )
    assert anna.call("hold", hold_id=hold) == grown
    assert anna.call("capture_hold", hold_id=hold)["charged_micros"] == 600_000


def test_a_hold_ends_once(clock: Clock, holder: Callable[..., Person], service: Call, place: Call) -> None:
    """D2: captured, released or expired; every other end afterwards is refused and told which it was."""
    anna = holder("10.00")

    def end(hold: int, way: str) -> object:
        if way == "expired":
            clock.advance(hours=2)
            return service("expire_holds")
        return anna.call("capture_hold" if way == "captured" else "release_hold", hold_id=hold)

    for first, then in [
        ("captured", "released"),
        ("released", "captured"),
        ("captured", "other quantity"),
        ("captured", "extended"),
        ("released", "extended"),
        ("expired", "extended"),
    ]:
        hold = place(anna, 2)["hold_id"]
        end(hold, first)
        attempt: Callable[[], object] = {
            "other quantity": lambda hold=hold: anna.call("capture_hold", hold_id=hold, quantity=60),
            "extended": lambda hold=hold: anna.call("extend_hold", hold_id=hold, quantity=600),
        }.get(then, lambda hold=hold, then=then: end(hold, then))
        refusal = refused(attempt)
        assert (first, then, type(refusal)) == (first, then, errors.Conflict)
        assert refusal.detail == {"status": first, "hold_id": hold}
        assert anna.call("hold", hold_id=hold)["status"] == first


def test_a_forgotten_hold_frees_itself(
    clock: Clock, holder: Callable[..., Person], service: Call, place: Call, ledger: Call
) -> None:
    """D2: the job expires what is due, and nothing else; releasing it afterwards is harmless."""
    anna = holder("1.00")
    due = place(anna, 1, expires_in_seconds=60)["hold_id"]
    later = place(anna, 1, expires_in_seconds=61)["hold_id"]
    clock.advance(seconds=60)
    assert service("expire_holds") == {"expired": 1}
    assert service("expire_holds") == {"expired": 0}
    assert [anna.call("hold", hold_id=hold)["status"] for hold in (due, later)] == ["expired", "open"]
    assert (anna.available, anna.balance["held_micros"]) == (850_000, 150_000)
    assert anna.call("release_hold", hold_id=due)["status"] == "expired"
    assert len(ledger(anna)) == 1


def test_a_capture_after_the_expiry_posts_what_is_there_and_the_rest_as_debt_once(
    clock: Clock, holder: Callable[..., Person], service: Call, place: Call, give: Call
) -> None:
    """D2: the work was done; the hold stays expired, and repeating the capture charges nothing more."""
    anna = holder("1.00")
    hold = place(anna, 4)["hold_id"]
    clock.advance(hours=2)
    service("expire_holds")
    anna.use("call", 300)  # 0.75 of what came back is spent elsewhere
    answer = anna.call("capture_hold", hold_id=hold)
    assert (answer["status"], answer["charged_micros"], answer["debt_micros"]) == (
        "expired",
        600_000,
        350_000,
    )
    assert anna.call("capture_hold", hold_id=hold) == answer | {"replayed": True}
    assert isinstance(refused(lambda: anna.call("release_hold", hold_id=hold)), errors.Conflict)
    balance = anna.balance
    assert (balance["posted_micros"], balance["debt_micros"]) == (-350_000, 350_000)
    give(anna, "1.00")
    assert (anna.available, anna.balance["debt_micros"]) == (650_000, 0)


def test_a_hold_keeps_its_credits_over_the_expiry_of_their_grant(
    clock: Clock, holder: Callable[..., Person], give: Call, place: Call, ledger: Call
) -> None:
    """B9: running work finishes on what it holds; what it did not need expires when it comes back."""
    anna = holder()
    give(anna, "1.00", expires_at=clock.now + timedelta(minutes=10))
    hold = place(anna, 4)["hold_id"]
    clock.advance(minutes=20)
    balance = anna.balance
    assert (balance["posted_micros"], balance["held_micros"], balance["available_micros"]) == (
        600_000,
        600_000,
        0,
    )
    answer = anna.call("capture_hold", hold_id=hold, quantity=60)
    assert (answer["charged_micros"], answer["released_micros"], answer["debt_micros"]) == (
        150_000,
        450_000,
        0,
    )
    assert answer["available_micros"] == anna.available == 0
    assert sorted((row["kind"], row["amount_micros"]) for row in ledger(anna)) == [
        ("adjustment", 1_000_000),
        ("expiry", -450_000),
        ("expiry", -400_000),
        ("use", -150_000),
    ]


def test_a_release_after_the_expiry_of_the_grant_brings_nothing_back(
    clock: Clock, holder: Callable[..., Person], give: Call, place: Call
) -> None:
    """B7, B9: the credits go back to their grant, which is over."""
    anna = holder()
    give(anna, "1.00", expires_at=clock.now + timedelta(minutes=10))
    hold = place(anna, 4)["hold_id"]
    clock.advance(minutes=20)
    assert anna.call("release_hold", hold_id=hold)["available_micros"] == 0
    assert (anna.available, anna.balance["posted_micros"]) == (0, 0)


def test_a_hold_on_an_overdraft_gives_it_back(
    clock: Clock, holder: Callable[..., Person], give: Call, place: Call, owner_sql: Callable[..., Rows]
) -> None:
    """B5, B7: what it keeps of the overdraft is no debt that new credits pay."""
    anna = holder("0.10")
    owner_sql("update credits.accounts set overdraft_micros = 1000000 where id = %s", anna.account_id)
    hold = place(anna, 4)["hold_id"]
    assert anna.available == 500_000
    give(anna, "1.00")
    anna.call("release_hold", hold_id=hold)
    balance = anna.balance
    assert (balance["posted_micros"], balance["debt_micros"]) == (1_100_000, 0)


def test_a_super_admin_holds_nothing(
    clock: Clock, person: Callable[..., Person], place: Call, ledger: Call
) -> None:
    """E5: and is metered at the capture."""
    root = person("super_admin")
    hold = place(root, 4)
    assert (hold["held_micros"], hold["available_micros"]) == (0, 0)
    assert root.call("capture_hold", hold_id=hold["hold_id"])["charged_micros"] == 0
    assert ledger(root)[0]["rated_micros"] == 600_000


def test_a_hold_is_placed_once_per_key(clock: Clock, holder: Callable[..., Person], place: Call) -> None:
    """B6: the same request is the same hold, also after it grew; another one with its key is refused."""
    anna = holder("1.00")
    first = place(anna, 2, idempotency_key="k1")
    anna.call("extend_hold", hold_id=first["hold_id"], quantity=180)
    again = place(anna, 2, idempotency_key="k1")
    assert (again["hold_id"], again["replayed"], again["held_micros"]) == (first["hold_id"], True, 450_000)
    assert isinstance(refused(lambda: place(anna, 3, idempotency_key="k1")), errors.IdempotencyKeyReused)
    assert anna.available == 550_000


def test_bad_holds_are_refused(clock: Clock, holder: Callable[..., Person], place: Call) -> None:
    """D2: every line of bad input; nothing is reserved."""
    anna, ben = holder("1.00"), holder("1.00")
    bad: list[tuple[dict[str, Any], type[errors.CreditsError]]] = [
        *[
            ({"quantity": wrong}, errors.InvalidRequest)
            for wrong in ("NaN", "1e300", "-1", "Infinity", "many", None)
        ],
        *[({"expires_in_seconds": wrong}, errors.InvalidRequest) for wrong in (0, -1, 86_401, 2**31)],
        *[({"idempotency_key": wrong}, errors.InvalidRequest) for wrong in ("", "k" * 256, None)],
        ({"operation": "teleport"}, errors.NotFound),
        ({"account_id": ben.account_id}, errors.NotAllowed),
        ({"quantity": "1000000000000"}, errors.InsufficientCredits),
    ]
    for wrong, error in bad:
        refusal = refused(lambda wrong=wrong: place(anna, **wrong))
        assert (wrong, type(refusal)) == (wrong, error)
    hold = place(anna, 2)["hold_id"]
    for function in ("capture_hold", "extend_hold", "release_hold", "hold"):
        for wrong_hold in (10**12, 0, -1):
            refusal = refused(lambda f=function, w=wrong_hold: anna.call(f, hold_id=w))
            assert (function, type(refusal)) == (function, errors.NotFound)
        refusal = refused(lambda f=function: ben.call(f, hold_id=hold))
        assert (function, type(refusal)) == (function, errors.NotFound)
    for quantity in ("NaN", "-1", "1e300"):
        for function in ("capture_hold", "extend_hold"):
            refusal = refused(lambda f=function, q=quantity: anna.call(f, hold_id=hold, quantity=q))
            assert (function, quantity, type(refusal)) == (function, quantity, errors.InvalidRequest)
    assert (anna.available, ben.available) == (700_000, 1_000_000)
