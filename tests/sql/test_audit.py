"""The audit trail (I5): everything staff do is on record, can be found, and names who did it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest

from credits_core import errors
from tests.sql.conftest import Call, Clock, Person, Rows, new_key, refused
from tests.sql.programs import program

# Staff-only functions that compute or prepare and leave nothing behind.
CHANGES_NOTHING = {"rehearse_prices"}


def test_every_function_by_which_staff_change_something_writes_a_row(owner_sql: Callable[..., Rows]) -> None:
    """Enumerated from the database: a new one fails here until it audits, itself or by a helper."""
    rows = owner_sql(
        "select proname as name, prosrc as source, provolatile as volatile from pg_proc"
        " where pronamespace = 'credits'::regnamespace"
    )
    source = {row["name"]: row["source"] for row in rows}

    def audits(name: str, seen: frozenset[str] = frozenset()) -> bool:
        called = set(re.findall(r"credits\.(_?\w+)\(", source.get(name, ""))) - seen
        return "_audit" in called or any(audits(one, seen | called) for one in called if one.startswith("_"))

    asked = re.compile(r"_require\(([^)]*)\)")
    changes = re.compile(r"\b(insert into|update credits|delete from)\b")
    writers = {
        row["name"]
        for row in rows
        if row["volatile"] == "v" and not row["name"].startswith("_") and row["name"] not in CHANGES_NOTHING
        for roles in asked.findall(row["source"])
        # finance reads; what it is let do as well shows by its statements
        if "'admin'" in roles and "'holder'" not in roles
        and ("'finance'" not in roles or changes.search(row["source"]))
    }  # fmt: skip
    assert {
        "adjust",
        "set_flag",
        "set_price",
        "decide_referral",
        "request_refund",
        "create_campaign",
    } <= writers
    assert {name for name in writers if not audits(name)} == set()


@pytest.fixture
def admin(person: Callable[..., Person]) -> Person:
    return person("admin")


def test_rows_are_found_by_who_what_whom_and_when(
    admin: Person, holder: Callable[..., Person], person: Callable[..., Person], clock: Clock, service: Call
) -> None:
    anna, ben, other = holder(), holder(), person("super_admin")
    first = clock.now
    for somebody, who, reason in (
        (anna, admin, "goodwill"),
        (ben, admin, "birthday"),
        (anna, other, "by mistake"),
    ):
        who.call(
            "adjust",
            account_id=somebody.account_id,
            amount_micros=5,
            reason=reason,
            idempotency_key=new_key(),
        )
        clock.advance(hours=1)
    service("set_price", operation="call", components=[{"unit": "call", "price_micros": 1}])

    def found(**filters: object) -> list[str]:
        items = admin.call("audit", **filters)["items"]
        return [row["detail"].get("reason", row["action"]) for row in items]

    assert found() == ["set_price", "by mistake", "birthday", "goodwill", "load_catalog"]
    assert found(account_id=anna.account_id) == ["by mistake", "goodwill"]
    assert found(actor=str(admin.identity.claims["email"]).partition("@")[0] + "@") == [
        "birthday",
        "goodwill",
    ]
    assert found(actor=str(other.identity.claims["sub"])) == ["by mistake"]
    assert found(actor="system") == ["set_price", "load_catalog"]
    assert found(action="adjust", **{"from": first + timedelta(minutes=30)}) == ["by mistake", "birthday"]
    assert found(account_id=anna.account_id, to=first + timedelta(minutes=30)) == ["goodwill"]
    assert found(search="BIRTH") == ["birthday"]
    assert found(actor="nobody at all") == []
    row = admin.call("audit", search="goodwill")["items"][0]
    assert row["who"]["email"] == admin.identity.claims["email"]
    assert row["account_email"] == anna.identity.claims["email"]
    assert admin.call("audit")["actions"] == ["adjust", "load_catalog", "set_price"]


def test_the_whole_trail_page_by_page(admin: Person, holder: Callable[..., Person]) -> None:
    anna = holder()
    for number in range(7):
        admin.call(
            "adjust",
            account_id=anna.account_id,
            amount_micros=5,
            reason=f"no {number}",
            idempotency_key=new_key(),
        )
    seen, place = [], None
    while True:
        page = admin.call("audit", account_id=anna.account_id, limit=3, cursor=place)
        seen += [row["detail"]["reason"] for row in page["items"]]
        place = page["next_cursor"]
        if place is None:
            break
    assert seen == [f"no {number}" for number in reversed(range(7))]


def test_a_key_is_named_and_holders_read_nothing(
    admin: Person, holder: Callable[..., Person], person: Callable[..., Person], service: Call
) -> None:
    anna = holder()
    key = program(service, anna, "admin")
    key.call(
        "adjust", account_id=anna.account_id, amount_micros=5, reason="by a program", idempotency_key="k"
    )
    row = admin.call("audit", search="by a program")["items"][0]
    assert (row["who"]["kind"], row["who"]["email"]) == ("key", anna.identity.claims["email"])
    assert row["who"]["name"]
    assert isinstance(refused(partial(anna.call, "audit")), errors.NotAllowed)
    assert person("finance").call("audit")["items"]
    assert isinstance(refused(partial(admin.call, "audit", limit=501)), errors.InvalidRequest)
