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


def test_a_code_goes_to_the_new_page_when_the_old_one_was_left(
    holder: Api, admin: Api, campaign: None, local: TestClient
) -> None:
    """Who came back without paying uses the code again at once; the page that was left is closed, so nobody pays on both (A12)."""
    wanted = {"package": "usd_10", "promo_code": "WELCOME20"}
    left = holder.post("checkout", wanted).json()["session_id"]
    assert holder.post("quote", wanted).json()["price_cents"] == 800
    again = holder.post("checkout", wanted | {"package": "usd_20"}).json()
    assert pay(local, left).status_code >= 400
    assert holder.get("success", session_id=left).json()["status"] == "expired"
    pay(local, again["session_id"])
    assert holder.get("success", session_id=again["session_id"]).json()["available"] == "20.00"
    (row,) = admin.get("admin/campaigns").json()["items"]
    assert (row["redeemed"], row["reserved"]) == (1, 0)


def test_a_page_that_was_paid_unseen_keeps_its_code(holder: Api, campaign: None, local: TestClient) -> None:
    """A12, A3: the first page was paid before anybody told us: it is credited, and the code is used."""
    wanted = {"package": "usd_10", "promo_code": "WELCOME20"}
    pay(local, holder.post("checkout", wanted).json()["session_id"])
    assert problem(holder.post("checkout", wanted), 409, "conflict")
    assert holder.available() == "10.00"


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
