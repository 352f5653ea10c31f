"""Refunds in parts (A8, A15): whatever the price, the tax and the currency, the parts add up to the whole and never to more."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest

from credits_core import errors
from tests.sql.conftest import Call, Person, Rows, new_key, paid, refused

PARTS = 1_000


def package(**terms: object) -> dict[str, Any]:
    """A catalog of one package, `parcel`."""
    one = {"code": "parcel", "name": "Parcel", "credits_micros": 1_000_000, "price_cents": 300} | terms
    return {
        "code": "odd", "name": "Odd", "currency": one.pop("currency", "usd"), "packages": [one],
        "operations": [{"code": "fax", "name": "Fax", "measure": "count", "components": [{"unit": "item", "price_micros": 1}]}],
    }  # fmt: skip


@pytest.fixture
def bought(service: Call) -> Callable[..., Any]:
    """`bought(anna, {"price_cents": 300}, tax=57)`: a purchase of one package, paid and credited."""

    def buy(anna: Person, terms: dict[str, Any], *, tax: int = 0, discount: int = 0) -> dict[str, Any]:
        service("load_catalog", catalog=package(**terms))
        made = anna.call("create_purchase", idempotency_key=new_key("buy"), livemode=False, package="parcel")
        opened = service("open_purchase", purchase_id=made["purchase_id"], session_id=new_key("cs_test"))
        total = opened["price_cents"] - discount + tax
        done = service(
            "fulfill_purchase",
            session=paid(opened, amount_total=total, amount_tax=tax, amount_discount=discount),
        )
        assert done["status"] == "credited"
        return dict(done)

    return buy


def test_parts_add_up_to_the_whole_and_never_to_more(
    holder: Callable[..., Person], bought: Call, service: Call, grants: Call
) -> None:
    """A8: purchases refunded in random parts give back their whole price, their whole tax, their credits and bonus, to the
    smallest coin and micro, also in currencies of no and of three decimals (A15)."""
    anna, parts = holder(), 0
    for seed in itertools.count():
        if parts >= PARTS:
            break
        rng = random.Random(seed)
        terms: dict[str, Any] = {
            "currency": rng.choice(["usd", "jpy", "kwd"]),
            "price_cents": rng.choice([rng.randint(50, 200), rng.randint(200, 9_000)]),
            "credits_micros": rng.randint(1_000_000, 50_000_000),
            "bonus_micros": rng.choice([0, rng.randint(1, 9_000_000)]),
        }
        tax = rng.choice([0, round(terms["price_cents"] * rng.uniform(0.01, 0.25))])
        discount = rng.choice([0, rng.randint(0, terms["price_cents"] - 10)])
        one = bought(anna, terms, tax=tax, discount=discount)["purchase_id"]
        left, taxes = terms["price_cents"] - discount, 0
        while left > 0:
            part = rng.randint(1, max(1, left // rng.choice([1, 2, 9])))
            made = service(
                "request_refund",
                purchase_id=one,
                reason="in parts",
                amount_cents=part,
                idempotency_key=new_key(),
            )
            parts += 1
            if rng.random() < 0.1:  # Stripe refuses: as if it had not been
                service("record_refund", refund_id=made["refund_id"], status="failed")
                continue
            left, taxes = left - part, taxes + made["tax_cents"]
            assert taxes <= tax, seed
            if rng.random() < 0.1:
                assert service("refund_preview", purchase_id=one)["max_cents"] == left, seed
        assert taxes == tax, seed
        assert anna.available == 0, seed
        assert "refunded" in service("refund_preview", purchase_id=one)["reason"]


def test_a_part_refunded_at_stripe_counts_with_its_tax(
    holder: Callable[..., Person], bought: Call, service: Call, owner_sql: Callable[..., Rows]
) -> None:
    """A8, A6: half of price and tax went back in Stripe's dashboard; the other half, and no more, can be refunded here."""
    anna = holder()
    one = bought(anna, {"price_cents": 2000, "credits_micros": 500_000_000}, tax=380)["purchase_id"]
    half = {"id": "re_1", "amount_cents": 1190, "status": "succeeded", "refund_id": None}
    service("converge_purchase", purchase_id=one, totals={"refunds": [half], "disputes": []})
    assert owner_sql("select amount_cents, tax_cents from credits.refunds") == [
        {"amount_cents": 1000, "tax_cents": 190}
    ]
    rest = service("refund_preview", purchase_id=one)
    assert (rest["amount_cents"], rest["tax_cents"], rest["credits_micros"]) == (1000, 190, 250_000_000)


