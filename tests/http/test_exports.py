"""Exports over HTTP (G7): the whole result for whoever may see it, streamed, the same in all three formats."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow.parquet as pq
import pytest

from credits_core.db.embedded import EmbeddedServer
from credits_core.db.port import SERVICE
from credits_core.db.psycopg_transport import PsycopgDatabase
from credits_core.export_sources import SOURCES
from tests.core.sheets import read_xlsx
from tests.http.conftest import ADMIN, FINANCE, HOLDER, Api, TestClient, problem, sign_in

CALL = {"operation": "call", "quantity": 60}
STAFF_FILES = [what for what, source in SOURCES.items() if source.for_staff]
OWN_FILES = [what for what, source in SOURCES.items() if not source.for_staff]


def rows_of(answer: Any) -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


def test_a_holder_gets_all_of_the_own_rows_and_nobody_elses(
    holder: Api, api: Callable[[str | None], Api], give: Callable[..., Any]
) -> None:
    give("5.00")
    give("1.00", account=FINANCE)
    for _ in range(3):
        holder.post("use", CALL)
    rows = rows_of(holder.get("exports/transactions"))
    assert [(row["kind"], row["amount_credits"]) for row in rows] == [("use", "-0.15")] * 3 + [
        ("adjustment", "5.00")
    ]
    assert [row["kind"] for row in rows_of(holder.get("exports/transactions", kind="adjustment"))] == [
        "adjustment"
    ]
    (day,) = rows_of(holder.get("exports/usage"))
    assert (day["operation"], day["events"], day["charged_credits"]) == ("call", "3", "0.45")


@pytest.mark.parametrize("what", sorted(SOURCES))
@pytest.mark.parametrize("format", ["csv", "xlsx", "parquet"])
def test_every_file_can_be_read(
    admin: Api, holder: Api, give: Callable[..., Any], what: str, format: str
) -> None:
    """G7: each table in each format has its columns, and says what it is."""
    give("5.00")
    holder.post("use", CALL)
    answer = admin.get(f"exports/{what}", format=format)
    assert answer.status_code == 200, answer.text
    name = what.replace("_", "-")
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}.{format}"'
    assert answer.headers["cache-control"] == "no-store" and answer.headers["accept-ranges"] == "none"
    columns = [column.name for column in SOURCES[what].columns]
    match format:
        case "csv":
            assert answer.text.splitlines()[0].split(",") == columns
        case "xlsx":
            (sheet,) = read_xlsx(answer.content).values()
            assert [str(cell).removesuffix(" (UTC)") for cell in sheet[0]] == columns
        case "parquet":
            assert pq.read_table(io.BytesIO(answer.content)).column_names == columns


@pytest.mark.parametrize("what", STAFF_FILES)
def test_files_of_everybody_are_for_staff(
    holder: Api, api: Callable[[str | None], Api], browser: TestClient, what: str
) -> None:
    problem(holder.get(f"exports/{what}"), 403, "not_allowed")
    problem(api(None).get(f"exports/{what}"), 401, "not_signed_in")
    assert api(ADMIN).get(f"exports/{what}").status_code == 200
    sign_in(browser, HOLDER)
    refused = browser.get(f"/auth/export/{what}")
    assert refused.status_code == 403 and "Your role may not do this" in refused.text


@pytest.mark.parametrize("what", OWN_FILES)
def test_another_accounts_files_are_refused(holder: Api, browser: TestClient, what: str) -> None:
    """K1: before the first byte, and alike for accounts that are not there."""
    for account in (2, 999_999):
        problem(holder.get(f"exports/{what}", account=account), 403, "not_allowed")
    sign_in(browser, HOLDER)
    assert browser.get(f"/auth/export/{what}", params={"account": 2}).status_code == 403


def test_keys_export_what_their_scope_reads(holder: Api, give: Callable[..., Any]) -> None:
    """J3: a key that may only spend gets no files."""
    give("1.00")

    def file_with(scopes: list[str]) -> Any:
        key = holder.post("api-keys", {"name": "A", "scopes": scopes}).json()["key"]
        return Api(holder.client, key).get("exports/transactions")

    assert len(rows_of(file_with(["read"]))) == 1
    problem(file_with(["use", "hold"]), 403, "not_allowed")


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"format": "pdf"}, 422),
        ({"time_zone": "Mars/Base"}, 422),
        ({"time_zone": "../../etc/passwd"}, 422),
        ({"from": "yesterday"}, 422),
        ({"from": "2026-11-20", "to": "2026-11-01"}, 422),
        ({"kind": "x" * 101}, 422),
        ({"account": "nobody@nowhere.test"}, 403),
    ],
)
def test_bad_questions_get_a_sentence(holder: Api, query: dict[str, str], status: int) -> None:
    answer = holder.get("exports/transactions", **query)
    problem(answer, status, "invalid_request" if status == 422 else "not_allowed")


def test_an_unknown_file_names_the_known_ones(holder: Api, browser: TestClient) -> None:
    assert "transactions" in problem(holder.get("exports/passwords"), 404, "not_found")["message"]
    problem(holder.get("exports/..%2f..%2fetc"), 404, "not_found")
    sign_in(browser, HOLDER)
    for address in ("passwords", "transactions?format=pdf", "transactions?account=1;drop", "usage?from=x"):
        answer = browser.get(f"/auth/export/{address}")
        assert answer.status_code in (404, 422) and "There is no file" in answer.text, address


@pytest.mark.parametrize(
    "month", ['x"; filename="evil.exe', "a\r\nSet-Cookie: a=b", "../../etc/passwd", "２０２６-11"]
)
def test_nothing_that_was_sent_gets_into_the_files_name(holder: Api, browser: TestClient, month: str) -> None:
    """K3: names are made of names, numbers and dates alone."""
    named = 'attachment; filename="transactions.csv"'
    assert holder.get("exports/transactions", month=month[:7]).headers["content-disposition"] == named
    sign_in(browser, HOLDER)
    answer = browser.get("/auth/export/transactions", params={"month": month, "kind": month, "search": month})
    assert answer.headers["content-disposition"] == named


def test_days_are_cut_by_the_zone_asked_for(holder: Api, give: Callable[..., Any]) -> None:
    give("1.00")
    today = rows_of(holder.get("exports/transactions"))[0]["created_at"][:10]
    assert len(rows_of(holder.get("exports/transactions", **{"from": today, "to": today}))) == 1
    assert rows_of(holder.get("exports/transactions", **{"from": "2020-01-01", "to": "2020-01-02"})) == []
    (row,) = rows_of(holder.get("exports/transactions", time_zone="Asia/Kolkata"))
    assert row["created_at"].endswith("+05:30")
    named = holder.get("exports/transactions", **{"from": today, "to": today}, account=1)
    assert f'filename="transactions-account-1-{today}-to-{today}.csv"' in named.headers["content-disposition"]


def test_a_browser_downloads_with_its_session_and_other_sites_cannot(
    browser: TestClient, give: Callable[..., Any]
) -> None:
    """K3: nobody without a session, nobody from another site; HEAD and Range do no harm."""
    give("1.00")
    address = "/auth/export/transactions"
    answer = browser.get(address)
    assert (answer.status_code, answer.headers["location"]) == (303, "/auth/sign-in?next=%2F")
    sign_in(browser, HOLDER)
    assert len(rows_of(browser.get(address))) == 1
    assert len(rows_of(browser.get(address, headers={"Sec-Fetch-Site": "same-origin"}))) == 1
    for site in ("cross-site", "same-site"):
        assert browser.get(address, headers={"Sec-Fetch-Site": site}).status_code == 403
    head = browser.head(address)
    assert (head.status_code, head.content) == (200, b"")
    assert len(rows_of(browser.get(address, headers={"Range": "bytes=0-3"}))) == 1
    assert browser.post(address).status_code in (404, 405)


def test_a_signed_out_session_downloads_nothing(browser: TestClient) -> None:
    sign_in(browser, HOLDER)
    cookies = dict(browser.cookies)
    browser.post("/auth/sign-out", headers={"Origin": "http://127.0.0.1:8501"})
    browser.cookies.update(cookies)
    assert browser.get("/auth/export/transactions").status_code == 303


@pytest.fixture
def many(
    server: EmbeddedServer,
    database_name: str,
    database: PsycopgDatabase,
    admin: Api,
    give: Callable[..., Any],
) -> int:
    """100,000 uses of the demo holder, through the real batches."""
    give("1000000")
    account = admin.get("admin/users", search=HOLDER).json()["items"][0]["account_id"]
    for batch in range(10):
        events = [
            {
                "operation": "call",
                "quantity": 1 + n % 600,
                "idempotency_key": f"{batch}-{n}",
                "account_id": account,
            }
            for n in range(10_000)
        ]
        database.call("use_batch", SERVICE, events=events)
    return int(account)


READ = """
import io, json, os, resource, sys
from credits_core.db.port import Identity
from credits_core.db.psycopg_transport import PsycopgDatabase
from credits_core import export_sources as sources
import pyarrow.parquet, xlsxwriter
db = PsycopgDatabase(os.environ["DSN"], max_size=1)
asked = sources.Asked(account_id=int(os.environ["ACCOUNT"]), kind=os.environ["KIND"] or None)
file = sources.open_export(db, Identity({"role": "service_role"}), "transactions", sys.argv[1], asked)
before, size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0
with open(sys.argv[2], "wb") as target:
    for chunk in file.chunks:
        size += target.write(chunk)
