"""The four catalogs, number by number as the product's owner wrote them down (C1), and what can be bought (A1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from credits_core import errors
from credits_core.db.port import ANONYMOUS
from credits_core.units import parse_credits as micros
from tests.sql.conftest import Call, Person, Rows, new_key, refused

# code, name, credits, bonus credits, price in cents, popular, cents for one credit
PACKAGES = {
    "voice": [
        ("usd_5", "$5 package", "5", "0", 500, False, "100.0000"),
        ("usd_10", "$10 package", "10", "0", 1000, False, "100.0000"),
        ("usd_20", "$20 package", "20", "0", 2000, False, "100.0000"),
        ("usd_50", "$50 package", "50", "0", 5000, False, "100.0000"),
        ("usd_100", "$100 package", "100", "0", 10000, False, "100.0000"),
    ],
    "ai_services": [
        ("starter", "Starter", "100", "0", 1000, False, "10.0000"),
        ("pro", "Pro", "500", "0", 5000, False, "10.0000"),
        ("enterprise", "Enterprise", "1000", "0", 10000, False, "10.0000"),
    ],
    "recruitment": [
        ("starter", "Starter", "100", "0", 1000, False, "10.0000"),
        ("professional", "Professional", "500", "50", 4500, True, "8.1818"),
        ("business", "Business", "1000", "150", 8000, False, "6.9565"),
        ("enterprise", "Enterprise", "2500", "500", 18000, False, "6.0000"),
        ("premium", "Premium", "5000", "1000", 32000, False, "5.3333"),
    ],
    "metered_plan": [
        ("starter", "Starter", "100", "0", 500, False, "5.0000"),
        ("small", "Small", "500", "0", 2000, False, "4.0000"),
        ("popular", "Popular", "1000", "0", 3500, True, "3.5000"),
        ("power", "Power", "5000", "0", 15000, False, "3.0000"),
        ("maximum", "Maximum", "10000", "0", 25000, False, "2.5000"),
    ],
}

# code, measure, components: credits, per unit, and how much of the measure is one unit (None: once per charge)
OPERATIONS = {
    "voice": [("call", "seconds", [("0.15", "minute", 60)])],
    "ai_services": [
        ("voice_call", "seconds", [("1", "minute", 60)]),
        ("sms", "count", [("1", "message", 1)]),
        ("whatsapp", "count", [("1", "message", 1)]),
        ("ai_response", "count", [("2", "item", 1)]),
        ("gpt_4", "tokens", [("60", "1k_tokens", 1000)]),
        ("gpt_3_5", "tokens", [("2", "1k_tokens", 1000)]),
        ("gemini_pro", "tokens", [("1", "1k_tokens", 1000)]),
        ("claude", "tokens", [("2", "1k_tokens", 1000)]),
        ("document_upload", "count", [("5", "item", 1)]),
        ("bundle_creation", "count", [("50", "item", 1)]),
        ("phone_number", "count", [("100", "item", 1)]),
    ],
    "recruitment": [
        ("vapi_call", "seconds", [("1", "call", None), ("0.5", "minute", 60)]),
        ("message", "count", [("0.1", "message", 1)]),
        ("file_upload", "bytes", [("0.25", "mb", 1_000_000)]),
        ("workflow_execution", "count", [("2", "item", 1)]),
    ],
    "metered_plan": [("api_request", "count", [("1", "item", 1)])],
}


# plan, operation, included in a month
PLANS = [("free", "api_request", 100), ("pro", "api_request", 5_000), ("team", "api_request", 50_000)]


# subscription plans: code, name, interval, cents, credits each period, roll-over cap, allowances
SUBSCRIPTIONS = {
    "voice": [
        ("monthly_20", "Monthly 20", "month", 2000, "22", "22", None),
        ("monthly_50", "Monthly 50", "month", 5000, "57.5", "57.5", None),
    ],
    "ai_services": [
        ("solo", "Solo", "month", 1900, "200", "100", None),
        ("growth", "Growth", "month", 7900, "900", "900", None),
    ],
    "recruitment": [
        ("team", "Team", "month", 4500, "600", "600", None),
        ("agency", "Agency", "month", 15000, "2400", "2400", None),
    ],
    "metered_plan": [
        ("pro", "Pro", "month", 2900, "500", None, "pro"),
        ("team", "Team", "month", 19900, "5000", "5000", "team"),
    ],
}


def package_row(package: dict[str, Any]) -> tuple[object, ...]:
    fields = ("code", "name", "credits_micros", "bonus_micros", "price_cents", "popular", "cents_per_credit")
    return tuple(package[field] for field in fields)


def component_row(component: dict[str, Any]) -> tuple[object, ...]:
    size = None if component["flat"] else component["unit_size"]
    return (component["price_micros"], component["unit"], size)


def test_packages_are_those_of_the_owners_table(catalog: Call, database: Any) -> None:
    """C1, A1: credits, bonus, price, popular mark and price per credit; visible before anybody signs in."""
    for name, packages in PACKAGES.items():
        catalog(name)
        offer = database.call("packages", ANONYMOUS)
        assert (offer["catalog"], offer["currency"]) == (name, "usd")
        assert [package_row(package) for package in offer["packages"]] == [
            (code, title, micros(credits), micros(bonus), cents, popular, each)
            for code, title, credits, bonus, cents, popular, each in packages
        ]


def test_prices_are_those_of_the_owners_table(catalog: Call, database: Any) -> None:
    """C1: operations, what they measure, and every price of theirs; visible before anybody signs in."""
    for name, operations in OPERATIONS.items():
        catalog(name)
        prices = database.call("pricing", ANONYMOUS)
        assert prices["catalog"] == name
        assert [
            (each["operation"], each["measure"], [component_row(c) for c in each["components"]])
            for each in prices["operations"]
        ] == [
            (code, measure, [(micros(price), unit, size) for price, unit, size in components])
            for code, measure, components in operations
        ]
        assert {each["minimum_charge_micros"] for each in prices["operations"]} == {0}


def test_plans_are_those_of_the_owners_table(catalog: Call, database: Any) -> None:
    """C1, E1: one catalog has plans, with a monthly limit per operation."""
    for name in PACKAGES:
        catalog(name)
        found = [
            (plan["code"], operation, included)
            for plan in database.call("plans", ANONYMOUS)["plans"]
            for operation, included in plan["allowances"].items()
        ]
        assert (name, found) == (name, PLANS if name == "metered_plan" else [])


def test_subscription_plans_are_those_of_the_table(catalog: Call, database: Any) -> None:
    """A11: every catalog offers some; visible before anybody signs in."""
    for name, plans in SUBSCRIPTIONS.items():
        catalog(name)
        offer = database.call("subscription_plans", ANONYMOUS)
        assert (offer["catalog"], offer["currency"]) == (name, "usd")
        assert [
            (p["code"], p["name"], p["interval"], p["price_cents"], p["credits_micros"],
             p["rollover_cap_micros"], p["plan"]) for p in offer["plans"]
        ] == [
            (code, title, interval, cents, micros(credits), cap and micros(cap), plan)
            for code, title, interval, cents, credits, cap, plan in plans
        ]  # fmt: skip


def test_calls_are_billed_by_the_started_minute_unless_set_otherwise(catalog: Call, database: Any) -> None:
    """C1, C2: increments 60/60 for everything priced by time; nothing else has increments or free units."""
    for name in OPERATIONS:
        catalog(name)
        for operation in database.call("pricing", ANONYMOUS)["operations"]:
            for component in operation["components"]:
                step = 60 if component["unit"] == "minute" else 0
                assert (component["initial"], component["following"]) == (step, step)
                assert component["free_quantity"] == 0


def catalog_tables(owner_sql: Callable[..., Rows]) -> list[Rows]:
    tables = ("catalogs", "packages", "operations", "prices", "price_components", "subscription_plans")
    return [owner_sql(f"select to_jsonb(t) as row from credits.{table} as t order by t") for table in tables]


def test_loading_a_catalog_twice_changes_nothing(catalog: Call, owner_sql: Callable[..., Rows]) -> None:
    """C1: every start of the program loads its catalog again."""
    catalog("recruitment")
    before = catalog_tables(owner_sql)
    assert catalog("recruitment") == {"catalog": "recruitment", "first_load": False}
    assert catalog_tables(owner_sql) == before


def test_one_catalog_is_active_at_a_time(
    catalog: Call, database: Any, owner_sql: Callable[..., Rows]
) -> None:
    """C1: the last one loaded; the others stay for what was bought and charged by them."""
    for name in [*PACKAGES, "voice"]:
        catalog(name)
    active = owner_sql("select code from credits.catalogs where is_active")
    assert [row["code"] for row in active] == ["voice"] == [database.call("packages", ANONYMOUS)["catalog"]]
    assert len(owner_sql("select code from credits.catalogs")) == len(PACKAGES)


def test_a_changed_file_changes_offers_and_future_prices(
    service: Call, holder: Callable[..., Person]
) -> None:
    """C1, C3: a package that left the file is not sold any more; a new price is a new version."""
    own = {
        "code": "own",
        "name": "Our own",
        "currency": "eur",
        "packages": [
            {"code": "small", "name": "Small", "credits_micros": 1_000_000, "price_cents": 90},
            {"code": "large", "name": "Large", "credits_micros": 9_000_000, "price_cents": 700},
        ],
        "operations": [
            {
                "code": "fax",
                "name": "Fax",
                "measure": "count",
                "components": [{"unit": "item", "price_micros": 20_000}],
            }
        ],
    }
    assert service("load_catalog", catalog=own)["first_load"] is True
    anna = holder("1.00")
    first = anna.use("fax", 1)
    own["packages"].pop(0)  # type: ignore[attr-defined]
    own["operations"][0]["components"][0]["price_micros"] = 30_000  # type: ignore[index]
    service("load_catalog", catalog=own)
    assert [package["code"] for package in anna.call("packages")["packages"]] == ["large"]
    arguments = {"idempotency_key": new_key(), "livemode": False}
    assert isinstance(
        refused(lambda: anna.call("create_purchase", package="small", **arguments)), errors.NotFound
    )
    second = anna.use("fax", 1)
    assert (first["charged_micros"], second["charged_micros"]) == (20_000, 30_000)
    assert first["price_id"] != second["price_id"]


def test_a_custom_amount_buys_credits_at_the_catalogs_rate(
    catalog: Call, holder: Callable[..., Person]
) -> None:
    """A1: $12.34 at $1, $0.10 or $0.05 a credit, quoted first."""
    anna = holder()
    for name, credits in [("voice", "12.34"), ("ai_services", "123.4"), ("metered_plan", "246.8")]:
        catalog(name)
        assert anna.call("purchase_quote", amount_cents=1234)["credits_micros"] == micros(credits)
        made = anna.call("create_purchase", idempotency_key=new_key(), livemode=False, amount_cents=1234)
        assert (made["package"], made["price_cents"], made["currency"]) == (None, 1234, "usd")
        assert (made["credits_micros"], made["bonus_micros"]) == (micros(credits), 0)


def test_a_custom_amount_outside_the_bounds_is_refused(holder: Callable[..., Person]) -> None:
    """A1: from $5 to $1,000, and the refusal says so."""
    anna = holder()
    for cents in (-500, 0, 499, 100_001, 10**15):
        arguments = {"idempotency_key": new_key(), "livemode": False, "amount_cents": cents}
        for refusal in (
            refused(lambda arguments=arguments: anna.call("create_purchase", **arguments)),
            refused(lambda cents=cents: anna.call("purchase_quote", amount_cents=cents)),
        ):
            assert isinstance(refusal, errors.InvalidRequest)
            assert refusal.detail == {"min_cents": 500, "max_cents": 100_000}
    assert anna.call("purchases")["items"] == []
