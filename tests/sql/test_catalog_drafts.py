"""Catalog drafts (I3, C3, C6, I2): collected, rehearsed, released together by a second person, from a date on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from credits_core import errors
from credits_core.units import parse_credits as micros
from tests.sql.conftest import Call, Clock, Person, new_key, refused

DEARER = {"components": [{"unit": "minute", "price_micros": 300_000, "initial": 60, "following": 60}]}
BARGAIN = {"name": "Bargain", "credits_micros": 12_000_000, "bonus_micros": 0, "price_cents": 1_000}


@pytest.fixture
def maker(clock: Clock, person: Callable[..., Person]) -> Person:
    return person("admin")


@pytest.fixture
def checker(person: Callable[..., Person]) -> Person:
    return person("admin")


def change(who: Person, kind: str, code: str, item: dict[str, Any] | None) -> Any:
    return who.call("draft_change", kind=kind, code=code, item=item)


def ask(who: Person, **more: Any) -> Any:
    return who.call("request_catalog_release", reason="New prices", idempotency_key=new_key(), **more)


def release(maker: Person, checker: Person, **more: Any) -> Any:
    asked = ask(maker, **more)
    return checker.call("decide_approval", approval_id=asked["approval_id"], approve=True)


def offered(who: Person) -> dict[str, int]:
    return {one["code"]: one["price_cents"] for one in who.call("packages")["packages"]}


def test_nothing_changes_before_a_second_person_releases_it(
    maker: Person, checker: Person, holder: Callable[..., Person]
) -> None:
    anna, before = holder("10.00"), offered(maker)
    change(maker, "price", "call", DEARER)
    draft = change(maker, "package", "bargain", BARGAIN)
    assert (draft["version"], list(draft["prices"]), list(draft["packages"])) == (2, ["call"], ["bargain"])
    asked = ask(maker)
    assert (asked["status"], asked["kind"]) == ("waiting", "catalog_release")
    assert offered(maker) == before
    assert anna.use("call", 60)["charged_micros"] == micros("0.15")
    own = refused(lambda: maker.call("decide_approval", approval_id=asked["approval_id"], approve=True))
    assert isinstance(own, errors.NotAllowed)
    done = checker.call("decide_approval", approval_id=asked["approval_id"], approve=True)
    assert done["status"] == "done"
    assert offered(maker) == before | {"bargain": 1_000}
    assert anna.use("call", 60)["charged_micros"] == micros("0.30")
    assert maker.call("catalog_draft")["draft"] is None


def test_a_dated_release_counts_from_its_moment_on(
    maker: Person, checker: Person, clock: Clock, holder: Callable[..., Person], service: Call
) -> None:
    anna, before = holder("10.00"), offered(maker)
    change(maker, "price", "call", DEARER)
    change(maker, "package", "usd_10", BARGAIN | {"is_offered": False})
    release(maker, checker, effective_from=clock.now + timedelta(days=7))
    coming = maker.call("catalog_draft")["coming"]
    assert [one["operation"] for one in coming] == ["call"]
    clock.advance(days=6)
    assert service("apply_catalog_releases") == {"released": 0}
    assert anna.use("call", 60)["charged_micros"] == micros("0.15")
    assert offered(maker) == before
    clock.advance(days=1)
    assert anna.use("call", 60)["charged_micros"] == micros("0.30")
    assert service("apply_catalog_releases") == {"released": 1}
    assert service("apply_catalog_releases") == {"released": 0}
    assert "usd_10" not in offered(maker)


def test_a_draft_that_changed_is_not_what_was_asked_for(maker: Person, checker: Person) -> None:
    change(maker, "price", "call", DEARER)
    asked = ask(maker)
    change(maker, "package", "bargain", BARGAIN)
    answer = refused(lambda: checker.call("decide_approval", approval_id=asked["approval_id"], approve=True))
    assert "changed since" in answer.message
    assert maker.call("catalog_draft")["draft"]["waits"] is False
    assert "bargain" not in offered(maker)


def test_rehearsed_on_past_usage(maker: Person, clock: Clock, holder: Callable[..., Person]) -> None:
    anna = holder("1.00")
    anna.use("call", 300)
    change(maker, "price", "call", DEARER)
    span = {"from": clock.now - timedelta(days=1), "to": clock.now + timedelta(days=1)}
    found = maker.call("rehearse_catalog_draft", **span)
    assert (found["before_micros"], found["after_micros"]) == (micros("0.75"), micros("1.50"))
    assert found["would_run_out"] == 1


def test_plans_change_without_losing_the_others(
    catalog: Call, maker: Person, checker: Person, holder: Callable[..., Person]
) -> None:
    catalog("metered_plan")
    change(maker, "plan", "pro", {"name": "Pro", "allowances": {"api_request": 7_000}})
    change(maker, "plan", "startup", {"name": "Start-up", "allowances": {"api_request": 500}})
    release(maker, checker)
    plans = {plan["code"]: plan["allowances"]["api_request"] for plan in maker.call("plans")["plans"]}
    assert plans == {"free": 100, "pro": 7_000, "team": 50_000, "startup": 500}


def test_a_package_with_another_price_forgets_stripes(
    maker: Person, checker: Person, service: Call, holder: Callable[..., Person]
) -> None:
    """A3: an old Stripe price must not meet a new amount."""
    for code in ("usd_10", "usd_20"):
        service(
            "set_stripe_price",
            catalog="voice",
            package=code,
            product_id="prod",
            price_id=f"price_{code}",
            livemode=False,
        )
    change(maker, "package", "usd_10", BARGAIN | {"price_cents": 900})
    release(maker, checker)
    anna = holder()
    for code, price_id in [("usd_10", None), ("usd_20", "price_usd_20")]:
        made = anna.call("create_purchase", package=code, livemode=False, idempotency_key=new_key())
        assert made["stripe_price_id"] == price_id


def test_taken_out_and_discarded(maker: Person) -> None:
    change(maker, "price", "call", DEARER)
    assert change(maker, "price", "call", None)["prices"] == {}
    assert isinstance(refused(lambda: ask(maker)), errors.NotFound)
    change(maker, "package", "bargain", BARGAIN)
    assert maker.call("discard_catalog_draft")["status"] == "discarded"
    assert isinstance(refused(lambda: maker.call("discard_catalog_draft")), errors.NotFound)
    seen = maker.call("catalog_draft")
    assert (seen["draft"], [one["status"] for one in seen["before"]]) == (None, ["discarded"])


@pytest.mark.parametrize(
    ("kind", "code", "item"),
    [
        ("price", "fax", DEARER),
        ("price", "call", {"components": []}),
        ("price", "call", {"components": [{"unit": "minute", "price_micros": -1}]}),
        ("price", "call", {"components": [{"unit": "lightyear", "price_micros": 1}]}),
        ("price", "call", DEARER | {"rounding": "sideways"}),
        ("package", "free", BARGAIN | {"price_cents": 0}),
        ("package", "empty", BARGAIN | {"credits_micros": 0}),
        ("package", "odd", BARGAIN | {"credits_micros": "many"}),
        ("package", "nameless", BARGAIN | {"name": " "}),
        ("plan", "pro", {"name": "Pro", "allowances": {"fax": 1}}),
        ("plan", "pro", {"name": "Pro", "allowances": {"call": -1}}),
        ("plan", "pro", {"name": "Pro", "allowances": {"call": "lots"}}),
        ("coupon", "x", {}),
        ("price", "No such code!", DEARER),
    ],
)
def test_what_could_not_be_released_is_refused_at_once(
    maker: Person, kind: str, code: str, item: dict[str, Any]
) -> None:
    answer = refused(lambda: change(maker, kind, code, item))
    assert isinstance(answer, errors.InvalidRequest | errors.NotFound)
    assert maker.call("catalog_draft")["draft"] is None


@pytest.mark.parametrize("role", ["holder", "finance"])
def test_only_administrators_write_drafts(role: str, person: Callable[..., Person], clock: Clock) -> None:
    somebody = person(role)
    for call in (lambda: change(somebody, "price", "call", DEARER), lambda: ask(somebody)):
        assert isinstance(refused(call), errors.NotAllowed)


def test_the_past_never_changes(maker: Person, clock: Clock) -> None:
    change(maker, "price", "call", DEARER)
    answer = refused(lambda: ask(maker, effective_from=clock.now - timedelta(hours=1)))
    assert isinstance(answer, errors.InvalidRequest)
