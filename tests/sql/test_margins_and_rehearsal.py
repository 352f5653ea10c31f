"""What prices earn (C5), and new ones tried on past usage (C6): by numbers worked out by hand; a rehearsal changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

import pytest

from credits_core import errors
from credits_core.units import parse_credits as micros
from tests.sql.conftest import MONDAY, Call, Clock, Person, Rows, refused

DAY = timedelta(days=1)
EARLIER, LATER = MONDAY - 365 * DAY, MONDAY + 365 * DAY
Draft = dict[str, Any]


def flat(price: str, operation: str = "sms") -> Draft:
    """A draft price of so much for each message."""
    return {"operation": operation, "components": [{"unit": "message", "price_micros": micros(price)}]}


@pytest.fixture
def ai(clock: Clock, catalog: Call) -> None:
    """The catalog `ai_services`: voice 1.00 a minute, sms 1.00, gpt_4 60.00 for 1,000 tokens; 100.00 for $10.00."""
    catalog("ai_services")


@pytest.fixture
def margins(service: Call) -> Callable[..., dict[str, dict[str, Any]]]:
    """`margins()`: by operation, over all the time there is unless told otherwise."""

    def by_operation(start: datetime = EARLIER, end: datetime = LATER) -> dict[str, dict[str, Any]]:
        rows = service("margins", **{"from": start, "to": end})["rows"]
        return {row.pop("operation"): row for row in rows}

    return by_operation


@pytest.fixture
def rehearse(service: Call) -> Callable[..., dict[str, Any]]:
    """`rehearse(draft, ...)`: over all the time there is."""
    return lambda *draft, start=EARLIER, end=LATER: service(
        "rehearse_prices", draft=list(draft), **{"from": start, "to": end}
    )


# --- margins -----------------------------------------------------------------------------------------------------


def test_a_margin_worked_out_by_hand(
    ai: None, holder: Callable[..., Person], buy: Call, service: Call, margins: Call
) -> None:
    """C5: 100.00 for $10.00, so 1.00 is 10 cents: 30 messages at 2.5 cents each earn 300 - 75 cents."""
    service("set_provider_cost", operation="sms", cost_cents="2.5", effective_from=EARLIER)
    service("set_provider_cost", operation="gpt_4", cost_cents="3", unit_size=1000, effective_from=EARLIER)
    anna = holder()
    buy(anna, "starter")
    for _ in range(30):
        anna.use("sms", 1)
    anna.use("gpt_4", 500)  # 30.00, that is 300 cents; costs 1.5
    found = margins()
    assert found["sms"] == {
        "name": "SMS",
        "events": 30,
        "quantity": 30,
        "charged_micros": micros("30"),
        "revenue_cents": 300,
        "cost_cents": 75,
        "margin_cents": 225,
        "margin_percent": 75,
    }
    assert (
        found["gpt_4"]["revenue_cents"],
        found["gpt_4"]["cost_cents"],
        found["gpt_4"]["margin_cents"],
    ) == (
        300,
        1.5,
        298.5,
    )


def test_promotional_credits_earn_nothing_and_cost_all_the_same(
    catalog: Call,
    clock: Clock,
    holder: Callable[..., Person],
    buy: Call,
    give: Call,
    service: Call,
    margins: Call,
) -> None:
    """C5, H2: Professional is 500.00 for $45.00 and 50.00 free: the free ones go first."""
    catalog("recruitment")
    service("set_provider_cost", operation="message", cost_cents=1, effective_from=EARLIER)
    anna = holder()
    buy(anna, "professional")
    anna.use("message", 600)  # 60.00: 50.00 free, 10.00 at 9 cents
    row = margins()["message"]
    assert (row["charged_micros"], row["revenue_cents"], row["cost_cents"], row["margin_cents"]) == (
        micros("60"),
        90,
        600,
        -510,
    )


def test_each_use_earns_what_its_own_grants_cost(
    catalog: Call, clock: Clock, holder: Callable[..., Person], buy: Call, margins: Call
) -> None:
    """B3, C5: 100.00 at 10 cents, then 1,000.00 at 8: a charge over both earns from both."""
    catalog("recruitment")
    anna = holder()
    buy(anna, "starter")
    anna.use("workflow_execution", 40)  # 80.00
    clock.advance(minutes=1)
    buy(anna, "business")  # 1,000.00 for $80.00, and 150.00 free, which go first
    anna.use("workflow_execution", 75)  # 150.00, the free ones
    anna.use("workflow_execution", 20)  # 20.00 left of the first, 20.00 of the second
    row = margins()["workflow_execution"]
    assert row["revenue_cents"] == 80 * 10 + 20 * 10 + 20 * 8
    assert row["margin_cents"] is None  # nobody said what it costs us


def test_costs_have_dates(
    ai: None, clock: Clock, holder: Callable[..., Person], buy: Call, service: Call, margins: Call
) -> None:
    """C5: each use at the cost of its own time, also when it is sent late; a reversal at that of what it undoes."""
    service("set_provider_cost", operation="sms", cost_cents=1, effective_from=EARLIER)
    service("set_provider_cost", operation="sms", cost_cents=4, effective_from=clock.now + DAY)
    anna = holder()
    buy(anna, "starter")
    first = anna.use("sms", 10)  # 10 cents
    clock.advance(days=2)
    anna.use("sms", 10)  # 40
    anna.use("sms", 10, occurred_at=clock.now - 2 * DAY)  # 10, late
    assert margins()["sms"]["cost_cents"] == 60
    service("reverse", transaction_id=first["transaction_id"], reason="a mistake", idempotency_key="r")
    row = margins()["sms"]
    assert (row["cost_cents"], row["revenue_cents"], row["quantity"]) == (50, 200, 20)


def test_a_margin_is_of_its_period(
    ai: None, clock: Clock, holder: Callable[..., Person], buy: Call, margins: Call
) -> None:
    """C5: from its start on, up to but not at its end."""
    anna = holder()
    buy(anna, "starter")
    for _ in range(3):
        anna.use("sms", 1)
        clock.advance(days=1)
    assert margins(MONDAY, MONDAY + 2 * DAY)["sms"]["events"] == 2
    assert margins(MONDAY + DAY, MONDAY + DAY + timedelta(microseconds=1))["sms"]["events"] == 1
    assert margins(MONDAY + 3 * DAY, LATER) == {}


def test_what_is_included_or_free_of_charge_earns_nothing_but_costs(
    ai: None, person: Callable[..., Person], service: Call, margins: Call
) -> None:
    """C5, E5: a super admin's messages are sent all the same."""
    service("set_provider_cost", operation="sms", cost_cents=2, effective_from=EARLIER)
    person("super_admin").use("sms", 10)
    row = margins()["sms"]
    assert (row["charged_micros"], row["revenue_cents"], row["margin_cents"]) == (0, 0, -20)


