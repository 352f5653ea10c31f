"""Promotional codes over HTTP (A12, J1): a quote, a purchase with a code, campaigns for administrators."""

from __future__ import annotations

import pytest

from tests.http.answers import Answers
from tests.http.conftest import Api, problem
from tests.http.test_buying import TestClient, local, pay

__all__ = ["local"]  # the fixture of somebody on this machine

TERMS = {"code": "WELCOME20", "name": "Welcome", "kind": "discount_percent", "amount": 20}


@pytest.fixture
def campaign(admin: Api) -> None:
    assert admin.post("admin/campaigns", TERMS).status_code == 200


def about_promotions(holder: Api, admin: Api) -> Answers:
    """One good answer of every endpoint about promotional codes, for the comparison with the document."""
    return {
        ("POST", "/credits/admin/campaigns"): admin.post("admin/campaigns", TERMS),
        ("GET", "/credits/admin/campaigns"): admin.get("admin/campaigns"),
        ("POST", "/credits/quote"): holder.post("quote", {"package": "usd_10", "promo_code": "WELCOME20"}),
        ("POST", "/credits/admin/campaigns/{code}/switch"): admin.post(
            "admin/campaigns/WELCOME20/switch", {"on": False}
        ),
    }


def test_a_code_takes_its_part_off_what_stripe_is_asked_to_collect(
    holder: Api, admin: Api, campaign: None, local: TestClient
) -> None:
    quote = holder.post("quote", {"package": "usd_10", "promo_code": "welcome20"}).json()
    assert (quote["list_price_cents"], quote["price_cents"], quote["credits"]) == (1000, 800, "10.00")
    started = holder.post("checkout", {"package": "usd_10", "promo_code": "welcome20"}).json()
    session = pay(local, started["session_id"]).json()
    assert session["amount_total"] == 800
    done = holder.get("success", session_id=started["session_id"]).json()
    assert (done["status"], done["available"]) == ("credited", "10.00")
    (row,) = admin.get("admin/campaigns").json()["items"]
    assert (row["code"], row["redeemed"]) == ("WELCOME20", 1)
    again = holder.post("checkout", {"package": "usd_10", "promo_code": "WELCOME20"})
    assert problem(again, 409, "conflict")


def test_bad_codes_are_sentences(holder: Api, admin: Api, campaign: None) -> None:
    unknown = holder.post("checkout", {"package": "usd_10", "promo_code": "NOSUCH"})
    assert problem(unknown, 404, "not_found")
    assert problem(holder.post("quote", {"package": "usd_10", "promo_code": "a b"}), 422, "invalid_request")
    assert problem(holder.post("admin/campaigns", TERMS), 403, "not_allowed")
    assert problem(admin.post("admin/campaigns", TERMS), 409, "conflict")
    assert problem(
        admin.post("admin/campaigns", TERMS | {"code": "X10", "amount": 101}), 422, "invalid_request"
    )
    assert admin.post("admin/campaigns/WELCOME20/switch", {"on": False}).json()["on"] is False
    assert problem(holder.post("quote", {"package": "usd_10", "promo_code": "WELCOME20"}), 404, "not_found")
    assert holder.available() == "0.00"
