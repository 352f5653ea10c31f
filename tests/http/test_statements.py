"""Statements and the billing portal over HTTP (A6, A7): JSON, PDF, CSV; who may read them; there and back signed in."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest

from credits_core.statement_pdf import pdf
from tests.core.pdf_text import text_of
from tests.http.answers import Answers
from tests.http.conftest import ADMIN, FINANCE, HOLDER, Api, TestClient, problem, sign_in
from tests.http.money_answers import bought

ORIGIN = {"Origin": "http://127.0.0.1:8501"}


def about_statements(holder: Api) -> Answers:
    """One good answer of each endpoint here."""
    listed = holder.get("statements")
    month = listed.json()["items"][0]["month"]
    return {
        ("GET", "/credits/statements"): listed,
        ("GET", "/credits/statements/{month}"): holder.get(f"statements/{month}"),
        ("GET", "/credits/statements/{month}/purchases"): holder.get(f"statements/{month}/purchases"),
        ("POST", "/credits/portal"): holder.post("portal"),
    }


@pytest.fixture
def month(holder: Api, give: Callable[..., Any]) -> str:
    give("5.00")
    holder.post("use", {"operation": "call", "quantity": 90})
    return str(holder.get("statements").json()["items"][0]["month"])


def test_the_same_month_as_json_csv_and_pdf(holder: Api, month: str) -> None:
    """A6: three forms of one thing; its figures add up in each."""
    found = holder.get(f"statements/{month}").json()
    assert (found["opening"], found["closing"]) == ("0.00", "4.70")
    assert [(line["kind"], line["amount"]) for line in found["movements"]] == [
        ("adjustment", "5.00"),
        ("use", "-0.30"),
    ]
    table = holder.get(f"statements/{month}", format="csv")
    assert table.headers["content-disposition"] == f'attachment; filename="statement-{month}.csv"'
    rows = [
        (row["line"], row["amount_credits"]) for row in csv.DictReader(io.StringIO(table.text, newline=""))
    ]
    assert rows == [("opening", "0.00"), ("movement", "5.00"), ("movement", "-0.30"), ("closing", "4.70")]
    file = holder.get(f"statements/{month}", format="pdf")
    assert file.headers["content-type"] == "application/pdf"
    assert (
        f'filename="statement-account-{found["account_id"]}-{month}.pdf"'
        in file.headers["content-disposition"]
    )
    text = text_of(file.content)
    for words in (
        "Opening balance",
        "0.00",
        "+5.00",
        "Used: Call",
        "−0.30",
        "Closing balance",
        "4.70",
        HOLDER,
    ):
        assert words in text


@pytest.mark.parametrize("path", ["statements", "statements/{month}", "statements/{month}/purchases"])
def test_others_statements_are_refused(
    holder: Api, api: Callable[[str | None], Api], month: str, path: str
) -> None:
    """K1, J3: nobody's but the own, no key without the scope; finance reads all."""
    path = path.format(month=month)
    for account in ("2", "999999", ADMIN):
        problem(holder.get(path, account=account), 403, "not_allowed")
    problem(api(None).get(path), 401, "not_signed_in")
    assert api(FINANCE).get(path, account=HOLDER).status_code == 200
    for scope, status in (("read", 200), ("use", 403)):
        key = holder.post("api-keys", {"name": scope, "scopes": [scope]}).json()["key"]
        assert Api(holder.client, key).get(path).status_code == status
    for format in ("pdf", "csv"):
        problem(holder.get(f"statements/{month}", format=format, account="2"), 403, "not_allowed")


@pytest.fixture
def six_hundred(holder: Api, owner_sql: Callable[..., Any]) -> str:
    """The month of 600 purchases of the holder."""
    bought(holder, "usd_5")
    owner_sql(
        "insert into credits.purchases select (jsonb_populate_record(p, jsonb_build_object('id', gen_random_uuid(),"
        " 'idempotency_key', n, 'session_id', 'cs_' || n, 'payment_intent_id', 'pi_' || n, 'name', 'Package ' || n,"
        " 'credited_at', p.credited_at - (interval '1 microsecond' * (n / 2))))).*"
        " from credits.purchases as p, generate_series(2, 600) as n where p.status = 'credited'"
    )
    return str(holder.get("statements").json()["items"][0]["month"])


