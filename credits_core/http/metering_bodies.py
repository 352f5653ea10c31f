"""Bodies of requests about keys, limits, alerts, holds, prices and corrections (the others: models.py)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from credits_core.api_keys import Scope
from credits_core.http.fields import Account, Code, Key, Micros, Quantity, Text, Time
from credits_core.http.models import Body, ForAccount, Write

SameAnswer = Annotated[Key | None, Field(description="Not needed: a repetition gives the same answer.")]
Credits = Annotated[Micros, Field(ge=0)]
Positive = Annotated[Quantity, Field(gt=0, lt=10**12)]
NotNegative = Annotated[Quantity, Field(ge=0, lt=10**9)]


class NewKey(Write):
    name: str = Field(min_length=1, max_length=80, examples=["Dialer"])
    scopes: list[Scope] = Field(
        min_length=1,
        max_length=5,
        examples=[["read", "use"]],
        description="admin includes all others and acts as an administrator; only administrators give it.",
    )
    expires_at: Time | None = Field(default=None, description="Without it the key does not expire.")
    cap_per_day: Credits | None = Field(default=None, examples=["25.00"])
    cap_per_month: Credits | None = Field(default=None, examples=["500.00"])


class Cap(Body):
    period: Literal["day", "month"] = Field(examples=["day"])
    cap: Credits | None = Field(examples=["25.00"], description="Credits; null removes the cap.")
    api_key_id: Annotated[int, Field(ge=1, lt=2**63)] | None = Field(
        default=None, description="The cap of one API key; without it, of the whole account."
    )
    account: ForAccount = None
    idempotency_key: SameAnswer = None


class AccountSettings(Body):
    """What is left out stays as it is."""

    time_zone: Code | None = Field(
        default=None, examples=["Europe/Berlin"], description="Days and months of limits begin by it."
    )
    low_balance: list[Credits] | None = Field(
        default=None, max_length=10, examples=[["10.00", "1.00"]], description="Levels that give an alert."
    )
    anchor_day: Annotated[int, Field(ge=1, le=31)] | None = Field(
        default=None, description="Day of the month on which allowances begin anew. For administrators."
    )
    catalog: Code | None = Field(
        default=None,
        description="Prices of its own. For the operator's programs; administrators ask for a price change.",
    )
    account: ForAccount = None
    idempotency_key: SameAnswer = None


class ReadAlerts(Body):
    alert_id: Annotated[int, Field(ge=1, lt=2**63)] | None = Field(
        default=None, description="One of them; without it, all."
    )
    account: ForAccount = None
    idempotency_key: SameAnswer = None


class ExtendHold(Body):
    quantity: Quantity | None = Field(default=None, examples=[600], description="What it covers in all.")
    expires_in_seconds: int = Field(default=3600, ge=1, le=86_400, examples=[3600])
    idempotency_key: SameAnswer = None


class ExtendGrant(Body):
    expires_at: Time = Field(examples=["2027-03-31T00:00:00Z"])
    reason: Text = Field(min_length=1, examples=["Promised by support"])
    idempotency_key: Key | None = None


class Reverse(Body):
    transaction_id: str = Field(pattern=r"^\d{1,18}-\d{1,18}$", examples=["17-42"])
    reason: Text = Field(min_length=1, examples=["Charged for a call that failed"])
    idempotency_key: Key | None = None


class SetPlan(Body):
    account: Account = Field(examples=["holder@demo.test"])
    plan: Code | None = Field(examples=["pro"], description="null: off any plan.")
    idempotency_key: SameAnswer = None


class Component(Body):
    unit: Literal["call", "minute", "second", "message", "token", "1k_tokens", "mb", "item"] = Field(
        examples=["minute"]
    )
    price: Credits = Field(examples=["0.20"], description="Credits for one unit.")
    flat: bool | None = Field(default=None, description="Once for each charge; so is “call” by itself.")
    unit_size: Positive | None = Field(default=None, description="Quantity in one unit, such as 60 seconds.")
    initial: NotNegative | None = Field(default=None, examples=[60], description="First billing increment.")
    following: NotNegative | None = Field(default=None, examples=[60], description="Further increments.")
    free_quantity: NotNegative | None = None


class DraftPrice(Body):
    operation: Code = Field(examples=["call"])
    components: list[Component] = Field(min_length=1, max_length=10)
    rounding: Literal["half_up", "half_even", "up", "down"] = "half_up"
    minimum_charge: Credits | None = None


def _once_each(prices: list[DraftPrice]) -> list[DraftPrice]:
    if len({price.operation for price in prices}) < len(prices):
        raise ValueError("name each operation once.")
    return prices


class Rehearsal(Body):
    prices: Annotated[list[DraftPrice], AfterValidator(_once_each)] = Field(min_length=1, max_length=100)
    from_: Time = Field(alias="from", examples=["2026-10-01T00:00:00Z"])
    to: Time = Field(examples=["2026-11-01T00:00:00Z"])


class ProviderCost(Body):
    operation: Code = Field(examples=["call"])
    cost_cents: NotNegative = Field(
        examples=["1.4"], description="For one unit, in the catalog's currency; fractions are allowed."
    )
    unit_size: Positive | None = Field(
        default=None,
        examples=[60],
        description="Quantity in one unit (seconds, tokens, bytes, count); 1 if left out.",
    )
    effective_from: Time | None = Field(default=None, description="Without it: now.")
    idempotency_key: SameAnswer = None
