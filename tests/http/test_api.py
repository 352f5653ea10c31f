"""The API as it is meant to be used: shapes, amounts, keys, lists, batches, calls, holds (J1, B6, A1, D6, I1)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.http.conftest import ADMIN, HOLDER, SUPER, Api, problem

FIRST = "2026-11-01T12:00:00Z"


def test_a_balance_has_every_amount_twice(holder: Api, give: Callable[..., Any]) -> None:
    give("12.345678")
    balance = holder.get("balance").json()
    for name in ("available", "posted", "held", "total_purchased", "total_used"):
        assert isinstance(balance[name], str) and isinstance(balance[f"{name}_micros"], int)
    assert (balance["available"], balance["available_micros"]) == ("12.345678", 12_345_678)
    assert balance["held"] == "0.00"


def test_a_balance_of_the_past(holder: Api, give: Callable[..., Any]) -> None:
    give("5.00")
    before = holder.get("balance", at="2026-11-01").json()
    assert before["posted"] == "0.00"
    problem(holder.get("balance", at="2199-01-01"), 422, "invalid_request")


def test_the_packages_of_the_voice_catalog_need_no_sign_in(api: Callable[..., Api]) -> None:
    found = api(None).get("packages").json()
    assert found["catalog"] == "voice"
    assert [p["price_cents"] for p in found["packages"]] == [500, 1000, 2000, 5000, 10000]
    assert [p["credits"] for p in found["packages"]] == ["5.00", "10.00", "20.00", "50.00", "100.00"]
    for package in found["packages"]:
        assert (package["bonus_credits"], package["currency"], package["popular"]) == ("0.00", "usd", False)
        assert package["price_per_credit"] == "1.00"


def test_the_prices_need_no_sign_in(api: Callable[..., Api]) -> None:
    (call,) = api(None).get("pricing").json()["operations"]
    assert call["operation"] == "call"
    assert call["components"][0]["price"] == "0.15"


@pytest.mark.parametrize("path", ["use", "deduct"])
def test_a_call_of_90_seconds_costs_two_minutes(holder: Api, give: Callable[..., Any], path: str) -> None:
    give("10.00")
    used = holder.post(path, {"operation": "call", "quantity": 90}).json()
    assert (used["charged"], used["charged_micros"], used["available"]) == ("0.30", 300_000, "9.70")
    assert used["replayed"] is False and used["idempotency_key"].startswith("auto-")


def test_billed_by_the_second_it_costs_a_minute_and_a_half(
    holder: Api, give: Callable[..., Any], service: Callable[..., Any]
) -> None:
    give("10.00")
    service(
        "set_price",
        operation="call",
        components=[{"unit": "minute", "price_micros": 150_000, "initial": 1, "following": 1}],
    )
    used = holder.post("use", {"operation": "call", "quantity": 90}).json()
    assert used["charged"] == "0.225"


@pytest.mark.parametrize("quantity", [60, "60", "60.0", 60.0, "+60"])
def test_a_quantity_is_a_number_or_its_text(holder: Api, give: Callable[..., Any], quantity: Any) -> None:
    give("1.00")
    assert holder.post("use", {"operation": "call", "quantity": quantity}).json()["charged"] == "0.15"


def test_no_digit_of_a_quantity_is_lost(holder: Api) -> None:
    body = '{"operation": "call", "quantity": 123456789.123456}'
    checked = holder.raw("check", body).json()
    assert checked["cost_micros"] == 2_057_614 * 150_000  # 2,057,613.15 minutes, rounded up


def test_a_check_says_what_it_would_cost(holder: Api, give: Callable[..., Any]) -> None:
    give("0.20")
    small = holder.post("check", {"operation": "call", "quantity": 60}).json()
    assert (small["allowed"], small["cost"], small["available"], small["pays_from"]) == (
        True,
        "0.15",
        "0.20",
        "credits",
    )
    large = holder.post("check", {"operation": "call", "quantity": 61}).json()
    assert (large["allowed"], large["reason"], large["cost_micros"]) == (
        False,
        "insufficient_credits",
        300_000,
    )
    assert holder.available() == "0.20"


def test_the_same_key_charges_once_and_another_body_is_refused(holder: Api, give: Callable[..., Any]) -> None:
    give("10.00")
    body = {"operation": "call", "quantity": 60}
    first = holder.post("use", body, Idempotency_Key="call-1").json()
    again = holder.post("use", body | {"idempotency_key": "call-1"}).json()
    assert again["replayed"] is True
    assert again["transaction_id"] == first["transaction_id"]
    problem(
        holder.post("use", body | {"quantity": 61}, Idempotency_Key="call-1"), 409, "idempotency_key_reused"
    )
    assert holder.available() == "9.85"


def test_fifty_at_once_on_ten_credits(
    holder: Api, give: Callable[..., Any], service: Callable[..., Any]
) -> None:
    """B5: 50 parallel uses of 1.00 on a balance of 10.00: exactly 10 succeed."""
    give("10.00")
    service("set_price", operation="call", components=[{"unit": "call", "price_micros": 1_000_000}])
    with ThreadPoolExecutor(16) as pool:
        statuses = list(
            pool.map(
                lambda _: holder.post("use", {"operation": "call", "quantity": 1}).status_code, range(50)
            )
        )
    assert (statuses.count(200), statuses.count(402)) == (10, 40)
    assert holder.available() == "0.00"
    assert service("verify")["differences"] == []


def test_a_batch_answers_in_order_and_one_bad_event_leaves_the_others(
    holder: Api, give: Callable[..., Any]
) -> None:
    give("0.50")
    events = [
        {"operation": "call", "quantity": 60, "idempotency_key": "a"},
        {"operation": "nope", "quantity": 60},
        {"operation": "call", "quantity": "-1"},
        {"operation": "call", "quantity": 600},
        {"operation": "call", "quantity": 60, "idempotency_key": "a"},
        {"operation": "call", "quantity": 120, "metadata": {"part": 2.5}, "occurred_at": FIRST},
    ]
    answer = holder.post("use/batch", {"events": events}, Idempotency_Key="batch").json()
    assert [r["status"] for r in answer["results"]] == [
        "charged",
        "error",
        "error",
        "error",
        "replayed",
        "charged",
    ]
    assert [r["charged"] for r in answer["results"]] == ["0.15", "0.00", "0.00", "0.00", "0.15", "0.30"]
    codes = [r["error"]["code"] for r in answer["results"] if r["error"]]
    assert codes == ["not_found", "invalid_request", "insufficient_credits"]
    assert answer["results"][1]["idempotency_key"] == "batch:1"
    assert holder.available() == "0.05"


def test_a_batch_sent_again_charges_nothing_more(holder: Api, give: Callable[..., Any]) -> None:
    give("1.00")
    body = {"events": [{"operation": "call", "quantity": 60}] * 3}
    holder.post("use/batch", body, Idempotency_Key="night")
    again = holder.post("use/batch", body, Idempotency_Key="night").json()
    assert [r["status"] for r in again["results"]] == ["replayed"] * 3
    assert holder.available() == "0.55"


def test_a_call_that_is_over_is_charged_and_logged(holder: Api, give: Callable[..., Any]) -> None:
    give("1.00")
    body = {
        "to": "+15550100",
        "from": "+15550199",
        "started_at": FIRST,
        "ended_at": "2026-11-01T12:01:30Z",
        "metadata": {"id": 7},
    }
    call = holder.post("calls", body, Idempotency_Key="c1").json()
    assert (call["charged"], call["charged_micros"], call["hold_id"]) == ("0.30", 300_000, None)
    assert holder.post("calls", body, Idempotency_Key="c1").json()["call_id"] == call["call_id"]
    (logged,) = holder.get("calls", number="0100").json()["items"]
    assert (logged["to"], logged["from"], logged["status"]) == ("+15550100", "+15550199", "completed")
    assert (logged["duration_seconds"], logged["billed_seconds"], logged["charged"]) == (90, 120, "0.30")
    assert holder.available() == "0.70"


def test_a_running_call_holds_credits_and_ends_once(holder: Api, give: Callable[..., Any]) -> None:
    give("1.00")
    call = holder.post("calls", {"to": "+15550100"}).json()
    assert call["max_duration_seconds"] == 360 and call["hold_id"]
    beat = holder.post(f"calls/{call['call_id']}/heartbeat").json()
    assert beat["status"] == "ok" and beat["remaining_seconds"] > 0
    ended = holder.post(f"calls/{call['call_id']}/end", {"reason": "hung up"}).json()
    assert (ended["charged"], ended["cost_so_far"], ended["remaining_seconds"]) == ("0.15", "0.15", 0)
    again = holder.post(f"calls/{call['call_id']}/end").json()
    assert again["charged"] == "0.15"
    assert holder.available() == "0.85"


def test_somebody_elses_call_is_not_there(
    holder: Api, api: Callable[..., Api], give: Callable[..., Any]
) -> None:
    give("1.00", ADMIN)
    theirs = api(ADMIN).post("calls", {}).json()["call_id"]
    problem(holder.post(f"calls/{theirs}/end"), 404, "not_found")


def test_a_hold_is_captured_in_part_or_released(holder: Api, give: Callable[..., Any]) -> None:
    give("1.00")
    hold = holder.post("holds", {"operation": "call", "quantity": 300, "expires_in_seconds": 60}).json()
    assert (hold["held"], holder.available()) == ("0.75", "0.25")
    captured = holder.post(f"holds/{hold['hold_id']}/capture", {"quantity": 90}).json()
    assert (captured["charged"], captured["released"], captured["available"]) == ("0.30", "0.45", "0.70")
    other = holder.post("holds", {"operation": "call", "quantity": 60}).json()
    released = holder.post(f"holds/{other['hold_id']}/release").json()
    assert (released["charged"], released["released"], released["available"]) == ("0.00", "0.15", "0.70")
    problem(holder.post(f"holds/{other['hold_id']}/capture", {}), 409, "conflict")


def test_lists_are_read_page_by_page(holder: Api, give: Callable[..., Any]) -> None:
    give("10.00")
    holder.post("use/batch", {"events": [{"operation": "call", "quantity": 60}] * 5})
    seen: list[str] = []
    cursor = None
    while True:
        page = holder.get(
            "transactions", limit=2, kind="use", **({"cursor": cursor} if cursor else {})
        ).json()
        assert len(page["items"]) <= 2
        seen += [item["transaction_id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 5
    assert holder.get("transactions", to="2026-01-01").json()["items"] == []
    assert len(holder.get("transactions", **{"from": "2026-01-01"}).json()["items"]) == 6


def test_history_by_type(holder: Api, give: Callable[..., Any]) -> None:
    give("1.00")
    holder.post("use", {"operation": "call", "quantity": 60, "metadata": {"ticket_micros": 5}})
    holder.post("checkout", {"package": "usd_10"})
    kinds = {
        t: [i.get("kind") for i in holder.get("history", type=t).json()["items"]]
        for t in ("usage", "transactions")
    }
    assert kinds == {"usage": ["use"], "transactions": ["use", "adjustment"]}
    (purchase,) = holder.get("history", type="purchases", limit=10).json()["items"]
    assert (purchase["package"], purchase["credits"], purchase["status"]) == ("usd_10", "10.00", "open")
    (use,) = holder.get("history", type="usage").json()["items"]
    assert (use["amount"], use["amount_micros"], use["metadata"]) == ("-0.15", -150_000, {"ticket_micros": 5})
    explained = holder.get(f"transactions/{use['transaction_id']}").json()
    assert explained["posted_before"] == "1.00" and explained["posted_after"] == "0.85"


def test_admins_see_accounts_and_adjust_them(admin: Api, holder: Api) -> None:
    people = admin.get("admin/users", search="demo.test").json()["items"]
    assert {person["email"] for person in people} >= {HOLDER, ADMIN}
    body = {"account": HOLDER, "amount": "5.5", "reason": "Goodwill"}
    first = admin.post("admin/adjust", body, Idempotency_Key="g1").json()
    assert (
        admin.post("admin/adjust", body, Idempotency_Key="g1").json()["transaction_id"]
        == first["transaction_id"]
    )
    number = next(person["account_id"] for person in people if person["email"] == HOLDER)
    taken = admin.post("admin/adjust", {"account": number, "amount": -0.5, "reason": "Correction"}).json()
    assert (taken["available"], holder.available()) == ("5.00", "5.00")
    (last, _) = holder.get("transactions").json()["items"]
    assert last["reason"] == "Correction"


def test_staff_may_name_another_account_to_read_it(api: Callable[..., Api], give: Callable[..., Any]) -> None:
    give("3.00")
    for email in ("finance@demo.test", ADMIN, SUPER):
        assert api(email).get("balance", account=HOLDER).json()["available"] == "3.00"
    problem(
        api("finance@demo.test").post("use", {"operation": "call", "quantity": 1, "account": HOLDER}),
        403,
        "not_allowed",
    )


def test_super_admins_are_metered_and_charged_nothing(api: Callable[..., Api]) -> None:
    used = api(SUPER).post("use", {"operation": "call", "quantity": 90}).json()
    assert used["charged"] == "0.00"


def test_a_program_names_the_account(
    api: Callable[..., Api], service_token: str, give: Callable[..., Any]
) -> None:
    give("1.00")
    program = Api(api(None).client, service_token)
    assert (
        program.post("use", {"operation": "call", "quantity": 60, "account": HOLDER}).json()["available"]
        == "0.85"
    )
    problem(program.post("use", {"operation": "call", "quantity": 60}), 422, "invalid_request")


def test_a_page_of_this_app_may_use_the_session_and_another_site_may_not(
    browser: Any, give: Callable[..., Any]
) -> None:
    from tests.http.conftest import BASE, sign_in

    give("1.00")
    sign_in(browser, HOLDER)
    assert browser.get("/api/credits/balance").json()["available"] == "1.00"
    body = {"operation": "call", "quantity": 60}
    problem(browser.post("/api/credits/use", json=body), 403, "not_allowed")
    problem(
        browser.post("/api/credits/use", json=body, headers={"Origin": "https://evil.example"}),
        403,
        "not_allowed",
    )
    assert browser.post("/api/credits/use", json=body, headers={"Origin": BASE}).status_code == 200
    browser.post("/auth/sign-out", headers={"Origin": BASE})
    problem(browser.get("/api/credits/balance"), 401, "not_signed_in")
