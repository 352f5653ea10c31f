"""Plans, caps, settings, alerts, holds and corrections over HTTP (E1 to E5, F1, B7, B9, D2, C4)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, get_args

import pytest

from credits_core import catalog, ledger
from credits_core.http import reading
from credits_core.jobs import JOBS, run_job
from credits_core.runtime import Runtime
from tests.http.conftest import HOLDER, SUPER, Api, problem

USE = {"operation": "call", "quantity": 60}
REQUEST = {"operation": "api_request", "quantity": 1}


@pytest.fixture(autouse=True)
def ledger_adds_up(runtime: Runtime, service: Callable[..., Any]) -> Iterator[None]:
    yield
    assert service("verify")["differences"] == []


@pytest.fixture
def metered(service: Callable[..., Any], admin: Api) -> None:
    """The catalog metered_plan, and the demo holder on its plan free: 100 requests a month."""
    service("load_catalog", catalog=catalog.read("metered_plan"))
    answer = admin.post("admin/plan", {"account": HOLDER, "plan": "free"})
    assert answer.status_code == 200, answer.text


def test_plans_need_no_sign_in(metered: None, api: Callable[..., Api]) -> None:
    found = api(None).get("plans").json()
    assert found["catalog"] == "metered_plan"
    assert [(plan["code"], plan["allowances"]) for plan in found["plans"]] == [
        ("free", {"api_request": 100}),
        ("pro", {"api_request": 5000}),
        ("team", {"api_request": 50000}),
    ]


def test_the_month_is_included_first_and_then_credits_pay(
    metered: None, holder: Api, give: Callable[..., Any]
) -> None:
    """E1, E2: which of the two paid is recorded; the bar turns at 80 and 100 per cent."""
    give("10.00")
    assert holder.post("use", REQUEST | {"quantity": 79}).json()["charged"] == "0.00"
    (bar,) = holder.get("limits").json()["allowances"]
    assert (bar["used"], bar["remaining"], bar["level"]) == (79, 21, "ok")
    holder.post("use", REQUEST)
    assert holder.get("limits").json()["allowances"][0]["level"] == "warning"
    checked = holder.post("check", REQUEST | {"quantity": 25}).json()
    assert (checked["cost"], checked["pays_from"], checked["reason"]) == ("5.00", "mixed", "enough_credits")
    assert checked["pays"]["allowance_quantity"] == 20 and checked["pays"]["promotional"] == "5.00"
    assert checked["covers_quantity"] == 30
    used = holder.post("use", REQUEST | {"quantity": 25}).json()
    assert used["charged"] == "5.00"
    explained = holder.get(f"transactions/{used['transaction_id']}").json()
    assert (explained["paid_by"], explained["allowance_quantity"], explained["rated"]) == (
        "mixed",
        20,
        "25.00",
    )
    assert holder.get("limits").json()["allowances"][0]["level"] == "reached"
    assert holder.post("use", REQUEST).json()["charged"] == "1.00"


def test_a_check_within_the_month(metered: None, holder: Api) -> None:
    checked = holder.post("check", REQUEST).json()
    assert (checked["allowed"], checked["cost"], checked["pays_from"]) == (True, "0.00", "allowance")
    refused = holder.post("check", REQUEST | {"quantity": 101}).json()
    assert (refused["allowed"], refused["reason"], refused["pays_from"]) == (
        False,
        "insufficient_credits",
        None,
    )
    assert refused["covers_quantity"] == 100


def test_off_the_plan(metered: None, holder: Api, admin: Api) -> None:
    answer = admin.post("admin/plan", {"account": HOLDER, "plan": None}).json()
    assert (answer["plan"], answer["allowances"]) == (None, [])
    problem(holder.post("use", REQUEST), 402, "insufficient_credits")


def test_a_cap_of_the_account(holder: Api, give: Callable[..., Any]) -> None:
    """E3, E4: 429 says which cap, what was spent and when it begins anew; removed by null."""
    give("10.00")
    holder.post("use", USE)
    capped = holder.post("limits/caps", {"period": "day", "cap": "0.40"}).json()
    (cap,) = capped["caps"]
    assert (cap["spent"], cap["cap"], cap["level"], cap["api_key_id"]) == ("0.15", "0.40", "ok", None)
    assert holder.post("use", USE).status_code == 200
    error = problem(holder.post("use", USE), 429, "limit_reached")
    assert error["detail"]["period"] == "day" and error["detail"]["spent_micros"] == 300_000
    problem(holder.post("holds", USE), 429, "limit_reached")
    problem(holder.post("calls", {}), 429, "limit_reached")
    assert holder.post("check", USE).json()["reason"] == "limit_reached"
    assert holder.available() == "9.70"
    month = holder.post("limits/caps", {"period": "month", "cap": "100"}).json()
    assert [cap["period"] for cap in month["caps"]] == ["day", "month"]
    assert [
        cap["period"] for cap in holder.post("limits/caps", {"period": "day", "cap": None}).json()["caps"]
    ] == ["month"]
    assert holder.post("use", USE).status_code == 200


def test_a_hold_counts_against_a_cap_until_it_is_released(holder: Api, give: Callable[..., Any]) -> None:
    give("10.00")
    holder.post("limits/caps", {"period": "month", "cap": "0.30"})
    hold = holder.post("holds", USE | {"quantity": 120}).json()
    problem(holder.post("use", USE), 429, "limit_reached")
    holder.post(f"holds/{hold['hold_id']}/release")
    assert holder.post("use", USE).status_code == 200


def test_unlimited_accounts(api: Callable[..., Api]) -> None:
    """E5: a check says so, and no cap of credits is in the way."""
    checked = api(SUPER).post("check", USE).json()
    assert (checked["allowed"], checked["reason"], checked["pays_from"], checked["covers_quantity"]) == (
        True,
        "unlimited",
        "unlimited",
        None,
    )


def test_settings_of_an_account(holder: Api, admin: Api) -> None:
    changed = holder.post(
        "account/settings", {"time_zone": "Europe/Berlin", "low_balance": ["5", "0.5"]}
    ).json()
    assert (changed["time_zone"], changed["low_balance"]) == ("Europe/Berlin", ["5.00", "0.50"])
    assert changed["low_balance_micros"] == [5_000_000, 500_000]
    kept = holder.post("account/settings", {"low_balance": []}).json()
    assert (kept["time_zone"], kept["low_balance"]) == ("Europe/Berlin", [])
    assert holder.get("limits").json()["time_zone"] == "Europe/Berlin"
    for body in ({"anchor_day": 15}, {"catalog": "voice"}):
        problem(holder.post("account/settings", body), 403, "not_allowed")
    assert admin.post("account/settings", {"anchor_day": 15, "account": HOLDER}).json()["anchor_day"] == 15
    assert holder.get("limits").json()["anchor_day"] == 15
    alone = problem(
        admin.post("account/settings", {"catalog": "voice", "account": HOLDER}), 403, "not_allowed"
    )
    assert "price change" in alone["message"]


def test_an_account_with_prices_of_its_own(
    holder: Api,
    admin: Api,
    api: Callable[[str | None], Api],
    give: Callable[..., Any],
    service: Callable[..., Any],
) -> None:
    service("load_catalog", catalog=catalog.read("ai_services"))
    service("load_catalog", catalog=catalog.read("voice"))
    give("5.00")
    change = {"catalog": "ai_services", "account": HOLDER, "reason": "as agreed", "idempotency_key": "c"}
    problem(
        admin.post("admin/approvals/price-change", change | {"operation": "call"}), 422, "invalid_request"
    )
    problem(admin.post("admin/approvals/price-change", change | {"account": "nobody"}), 404, "not_found")
    asked = admin.post("admin/approvals/price-change", change).json()
    problem(holder.post("use", {"operation": "sms", "quantity": 1}), 404, "not_found")
    assert (
        api("super@demo.test").post(f"admin/approvals/{asked['approval_id']}/approve").json()["status"]
        == "done"
    )
    assert holder.post("use", {"operation": "sms", "quantity": 1}).json()["charged"] == "1.00"


def test_low_balance_is_told_once_for_every_crossing(
    runtime: Runtime, holder: Api, admin: Api, give: Callable[..., Any]
) -> None:
    """F1: at the levels of the account; again only after it was above."""

    def look() -> list[tuple[str, int]]:
        for _ in range(2):
            run_job(runtime, JOBS["alerts"], "me", every_seconds=0)
        found = holder.get("alerts").json()["items"]
        return [(alert["kind"], alert["detail"].get("level_micros", 0)) for alert in found]

    give("1.00")
    holder.post("account/settings", {"low_balance": ["0.80", "0.50"]})
    assert look() == []
    holder.post("use", USE | {"quantity": 120})
    assert look() == [("low_balance", 800_000)]
    holder.post("use", USE | {"quantity": 120})
    assert look()[0] == ("low_balance", 500_000)
    give("1.00")
    assert len(look()) == 2
    holder.post("use", USE | {"quantity": 300})
    assert look()[0] == ("low_balance", 800_000) and len(look()) == 3
    page = holder.get("alerts", limit=2).json()
    rest = holder.get("alerts", limit=2, cursor=page["next_cursor"]).json()
    assert (len(page["items"]), len(rest["items"]), rest["next_cursor"]) == (2, 1, None)
    assert len(holder.get("alerts", unread=True).json()["items"]) == 3
    assert holder.post("alerts/read").json() == {"read": 3}
    assert holder.post("alerts/read", {}).json() == {"read": 0}
    assert holder.get("alerts", unread=True).json()["items"] == []
    assert all(alert["read_at"] for alert in holder.get("alerts").json()["items"])
    problem(holder.get("alerts", account=admin.get("me").json()["account_id"]), 403, "not_allowed")


def test_a_hold_from_placing_to_its_end(
    holder: Api, give: Callable[..., Any], api: Callable[..., Api]
) -> None:
    """D2: read, extended, and what is not used goes back."""
    give("1.00")
    placed = holder.post("holds", USE, Idempotency_Key="h").json()
    address = f"holds/{placed['hold_id']}"
    assert holder.get(address).json()["held"] == "0.15"
    extended = holder.post(f"{address}/extend", {"quantity": 180, "expires_in_seconds": 7200}).json()
    assert (extended["held"], extended["quantity"], extended["available"]) == ("0.45", 180, "0.55")
    assert extended["expires_at"] > placed["expires_at"]
    assert holder.post(f"{address}/extend", {"quantity": 60}).json()["held"] == "0.45", (
        "smaller changes nothing"
    )
    assert holder.post(f"{address}/extend").status_code == 200
    problem(holder.post(f"{address}/extend", {"quantity": 6000}), 402, "insufficient_credits")
    captured = holder.post(f"{address}/capture", {"quantity": 100}).json()
    assert (captured["charged"], captured["released"], captured["available"]) == ("0.30", "0.15", "0.70")
    state = holder.get(address).json()
    assert (state["status"], state["held"], state["captured_quantity"]) == ("captured", "0.00", 100)
    assert api("finance@demo.test").get(address).json()["status"] == "captured", "staff reads"
    problem(holder.post(f"{address}/extend"), 409, "conflict")


def test_other_peoples_holds_and_calls_are_as_unknown_as_none(
    holder: Api,
    give: Callable[..., Any],
    service: Callable[..., Any],
    api: Callable[..., Api],
    make_user: Callable[..., Any],
    token: Callable[..., str],
) -> None:
    give("1.00")
    hold, call = holder.post("holds", USE).json()["hold_id"], holder.post("calls", {}).json()["call_id"]
    stranger = Api(api(None).client, token(HOLDER, sub=str(make_user().claims["sub"])))
    for path in (f"holds/{hold}", f"calls/{call}"):
        theirs, nothing = stranger.get(path), stranger.get("holds/999" if "holds" in path else "calls/999")
        assert problem(theirs, 404, "not_found") == problem(nothing, 404, "not_found")


def test_a_call_read_while_it_runs_and_afterwards(holder: Api, give: Callable[..., Any]) -> None:
    """D4, D6"""
    give("1.00")
    call = holder.post("calls", {}).json()["call_id"]
    running = holder.get(f"calls/{call}").json()
    assert (running["status"], running["max_duration_seconds"], running["cost_so_far"]) == ("ok", 360, "0.00")
    holder.post(f"calls/{call}/end", {"reason": "hung up"})
    over = holder.get(f"calls/{call}").json()
    assert (over["status"], over["call_status"], over["ended_reason"], over["charged"]) == (
        "ended",
        "completed",
        "hung up",
        "0.15",
    )


def test_a_call_by_its_duration(holder: Api, give: Callable[..., Any]) -> None:
    """D6: the end, or how long it took; the same key again is the same call."""
    give("1.00")
    body = {"started_at": "2026-11-01T12:00:00Z", "duration_seconds": 90}
    first = holder.post("calls", body, Idempotency_Key="c").json()
    assert (first["charged"], first["duration_seconds"], first["ended_at"]) == (
        "0.30",
        90,
        "2026-11-01T12:01:30.000000Z",
    )
    assert holder.post("calls", body, Idempotency_Key="c").json()["call_id"] == first["call_id"]
    both = body | {"ended_at": "2026-11-01T12:01:30.400Z", "duration_seconds": 90}
    assert holder.post("calls", both).json()["duration_seconds"] == 90.4, (
        "a rounded duration agrees with its end"
    )


def test_a_reversal_gives_back_once(holder: Api, admin: Api, give: Callable[..., Any]) -> None:
    """B1, B7: a correction is a new row that points to the old one."""
    give("1.00")
    used = holder.post("use", USE).json()["transaction_id"]
    body = {"transaction_id": used, "reason": "Charged for a call that failed"}
    first = admin.post("admin/reverse", body, Idempotency_Key="r").json()
    assert (first["available"], first["replayed"]) == ("1.00", False)
    assert admin.post("admin/reverse", body, Idempotency_Key="r").json()["replayed"] is True
    problem(admin.post("admin/reverse", body, Idempotency_Key="other"), 409, "conflict")
    problem(
        admin.post("admin/reverse", body | {"reason": "another"}, Idempotency_Key="r"),
        409,
        "idempotency_key_reused",
    )
    assert holder.get(f"transactions/{first['transaction_id']}").json()["reverses"] == used
    given = admin.post("admin/adjust", {"account": HOLDER, "amount": "9000", "reason": "for a test"}).json()
    gift = {"transaction_id": given["transaction_id"], "reason": "It was too much"}
    large = admin.post(
        "admin/reverse", gift, Idempotency_Key="large"
    )  # with the 9,000 of a moment ago it is 18,000
    assert (large.status_code, large.json()["status"], large.json()["transaction_id"]) == (
        202,
        "waiting",
        None,
    )
    assert admin.post("admin/reverse", gift, Idempotency_Key="large").json() == large.json()
    problem(holder.post("admin/reverse", body), 403, "not_allowed")


def test_a_grant_gets_a_later_end(holder: Api, admin: Api) -> None:
    """B9: an extension is a new row; the grant that takes over has the same credits."""
    given = {"account": HOLDER, "amount": "3", "reason": "for a test", "expires_at": "2197-01-01T00:00:00Z"}
    added = admin.post("admin/adjust", given).json()
    (entry,) = holder.get(f"transactions/{added['transaction_id']}").json()["entries"]
    assert entry["expires_at"] == "2197-01-01T00:00:00.000000Z"
    address = f"admin/grants/{entry['grant_id']}/extend"
    body = {"expires_at": "2198-01-01T00:00:00Z", "reason": "Promised by support"}
    first = admin.post(address, body, Idempotency_Key="e").json()
    assert first["available"] == "3.00" and first["grant_id"] != entry["grant_id"]
    assert admin.post(address, body, Idempotency_Key="e").json()["replayed"] is True
    problem(admin.post(address, body), 409, "conflict")
    earlier = body | {"expires_at": "2190-01-01T00:00:00Z"}
    problem(admin.post(f"admin/grants/{first['grant_id']}/extend", earlier), 422, "invalid_request")
    problem(admin.post("admin/grants/999999/extend", body), 404, "not_found")
    problem(holder.post(address, body), 403, "not_allowed")
    assert holder.available() == "3.00"


def test_settings_are_read_as_they_are(holder: Api, admin: Api, api: Callable[[str | None], Api]) -> None:
    """F1, E1: the defaults where nothing was set, then what was set; other people's are for staff."""
    found = holder.get("account/settings").json()
    assert (found["time_zone"], found["anchor_day"], found["catalog"]) == ("UTC", 1, None)
    assert found["low_balance"] == ["10.00", "5.00", "1.00"]
    changed = holder.post("account/settings", {"time_zone": "Europe/Berlin", "low_balance": ["3"]}).json()
    assert holder.get("account/settings").json() == changed
    assert admin.get("account/settings", account=HOLDER).json() == changed
    problem(api("finance@demo.test").get("account/settings", account="999999"), 404, "not_found")
    problem(holder.get("account/settings", account=str(changed["account_id"] + 1)), 403, "not_allowed")
    problem(api(None).get("account/settings"), 401, "not_signed_in")


def test_every_kind_of_transaction_can_be_asked_for(holder: Api, owner_sql: Callable[..., Any]) -> None:
    """B1: the API's filter and the page's list hold exactly the kinds of the table."""
    (rule,) = owner_sql(
        "select pg_get_constraintdef(oid) as text from pg_constraint where conrelid = 'credits.transactions'::regclass"
        " and contype = 'c' and pg_get_constraintdef(oid) like '%purchase%'"
    )
    kinds = set(re.findall(r"'(\w+)'", rule["text"]))
    assert set(ledger.KINDS) == kinds and len(kinds) > 8
    assert set(get_args(reading.Kind)) == kinds | {"purchases", "usage"}
    for kind in get_args(reading.Kind):
        assert holder.get("transactions", kind=kind).json()["items"] == []
