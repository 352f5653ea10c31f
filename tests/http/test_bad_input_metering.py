"""Bad input of metering (issue 2, "Bad input"): the right status, a sentence that helps, nothing lost, nothing charged twice.

E3, C3, D2, D3, D6, E1, J3. What is wrong with quantities, bodies and lists in general: test_bad_input.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from credits_core import catalog
from credits_core.config import Settings
from credits_core.db.embedded import EmbeddedServer
from credits_core.db.port import SERVICE
from credits_core.db.psycopg_transport import PsycopgDatabase
from credits_core.runtime import Runtime
from tests.conftest import new_database
from tests.http.conftest import BASE, HOLDER, Api, problem, running

USE = {"operation": "call", "quantity": 60}
NUMBERS = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e300",
    "-1",
    "-0.000001",
    "true",
    '"abc"',
    '""',
    "[60]",
    "9" * 39,
    "0.0000000000001",
]
NOON = "2026-11-01T12:00:00Z"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(data_dir=tmp_path_factory.mktemp("data"), base_url=BASE)


@pytest.fixture(scope="module")
def runtime(
    settings: Settings, server: EmbeddedServer, template: str, superuser_sql: Callable[[Any], None]
) -> Iterator[Runtime]:
    """One database for all tests here, with ten credits for the holder."""
    for name in new_database(superuser_sql, template):
        port = PsycopgDatabase(server.dsn(database=name))
        with running(settings, port) as made:
            account = port.call("find_account", SERVICE, account=HOLDER)["account_id"]
            credits = {"amount_micros": 10_000_000, "reason": "for a test", "idempotency_key": "k"}
            port.call("adjust", SERVICE, account_id=account, **credits)
            yield made
        port.close()


@pytest.fixture(autouse=True)
def spent(holder: Api, runtime: Runtime) -> Iterator[Callable[[int], None]]:
    """No refusal changes anything; what a test charges on purpose it says: `spent(150_000)`."""
    before = holder.get("balance").json()
    amounts: list[int] = []
    yield amounts.append
    after = holder.get("balance").json()
    assert after["available_micros"] == before["available_micros"] - sum(amounts)
    assert after["held_micros"] == before["held_micros"] and after["debt"] == "0.00"
    assert runtime.db.call("verify", SERVICE)["differences"] == []


@pytest.fixture
def hold(holder: Api) -> Iterator[str]:
    """The address of an open hold of two minutes, released at the end where a test did not close it."""
    address = f"holds/{holder.post('holds', USE | {'quantity': 120}).json()['hold_id']}"
    yield address
    holder.post(f"{address}/release")


@pytest.mark.parametrize("operation", ["nope", "CALL", "minute", "' or 1=1"])
@pytest.mark.parametrize("path", ["check", "use", "holds", "calls"])
def test_an_unknown_operation_or_unit(holder: Api, path: str, operation: str) -> None:
    body: dict[str, Any] = {"operation": operation} | ({} if path == "calls" else {"quantity": 60})
    error = problem(holder.post(path, body), 404, "not_found")
    assert "pricing" in error["message"]


@pytest.mark.parametrize("unit", ["seconds", "minutes", "unit"])
def test_a_unit_is_no_field(holder: Api, unit: str) -> None:
    problem(holder.post("use", USE | {unit: "minute"}), 422, "invalid_request")


@pytest.mark.parametrize(
    ("times", "says"),
    [
        ({"started_at": NOON, "ended_at": "2026-11-01T12:01:30Z", "duration_seconds": 91}, "disagree"),
        ({"started_at": NOON, "ended_at": "2026-11-01T12:01:30Z", "duration_seconds": 0}, "disagree"),
        ({"started_at": NOON, "ended_at": "2026-11-01T12:01:30.9Z", "duration_seconds": "89.8"}, "disagree"),
        ({"duration_seconds": 90}, "started_at"),
        ({"ended_at": NOON, "duration_seconds": 90}, "started_at"),
        ({"started_at": NOON, "duration_seconds": 86_401}, "86400"),
        ({"started_at": NOON, "duration_seconds": -1}, "greater"),
        ({"started_at": NOON, "duration_seconds": "1:30"}, "number"),
        ({"started_at": "2199-01-01T00:00:00Z", "duration_seconds": 90}, "future"),
        ({"started_at": "2199-01-01T00:00:00Z"}, "future"),
        ({"started_at": NOON}, "24 hours"),
    ],
)
def test_a_call_whose_times_contradict_each_other(holder: Api, times: dict[str, Any], says: str) -> None:
    error = problem(holder.post("calls", times), 422, "invalid_request")
    assert says in error["message"]
    assert holder.get("calls", **{"from": NOON}).json()["items"] == [] or "disagree" not in says


@pytest.mark.parametrize("number", NUMBERS, ids=lambda text: text[:20])
def test_numbers_that_are_none(holder: Api, hold: str, number: str) -> None:
    body = f'{{"operation": "call", "quantity": {number}}}'
    for path in ("check", "use", "holds"):
        problem(holder.raw(path, body), 422, "invalid_request")
    for action in ("extend", "capture"):
        problem(holder.raw(f"{hold}/{action}", f'{{"quantity": {number}}}'), 422, "invalid_request")
    call = f'{{"started_at": "{NOON}", "duration_seconds": {number}}}'
    problem(holder.raw("calls", call), 422, "invalid_request")
    if number not in ("true", "0.0000000000001"):
        problem(holder.raw("limits/caps", f'{{"period": "day", "cap": {number}}}'), 422, "invalid_request")
        settings = f'{{"low_balance": [{number}]}}'
        problem(holder.raw("account/settings", settings), 422, "invalid_request")


@pytest.mark.parametrize("seconds", [0, -1, 86_401, 10**12, "forever", None, 1.5])
def test_a_hold_for_ever(holder: Api, hold: str, seconds: Any) -> None:
    for path, body in (("holds", USE), (f"{hold}/extend", {})):
        problem(holder.post(path, body | {"expires_in_seconds": seconds}), 422, "invalid_request")


def test_a_capture_above_the_hold_is_charged_as_the_work_that_was_done(
    holder: Api, hold: str, spent: Callable[[int], None]
) -> None:
    """The hold covers two minutes, five were used: all five are charged, from the balance where the hold ends, once."""
    first = holder.post(f"{hold}/capture", {"quantity": 300}).json()
    assert (first["charged"], first["released"], first["debt"]) == ("0.75", "0.00", "0.00")
    spent(750_000)
    assert (
        holder.post(f"{hold}/capture", {"quantity": 300}).json()["transaction_id"] == first["transaction_id"]
    )


def test_two_captures_and_a_release_after_one(holder: Api, hold: str, spent: Callable[[int], None]) -> None:
    first = holder.post(f"{hold}/capture", {"quantity": 60}).json()
    spent(150_000)
    assert holder.post(f"{hold}/capture", {"quantity": 60}).json()["charged"] == first["charged"] == "0.15"
    for path, body in (
        (f"{hold}/capture", {"quantity": 61}),
        (f"{hold}/capture", {}),
        (f"{hold}/release", None),
        (f"{hold}/extend", {}),
    ):
        error = problem(holder.post(path, body), 409, "conflict")
        assert error["detail"]["status"] == "captured" and "new one" in error["message"]


def test_a_capture_after_a_release(holder: Api, hold: str) -> None:
    first = holder.post(f"{hold}/release").json()
    assert holder.post(f"{hold}/release").json() == first
    problem(holder.post(f"{hold}/capture", {"quantity": 60}), 409, "conflict")
    problem(holder.post(f"{hold}/extend", {}), 409, "conflict")


@pytest.mark.parametrize("action", ["extend", "capture", "release", ""])
@pytest.mark.parametrize("number", ["999999", "0", "-1", "abc", "9" * 30])
def test_a_hold_that_is_not_there(holder: Api, number: str, action: str) -> None:
    answer = holder.post(f"holds/{number}/{action}", {}) if action else holder.get(f"holds/{number}")
    status = 404 if number == "999999" else 422
    problem(answer, status, "not_found" if status == 404 else "invalid_request")


def test_the_hold_of_a_call_is_closed_by_the_call(holder: Api, spent: Callable[[int], None]) -> None:
    call = holder.post("calls", {}).json()
    for action in ("extend", "capture", "release"):
        error = problem(holder.post(f"holds/{call['hold_id']}/{action}"), 409, "conflict")
        assert error["detail"] == {"call_id": call["call_id"]}
    spent(holder.post(f"calls/{call['call_id']}/end").json()["charged_micros"])


def test_heartbeats_and_ends_of_an_ended_call(holder: Api, spent: Callable[[int], None]) -> None:
    """Late and repeated ones are harmless: the answer says that it has ended, and the charge stays."""
    call = f"calls/{holder.post('calls', {}).json()['call_id']}"
    later = (datetime.now(UTC) + timedelta(seconds=230)).isoformat()
    ended = holder.post(f"{call}/end", {"at": later}).json()
    spent(ended["charged_micros"])
    assert ended["charged"] == "0.60"
    for path, body in (
        (f"{call}/heartbeat", {}),
        (f"{call}/heartbeat", {"at": later}),
        (f"{call}/end", {}),
        (f"{call}/end", {"at": later}),
    ):
        again = holder.post(path, body).json()
        assert (again["status"], again["charged"], again["remaining_seconds"]) == ("ended", "0.60", 0)


@pytest.mark.parametrize(
    "at", ["2199-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "soon", "2026-11-01T12:00:00", 1_700_000_000]
)
def test_a_heartbeat_at_a_time_that_cannot_be(holder: Api, at: Any, spent: Callable[[int], None]) -> None:
    call = f"calls/{holder.post('calls', {}).json()['call_id']}"
    for action in ("heartbeat", "end"):
        problem(holder.post(f"{call}/{action}", {"at": at}), 422, "invalid_request")
    spent(holder.post(f"{call}/end").json()["charged_micros"])


@pytest.mark.parametrize("path", ["use", "use/batch"])
def test_usage_in_the_future(holder: Api, path: str) -> None:
    event = USE | {"occurred_at": "2199-01-01T00:00:00Z"}
    answer = holder.post(path, {"events": [event]} if "batch" in path else event)
    if "batch" in path:
        (result,) = answer.json()["results"]
        assert (result["status"], result["error"]["code"]) == ("error", "invalid_request")
    else:
        assert "has passed" in problem(answer, 422, "invalid_request")["message"]


def test_overlapping_price_versions(runtime: Runtime) -> None:
    """C3: from one moment on there is one price, and none begins in the past."""
    price = {"operation": "call", "components": [{"unit": "minute", "price_micros": 1}]}
    start = datetime(2190, 1, 1, tzinfo=UTC)
    runtime.db.call("set_price", SERVICE, **price, effective_from=start)
    with pytest.raises(Exception, match="another moment") as refused:
        runtime.db.call(
            "set_price",
            SERVICE,
            **price | {"components": [{"unit": "call", "price_micros": 2}]},
            effective_from=start,
        )
    assert refused.value.http_status == 409  # type: ignore[attr-defined]
    with pytest.raises(Exception, match="never changes"):
        runtime.db.call("set_price", SERVICE, **price, effective_from=datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    "body",
    [{}, {"period": "day"}, {"cap": "1"}, {"period": "week", "cap": "1"}, {"period": "day", "cap": "-1"},
     {"period": "day", "cap": "1e300"}, {"period": "day", "cap": "0.0000001"}, {"period": "day", "cap": "1", "api_key_id": "x"},
     {"period": "day", "cap": "1", "limit": 5}],
    ids=str,
)  # fmt: skip
def test_a_cap_that_makes_no_sense(holder: Api, body: dict[str, Any]) -> None:
    problem(holder.post("limits/caps", body), 422, "invalid_request")
    assert holder.get("limits").json()["caps"] == []


@pytest.mark.parametrize(
    "body",
    [{"time_zone": "Mars/Base"}, {"time_zone": ""}, {"time_zone": "'; --"}, {"low_balance": ["-1"]}, {"low_balance": ["1"] * 11},
     {"low_balance": "5"}, {"timezone": "UTC"}],
    ids=str,
)  # fmt: skip
def test_settings_that_make_no_sense(holder: Api, body: dict[str, Any]) -> None:
    problem(holder.post("account/settings", body), 422, "invalid_request")


@pytest.mark.parametrize("body", [{"anchor_day": 0}, {"anchor_day": 32}, {"anchor_day": 1.5}], ids=str)
def test_a_billing_day_that_does_not_exist(admin: Api, body: dict[str, Any]) -> None:
    problem(admin.post("account/settings", body | {"account": HOLDER}), 422, "invalid_request")


@pytest.mark.parametrize(
    ("body", "status"),
    [({"account": HOLDER}, 422), ({"account": HOLDER, "plan": ""}, 422), ({"account": HOLDER, "plan": "pro"}, 404),
     ({"account": "nobody@demo.test", "plan": None}, 404), ({"plan": None}, 422), ({"account": 999_999, "plan": None}, 404)],
    ids=str,
)  # fmt: skip
def test_a_plan_that_is_not_there(admin: Api, holder: Api, body: dict[str, Any], status: int) -> None:
    problem(admin.post("admin/plan", body), status, "not_found" if status == 404 else "invalid_request")
    problem(holder.post("admin/plan", {"account": HOLDER, "plan": None}), 403, "not_allowed")


def test_an_allowance_edited_in_the_middle_of_its_month(
    holder: Api, admin: Api, runtime: Runtime, spent: Callable[[int], None]
) -> None:
    """What was used stays used; the new number counts from now on, also when it is smaller."""

    def edit(quantity: int) -> dict[str, Any]:
        plans = [{"code": "talk", "name": "Talk", "allowances": {"call": quantity}}]
        runtime.db.call("load_catalog", SERVICE, catalog=catalog.read("voice") | {"plans": plans})
        (bar,) = holder.get("limits").json()["allowances"] or [{}]
        return dict(bar)

    edit(600)
    admin.post("admin/plan", {"account": HOLDER, "plan": "talk"})
    assert holder.post("use", USE | {"quantity": 300}).json()["charged"] == "0.00"
    assert (edit(120)["remaining"], edit(120)["level"]) == (0, "reached")
    assert holder.post("use", USE).json()["charged"] == "0.15"
    spent(150_000)
    bar = edit(360)
    assert (bar["used"], bar["remaining"]) == (300, 60)
    assert holder.post("use", USE).json()["charged"] == "0.00"
    admin.post("admin/plan", {"account": HOLDER, "plan": None})


def test_a_key_without_the_scope(holder: Api) -> None:
    """J3: 403 that names the scope, for every way to spend."""
    made = holder.post("api-keys", {"name": "Reader", "scopes": ["read"]}).json()
    reader = Api(holder.client, made["key"])
    for path, body in (("use", USE), ("deduct", USE), ("use/batch", {"events": [USE]}), ("calls", {})):
        assert problem(reader.post(path, body), 403, "not_allowed")["detail"] == {"scope": "use"}
    assert problem(reader.post("holds", USE), 403, "not_allowed")["detail"] == {"scope": "hold"}
    assert problem(reader.post("checkout", {"package": "usd_10"}), 403, "not_allowed")["detail"] == {
        "scope": "purchase"
    }


def test_a_batch_of_everything_that_is_wrong(holder: Api, spent: Callable[[int], None]) -> None:
    """One bad event never spoils the others, and each says what is wrong with it."""
    good = USE | {"idempotency_key": "good"}
    bad: list[tuple[dict[str, Any], str]] = [
        (USE | {"operation": "nope"}, "not_found"),
        (USE | {"quantity": "NaN"}, "invalid_request"),
        (USE | {"quantity": "1e300"}, "invalid_request"),
        (USE | {"quantity": -1}, "invalid_request"),
        (USE | {"occurred_at": "2199-01-01T00:00:00Z"}, "invalid_request"),
        (USE | {"occurred_at": "soon"}, "invalid_request"),
        (USE | {"quantity": 1_000_000}, "insufficient_credits"),
        (USE | {"idempotency_key": "good", "quantity": 61}, "idempotency_key_reused"),
        (USE | {"account": 999_999}, "not_allowed"),
    ]
    events = [good, *(event for event, _ in bad), good]
    results = holder.post("use/batch", {"events": events}).json()["results"]
    spent(150_000)
    assert [result["status"] for result in results] == ["charged", *["error"] * len(bad), "replayed"]
    assert [result["error"]["code"] for result in results[1:-1]] == [code for _, code in bad]
    assert all(result["error"]["message"].endswith(".") for result in results[1:-1])
