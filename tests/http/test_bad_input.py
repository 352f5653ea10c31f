"""Bad input (issue 1, "Bad input"): the right status, a sentence that helps, and an unchanged balance each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from credits_core.config import Settings
from credits_core.db.embedded import EmbeddedServer
from credits_core.db.port import SERVICE
from credits_core.db.psycopg_transport import PsycopgDatabase
from credits_core.runtime import Runtime
from tests.conftest import new_database
from tests.http.conftest import BASE, HOLDER, Api, problem, running

PAST = "2026-11-01T12:00:00Z"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(data_dir=tmp_path_factory.mktemp("data"), base_url=BASE)


@pytest.fixture(scope="module")
def runtime(
    settings: Settings, server: EmbeddedServer, template: str, superuser_sql: Callable[[Any], None]
) -> Iterator[Runtime]:
    """One database for all tests here, with ten credits for the holder: none of them may change anything."""
    for name in new_database(superuser_sql, template):
        port = PsycopgDatabase(server.dsn(database=name))
        with running(settings, port) as made:
            account = port.call("find_account", SERVICE, account=HOLDER)["account_id"]
            port.call(
                "adjust",
                SERVICE,
                account_id=account,
                amount_micros=10_000_000,
                reason="for a test",
                idempotency_key="k",
            )
            yield made
        port.close()


@pytest.fixture(autouse=True)
def unchanged_balance(holder: Api) -> Iterator[None]:
    """Ten credits and one transaction before and after, whatever a test sent."""
    yield
    assert holder.available() == "10.00"
    assert len(holder.get("transactions").json()["items"]) == 1


QUANTITIES = [
    "NaN", "-NaN", "Infinity", "-Infinity", "1e300", "1e-300", "-1", "-0.000001", "true", "null", '"abc"', '""', '" "', '"1e5"',
    '"NaN"', '"0x10"', '"١"', "[60]", '{"a":1}', "9" * 39, "9" * 5000, "0.0000000000001", "1e16", "1e999999999", "10000000000001",
]  # fmt: skip


@pytest.mark.parametrize("path", ["use", "deduct", "check", "holds"])
@pytest.mark.parametrize("quantity", QUANTITIES, ids=lambda text: text[:20])
def test_a_quantity_that_is_no_sensible_number(holder: Api, path: str, quantity: str) -> None:
    problem(holder.raw(path, f'{{"operation": "call", "quantity": {quantity}}}'), 422, "invalid_request")


@pytest.mark.parametrize("quantity", QUANTITIES, ids=lambda text: text[:20])
def test_a_quantity_in_a_batch_is_refused_there_or_as_a_whole(holder: Api, quantity: str) -> None:
    answer = holder.raw("use/batch", f'{{"events": [{{"operation": "call", "quantity": {quantity}}}]}}')
    if answer.status_code == 200:
        (result,) = answer.json()["results"]
        assert result["status"] == "error"
        assert result["error"]["code"] == "invalid_request"
    else:
        problem(answer, 422, "invalid_request")


@pytest.mark.parametrize(
    "body",
    ["", "{", "[]", "null", "1", '"text"', '{"operation": "call"', "{'operation': 1}", "[" * 100_000, '{"a":' * 100_000,
     '{"operation": "\\ud800", "quantity": 1}', '{"operation": "call\\u0000", "quantity": 1}', "{} {}", "\ufeff{}"],
    ids=lambda text: repr(text[:20]),
)  # fmt: skip
def test_a_body_that_is_no_json_object(holder: Api, body: str) -> None:
    answer = holder.raw("use", body)
    assert answer.status_code in (404, 422)
    problem(answer, answer.status_code, {404: "not_found", 422: "invalid_request"}[answer.status_code])


def test_bytes_that_are_no_text(holder: Api) -> None:
    problem(holder.raw("use", b'{"operation": "\xff\xfe", "quantity": 1}'), 422, "invalid_request")


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
def test_a_body_that_is_not_sent_as_json(holder: Api, kind: str) -> None:
    """Only JSON: a form of another site cannot send that."""
    problem(holder.raw("use", '{"operation": "call", "quantity": 60}', kind), 422, "invalid_request")


@pytest.mark.parametrize(
    "operation", ["nope", "CALL", "call ", "'; drop table credits.accounts; --", "x" * 64, "🙂"]
)
def test_an_unknown_operation(holder: Api, operation: str) -> None:
    problem(holder.post("use", {"operation": operation, "quantity": 60}), 404, "not_found")


@pytest.mark.parametrize("operation", ["", "x" * 65, None, 5, True, ["call"]])
def test_an_operation_that_is_none(holder: Api, operation: Any) -> None:
    problem(holder.post("use", {"operation": operation, "quantity": 60}), 422, "invalid_request")


def test_a_misspelled_field_is_not_lost_in_silence(holder: Api) -> None:
    error = problem(
        holder.post("use", {"operation": "call", "quantity": 60, "occured_at": PAST}), 422, "invalid_request"
    )
    assert "occured_at" in error["message"]


def test_a_call_beyond_the_balance(holder: Api) -> None:
    error = problem(
        holder.post("use", {"operation": "call", "quantity": 60 * 67}), 402, "insufficient_credits"
    )
    assert error["detail"] == {"needed_micros": 10_050_000, "available_micros": 10_000_000}
    recorded = {"started_at": "2026-11-01T10:00:00Z", "ended_at": "2026-11-01T12:00:00Z"}
    problem(holder.post("calls", recorded), 402, "insufficient_credits")
    problem(holder.post("holds", {"operation": "call", "quantity": 60 * 67}), 402, "insufficient_credits")


@pytest.mark.parametrize(
    ("times", "word"),
    [
        ({"started_at": "2026-11-01T12:00:00Z", "ended_at": "2026-11-01T11:59:59Z"}, "before"),
        ({"started_at": "2026-11-01T12:00:00", "ended_at": "2026-11-01T12:01:00"}, "zone"),
        ({"started_at": "yesterday"}, "2026-11-20T12:00:00Z"),
        ({"started_at": 1_700_000_000}, "2026-11-20T12:00:00Z"),
        ({"started_at": "2026-13-01T12:00:00Z"}, "2026-11-20T12:00:00Z"),
        ({"started_at": "2199-01-01T12:00:00Z"}, "future"),
        ({"started_at": "2026-11-01T12:00:00Z", "ended_at": "2026-11-03T12:00:00Z"}, "24 hours"),
        ({"ended_at": "2026-11-01T12:00:00Z"}, "started_at"),
        ({"started_at": "0001-01-01T00:00:00+14:00", "ended_at": "0001-01-01T00:00:01+14:00"}, ""),
    ],
)
def test_a_call_whose_times_cannot_be(holder: Api, times: dict[str, Any], word: str) -> None:
    error = problem(holder.post("calls", times), 422, "invalid_request")
    assert word in error["message"]


@pytest.mark.parametrize("call_id", ["999999", "0", "-1", "abc", "9" * 30, "1.5", "%00"])
@pytest.mark.parametrize("action", ["end", "heartbeat"])
def test_ending_a_call_that_is_not_there(holder: Api, call_id: str, action: str) -> None:
    answer = holder.post(f"calls/{call_id}/{action}", {})
    assert answer.status_code in (404, 422)
    problem(answer, answer.status_code, {404: "not_found", 422: "invalid_request"}[answer.status_code])


@pytest.mark.parametrize("package", ["nope", "USD_10", "usd_10 ", "usd_11", "starter"])
def test_an_unknown_package(holder: Api, package: str) -> None:
    for path in ("checkout", "purchase"):
        problem(holder.post(path, {"package": package}), 404, "not_found")


@pytest.mark.parametrize(
    "body",
    [{}, {"package": "usd_10", "amount_cents": 1000}, {"amount_cents": 1}, {"amount_cents": 100_001}, {"amount_cents": 10.5},
     {"amount_cents": "1000"}, {"amount_cents": True}, {"amount_cents": -500}, {"amount_cents": 10**30}, {"package": ""},
     {"package": None}, {"package": "usd_10", "flow": "cash"}, {"package": "usd_10", "price_cents": 1}],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_a_purchase_of_nothing_sensible(holder: Api, body: dict[str, Any]) -> None:
    problem(holder.post("checkout", body), 422, "invalid_request")


@pytest.mark.parametrize(
    ("session_id", "status"),
    [
        ("{CHECKOUT_SESSION_ID}", 422),
        ("", 422),
        ("abc", 422),
        ("cs_test_unknown", 404),
        ("pi_unknown", 404),
        ("cs_" + "x" * 300, 422),
        ("cs_test_1' or '1'='1", 422),
        ("cs_test_\x00", 422),
    ],
)
def test_the_return_of_a_purchase_that_is_not_there(holder: Api, session_id: str, status: int) -> None:
    problem(
        holder.get("success", session_id=session_id),
        status,
        "not_found" if status == 404 else "invalid_request",
    )


def test_the_return_without_a_session(holder: Api) -> None:
    problem(holder.get("success"), 422, "invalid_request")


def test_another_persons_session_is_as_unknown_as_one_that_is_not_there(
    holder: Api, api: Callable[[str], Api]
) -> None:
    started = holder.post("checkout", {"package": "usd_10"}).json()
    theirs = problem(
        api("super@demo.test").post("check", {"operation": "nope", "quantity": 1}), 404, "not_found"
    )
    assert theirs
    stranger = api("finance@demo.test")
    assert stranger.get("success", session_id=started["session_id"]).status_code == 200  # staff reads
    problem(holder.get("success", session_id="cs_test_unknown"), 404, "not_found")


def test_another_accounts_number(holder: Api, admin: Api) -> None:
    theirs = admin.get("me").json()["account_id"]
    nobody = 999_999
    for account in (theirs, str(theirs), nobody):
        problem(holder.get("balance", account=account), 403, "not_allowed")
        problem(holder.get("transactions", account=account), 403, "not_allowed")
        problem(holder.get("history", account=account, type="purchases"), 403, "not_allowed")
        problem(holder.get("calls", account=account), 403, "not_allowed")
        used = {"operation": "call", "quantity": 60, "account": account}
        problem(holder.post("use", used), 403, "not_allowed")
        problem(holder.post("check", used), 403, "not_allowed")
        problem(holder.post("calls", {"account": account}), 403, "not_allowed")
        problem(holder.post("checkout", {"package": "usd_10", "account": account}), 403, "not_allowed")
        (result,) = holder.post("use/batch", {"events": [used]}).json()["results"]
        assert result["error"]["code"] == "not_allowed"
    problem(holder.get("balance", account="admin@demo.test"), 403, "not_allowed")


@pytest.mark.parametrize(
    ("transaction_id", "status"),
    [
        ("0-0", 403),
        ("999-1", 403),
        ("1-999", 404),
        ("x", 422),
        ("-", 422),
        ("1", 422),
        ("1-1-1", 422),
        ("9" * 30 + "-1", 422),
        ("%27", 422),
    ],
)
def test_a_transaction_that_is_not_there_or_not_theirs(holder: Api, transaction_id: str, status: int) -> None:
    code = {403: "not_allowed", 404: "not_found", 422: "invalid_request"}[status]
    problem(holder.get(f"transactions/{transaction_id}"), status, code)


@pytest.mark.parametrize(
    "query",
    [{"limit": 0}, {"limit": 501}, {"limit": "x"}, {"limit": "1e2"}, {"cursor": "zzz"}, {"cursor": "1" * 300}, {"kind": "nope"},
     {"from": "x"}, {"to": "2026-11-01T12:00:00"}, {"search": "x" * 200}],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_a_list_asked_for_wrongly(holder: Api, query: dict[str, Any]) -> None:
    problem(holder.get("transactions", **query), 422, "invalid_request")


@pytest.mark.parametrize(
    "body",
    [
        {"amount": "5.00"},
        {"amount": "5.00", "reason": ""},
        {"amount": "0", "reason": "no effect"},
        {"amount": "NaN", "reason": "why"},
        {"amount": "1e300", "reason": "why"},
        {"amount": "0.0000001", "reason": "why"},
        {"amount": True, "reason": "why"},
        {"reason": "why not"},
        {"amount": "99999999999999", "reason": "too much"},
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_adjustment_that_makes_no_sense(admin: Api, body: dict[str, Any]) -> None:
    problem(admin.post("admin/adjust", {"account": HOLDER} | body), 422, "invalid_request")


def test_taking_more_than_is_there(admin: Api) -> None:
    body = {"account": HOLDER, "amount": "-10.01", "reason": "too much"}
    problem(admin.post("admin/adjust", body), 402, "insufficient_credits")


def test_an_adjustment_of_an_account_that_is_not_there(admin: Api) -> None:
    for account in ("nobody@demo.test", 999_999, "", "00000000-0000-0000-0000-000000000000"):
        answer = admin.post("admin/adjust", {"account": account, "amount": "1", "reason": "for nobody"})
        problem(answer, 404, "not_found")


@pytest.mark.parametrize("email", [HOLDER, "finance@demo.test"])
def test_only_administrators_adjust(api: Callable[[str], Api], email: str) -> None:
    answer = api(email).post("admin/adjust", {"account": HOLDER, "amount": "1", "reason": "for myself"})
    problem(answer, 403, "not_allowed")


def test_a_holder_does_not_see_other_accounts(holder: Api) -> None:
    problem(holder.get("admin/users"), 403, "not_allowed")


def test_two_different_keys_in_one_request(holder: Api) -> None:
    body = {"operation": "call", "quantity": 60, "idempotency_key": "one"}
    problem(holder.post("use", body, Idempotency_Key="two"), 422, "invalid_request")


def test_a_large_body(holder: Api) -> None:
    body = '{"operation": "call", "quantity": 60, "metadata": {"x": "' + "x" * 6_000_000 + '"}}'
    problem(holder.raw("use", body), 413, "too_large")


def test_a_large_body_that_does_not_say_so(holder: Api) -> None:
    def endless() -> Iterator[bytes]:
        yield b'{"operation": "'
        for _ in range(6):
            yield b"x" * 1_000_000

    answer = holder.client.post(
        "/api/credits/use", content=endless(), headers=holder.headers | {"Content-Type": "application/json"}
    )
    problem(answer, 413, "too_large")


@pytest.mark.parametrize(
    "metadata", ['{"x": "' + "y" * 9000 + '"}', '"text"', "[1]", '{"x": "\\u0000"}', '{"x": "\\ud800"}', '{"x": NaN}'],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_metadata_that_cannot_be_kept(holder: Api, metadata: str) -> None:
    body = f'{{"operation": "call", "quantity": 60, "metadata": {metadata}}}'
    problem(holder.raw("use", body), 422, "invalid_request")


def test_a_batch_of_nothing_and_a_batch_of_too_much(holder: Api) -> None:
    problem(holder.post("use/batch", {"events": []}), 422, "invalid_request")
    many = [{"operation": "call", "quantity": 1}] * 10_001
    problem(holder.post("use/batch", {"events": many}), 422, "invalid_request")
