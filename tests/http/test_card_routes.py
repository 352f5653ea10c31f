"""The way to Stripe's page for a card and back (A7, K3): with what was filled in, to nobody else's pages, for its owner alone."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest

from credits_core.runtime import Runtime
from credits_core.stripe_sim import control_money
from tests.http.conftest import BASE, Api, TestClient, sign_in

HERE = {"Origin": BASE}
FILLED = "/auto_reload?below=5&up_to=25"


def to_stripe(browser: TestClient, target: str | None = FILLED) -> str:
    """Press the button; answers the id of the session at Stripe."""
    fields = {} if target is None else {"next": target}
    answer = browser.post("/auth/save-card", data=fields, headers=HERE)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"].rpartition("/")[2])


def returns(runtime: Runtime, session_id: str) -> tuple[str, str]:
    """Where Stripe's page leads: when the card is saved, and when its owner turns back."""
    assert runtime.stripe.simulator is not None
    (page,) = runtime.stripe.simulator.store.find("checkout.session", {"id": session_id})
    return page["success_url"].replace("{CHECKOUT_SESSION_ID}", session_id), page["cancel_url"]


def save(runtime: Runtime, session_id: str) -> None:
    assert runtime.stripe.simulator is not None
    card = {"card": "4242424242424242"}
    control_money.pay_session(runtime.stripe.simulator, f"{BASE}/sim", card, session_id)


def test_there_and_back_with_what_was_filled_in(browser: TestClient, runtime: Runtime, holder: Api) -> None:
    sign_in(browser, "holder@demo.test")
    session_id = to_stripe(browser)
    done, canceled = returns(runtime, session_id)
    assert canceled == BASE + FILLED
    early = browser.get(done)
    assert early.status_code == 400 and "before a card was saved" in early.text
    assert 'href="/auto_reload?below=5&amp;up_to=25"' in early.text
    save(runtime, session_id)
    for _ in range(2):
        back = browser.get(done)
        assert (back.status_code, back.headers["location"]) == (303, f"{FILLED}&card=saved")
    (card,) = holder.get("cards").json()["items"]
    assert (card["last4"], card["is_default"]) == ("4242", True)


@pytest.mark.parametrize(
    "target", [None, "", "https://evil.test/x", "//evil.test", "/\\evil.test", "/auth/sign-out", "x" * 3000]
)
def test_nobody_is_led_away(browser: TestClient, runtime: Runtime, target: str | None) -> None:
    sign_in(browser, "holder@demo.test")
    session_id = to_stripe(browser, target)
    done, canceled = returns(runtime, session_id)
    assert canceled == f"{BASE}/auto_reload"
    save(runtime, session_id)
    own = f"{done.partition('&next=')[0]}&next={target or ''}"
    assert browser.get(own).headers["location"] == "/auto_reload?card=saved"


def test_strangers_and_other_sites_are_refused(
    browser: TestClient, runtime: Runtime, api: Callable[[str | None], Api]
) -> None:
    signed_out = browser.post("/auth/save-card", data={"next": FILLED}, headers=HERE)
    assert parse_qs(urlsplit(signed_out.headers["location"]).query)["next"] == [FILLED]
    sign_in(browser, "holder@demo.test")
    foreign = browser.post("/auth/save-card", data={}, headers={"Origin": "https://evil.test"})
    assert foreign.status_code == 403
    session_id = api("finance@demo.test").post("cards").json()["session_id"]
    save(runtime, session_id)
    theirs = browser.get("/auth/card-saved", params={"session_id": session_id})
    assert theirs.status_code == 404 and "not yours" in theirs.text and 'href="/auto_reload"' in theirs.text
    assert api("holder@demo.test").get("cards").json()["items"] == []
    for payment in ("", "pi_unknown", "cs_test_x y"):
        no = browser.get("/auth/confirm-payment", params={"payment": payment})
        assert no.status_code in (404, 422) and "That did not work" in no.text


def test_a_payment_is_confirmed_by_its_owner_who_signs_in_first(
    browser: TestClient, runtime: Runtime, holder: Api
) -> None:
    """A7: from a link that a program handed on; the bank's page leads back to the call."""
    session_id = holder.post("cards").json()["session_id"]
    save(runtime, session_id)
    (card,) = holder.get("cards").json()["items"]
    assert runtime.stripe.simulator is not None
    asks = {"card": "4000002760003184"}
    control_money.act_as(runtime.stripe.simulator, f"{BASE}/sim", asks, card["payment_method_id"])
    at_once = {"flow": "payment_intent", "confirm": True, "payment_method_id": card["payment_method_id"]}
    asked = holder.post("purchase", {"package": "usd_10"} | at_once).json()
    link = asked["payment"]["confirm_url"].removeprefix(BASE) + "&call=7"
    signed_out = browser.get(link)
    target = parse_qs(urlsplit(signed_out.headers["location"]).query)["next"]
    back = f"/checkout_return?session_id={asked['session_id']}&call=7"
    assert (signed_out.status_code, target) == (303, [back])
    sign_in(browser, "finance@demo.test")
    theirs = browser.get(link)  # somebody else's
    assert theirs.status_code == 404 and "That did not work" in theirs.text
    browser.cookies.clear()
    sign_in(browser, "holder@demo.test")
    to_bank = browser.get(link).headers["location"]
    assert to_bank.startswith(f"{BASE}/sim/challenge/{asked['session_id']}")
    answered = browser.post(to_bank, data={"outcome": "complete"}).headers["location"]
    assert answered.startswith(f"{BASE}{back}")
    assert holder.get("success", session_id=asked["session_id"]).json()["status"] == "credited"
    assert browser.get(link).headers["location"] == f"{BASE}{back}"
