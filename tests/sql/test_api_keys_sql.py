"""API keys (J3) in the database: each scope opens its functions alone; a key acts for its account alone, and until its end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from credits_core import errors
from credits_core.api_keys import key_hash, new_key
from credits_core.db.port import ANONYMOUS, SERVICE, Identity
from credits_core.units import parse_credits as micros
from tests.sql.conftest import Call, Clock, Person, Rows, paid, refused
from tests.sql.conftest import new_key as idempotency_key
from tests.sql.programs import Program, program
from tests.sql.test_access import SIGNED_IN
from tests.sql.test_isolation import attempts, functions

SCOPES = ("read", "use", "hold", "purchase")
# What each scope opens; `check_use` is open to three, and `purchase_quote` tells nothing but public prices. Everything else is
# for people, or for keys of administrators.
OPENS = {
    "read": """
        account_detail account_overview alerts auto_reload balance balance_as_of call call_by_key calls check_use
        deliveries delivery explain flags hold limits live_calls me notice_settings purchase purchase_quote purchase_status
        purchases referral refunds run_out_forecast statement statement_purchases statements subscription transactions unread_alerts
        usage_analytics usage_report
        account_settings auto_reload_preview
    """,
    "use": "check_use end_call heartbeat purchase_quote start_call use use_batch",
    "hold": "capture_hold check_use extend_hold place_hold purchase_quote release_hold",
    "purchase": "card_payments create_purchase customer purchase_quote",
}


@pytest.fixture
def anna(clock: Clock, holder: Callable[..., Person]) -> Person:
    return holder("10.00")


@pytest.fixture
def things(anna: Person, service: Call) -> dict[str, object]:
    """One of everything an account can have, as arguments of the functions that are about it."""
    made = anna.call("create_purchase", idempotency_key="p", livemode=False, package="usd_5")
    opened = service("open_purchase", purchase_id=made["purchase_id"], session_id="cs_test_1")
    service("fulfill_purchase", session=paid(opened))
    charge = anna.use("call", 60)
    hold = anna.call("place_hold", operation="call", quantity=60, idempotency_key="h")
    call = anna.call("start_call", operation="call", idempotency_key="c")
    event = {"operation": "call", "quantity": 60, "idempotency_key": "e"}
    message = anna.call("send_test_notice")
    address = {"name": "n", "address": "https://a.test", "sealed": "s"}
    target = anna.call("add_notice_target", channel="webhook", **address)
    return {
        "p_target_id": target["target_id"],
        "p_message_id": message["message_id"],
        "p_transaction_id": charge["transaction_id"],
        "p_purchase_id": made["purchase_id"],
        "p_session_id": "cs_test_1",
        "p_hold_id": hold["hold_id"],
        "p_call_id": call["call_id"],
        "p_api_key_id": program(service, anna, "read").key_id,
        "p_events": Jsonb([event]),
        "p_package": "usd_5",
    }


def let_through(as_person: Call, identity: Identity, statement: str, values: list[object]) -> bool:
    """Whether the call gets further than the question who may do this; undone afterwards."""
    try:
        as_person(identity, statement, *values)
    except psycopg.Error as refusal:
        assert refusal.sqlstate
        return refusal.sqlstate not in ("LC403", "42501")
    return True


def public(names: str) -> str:
    return " ".join(name for name in names.split() if not name.startswith("_"))


# --- scopes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", SCOPES)
def test_a_scope_opens_its_functions_and_no_others(
    anna: Person,
    things: dict[str, object],
    service: Call,
    as_person: Call,
    owner_sql: Callable[..., Rows],
    scope: str,
) -> None:
    """J3: every public function tried with a key of this one scope; a new function is closed until it is listed."""
    key = program(service, anna, scope)
    tried = attempts(functions(owner_sql, public(SIGNED_IN)), things)
    opened = {
        name for name, statement, values in tried if let_through(as_person, key.identity, statement, values)
    }
    assert opened == set(OPENS[scope].split())
    assert len(tried) > 40


def test_all_scopes_together_open_what_each_opens(
    anna: Person, things: dict[str, object], service: Call, as_person: Call, owner_sql: Callable[..., Rows]
) -> None:
    """J3: nothing more; settings, keys and caps stay with people."""
    key = program(service, anna, *SCOPES)
    tried = attempts(functions(owner_sql, public(SIGNED_IN)), things)
    opened = {
        name for name, statement, values in tried if let_through(as_person, key.identity, statement, values)
    }
    assert opened == {name for names in OPENS.values() for name in names.split()}


def test_a_refusal_names_the_scope_that_is_missing(anna: Person, service: Call) -> None:
    """J3: so that one knows which key to make."""
    key = program(service, anna, "purchase")
    for function, arguments, scope in [
        ("balance", {}, "read"),
        ("use", {"operation": "call", "quantity": 1, "idempotency_key": "k"}, "use"),
        ("use_batch", {"events": []}, "use"),
        ("place_hold", {"operation": "call", "quantity": 1, "idempotency_key": "k"}, "hold"),
        ("api_keys", {}, "admin"),
    ]:
        refusal = refused(lambda f=function, a=arguments: key.call(f, **a))
        assert isinstance(refusal, errors.NotAllowed)
        assert refusal.detail == {"scope": scope}
        assert "API key" in refusal.message


def test_a_key_with_the_scope_admin_is_an_administrator(
    anna: Person, person: Callable[..., Person], holder: Callable[..., Person], service: Call, ledger: Call
) -> None:
    """J3, I4: for every account, as administrators are; each row names the key."""
    ben = holder("1.00")
    key = program(service, anna, "admin")
    adjustment = {"amount_micros": 5, "reason": "for a test", "idempotency_key": "a"}
    key.call("adjust", account_id=ben.account_id, **adjustment)
    key.call("set_plan", account_id=ben.account_id)
    assert key.call("balance", account_id=ben.account_id)["posted_micros"] == micros("1") + 5
    assert ledger(ben)[-1]["actor"] == f"key:{key.key_id}"
    assert key.call("me")["role"] == "admin"
    assert isinstance(refused(lambda: key.call("verify")), errors.NotAllowed)


# --- whose it is -------------------------------------------------------------------------------------------------


def test_a_key_acts_for_its_account_and_for_no_other(
    anna: Person, holder: Callable[..., Person], person: Callable[..., Person], service: Call
) -> None:
    """J3: without naming one for its own; also where its owner, as a person, may do more."""
    ben, finance, admin = holder("5.00"), person("finance"), person("admin")
    for owner in (anna, finance, admin):
        key = program(service, owner, *SCOPES)
        assert key.call("balance")["account_id"] == owner.account_id
        assert key.call("me")["role"] == "holder"
        for function, arguments in [
            ("balance", {}),
            ("check_use", {"operation": "call", "quantity": 0}),
            ("use", {"operation": "call", "quantity": 0, "idempotency_key": idempotency_key()}),
            ("transactions", {}),
            ("adjust", {"amount_micros": 1, "reason": "for me", "idempotency_key": "a"}),
        ]:
            refusal = refused(
                lambda f=function, a=arguments, k=key: k.call(f, account_id=ben.account_id, **a)
            )
            assert (function, type(refusal)) == (function, errors.NotAllowed)
    event = {"operation": "call", "quantity": 60, "idempotency_key": "k", "account_id": ben.account_id}
    (result,) = program(service, anna, "use").call("use_batch", events=[event])["results"]
    assert result["error"]["code"] == "not_allowed"
    assert ben.available == micros("5.00")


def test_what_a_key_does_is_written_to_its_name(
    clock: Clock, anna: Person, service: Call, ledger: Call, owner_sql: Callable[..., Rows]
) -> None:
    """B1, J3: 'key:N' in the ledger and in the steps of holds, whatever way it spends; its owner's own rows name nobody."""
    key = program(service, anna, "use", "hold", "read")
    anna.use("call", 60)
    key.use("call", 60)
    key.use("call", 60, account_id=anna.account_id)
    key.call("use_batch", events=[{"operation": "call", "quantity": 60, "idempotency_key": "b"}])
    hold = key.call("place_hold", operation="call", quantity=60, idempotency_key="h")["hold_id"]
    key.call("capture_hold", hold_id=hold)
    ended = {"started_at": clock.now - timedelta(minutes=2), "ended_at": clock.now}
    key.call("start_call", operation="call", idempotency_key="c1", **ended)
    call = key.call("start_call", operation="call", idempotency_key="c2")["call_id"]
    clock.advance(minutes=1)
    key.call("end_call", call_id=call)
    name = f"key:{key.key_id}"
    assert [row["actor"] for row in ledger(anna) if row["kind"] == "use"] == [None, *[name] * 6]
    assert {row["actor"] for row in owner_sql("select actor from credits.hold_events")} == {name}
    told = anna.call("explain", transaction_id=f"{anna.account_id}-3")
    assert told["actor"] == name


