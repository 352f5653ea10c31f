"""Referrals over HTTP (A13): from the link to both rewards; the terms, the list and the decisions of staff."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from credits_core.runtime import Runtime
from tests.http.answers import Answers
from tests.http.conftest import FINANCE, HOLDER, Api, TestClient, problem, sign_in
from tests.http.money_answers import bought

TERMS = {"on": True, "referrer": "5.00", "referee": "3", "min_purchase_cents": 1000, "open_days": 30}


@pytest.fixture
def invitee(api: Callable[[str], Api]) -> Api:
    """Somebody who has bought nothing yet."""
    return api(FINANCE)


def about_inviting(holder: Api, admin: Api, invitee: Api) -> Answers:
    """One good answer of every endpoint about referrals: the holder invites somebody, who pays with the holder's own card."""
    terms = admin.post("admin/referral-program", TERMS)
    mine = holder.get("referral")
    entered = invitee.post("referral/claim", {"code": mine.json()["code"]})
    for buyer in (holder, invitee):
        assert bought(buyer, "usd_10")["status"] == "credited"
    listed = admin.get("admin/referrals", status="held")
    (held,) = listed.json()["items"]
    decided = admin.post(
        f"admin/referrals/{held['referral_id']}/decide", {"approve": True, "reason": "a colleague"}
    )
    return {
        ("GET", "/credits/referral"): mine,
        ("POST", "/credits/referral/claim"): entered,
        ("GET", "/credits/admin/referral-program"): admin.get("admin/referral-program"),
        ("POST", "/credits/admin/referral-program"): terms,
        ("GET", "/credits/admin/referrals"): listed,
        ("POST", "/credits/admin/referrals/{referral_id}/decide"): decided,
    }


def test_the_holders_own_card_is_seen_and_a_person_decides(holder: Api, admin: Api, invitee: Api) -> None:
    """A13: Stripe's fingerprint of the card comes with the payment."""
    answers = about_inviting(holder, admin, invitee)
    assert {key: answer.status_code for key, answer in answers.items() if answer.status_code != 200} == {}
    listed = answers["GET", "/credits/admin/referrals"].json()["items"][0]
    assert (listed["hold_reason"], listed["referee_email"]) == ("same_card", FINANCE)
    assert (holder.available(), invitee.available()) == ("15.00", "13.00")
    assert holder.get("referral").json()["earned"] == "5.00"


def test_bad_input_is_a_sentence(holder: Api, admin: Api, invitee: Api) -> None:
    admin.post("admin/referral-program", TERMS)
    code = holder.get("referral").json()["code"]
    assert problem(holder.post("referral/claim", {"code": code}), 409, "conflict")
    assert problem(invitee.post("referral/claim", {"code": "NOTACODE"}), 404, "not_found")
    assert problem(invitee.post("referral/claim", {"code": "x" * 41}), 422, "invalid_request")
    assert problem(invitee.post("referral/claim", {}), 422, "invalid_request")
    assert problem(holder.post("admin/referral-program", TERMS), 403, "not_allowed")
    assert problem(holder.get("admin/referrals"), 403, "not_allowed")
    for wrong in (
        {"referrer": "-1"},
        {"referrer": 0, "referee": 0},
        {"open_days": 0},
        {"min_purchase_cents": 0},
    ):
        assert problem(admin.post("admin/referral-program", TERMS | wrong), 422, "invalid_request")
    decision = {"approve": True, "reason": "no such one"}
    assert problem(admin.post("admin/referrals/999/decide", decision), 404, "not_found")


# --- the link ----------------------------------------------------------------------------------------------------


@pytest.fixture
def code(holder: Api, admin: Api) -> str:
    admin.post("admin/referral-program", TERMS)
    return str(holder.get("referral").json()["code"])


def test_the_link_leads_to_the_form_and_the_code_is_entered_at_sign_in(
    browser: TestClient, code: str, invitee: Api
) -> None:
    short = browser.get(f"/r/{code.lower()}")
    assert (short.status_code, short.headers["location"]) == (303, f"/auth/sign-in?ref={code.lower()}")
    form = browser.get(short.headers["location"])
    assert f"the code {code} is entered for you" in form.text
    kept = next(c for c in form.headers.get_list("set-cookie") if c.startswith("credits_invitation"))
    assert {"HttpOnly", "SameSite=lax"} <= {part.strip() for part in kept.split(";")}
    assert sign_in(browser, FINANCE).headers["location"] == "/invite"
    assert "credits_invitation" not in browser.cookies
    assert invitee.get("referral").json()["invited"]["code"] == code


def test_a_code_that_does_not_count_is_no_obstacle(browser: TestClient, code: str, holder: Api) -> None:
    """One's own code, an unknown one, and what is none at all: signed in, the cookie gone, nothing entered."""
    browser.get(f"/auth/sign-in?ref={code}")
    assert sign_in(browser, HOLDER).headers["location"] == "/"
    assert "credits_invitation" not in browser.cookies
    assert holder.get("referral").json()["invited"] is None
    browser.cookies.clear()
    for text in ("<script>x", "%00%00", "../../x", "ABCDEFG", ""):
        assert "credits_invitation" not in browser.get(f"/auth/sign-in?ref={text}").cookies
    assert browser.get("/r/").status_code in (303, 404)
    assert browser.get("/r").status_code == 404
    assert browser.get(f"/r/{code}/x").status_code == 404


def test_somebody_signed_in_is_led_to_the_field_for_the_code(browser: TestClient, code: str) -> None:
    sign_in(browser, FINANCE)
    assert browser.get(f"/auth/sign-in?ref={code}").headers["location"] == f"/invite?code={code}"


def test_the_code_waits_for_the_next_sign_in_when_the_database_is_away(
    browser: TestClient, code: str, invitee: Api, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    from credits_core import referrals
    from credits_core.errors import DatabaseUnavailable

    def away(*_: object) -> None:
        raise DatabaseUnavailable("The database does not answer; try again.")

    browser.get(f"/auth/sign-in?ref={code}")
    with monkeypatch.context() as patched:
        patched.setattr(referrals, "claim", away)
        assert sign_in(browser, FINANCE).status_code == 303
    assert browser.cookies["credits_invitation"] == code
    del browser.cookies["credits_session"]
    sign_in(browser, FINANCE)
    assert invitee.get("referral").json()["invited"]["code"] == code