def test_costs_and_margins_are_for_staff(
    ai: None, holder: Callable[..., Person], person: Callable[..., Person], clock: Clock
) -> None:
    """C5, I4: finance reads, administrators set; nonsense is refused."""
    times = {"from": EARLIER, "to": LATER}
    for role, reads, writes in [("holder", False, False), ("finance", True, False), ("admin", True, True)]:
        somebody = person(role)
        for allowed, attempt in [
            (reads, lambda s=somebody: s.call("margins", **times)),
            (reads, lambda s=somebody: s.call("rehearse_prices", draft=[], **times)),
            (writes, lambda s=somebody: s.call("set_provider_cost", operation="sms", cost_cents=1)),
        ]:
            if allowed:
                attempt()
            else:
                assert isinstance(refused(attempt), errors.NotAllowed)
    admin = person("admin")
    for wrong, error in [
        ({"cost_cents": -1}, errors.InvalidRequest),
        ({"cost_cents": "NaN"}, errors.InvalidRequest),
        ({"cost_cents": "1e300"}, errors.InvalidRequest),
        ({"unit_size": 0}, errors.InvalidRequest),
        ({"unit_size": -5}, errors.InvalidRequest),
        ({"operation": "teleport"}, errors.NotFound),
        ({}, errors.Conflict),  # one from that very moment on is there
    ]:
        request = {"operation": "sms", "cost_cents": 1} | wrong
        refusal = refused(lambda r=request: admin.call("set_provider_cost", **r))
        assert (wrong, type(refusal)) == (wrong, error)