print(json.dumps({"grown_kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, "bytes": size}))
db.close()
"""


@pytest.mark.timeout(900)
def test_a_hundred_thousand_rows_stream_with_bounded_memory_and_equal_the_ledger(
    many: int, server: EmbeddedServer, database_name: str, owner_sql: Callable[..., Any], tmp_path: Any
) -> None:
    """G7: read page by page by key; each of the formats holds exactly the rows of the database."""
    expected = {
        row["id"]: Decimal(row["amount_micros"]).scaleb(-6)
        for row in owner_sql(
            "select account_id || '-' || seq as id, amount_micros from credits.transactions where account_id = %s",
            many,
        )
    }
    assert len(expected) == 100_001
    for format in ("csv", "xlsx", "parquet"):
        target = tmp_path / f"file.{format}"
        environ = {**os.environ, "DSN": server.dsn(database=database_name), "ACCOUNT": str(many), "KIND": ""}
        done = subprocess.run(
            [sys.executable, "-c", READ, format, str(target)],
            env=environ,
            capture_output=True,
            text=True,
            timeout=280,
        )
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        # All rows at once, as dictionaries, are more than 250 MB.
        assert told["grown_kb"] < 60_000, (format, told)
        assert _amounts(format, target.read_bytes()) == expected, format


def _amounts(format: str, file: bytes) -> dict[str, Decimal]:
    match format:
        case "csv":
            reader = csv.DictReader(io.StringIO(file.decode(), newline=""))
            return {row["transaction_id"]: Decimal(row["amount_credits"]) for row in reader}
        case "xlsx":
            (sheet,) = read_xlsx(file).values()
            place = sheet[0].index("amount_credits")
            return {row[0]: Decimal(str(row[place])) for row in sheet[1:]}
    table = pq.read_table(io.BytesIO(file), columns=["transaction_id", "amount_credits"])
    return dict(zip(table["transaction_id"].to_pylist(), table["amount_credits"].to_pylist(), strict=True))


def test_payments_of_a_currency_and_a_mode(holder: Api, admin: Api, owner_sql: Callable[..., Any]) -> None:
    """A15, G7: filters of the payments desk narrow its file; test and live are told apart."""
    first, second = (
        holder.post("purchase", {"package": name}).json()["purchase_id"] for name in ("usd_5", "usd_10")
    )
    owner_sql("update credits.purchases set livemode = true, currency = 'eur' where id = %s", second)

    def listed(**query: str) -> list[str]:
        return [row["purchase_id"] for row in rows_of(admin.get("exports/payments", **query))]

    assert listed() == [second, first]
    assert listed(mode="live") == listed(currency="eur") == [second]
    assert listed(mode="test") == listed(currency="usd", mode="test") == [first]
    assert listed(mode="live", currency="usd") == []
    problem(admin.get("exports/payments", mode="both"), 422, "invalid_request")
    problem(admin.get("exports/payments", currency="dollars"), 422, "invalid_request")
    assert admin.get("admin/payments/currencies").json()["items"] == ["eur", "usd"]
    problem(holder.get("admin/payments/currencies"), 403, "not_allowed")


def test_a_usage_report_as_a_file_equals_its_answer(holder: Api, give: Callable[..., Any]) -> None:
    """G1, G7: the rows with use, now or before, of the same cut."""
    give("5.00")
    for key, ago in (("a", 0), ("b", 3), ("c", 20)):
        at = (datetime.now(UTC) - timedelta(days=ago, seconds=1)).isoformat()
        assert holder.post("use", CALL | {"occurred_at": at, "idempotency_key": key}).status_code == 200
    last = datetime.now(UTC).date()
    days = {"from": str(last - timedelta(days=13)), "to": str(last), "unit": "week"}
    answer = holder.get("usage/report", **days).json()
    rows = rows_of(holder.get("exports/usage_report", **days, operation="call"))
    assert [(row["start"], row["charged_credits"], row["before_credits"]) for row in rows] == [
        (row["start"], row["charged"], row["before"])
        for row in answer["rows"]
        if row["charged_micros"] or row["before_micros"]
    ]
    assert sum(Decimal(row["charged_credits"]) for row in rows) == Decimal(answer["total"]) == Decimal("0.30")
    problem(holder.get("exports/usage_report", unit="hour"), 422, "invalid_request")
    problem(holder.get("exports/usage_report", operation="nothing"), 404, "not_found")