def test_keys_are_made_and_ended_by_the_owner_and_by_administrators(
    anna: Person, holder: Callable[..., Person], person: Callable[..., Person], service: Call
) -> None:
    """J3: not by others, not by finance, not by keys."""
    ben, finance, admin = holder(), person("finance"), person("admin")
    bens_key = program(service, anna, *SCOPES)
    request = {"name": "x", "scopes": "{read}", "prefix": "ck_test_aaaaaa", "account_id": anna.account_id}
    made = anna.call("create_api_key", key_hash=key_hash("1"), **request)
    for somebody in (ben, finance, bens_key):
        for attempt in (
            lambda s=somebody: s.call("create_api_key", key_hash=key_hash("2"), **request),
            lambda s=somebody: s.call("api_keys", account_id=anna.account_id),
        ):
            assert isinstance(refused(attempt), errors.NotAllowed)
        revoking = refused(lambda s=somebody: s.call("revoke_api_key", api_key_id=made["api_key_id"]))
        assert isinstance(revoking, errors.NotAllowed if somebody is bens_key else errors.NotFound)
    second = admin.call("create_api_key", key_hash=key_hash("3"), **request)
    assert [key["api_key_id"] for key in anna.call("api_keys")["items"]][:2] == [
        second["api_key_id"],
        made["api_key_id"],
    ]
    assert admin.call("revoke_api_key", api_key_id=made["api_key_id"])["status"] == "revoked"
    assert anna.call("revoke_api_key", api_key_id=second["api_key_id"])["status"] == "revoked"