# --- rehearsals --------------------------------------------------------------------------------------------------


def test_a_rehearsal_worked_out_by_hand(
    ai: None, clock: Clock, holder: Callable[..., Person], rehearse: Call
) -> None:
    """C6: sms from 1.00 to 1.50, gpt_4 from 60.00 to 45.00 for 1,000; what is not in the draft stays."""
    anna, ben = holder("500.00"), holder("500.00")
    for _ in range(4):
        anna.use("sms", 1)
    anna.use("gpt_4", 2000)  # 120.00
    ben.use("sms", 10)
    ben.use("whatsapp", 7)
    told = rehearse(
        flat("1.5"),
        {"operation": "gpt_4", "components": [{"unit": "1k_tokens", "price_micros": micros("45")}]},
    )
    assert (told["events"], told["before_micros"], told["after_micros"]) == (7, micros("141"), micros("118"))
    rows = [
        (row["operation"], row["events"], row["before_micros"], row["after_micros"], row["difference_micros"])
        for row in told["operations"]
    ]
    assert sorted(rows) == [
        ("gpt_4", 1, micros("120"), micros("90"), -micros("30")),
        ("sms", 5, micros("14"), micros("21"), micros("7")),
        ("whatsapp", 1, micros("7"), micros("7"), 0),
    ]
    accounts = [
        (
            row["account_id"],
            row["before_micros"],
            row["after_micros"],
            row["difference_micros"],
            row["runs_out_at"],
        )
        for row in told["accounts"]
    ]
    assert accounts == [
        (ben.account_id, micros("17"), micros("22"), micros("5"), None),
        (anna.account_id, micros("124"), micros("96"), -micros("28"), None),
    ]
    assert told["would_run_out"] == 0


def test_a_rehearsal_rates_as_charges_are_rated(
    ai: None, clock: Clock, holder: Callable[..., Person], set_price: Call, rehearse: Call
) -> None:
    """C2, C6: increments, flat fees, minimum and rounding; the same draft made real charges the same."""
    draft = {
        "operation": "voice_call",
        "rounding": "up",
        "minimum_charge_micros": 700_000,
        "components": [
            {"unit": "call", "price_micros": 100_000},
            {"unit": "minute", "price_micros": 999_999, "initial": 30, "following": 6, "free_quantity": 5},
        ],
    }
    seconds = (1, 5, 36, 61, 125, 3599.5)
    anna, ben = holder("1000.00"), holder("1000.00")
    for quantity in seconds:
        anna.use("voice_call", quantity)
    told = rehearse(draft)
    clock.advance(days=1)
    set_price(
        draft["operation"],
        *draft["components"],
        rounding="up",
        minimum_charge_micros=draft["minimum_charge_micros"],
    )
    clock.advance(days=1)
    charged = sum(ben.use("voice_call", quantity)["charged_micros"] for quantity in seconds)
    assert told["after_micros"] == charged
    assert told["before_micros"] == micros("68")  # 1, 1, 1, 2, 3 and 60 minutes


