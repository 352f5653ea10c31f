"""The simulator by itself: cards, the hosted page, idempotency, its state and who may reach it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from credits_core import currencies
from credits_core.errors import ConfigError
from credits_core.stripe_gateway import StripeGateway
from credits_core.stripe_sim import API_KEY, Simulator, guard
from tests.stripe.conftest import CANCEL, SUCCESS, purchase

GOOD = {"number": "4242 4242 4242 4242", "expiry": "12 / 34", "cvc": "123"}


@pytest.mark.parametrize("expiry", ["12/34", "1234", "12 / 34", "1/34", "12/2034"])
def test_an_expiry_date_may_be_written_as_people_do(browser: httpx.Client, url: str, expiry: str) -> None:
    assert browser.post(url, data=GOOD | {"expiry": expiry}).status_code == 303


@pytest.fixture
def browser() -> Iterator[httpx.Client]:
    with httpx.Client() as client:
        yield client


@pytest.fixture
def url(gateway: StripeGateway) -> str:
    return str(gateway.create_checkout_session(purchase(), SUCCESS, CANCEL).url)


def test_paying_leads_back_to_the_shop(browser: httpx.Client, url: str) -> None:
    session_id = url.rpartition("/")[2]
    page = browser.get(url)
    assert "Pay $10.00" in page.text
    assert "$10 of credits" in page.text
    paid = browser.post(url, data=GOOD)
    assert paid.status_code == 303
    assert paid.headers["location"] == SUCCESS.replace("{CHECKOUT_SESSION_ID}", session_id)
    again = browser.get(url)
    assert "This payment is complete" in again.text
    assert browser.post(url, data=GOOD).headers["location"] == paid.headers["location"]  # pressed twice


def test_a_declined_card_may_be_followed_by_a_good_one(
    browser: httpx.Client, url: str, gateway: StripeGateway
) -> None:
    declined = browser.post(url, data=GOOD | {"number": "4000000000000002"})
    assert 'role="alert"' in declined.text
    assert "Your card was declined." in declined.text
    assert "4000000000000002" not in declined.text
    assert gateway.retrieve(url.rpartition("/")[2]).payment_status == "unpaid"
    assert browser.post(url, data=GOOD).status_code == 303


@pytest.mark.parametrize("number", ["4000002500003155", "4000002760003184"])
@pytest.mark.parametrize("outcome", ["complete", "fail"])
def test_3d_secure_asks_first(
    browser: httpx.Client, url: str, gateway: StripeGateway, number: str, outcome: str
) -> None:
    asked = browser.post(url, data=GOOD | {"number": number}).headers["location"]
    assert "Complete authentication" in browser.get(asked).text
    assert gateway.retrieve(url.rpartition("/")[2]).payment_status == "unpaid"
    answered = browser.post(asked, data={"outcome": outcome}).headers["location"]
    if outcome == "complete":
        assert answered.startswith("https://shop.test/checkout_return")
        assert browser.post(asked, data={"outcome": "fail"}).headers["location"] == answered
    else:
        assert answered == url
        assert "unable to authenticate" in browser.get(url).text
        assert browser.post(url, data=GOOD).status_code == 303


@pytest.mark.parametrize(
    "wrong", [{"number": "4111111111111111"}, {"number": ""}, {"expiry": "13/34"}, {"expiry": "12/20"},
              {"expiry": "x"}, {"cvc": "12"}, {"cvc": "abc"}],
)  # fmt: skip
def test_what_was_typed_wrongly_is_said(browser: httpx.Client, url: str, wrong: dict[str, str]) -> None:
    answer = browser.post(url, data=GOOD | wrong)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert "4111111111111111" not in answer.text  # K4: a real number is neither kept nor shown again


def test_no_card_number_is_kept(browser: httpx.Client, url: str, tmp_path: Path) -> None:  # K4
    browser.post(url, data=GOOD | {"number": "4111111111111111"})
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"4111111111111111" not in kept


def test_pages_work_without_script_and_under_a_strict_policy(browser: httpx.Client, url: str) -> None:
    page = browser.get(url)
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "form-action 'self' https://shop.test" in policy
    assert not re.search(r"<script|style=|onclick|http-equiv|https?://(?!shop\.test)", page.text)
    assert '<html lang="en">' in page.text
    assert "Test mode" in page.text
    for name in re.findall(r'<input id="(\w+)"', page.text):
        assert f'<label for="{name}">' in page.text
    style = browser.get(f"{url.partition('/pay/')[0]}/static/pay.css")
    assert style.headers["content-type"].startswith("text/css")


def test_what_others_wrote_is_escaped(browser: httpx.Client, gateway: StripeGateway) -> None:
    made = gateway.create_checkout_session(
        purchase(package_name="<script>1</script>", email='"><b>@x.test'),
        SUCCESS,
        "https://shop.test/?a=\"'<",
    )
    page = browser.get(str(made.url)).text
    assert "<script>" not in page
    assert "<b>" not in page


def test_pages_say_so_when_there_is_nothing(browser: httpx.Client, base: str) -> None:
    for path in ("pay/cs_test_x", "challenge/pi_x", "receipts/ch_x"):
        assert browser.get(f"{base}/{path}").status_code == 404


def test_pages_live_under_the_name_the_browser_uses(gateway: StripeGateway, base: str) -> None:
    port = urlsplit(base).port
    made = gateway.create_checkout_session(purchase(), f"http://localhost:{port}/back", CANCEL)
    assert str(made.url).startswith(f"http://localhost:{port}/sim/pay/")


def test_everything_answered_survives_a_kill(gateway: StripeGateway, url: str, tmp_path: Path) -> None:  # A3
    httpx.post(url, data=GOOD)
    second = Simulator(tmp_path, environment={})  # what another process finds in the file at this moment
    found = StripeGateway.for_simulator(second, "http://127.0.0.1:1/sim").retrieve(url.rpartition("/")[2])
    assert found.payment_status == "paid"
    assert second.webhook_secret() == second.webhook_secret()
    second.close()


def test_the_clock_expires_sessions(
    gateway: StripeGateway, control: Callable[..., Any], url: str, browser: httpx.Client
) -> None:
    control("clock", advance_seconds=86401)
    assert gateway.retrieve(url.rpartition("/")[2]).status == "expired"
    assert "has expired" in browser.get(url).text
    assert "checkout.session.expired" in [event["type"] for event in control("events")["data"]]


def test_idempotency_is_stripes(base: str) -> None:
    headers = {"Authorization": f"Bearer {API_KEY}", "Idempotency-Key": "k"}
    first = httpx.post(f"{base}/v1/customers", data={"email": "a@x.test"}, headers=headers)
    again = httpx.post(f"{base}/v1/customers", data={"email": "a@x.test"}, headers=headers)
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    other = httpx.post(f"{base}/v1/customers", data={"email": "b@x.test"}, headers=headers)
    assert other.status_code == 400
    assert other.json()["error"]["type"] == "idempotency_error"
    # A decline is an executed answer, and is kept; a malformed request is not.
    headers["Idempotency-Key"] = "declined"
    card = {"amount": "900", "currency": "usd", "confirm": "true", "payment_method": "pm_card_chargeDeclined"}
    answers = [httpx.post(f"{base}/v1/payment_intents", data=card, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [402, 402]
    assert answers[0].json() == answers[1].json()
    headers["Idempotency-Key"] = "malformed"
    assert (
        httpx.post(f"{base}/v1/payment_intents", data=card | {"amount": "x"}, headers=headers).status_code
        == 400
    )
    assert httpx.post(f"{base}/v1/payment_intents", data=card, headers=headers).status_code == 402


@pytest.mark.parametrize(
    "form",
    ["mode=payment", "mode=gift", "a[b", "mode=payment&mode[x]=1", "line_items=1", "metadata[a][b]=1",
     "line_items[0][quantity]=ten", "adaptive_pricing[enabled]=maybe", "expires_at=99", "x" * 9000 + "=1"],
)  # fmt: skip
def test_malformed_requests_are_stripes_400(base: str, form: str) -> None:
    headers = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/x-www-form-urlencoded"}
    answer = httpx.post(f"{base}/v1/checkout/sessions", content=form, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_lists_are_paged(base: str) -> None:
    with httpx.Client(base_url=f"{base}/v1/", headers={"Authorization": f"Bearer {API_KEY}"}) as http:
        made = [http.post("customers", data={"email": f"{n}@x.test"}).json()["id"] for n in range(5)]
        first = http.get("customers", params={"limit": 2}).json()
        assert ([row["id"] for row in first["data"]], first["has_more"]) == (made[:2:-1], True)
        rest = http.get("customers", params={"limit": 9, "starting_after": made[3]}).json()
        assert ([row["id"] for row in rest["data"]], rest["has_more"]) == (made[2::-1], False)
        back = http.get("customers", params={"limit": 2, "ending_before": made[0]}).json()
        assert [row["id"] for row in back["data"]] == [made[2], made[1]]
        assert http.get("customers", params={"email": "3@x.test"}).json()["data"][0]["id"] == made[3]
        assert http.get("customers", params={"limit": 1000}).status_code == 400


@pytest.mark.parametrize("key", ["sk_live_1", "rk_live_1", "sk_test_1", "rk_test_1"])
def test_it_does_not_start_beside_a_real_key(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match="STRIPE_SECRET_KEY") as caught:
        Simulator(tmp_path, environment={"STRIPE_SECRET_KEY": key + "a_secret"})
    assert "a_secret" not in str(caught.value)


def test_only_its_own_keys_open_it(base: str) -> None:
    for key in ("sk_live_1234567890123456789012345", "sk_test_1", "whatever"):
        answer = httpx.get(f"{base}/v1/products", headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 401
        assert key not in answer.text
    assert httpx.get(f"{base}/v1/products").status_code == 401


def test_the_control_plane_is_for_this_machine(base: str) -> None:
    here = {"host": "127.0.0.1:8501"}
    assert guard.may_control("127.0.0.1", here)
    assert guard.may_control("::1", {"host": "localhost", "origin": "http://localhost"})
    for client, headers in (
        ("192.0.2.1", here), (None, here), ("127.0.0.1", here | {"x-forwarded-for": "192.0.2.1"}),
        ("127.0.0.1", {"host": "rebound.test"}), ("127.0.0.1", here | {"origin": "https://evil.test"}),
        ("127.0.0.1", here | {"origin": "null"}),
    ):  # fmt: skip
        assert not guard.may_control(client, headers), (client, headers)
    refused = httpx.post(f"{base}/control/clock", json={}, headers={"Origin": "https://evil.test"})
    assert refused.status_code == 403


@pytest.mark.parametrize(
    ("path", "body"),
    [("sessions/cs_x/pay", {"card": "1"}), ("clock", {"advance_seconds": -1}), ("fail-next", {"kind": "x"}),
     ("webhooks", {"url": "ftp://x"}), ("clock", [1])],
)  # fmt: skip
def test_control_refuses_with_a_sentence(base: str, path: str, body: Any) -> None:
    answer = httpx.post(f"{base}/control/{path}", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].endswith(".")


def test_money_is_written_in_the_currencys_own_units() -> None:  # A15
    shown = {("usd", 1000): "$10.00", ("usd", 5): "$0.05", ("jpy", 1000): "¥1,000", ("kwd", 10500): "10.500 KWD",
             ("eur", -123456): "-€1,234.56"}  # fmt: skip
    assert {key: currencies.format_money(key[1], key[0]) for key in shown} == shown
    assert [currencies.decimals(code) for code in ("USD", "jpy", "bhd")] == [2, 0, 3]
    assert not currencies.known("xyz")
    with pytest.raises(KeyError):
        currencies.decimals("xyz")