def test_only_administrators_make_keys_of_administrators(
    anna: Person, person: Callable[..., Person], service: Call
) -> None:
    """J3, I4: also for themselves; an owner who is none makes none."""
    request = {"name": "x", "scopes": "{read,admin}", "prefix": "ck_test_aaaaaa"}
    for somebody in (anna, person("finance")):
        refusal = refused(lambda s=somebody: s.call("create_api_key", key_hash=key_hash("1"), **request))
        assert isinstance(refusal, errors.NotAllowed)
    assert person("admin").call("create_api_key", key_hash=key_hash("2"), **request)["scopes"] == [
        "read",
        "admin",
    ]


def test_bad_keys_are_refused(clock: Clock, anna: Person) -> None:
    """J3: a name, known scopes, a future end."""
    good: dict[str, Any] = {"name": "x", "scopes": "{read}", "prefix": "p", "key_hash": key_hash("1")}
    for wrong in (
        {"name": ""},
        {"name": "   "},
        {"name": "n" * 81},
        {"scopes": "{}"},
        {"scopes": "{read,write}"},
        {"scopes": "{READ}"},
        {"scopes": "{NULL}"},
        {"expires_at": clock.now},
        {"expires_at": clock.now - timedelta(days=1)},
        {"key_hash": "x" * 64},
        {"key_hash": key_hash("1").upper()},
        {"key_hash": None},
        {"name": None},
        {"scopes": None},
    ):
        refusal = refused(lambda wrong=wrong: anna.call("create_api_key", **good | wrong))
        assert (wrong, type(refusal)) == (wrong, errors.InvalidRequest)
    assert anna.call("api_keys")["items"] == []


# --- its end -----------------------------------------------------------------------------------------------------


def test_a_revoked_key_is_no_key(anna: Person, service: Call) -> None:
    """J3: at once; revoking it again answers the same moment; its row stays for the ledger's sake."""
    key = program(service, anna, "use")
    assert service("authenticate_api_key", key_hash=key_hash(key.key)) == dict(key.identity.claims)
    ended = anna.call("revoke_api_key", api_key_id=key.key_id)
    assert service("authenticate_api_key", key_hash=key_hash(key.key)) is None
    assert anna.call("revoke_api_key", api_key_id=key.key_id) == ended
    assert [row["status"] for row in anna.call("api_keys")["items"]] == ["revoked"]