def test_who_would_run_out_and_when(
    ai: None, clock: Clock, holder: Callable[..., Person], give: Call, rehearse: Call
) -> None:
    """C6: the first charge that the balance of the time would not have covered."""
    anna, ben, cleo = holder("10.00"), holder("10.00"), holder("10.00")
    times = []
    for _ in range(6):
        clock.advance(days=1)
        times.append(clock.now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
        anna.use("sms", 1)  # at 3.00 it is 9.00 after three, 12.00 after four
        ben.use("sms", 1)
        cleo.use("sms", "0.5")  # 9.00 in the end
        if len(times) == 2:
            give(ben, "5.00")  # 15.00 in all: enough for five
    told = rehearse(flat("3"))
    ends = {row["account_id"]: row["runs_out_at"] for row in told["accounts"]}
    assert ends == {anna.account_id: times[3], ben.account_id: times[5], cleo.account_id: None}
    assert told["would_run_out"] == 2
    assert rehearse(flat("1"))["would_run_out"] == 0
    assert rehearse(flat("0.5"))["would_run_out"] == 0


def test_what_is_included_stays_included(
    clock: Clock,
    catalog: Call,
    holder: Callable[..., Person],
    person: Callable[..., Person],
    service: Call,
    rehearse: Call,
) -> None:
    """C6, E1: the draft prices only what credits paid, and super admins pay nothing under any price."""
    catalog("metered_plan")
    anna, root = holder("10.00"), person("super_admin")
    service("set_plan", account_id=anna.account_id, plan="free")
    anna.use("api_request", 98)
    anna.use("api_request", 5)  # 3.00
    anna.use("api_request", 4)  # 4.00
    root.use("api_request", 1000)
    told = rehearse(
        {"operation": "api_request", "components": [{"unit": "item", "price_micros": micros("2")}]}
    )
    assert (told["events"], told["before_micros"], told["after_micros"]) == (4, micros("7"), micros("14"))
    ends = {row["account_id"]: (row["difference_micros"], row["runs_out_at"]) for row in told["accounts"]}
    assert ends[root.account_id] == (0, None)
    assert ends[anna.account_id][0] == micros("7")
    assert ends[anna.account_id][1] is not None  # 14.00 of 10.00


def test_what_was_reversed_or_lies_outside_is_not_replayed(
    ai: None, clock: Clock, holder: Callable[..., Person], service: Call, rehearse: Call
) -> None:
    """C6: from the start of the period on, up to but not at its end."""
    anna = holder("10.00")
    undone = anna.use("sms", 1)
    service("reverse", transaction_id=undone["transaction_id"], reason="a mistake", idempotency_key="r")
    for _ in range(3):
        clock.advance(days=1)
        anna.use("sms", 1)
    assert rehearse(flat("2"))["events"] == 3
    assert rehearse(flat("2"), start=MONDAY + DAY, end=MONDAY + 2 * DAY)["events"] == 1
    nothing = rehearse(flat("2"), start=EARLIER, end=MONDAY)
    assert (nothing["events"], nothing["operations"], nothing["accounts"]) == (0, [], [])


def test_a_rehearsal_tells_the_margin(
    ai: None, clock: Clock, holder: Callable[..., Person], buy: Call, service: Call, rehearse: Call
) -> None:
    """C5, C6: revenue as it was, and what it would be with credits worth the same; without a cost there is no margin."""
    service("set_provider_cost", operation="sms", cost_cents=8, effective_from=EARLIER)
    anna = holder()
    buy(anna, "starter")  # 10 cents a credit
    anna.use("sms", 10)
    anna.use("whatsapp", 5)
    rows = {row["operation"]: row for row in rehearse(flat("1.5"))["operations"]}
    assert (rows["sms"]["margin_before_cents"], rows["sms"]["margin_after_cents"]) == (20, 70)
    assert (rows["whatsapp"]["margin_before_cents"], rows["whatsapp"]["margin_after_cents"]) == (None, None)


def checksums(owner_sql: Callable[..., Rows]) -> dict[str, str]:
    """One number for the contents of each table."""
    tables = owner_sql(
        "select relname as name from pg_class where relnamespace = 'credits'::regnamespace and relkind = 'r'"
    )
    return {
        table["name"]: owner_sql(
            f"select coalesce(md5(string_agg(t::text, ',' order by t::text)), '') as sum from credits.{table['name']} as t"
        )[0]["sum"]
        for table in tables
    }


def test_a_rehearsal_changes_nothing_at_all(
    ai: None,
    clock: Clock,
    holder: Callable[..., Person],
    buy: Call,
    service: Call,
    rehearse: Call,
    owner_sql: Callable[..., Rows],
) -> None:
    """C6: every row of every table is as it was, also after drafts that are refused; and charges go on at the old price."""
    anna = holder()
    buy(anna, "starter")
    for _ in range(5):
        anna.use("sms", 1)
    service("rollup_usage")
    prices = service("pricing")
    before = checksums(owner_sql)
    rehearse(flat("2"), flat("3", "whatsapp"))
    rehearse(flat("0"))
    for wrong in ([flat("1"), flat("2")], [flat("-1")], [{"operation": "sms", "components": []}]):
        refused(lambda wrong=wrong: rehearse(*wrong))
    assert checksums(owner_sql) == before
    assert before["transactions"] and len(before) > 30
    assert service("pricing") == prices
    assert anna.use("sms", 1)["charged_micros"] == micros("1")


def test_drafts_that_are_no_prices_are_refused(ai: None, service: Call) -> None:
    """C6: with a sentence for each; never with half an answer."""
    good = flat("1")
    component = good["components"][0]
    times = {"from": EARLIER, "to": LATER}
    wrong_drafts: list[tuple[object, type[errors.CreditsError]]] = [
        ({}, errors.InvalidRequest),
        ("sms", errors.InvalidRequest),
        ([5], errors.CreditsError),
        ([None], errors.CreditsError),
        ([{"operation": "teleport", "components": [component]}], errors.NotFound),
        ([{"components": [component]}], errors.NotFound),
        ([{"operation": "sms"}], errors.InvalidRequest),
        ([{"operation": "sms", "components": []}], errors.InvalidRequest),
        ([{"operation": "sms", "components": [component] * 11}], errors.InvalidRequest),
        ([{"operation": "sms", "components": component}], errors.InvalidRequest),
        ([{"operation": "sms", "components": [component | {"unit": "parsec"}]}], errors.InvalidRequest),
        ([{"operation": "sms", "components": [component | {"price_micros": -1}]}], errors.InvalidRequest),
        ([{"operation": "sms", "components": [component | {"price_micros": None}]}], errors.InvalidRequest),
        (
            [{"operation": "sms", "components": [component | {"price_micros": "1e300"}]}],
            errors.InvalidRequest,
        ),
        ([{"operation": "sms", "components": [component | {"unit_size": 0}]}], errors.InvalidRequest),
        ([good | {"rounding": "sideways"}], errors.InvalidRequest),
        ([good | {"minimum_charge_micros": -1}], errors.InvalidRequest),
        ([good, flat("2")], errors.InvalidRequest),
    ]
    for draft, error in wrong_drafts:
        refusal = refused(lambda draft=draft: service("rehearse_prices", draft=draft, **times))
        assert (draft, type(refusal)) == (draft, error if error is not errors.CreditsError else type(refusal))
        assert refusal.http_status < 500
    for period in (
        {"from": LATER, "to": EARLIER},
        {"from": MONDAY, "to": MONDAY},
        {"from": MONDAY},
        {"to": MONDAY},
    ):
        refusal = refused(lambda p=period: service("rehearse_prices", draft=[good], **p))
        assert isinstance(refusal, errors.InvalidRequest)


def test_a_hundred_thousand_events_are_replayed_in_seconds(
    ai: None,
    clock: Clock,
    person: Callable[..., Person],
    service: Call,
    rehearse: Call,
    owner_sql: Callable[..., Rows],
) -> None:
    """C6: over 200 accounts and 3,000 different quantities."""
    accounts = [person() for _ in range(3)]
    owner_sql(
        "insert into credits.accounts (owner_id) select null from generate_series(1, 197);"
        "insert into credits.profiles (account_id, email, name)"
        " select id, id || '@example.test', id from credits.accounts where id > 3;"
        "insert into credits.transactions (account_id, seq, created_at, kind, amount_micros, posted_after_micros,"
        "  available_after_micros, operation_id, price_id, quantity)"
        " select 1 + n % 200, 1 + n / 200, credits._now() - interval '1 day', 'use', -q * 60000, 1000000000 - n * 100,"
        "  0, (select id from credits.operations where code = 'gpt_4'), 1, q"
        " from (select n, n % 3000 as q from generate_series(0, 99999) as n) as x;"
        "analyze credits.transactions"
    )
    draft = {"operation": "gpt_4", "components": [{"unit": "1k_tokens", "price_micros": micros("70")}]}
    start = monotonic()
    told = rehearse(draft)
    took = monotonic() - start
    owner_sql("alter table credits.transactions disable trigger all; delete from credits.transactions")
    assert (told["events"], len(told["accounts"]), len(accounts)) == (100_000, 200, 3)
    assert told["after_micros"] * 6 == told["before_micros"] * 7
    assert took < 10