def test_money_that_went_back_is_not_refunded_again_when_its_credits_return(
    holder: Callable[..., Person], bought: Call, service: Call, give: Call
) -> None:
    """A8: everything was spent and refunded at Stripe (other credits paid for it); a use is reversed afterwards. The credits are
    there again, the money is gone."""
    anna = holder()
    one = bought(anna, {"price_cents": 2000, "credits_micros": 10_000_000})["purchase_id"]
    used = anna.use("fax", 10_000_000)
    give(anna, "100.00")
    whole = {"id": "re_1", "amount_cents": 2000, "status": "succeeded", "refund_id": None}
    service("converge_purchase", purchase_id=one, totals={"refunds": [whole], "disputes": []})
    service("reverse", transaction_id=used["transaction_id"], reason="not delivered", idempotency_key="back")
    preview = service("refund_preview", purchase_id=one)
    assert (preview["allowed"], preview["max_cents"]) == (False, 0)
    no = refused(
        lambda: service(
            "request_refund", purchase_id=one, reason="again", amount_cents=100, idempotency_key="again"
        )
    )
    assert isinstance(no, errors.Conflict)


def test_a_large_purchase_has_terms_too(holder: Callable[..., Person], bought: Call, service: Call) -> None:
    """A8: a million dollars for a billion credits do not overflow; an amount beyond all sense is refused with a sentence."""
    anna = holder()
    one = bought(
        anna, {"price_cents": 99_999_999, "credits_micros": 10**15, "bonus_micros": 10**14}, tax=19_000_000
    )
    preview = service("refund_preview", purchase_id=one["purchase_id"])
    assert (preview["amount_cents"], preview["tax_cents"]) == (99_999_999, 19_000_000)
    assert (preview["credits_micros"], preview["bonus_micros"]) == (10**15, 10**14)
    for amount in (2**63 - 1, -(2**63), -1, 0):
        asked = {"purchase_id": one["purchase_id"], "amount_cents": amount}
        assert service("refund_preview", **asked)["allowed"] is False
        no = refused(
            lambda asked=asked: service("request_refund", reason="much", idempotency_key="k", **asked)
        )  # type: ignore[misc]
        assert isinstance(no, errors.InsufficientCredits)
    at_stripe = {"id": "dp_1", "amount_cents": 118_999_999, "status": "lost", "reason": None}
    service(
        "converge_purchase", purchase_id=one["purchase_id"], totals={"refunds": [], "disputes": [at_stripe]}
    )
    assert anna.available == 0


def test_the_same_key_for_other_credits_is_another_request(
    holder: Callable[..., Person], bought: Call, service: Call
) -> None:
    """B6: also when a refund is asked for by credits, or for everything that is left."""
    one = bought(holder(), {"price_cents": 2000, "credits_micros": 500_000_000})["purchase_id"]
    asked = {"purchase_id": one, "reason": "by credits", "idempotency_key": "same"}
    first = service("request_refund", credits_micros=100_000_000, **asked)
    assert service("request_refund", credits_micros=100_000_000, **asked)["refund_id"] == first["refund_id"]
    for other in ({"credits_micros": 200_000_000}, {"amount_cents": 400}, {}):
        no = refused(lambda other=other: service("request_refund", **asked, **other))  # type: ignore[misc]
        assert isinstance(no, errors.IdempotencyKeyReused)


def test_a_grant_costs_what_was_paid_for_it(
    holder: Callable[..., Person], bought: Call, service: Call, grants: Call
) -> None:
    """H2, A8: a discount given at Stripe is no cost of the credits."""
    anna = holder()
    bought(anna, {"price_cents": 2000}, discount=500, tax=300)
    assert [g["cost_cents"] for g in grants(anna)] == [1500]
    (month,) = service("revenue_by_month", livemode=False)["rows"]
    assert month["sales_cents"] == 1500
