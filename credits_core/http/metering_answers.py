"""Answers about keys, limits, alerts, holds, figures and corrections, as the OpenAPI document shows them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from credits_core.http.models import Answer

Level = Annotated[str, Field(examples=["ok"], description="ok, warning (from 80 %) or reached.")]


class ApiKey(Answer):
    api_key_id: int = Field(examples=[3])
    name: str = Field(examples=["Dialer"])
    prefix: str = Field(examples=["ck_test_4fZk2p"])
    scopes: list[str] = Field(examples=[["read", "use"]])
    status: Literal["active", "expired", "revoked"] = Field(examples=["active"])
    expires_at: str | None
    last_used_at: str | None = Field(examples=["2026-11-20T12:00:04Z"], description="To the minute.")


class MadeKey(ApiKey):
    key: str | None = Field(
        examples=["ck_test_4fZk2p…"],
        description="The whole key: shown in this answer and never again (null when this request is a repetition).",
    )
    caps: list[dict[str, Any]]
    idempotency_key: str


class ListedKey(ApiKey):
    caps: list[dict[str, Any]] = Field(
        examples=[[{"period": "day", "cap": "25.00", "spent": "3.15", "level": "ok"}]]
    )


class ApiKeys(Answer):
    items: list[ListedKey]


class Allowance(Answer):
    operation: str = Field(examples=["api_request"])
    included: float = Field(examples=[5000], description="Units a month.")
    used: float = Field(examples=[4120])
    remaining: float = Field(examples=[880])
    resets_at: str = Field(examples=["2026-12-01T00:00:00Z"])
    level: Level


class CapNow(Answer):
    api_key_id: int | None
    period: Literal["day", "month"] = Field(examples=["day"])
    cap: str = Field(examples=["25.00"])
    cap_micros: int = Field(examples=[25_000_000])
    spent: str = Field(examples=["3.15"])
    spent_micros: int = Field(examples=[3_150_000])
    resets_at: str = Field(examples=["2026-11-21T00:00:00Z"])
    level: Level


class Limits(Answer):
    plan: str | None = Field(examples=["pro"])
    time_zone: str = Field(examples=["UTC"])
    anchor_day: int = Field(examples=[1])
    allowances: list[Allowance]
    caps: list[CapNow]


class Plan(Answer):
    code: str = Field(examples=["pro"])
    name: str = Field(examples=["Pro"])
    allowances: dict[str, float] = Field(examples=[{"api_request": 5000}], description="Units a month.")


class Plans(Answer):
    catalog: str | None = Field(examples=["metered_plan"])
    plans: list[Plan]


class Settings(Answer):
    account_id: int
    time_zone: str = Field(examples=["Europe/Berlin"])
    anchor_day: int = Field(examples=[1])
    low_balance: list[str] = Field(examples=[["10.00", "1.00"]])
    low_balance_micros: list[int] = Field(examples=[[10_000_000, 1_000_000]])
    catalog: str | None


class Alert(Answer):
    alert_id: int = Field(examples=[7])
    kind: str = Field(examples=["low_balance"])
    detail: dict[str, Any] = Field(examples=[{"level_micros": 5_000_000, "available_micros": 4_850_000}])
    created_at: str = Field(examples=["2026-11-20T12:00:00Z"])
    read_at: str | None


class Alerts(Answer):
    items: list[Alert]
    next_cursor: str | None


class AlertsRead(Answer):
    read: int = Field(examples=[2], description="How many were not read before.")


class HoldState(Answer):
    hold_id: int = Field(examples=[12])
    status: Literal["open", "captured", "released", "expired"] = Field(examples=["open"])
    operation: str = Field(examples=["call"])
    quantity: float = Field(examples=[300])
    held: str = Field(examples=["0.75"])
    held_micros: int = Field(examples=[750_000])
    expires_at: str = Field(examples=["2026-11-20T13:00:00Z"])
    available: str = Field(examples=["9.25"])
    available_micros: int = Field(examples=[9_250_000])


class Usage(Answer):
    rows: list[dict[str, Any]] = Field(
        examples=[[{"day": "2026-11-20", "charged": "0.30", "charged_micros": 300_000, "events": 1}]]
    )
    total: str = Field(examples=["0.30"])
    total_micros: int = Field(examples=[300_000])
    total_events: int = Field(examples=[1])


class Overview(Answer):
    from_: str = Field(alias="from", examples=["2026-10-22"])
    to: str = Field(examples=["2026-11-20"])
    livemode: bool
    sales: dict[str, Any] = Field(description="By currency, by package, and by day and package.")
    usage: dict[str, Any] = Field(description="By day, by operation, and by day and operation.")
    top_accounts: list[dict[str, Any]]


class Margin(Answer):
    operation: str = Field(examples=["call"])
    events: int = Field(examples=[120])
    charged: str = Field(examples=["36.00"])
    charged_micros: int = Field(examples=[36_000_000])
    revenue_cents: float = Field(examples=[3600], description="What the credits cost that paid.")
    cost_cents: float | None = Field(examples=[504.5], description="null: no provider cost is known.")
    margin_cents: float | None = Field(examples=[3095.5])
    margin_percent: float | None = Field(examples=[86.0])


class MarginTotal(Answer):
    revenue_cents: float = Field(examples=[3600])
    cost_cents: float = Field(examples=[504.5])
    margin_cents: float = Field(
        examples=[3095.5], description="Of the operations whose provider cost is known."
    )
    margin_percent: float | None = Field(examples=[86.0])


class Margins(Answer):
    currency: str = Field(examples=["usd"])
    total: MarginTotal
    rows: list[Margin]


class Rehearsed(Answer):
    events: int = Field(examples=[120])
    before: str = Field(examples=["36.00"])
    before_micros: int = Field(examples=[36_000_000])
    after: str = Field(examples=["48.00"])
    after_micros: int = Field(examples=[48_000_000])
    operations: list[dict[str, Any]]
    accounts: list[dict[str, Any]]
    would_run_out: int = Field(examples=[1])


class ProviderCostSet(Answer):
    operation: str = Field(examples=["call"])
    cost_cents: float = Field(examples=[1.4])
    unit_size: float = Field(examples=[60])


class Corrected(Answer):
    status: str = Field(description="`booked`, or `waiting` for a second person: see the approvals.")
    transaction_id: str | None = Field(examples=["17-43"])
    approval_id: str | None = Field(default=None, description="The request, where it waits.")
    available: str = Field(examples=["10.00"])
    available_micros: int = Field(examples=[10_000_000])
    replayed: bool = False
    idempotency_key: str


class ExtendedGrant(Corrected):
    grant_id: int | None = Field(default=None, examples=[31], description="The grant that took over.")