def test_a_statement_with_six_hundred_purchases_has_each_of_them_once(
    holder: Api, admin: Api, six_hundred: str
) -> None:
    """A6, G7: the answer has the first 500 and says where the others are; PDF and CSV have all, and the sums agree."""
    path = f"statements/{six_hundred}"
    found = holder.get(path).json()
    assert found["payments"][0]["purchases"] == 600 and found["payments"][0]["total_cents"] == 300_000
    assert len(found["purchases"]) == 500
    rest = holder.get(f"{path}/purchases", limit=500, cursor=found["purchases_cursor"]).json()
    assert len(rest["items"]) == 100 and rest["next_cursor"] is None
    ids = [purchase["purchase_id"] for purchase in found["purchases"] + rest["items"]]
    assert len(set(ids)) == 600
    paged, cursor = [], None
    while cursor is not None or not paged:
        page = holder.get(f"{path}/purchases", limit=70, **{"cursor": cursor} if cursor else {}).json()
        paged += [purchase["purchase_id"] for purchase in page["items"]]
        cursor = page["next_cursor"]
    assert paged == ids
    rows = list(csv.DictReader(io.StringIO(holder.get(path, format="csv").text, newline="")))
    assert sum(row["line"] == "purchase" for row in rows) == 600
    text = text_of(holder.get(path, format="pdf").content)
    assert all(f"Package {number} " in text for number in range(2, 601)) and "600 payments in USD" in text
    problem(holder.get(f"{path}/purchases", cursor="x"), 422, "invalid_request")
    theirs = admin.post("purchase", {"package": "usd_5"}).json()["purchase_id"]
    problem(holder.get(f"{path}/purchases", cursor=theirs), 422, "invalid_request")


@pytest.mark.parametrize(
    ("month", "status"), [("2026-13", 422), ("2199-01", 404), ("november", 422), ("2026-1", 422)]
)
def test_bad_months_get_a_sentence(holder: Api, month: str, status: int) -> None:
    for format in ("json", "pdf", "csv"):
        problem(
            holder.get(f"statements/{month}", format=format),
            status,
            "invalid_request" if status == 422 else "not_found",
        )


def test_the_page_downloads_the_pdf_with_its_session(browser: TestClient, month: str) -> None:
    address = f"/auth/statement.pdf?month={month}"
    answer = browser.get(address)
    assert (answer.status_code, answer.headers["location"]) == (303, "/auth/sign-in?next=%2Fstatements")
    sign_in(browser, HOLDER)
    assert browser.get(address).content.startswith(b"%PDF-")
    assert browser.get(address, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    for query, status in (
        ("month=2026-99", 422),
        ("month=2199-01", 404),
        ("account=2", 403),
        ("account=x", 422),
    ):
        refused = browser.get(f"/auth/statement.pdf?{query}")
        assert refused.status_code == status and "There is no statement" in refused.text


def test_the_portal_leads_to_stripe_and_back_signed_in(browser: TestClient, holder: Api) -> None:
    """A7: one button, Stripe's page, and its link back to the statements of the same person."""
    assert (
        browser.post("/auth/portal", headers=ORIGIN).headers["location"] == "/auth/sign-in?next=%2Fstatements"
    )
    sign_in(browser, HOLDER)
    assert browser.post("/auth/portal").status_code == 403, "from another site"
    there = browser.post("/auth/portal", headers=ORIGIN)
    assert there.status_code == 303 and "/sim/portal/" in there.headers["location"]
    page = browser.get(there.headers["location"])
    assert page.status_code == 200 and 'href="http://127.0.0.1:8501/statements"' in page.text
    assert browser.get("/statements").text == "page"
    again = holder.post("portal").json()["url"]
    assert again != there.headers["location"], "made anew for each visit"


def test_no_key_and_no_program_opens_the_portal(holder: Api, service_token: str) -> None:
    key = holder.post("api-keys", {"name": "K", "scopes": ["read", "use", "purchase"]}).json()["key"]
    problem(Api(holder.client, key).post("portal"), 403, "not_allowed")
    problem(Api(holder.client, service_token).post("portal"), 403, "not_allowed")


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("Zoë Öztürk", "Zoë Öztürk"),
        ("Nguyễn Thị", "Nguyên Thi"),
        ("Дмитро Їжак", "Дмитро Їжак"),
        ("Σοφία Παπαδάκη", "Σοφία Παπαδάκη"),
        ("タナカ・김민수", "tanakagimminsu"),
        ("ＦＵＬＬ ﬁ", "FULL fi"),
        ("علي 🦊", "aly"),
        ("שרה\u202e ‏", "shrh"),
        ("李雷 Li", "?? Li"),
        ("李\x00雷\n", "Account 1"),
        ("x" * 5000, "xxx"),
        (None, "Account 1"),
    ],
)
def test_every_name_makes_a_pdf(name: str | None, written: str) -> None:
    """A6: Latin, Greek and Cyrillic as they are, other scripts in Latin letters; nothing of a name is markup."""
    statement: dict[str, Any] = {
        "account_id": 1, "name": name, "email": "x@demo.test", "month": "2026-10", "time_zone": "Asia/Kolkata",
        "as_of": "2026-10-31T18:30:00Z", "complete": True, "opening_micros": -1, "closing_micros": 10**17,
        "movements": [{"kind": "use", "name": name, "count": 10**9, "amount_micros": 10**17 + 1}] * 80,
        "purchases": [], "payments": [],
    }  # fmt: skip
    text = " ".join(text_of(pdf(statement)).split())  # a blank is a piece of its own between two fonts
    assert written in text and "100,000,000,000.00" in text and "−0.000001" in text
    assert "page 2 of" in text