def test_an_expired_key_is_no_key(clock: Clock, anna: Person, service: Call) -> None:
    """J3: at the instant."""
    end = clock.now + timedelta(days=1)
    key = program(service, anna, "use", expires_at=end)
    clock.set(end - timedelta(microseconds=1))
    assert service("authenticate_api_key", key_hash=key_hash(key.key))
    clock.set(end)
    assert service("authenticate_api_key", key_hash=key_hash(key.key)) is None
    assert [row["status"] for row in anna.call("api_keys")["items"]] == ["expired"]


def test_unknown_keys_are_no_keys(anna: Person, service: Call) -> None:
    """J3: and an account without a person has none that work."""
    for wrong in (key_hash(new_key(livemode=False)), "", "0" * 64, "' or true --"):
        assert service("authenticate_api_key", key_hash=wrong) is None


def test_the_last_use_is_known_to_the_minute(clock: Clock, anna: Person, service: Call) -> None:
    """J3: not one more write for every request."""
    key = program(service, anna, "read")
    first = clock.now

    def last_used() -> str:
        (row,) = anna.call("api_keys")["items"]
        return str(row["last_used_at"])

    for seconds, expected in [(59, first), (1, first), (1, first + timedelta(seconds=61))]:
        clock.advance(seconds=seconds)
        service("authenticate_api_key", key_hash=key_hash(key.key))
        assert last_used() == expected.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


# --- its secret --------------------------------------------------------------------------------------------------


def test_no_role_reads_the_hash(
    anna: Person,
    person: Callable[..., Person],
    service: Call,
    as_person: Call,
    owner_sql: Callable[..., Rows],
) -> None:
    """J3, K1: not the owner, not staff, not the service: neither from the table nor through any function."""
    key = program(service, anna, *SCOPES)
    people = [anna.identity, person("super_admin").identity, person("finance").identity, SERVICE, ANONYMOUS]
    for identity in (*people, key.identity):
        for statement in (
            "select key_hash from credits.api_keys",
            "select * from credits.api_keys",
            "select to_jsonb(k) from credits.api_keys as k",
            "select count(*) from credits.api_keys where key_hash like 'a%'",
            "select credits._api_key_json(k) from credits.api_keys as k",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                as_person(identity, statement)
    readable = owner_sql(
        "select role, attname as name from pg_attribute, unnest(array['anon', 'authenticated', 'service_role']) as role"
        " where attrelid = 'credits.api_keys'::regclass and attnum > 0"
        " and has_column_privilege(role, attrelid, attnum, 'select')"
    )
    assert {row["role"] for row in readable} == {"authenticated", "service_role"}
    assert {"key_hash", "idempotency_key"} & {row["name"] for row in readable} == set()
    answers = [anna.call("api_keys"), anna.call("revoke_api_key", api_key_id=key.key_id)]
    audit = owner_sql("select detail from credits.audit_log")
    assert key_hash(key.key) not in repr((answers, audit, key.identity))


def test_people_see_the_keys_of_their_own_account(
    anna: Person, holder: Callable[..., Person], person: Callable[..., Person], service: Call, as_person: Call
) -> None:
    """K1: by the row policy alone; staff see all."""
    key, ben = program(service, anna, "read"), holder()
    for somebody, sees in [(anna, [key.key_id]), (ben, []), (person("finance"), [key.key_id])]:
        assert as_person(somebody.identity, "select id from credits.api_keys") == sees


def test_a_key_pretends_in_vain(anna: Person, holder: Callable[..., Person], service: Call) -> None:
    """J3: what people could put into a token of their own gives them no key's rights, and takes none of their limits."""
    ben: Person = holder("1.00")
    claims = dict(anna.identity.claims) | {
        "api_key_id": program(service, ben, "use").key_id,
        "scopes": ["admin"],
    }
    pretender = Program(Identity(claims), anna.account_id, anna.database, 0, "")
    assert pretender.call("balance")["account_id"] == anna.account_id
    assert isinstance(
        refused(lambda: pretender.call("balance", account_id=ben.account_id)), errors.NotAllowed
    )
    assert isinstance(refused(lambda: pretender.call("accounts_list")), errors.NotAllowed)
