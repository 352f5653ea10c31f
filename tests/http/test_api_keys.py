"""API keys of programs (J3): shown once, stored as a hash, within their scopes and caps, ended at once; never in a log."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from credits_core import api_keys
from credits_core.auth.key_identity import identity_of_key
from credits_core.config import Settings
from credits_core.db.embedded import EmbeddedServer
from credits_core.db.port import SERVICE
from credits_core.db.psycopg_transport import PsycopgDatabase
from credits_core.db.supabase_transport import SupabaseDatabase
from credits_core.errors import NotAllowed, NotSignedIn
from credits_core.logs import JsonFormatter
from credits_core.runtime import Runtime
from tests.http.conftest import ADMIN, HOLDER, Api, problem
from tests.supabase_lite import supabase_lite

USE = {"operation": "call", "quantity": 60}
Make = Callable[..., dict[str, Any]]


@pytest.fixture
def make(holder: Api) -> Make:
    """`make("read", "use", name="Dialer")`: a key of the demo holder, as the answer that made it."""

    def create(*scopes: str, caller: Api = holder, **more: Any) -> dict[str, Any]:
        answer = caller.post("api-keys", {"name": "Dialer", "scopes": list(scopes or ("read", "use"))} | more)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    return create


@pytest.fixture
def as_program(api: Callable[..., Api]) -> Callable[[str], Api]:
    """`as_program(key)`: the API with that key as bearer."""
    return lambda key: Api(api(None).client, key)


def test_a_key_is_shown_once_and_stored_as_a_hash(
    make: Make, holder: Api, owner_sql: Callable[..., Any]
) -> None:
    made = make("read", "use", expires_at="2199-01-01T00:00:00Z", cap_per_day="2", cap_per_month="10.5")
    assert re.fullmatch(r"ck_test_[0-9A-Za-z]{49}", made["key"])
    assert made["key"].startswith(made["prefix"]) and len(made["prefix"]) == 14
    assert [(cap["period"], cap["cap"]) for cap in made["caps"]] == [("day", "2.00"), ("month", "10.50")]
    (listed,) = holder.get("api-keys").json()["items"]
    assert "key" not in listed
    assert (listed["name"], listed["scopes"], listed["status"]) == ("Dialer", ["read", "use"], "active")
    assert listed["expires_at"] == "2199-01-01T00:00:00.000000Z" and listed["last_used_at"] is None
    assert listed["caps"] == made["caps"]
    (row,) = owner_sql("select * from credits.api_keys")
    assert row["key_hash"] == hashlib.sha256(made["key"].encode()).hexdigest()
    stored = "".join(str(line) for line in owner_sql("select k::text from credits.api_keys as k"
                                                     " union all select a::text from credits.audit_log as a"))  # fmt: skip
    assert made["key"] not in stored and made["key"][14:] not in stored


def test_keys_differ_and_a_slip_is_noticed_without_the_database() -> None:
    keys = {api_keys.new_key(livemode=True) for _ in range(200)}
    assert len(keys) == 200 and all(api_keys.is_complete(key) and key.startswith("ck_live_") for key in keys)
    key = keys.pop()
    swapped = key[:20] + ("A" if key[20] != "A" else "B") + key[21:]
    for wrong in (
        key[:-1],
        key + "0",
        swapped,
        key.replace("live", "test"),
        key.upper(),
        f" {key}",
        f"{key}\n",
        "ck_live_",
    ):
        assert not api_keys.is_complete(wrong)


def test_a_program_acts_for_the_accounts_owner(
    make: Make, as_program: Callable[[str], Api], holder: Api, give: Callable[..., Any]
) -> None:
    give("1.00")
    made = make("read", "use")
    program = as_program(made["key"])
    assert program.get("balance").json()["available"] == "1.00"
    assert program.get("me").json()["account_id"] == holder.get("me").json()["account_id"]
    used = program.post("use", USE, Idempotency_Key="k").json()
    assert used["charged"] == "0.15" and program.post("use", USE, Idempotency_Key="k").json()["replayed"]
    explained = holder.get(f"transactions/{used['transaction_id']}").json()
    assert explained["actor"] == f"key:{made['api_key_id']}"
    (listed,) = holder.get("api-keys").json()["items"]
    assert listed["last_used_at"] is not None
    assert program.get("packages").status_code == 200


NEEDS: list[tuple[str, str, str, Any]] = [
    ("read", "GET", "balance", None), ("read", "GET", "me", None), ("read", "GET", "transactions", None),
    ("read", "GET", "history?type=purchases", None), ("read", "GET", "calls", None), ("read", "GET", "limits", None),
    ("read", "GET", "usage/analytics", None), ("read", "GET", "alerts", None),
    ("read", "GET", "success?session_id=cs_test_1", None),
    ("read", "GET", "transactions/1-1", None), ("read", "GET", "calls/1", None), ("read", "GET", "holds/1", None),
    ("use", "POST", "use", USE), ("use", "POST", "deduct", USE), ("use", "POST", "use/batch", {"events": [USE]}),
    ("use", "POST", "calls", {}), ("use", "POST", "calls/1/heartbeat", None), ("use", "POST", "calls/1/end", None),
    ("hold", "POST", "holds", USE), ("hold", "POST", "holds/1/capture", None), ("hold", "POST", "holds/1/release", None),
    ("hold", "POST", "holds/1/extend", None),
    ("purchase", "POST", "checkout", {"package": "usd_10"}), ("purchase", "POST", "purchase", {"package": "usd_10"}),
    ("admin", "GET", "api-keys", None), ("admin", "POST", "api-keys", {"name": "x", "scopes": ["read"]}),
    ("admin", "POST", "api-keys/1/revoke", None), ("admin", "POST", "limits/caps", {"period": "day", "cap": "1"}),
    ("admin", "POST", "account/settings", {"time_zone": "UTC"}), ("admin", "POST", "alerts/read", None),
    ("read", "GET", "notifications", None), ("read", "GET", "notifications/deliveries", None), ("read", "GET", "webhooks", None),
    ("admin", "POST", "notifications/test", None), ("admin", "POST", "notifications/email", {"emails": {"debt": True}}),
    ("admin", "POST", "webhooks", {"name": "x", "url": "https://8.8.8.8/"}),
    ("read", "GET", "account", None), ("read", "GET", "account/overview", None), ("read", "GET", "usage/forecast", None),
    ("read", "GET", "usage/report", None), ("read", "GET", "calls/live", None), ("read", "GET", "statements", None),
    ("read", "GET", "purchases/00000000-0000-0000-0000-000000000000", None),
    ("read", "POST", "auto-reload/preview", {"threshold": "5", "target": "25", "cap_day_cents": 5000, "cap_month_cents": 20000}),
]  # fmt: skip


@pytest.mark.parametrize("scope", ["read", "use", "hold", "purchase"])
def test_a_scope_opens_its_endpoints_and_no_others(
    make: Make,
    as_program: Callable[[str], Api],
    holder: Api,
    give: Callable[..., Any],
    service: Callable[..., Any],
    scope: str,
) -> None:
    """A key without the scope: 403 that names it, before anything is looked up or changed."""
    give("5.00")
    account = holder.get("me").json()["account_id"]
    assert holder.post("calls", {}).json()["call_id"] == holder.post("holds", USE).json()["hold_id"] - 1 == 1
    program = as_program(make(scope)["key"])
    transactions = len(holder.get("transactions").json()["items"])
    for needed, method, path, body in NEEDS:
        path = path.replace("holds/1", "holds/2").replace("1-1", f"{account}-1")
        answer = program.client.request(method, f"/api/credits/{path}", json=body, headers=program.headers)
        if needed == scope:
            assert answer.status_code in (200, 404, 409), (path, answer.text)
        else:
            error = problem(answer, 403, "not_allowed")
            assert error["detail"] == {"scope": needed} and f"“{needed}”" in error["message"], path
    checked = program.post("check", USE)
    assert checked.status_code == (403 if scope == "purchase" else 200)
    if scope in ("read", "purchase"):
        assert len(holder.get("transactions").json()["items"]) == transactions
    assert service("verify")["differences"] == []


def test_no_key_of_a_holder_does_what_administrators_do(
    make: Make, as_program: Callable[[str], Api], holder: Api, admin: Api, give: Callable[..., Any]
) -> None:
    problem(holder.post("api-keys", {"name": "x", "scopes": ["admin"]}), 403, "not_allowed")
    program = as_program(make("read", "use", "hold", "purchase")["key"])
    for path in ("admin/users", "admin/analytics", "admin/margins"):
        problem(program.get(path), 403, "not_allowed")
    adjustment = {"account": 1, "amount": "1", "reason": "for myself"}
    problem(program.post("admin/adjust", adjustment), 403, "not_allowed")
    theirs = admin.get("me").json()["account_id"]
    problem(program.get("balance", account=theirs), 403, "not_allowed")
    problem(program.post("use", USE | {"account": theirs}), 403, "not_allowed")


def test_an_administrators_key_may_adjust_and_its_actor_is_the_key(
    make: Make, as_program: Callable[[str], Api], admin: Api, holder: Api
) -> None:
    made = make("admin", caller=admin)
    program = as_program(made["key"])
    adjusted = program.post("admin/adjust", {"account": HOLDER, "amount": "2", "reason": "for a test"})
    assert adjusted.json()["available"] == "2.00"
    (row,) = holder.get("transactions").json()["items"]
    assert row["actor"] == f"key:{made['api_key_id']}"
    assert program.get("admin/users").status_code == 200


def test_a_key_ends_with_its_revocation_at_once_and_stays_listed(
    make: Make, as_program: Callable[[str], Api], holder: Api
) -> None:
    made, other = make(), make(name="Other")
    program = as_program(made["key"])
    assert program.get("balance").status_code == 200
    first = holder.client.delete(f"/api/credits/api-keys/{made['api_key_id']}", headers=holder.headers)
    assert first.json()["status"] == "revoked"
    error = problem(program.get("balance"), 401, "not_signed_in")
    assert "revoked" in error["message"]
    assert holder.post(f"api-keys/{made['api_key_id']}/revoke").json() == first.json()
    assert [key["status"] for key in holder.get("api-keys").json()["items"]] == ["active", "revoked"]
    assert as_program(other["key"]).get("balance").status_code == 200


def test_an_expired_key(make: Make, as_program: Callable[[str], Api], owner_sql: Callable[..., Any]) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    program = as_program(make(expires_at=soon)["key"])
    assert program.get("balance").status_code == 200
    owner_sql("update credits.api_keys set expires_at = credits._now()")
    assert "expired" in problem(program.get("balance"), 401, "not_signed_in")["message"]


@pytest.mark.parametrize("change", ["cut", "slip", "unknown", "spaces", "letters"])
def test_a_wrong_key(make: Make, as_program: Callable[[str], Api], change: str) -> None:
    key = make()["key"]
    wrong = {
        "cut": key[:-3],
        "slip": key[:-1] + ("0" if key[-1] != "0" else "1"),
        "unknown": api_keys.new_key(livemode=False),
        "spaces": key[:20] + " " + key[20:],
        "letters": "ck_test_" + "é" * 49,
    }[change]
    client = as_program(key).client
    answer = client.get("/api/credits/balance", headers={"Authorization": b"Bearer " + wrong.encode()})
    problem(answer, 401, "not_signed_in")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert ("mistyped" in answer.text) == (change != "unknown")


@pytest.mark.parametrize(
    "body",
    [
        {}, {"name": "x"}, {"scopes": ["read"]}, {"name": "", "scopes": ["read"]}, {"name": " ", "scopes": ["read"]},
        {"name": "x" * 81, "scopes": ["read"]}, {"name": "x", "scopes": []}, {"name": "x", "scopes": ["write"]},
        {"name": "x", "scopes": "read"}, {"name": "x", "scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z"},
        {"name": "x", "scopes": ["read"], "cap_per_day": "-1"}, {"name": "x", "scopes": ["read"], "cap_per_day": "NaN"},
        {"name": "x", "scopes": ["read"], "key": "mine"},
    ],
    ids=lambda value: str(value)[:60],
)  # fmt: skip
def test_a_key_that_makes_no_sense(holder: Api, body: dict[str, Any]) -> None:
    problem(holder.post("api-keys", body), 422, "invalid_request")
    assert holder.get("api-keys").json()["items"] == []


def test_a_key_made_twice_is_one_key_shown_once(make: Make, holder: Api) -> None:
    """B6: a repetition whose first answer was lost makes no second key; it cannot show the first one again."""
    first = make(idempotency_key="once")
    again = make(idempotency_key="once")
    assert (again["api_key_id"], again["key"], again["replayed"]) == (first["api_key_id"], None, True)
    other = {"name": "Other", "scopes": ["read", "use"], "idempotency_key": "once"}
    problem(holder.post("api-keys", other), 409, "idempotency_key_reused")
    assert len(holder.get("api-keys").json()["items"]) == 1


def test_other_peoples_keys(make: Make, holder: Api, admin: Api, api: Callable[[str], Api]) -> None:
    made = make()
    number = made["api_key_id"]
    finance = api("finance@demo.test")
    problem(finance.post(f"api-keys/{number}/revoke"), 404, "not_found")
    problem(finance.get("api-keys", account=HOLDER), 403, "not_allowed")
    problem(holder.post("api-keys/999999/revoke"), 404, "not_found")
    problem(holder.post("api-keys/0/revoke"), 422, "invalid_request")
    assert [key["api_key_id"] for key in admin.get("api-keys", account=HOLDER).json()["items"]] == [number]
    assert admin.post(f"api-keys/{number}/revoke").json()["status"] == "revoked"
    problem(
        holder.post("limits/caps", {"period": "day", "cap": "1", "api_key_id": 999_999}), 404, "not_found"
    )


def test_a_hundred_keys_are_enough(make: Make, holder: Api) -> None:
    for _ in range(100):
        make()
    problem(holder.post("api-keys", {"name": "x", "scopes": ["read"]}), 429, "limit_reached")


def test_a_cap_of_one_key_leaves_the_others_alone(
    make: Make, as_program: Callable[[str], Api], holder: Api, give: Callable[..., Any]
) -> None:
    """E3: beyond the cap 429 with what is left and when it begins anew; at any number of callers."""
    give("10.00")
    capped, free = make(cap_per_day="0.60"), make(name="Free")
    program = as_program(capped["key"])
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: program.post("use", USE).status_code, range(12)))
    assert (statuses.count(200), statuses.count(429)) == (4, 8)
    error = problem(program.post("use", USE), 429, "limit_reached")
    assert error["detail"]["api_key_id"] == capped["api_key_id"] and error["detail"]["resets_at"]
    checked = program.post("check", USE).json()
    assert (checked["allowed"], checked["reason"]) == (False, "limit_reached")
    assert as_program(free["key"]).post("use", USE).status_code == 200
    assert holder.post("use", USE).status_code == 200
    (key,) = [key for key in holder.get("api-keys").json()["items"] if key["caps"]]
    assert key["caps"][0]["level"] == "reached" and key["caps"][0]["spent"] == "0.60"


def test_no_key_gets_into_the_log(
    make: Make, as_program: Callable[[str], Api], runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    """K4: neither by making and using it, nor when a message or an error quotes it."""
    caplog.set_level(logging.DEBUG)
    made = make()
    as_program(made["key"]).get("balance")
    as_program(made["key"][:-1]).get("balance")
    logging.getLogger("test").error("someone sent Bearer %s and %s", made["key"], made["key"][:30])
    written = "\n".join(JsonFormatter().format(record) for record in caplog.records)
    assert "/api/credits/balance" in written and "[cut]" in written
    assert made["key"][14:25] not in written
    assert made["key"] not in repr(identity_of_key(runtime.db, runtime.settings, made["key"]))


def test_the_key_of_an_account_without_a_person(
    make: Make, as_program: Callable[[str], Api], owner_sql: Callable[..., Any]
) -> None:
    key = make()["key"]
    owner_sql("update credits.accounts set owner_id = null")
    problem(as_program(key).get("balance"), 404, "not_found")


SUPABASE = Settings(supabase_url="https://project.supabase.co", supabase_anon_key="a", supabase_service_role_key="s",
                    supabase_jwt_secret="x" * 40)  # fmt: skip


def test_over_supabase_a_key_needs_the_projects_secret(database: PsycopgDatabase) -> None:
    """The Data API takes an identity only as a signed token; without the secret there is a sentence that says so."""
    without = Settings(
        supabase_url="https://p.supabase.co", supabase_anon_key="a", supabase_service_role_key="s"
    )
    with pytest.raises(NotAllowed, match="SUPABASE_JWT_SECRET"):
        identity_of_key(database, without, api_keys.new_key(livemode=False))
    direct = Settings(
        supabase_url="https://p.supabase.co", supabase_anon_key="a", database_url="postgresql://h/d"
    )
    with pytest.raises(NotSignedIn):
        identity_of_key(database, direct, api_keys.new_key(livemode=False))


def test_a_key_over_supabases_data_api(
    server: EmbeddedServer,
    database_name: str,
    make_user: Callable[..., Any],
    account_of: Callable[..., int],
    service: Callable[..., Any],
) -> None:
    """The token made for a key lives a minute and carries its scopes; SQL decides as over a direct connection."""
    account = account_of(make_user())
    service("adjust", account_id=account, amount_micros=1_000_000, reason="for a test", idempotency_key="a")
    with supabase_lite(server, database_name) as lite:
        settings = Settings(
            supabase_url=lite.url,
            supabase_anon_key=lite.anon_key,
            supabase_service_role_key=lite.service_role_key,
            supabase_jwt_secret=lite.jwt_secret,
        )
        over_https = SupabaseDatabase(lite.url, lite.anon_key, lite.service_role_key)
        made = api_keys.create_api_key(
            over_https, SERVICE, "Dialer", ["read", "use"], livemode=False, account_id=account
        )
        identity = identity_of_key(over_https, settings, made["key"])
        assert identity.token is not None and identity.token not in repr(identity)
        assert over_https.call("balance", identity)["available_micros"] == 1_000_000
        used = over_https.call("use", identity, operation="call", quantity=60, idempotency_key="k")
        assert (
            over_https.call("explain", identity, transaction_id=used["transaction_id"])["actor"]
            == f"key:{made['api_key_id']}"
        )
        with pytest.raises(NotAllowed, match="hold"):
            over_https.call("place_hold", identity, operation="call", quantity=60, idempotency_key="h")
        api_keys.revoke_api_key(over_https, SERVICE, made["api_key_id"])
        with pytest.raises(NotSignedIn):
            identity_of_key(over_https, settings, made["key"])
        over_https.close()


def test_people_and_keys_are_told_apart(api: Callable[..., Api], token: Callable[..., str]) -> None:
    """Claims of a person's token make nobody a program, and a key's name is no token."""
    pretender = Api(api(None).client, token(ADMIN, scopes=["read"], api_key_id=1))
    problem(pretender.post("use", USE), 403, "not_allowed")
