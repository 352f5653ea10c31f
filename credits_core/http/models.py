"""Request bodies, and answers as the OpenAPI document shows them (answers may hold more fields than listed)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from credits_core.http.fields import Account, Code, Key, Loose, Metadata, Micros, Number, Quantity, Text, Time

ForAccount = Annotated[
    Account | None,
    Field(
        description="Number, e-mail or user id. Only programs and administrators may name another account."
    ),
]


SavedCardId = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[A-Za-z0-9_]+$")]


class Body(BaseModel):
    """A request: unknown fields are refused, since a misspelled one would be lost in silence."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class Write(Body):
    idempotency_key: Key | None = Field(default=None, description="Or send it as the header Idempotency-Key.")
    account: ForAccount = None


class Check(Body):
    operation: Code = Field(examples=["call"])
    quantity: Quantity = Field(
        examples=[90], description="Seconds, tokens, bytes or a count, as the price says."
    )
    account: ForAccount = None


class Use(Write):
    operation: Code = Field(examples=["call"])
    quantity: Quantity = Field(
        examples=[90], description="Seconds, tokens, bytes or a count, as the price says."
    )
    metadata: Metadata | None = Field(default=None, examples=[{"ticket": "4711"}])
    occurred_at: Time | None = None


class Event(Body):
    """One of a batch. A value that is wrong is answered in its own result, so that it never spoils the others."""

    operation: Loose = Field(examples=["call"])
    quantity: Loose = Field(examples=[90])
    idempotency_key: Loose | None = None
    account: ForAccount = None
    metadata: Metadata | None = None
    occurred_at: Loose | None = Field(default=None, examples=["2026-11-20T12:00:00Z"])


class UseBatch(Body):
    events: list[Event] = Field(min_length=1, max_length=10_000)
    idempotency_key: Key | None = Field(
        default=None, description="Stands for the keys of events that have none."
    )
    account: ForAccount = None


class StartCall(Write):
    operation: Code | None = Field(default=None, examples=["call"])
    to: Number | None = Field(default=None, examples=["+15550100"])
    from_: Number | None = Field(default=None, alias="from", examples=["+15550199"])
    started_at: Time | None = Field(default=None, examples=["2026-11-20T12:00:00Z"])
    ended_at: Time | None = Field(default=None, examples=["2026-11-20T12:01:30Z"])
    duration_seconds: Annotated[Quantity, Field(ge=0, le=86_400)] | None = Field(
        default=None, description="Instead of `ended_at`; both must agree."
    )
    metadata: Metadata | None = None


class Moment(Body):
    at: Time | None = Field(default=None, description="Without it: now.")
    reason: Text | None = None
    idempotency_key: Key | None = Field(
        default=None, description="Not needed: a repetition gives the same answer."
    )


class Hold(Write):
    operation: Code = Field(examples=["call"])
    quantity: Quantity = Field(examples=[300])
    expires_in_seconds: int = Field(default=3600, ge=1, le=86_400)


class Capture(Body):
    quantity: Quantity | None = Field(default=None, examples=[90])
    idempotency_key: Key | None = Field(
        default=None, description="Not needed: a repetition gives the same answer."
    )


class Purchase(Write):
    package: Code | None = Field(default=None, examples=["usd_10"])
    amount_cents: int | None = Field(
        None, ge=1, le=99_999_999, strict=True, description="Instead of a package."
    )
    promo_code: Annotated[str, Field(min_length=3, max_length=40, pattern=r"^[A-Za-z0-9_-]+$")] | None = None
    flow: Literal["checkout", "payment_intent"] = "checkout"
    payment_method_id: SavedCardId | None = Field(
        None,
        description="A saved card of yours (GET cards): with `flow: payment_intent` and `confirm: true` it is charged at once.",
    )
    confirm: bool = Field(False, strict=True, description="Charge the card `payment_method_id` now.")
    price_cents: int | None = Field(
        None, ge=1, le=99_999_999, strict=True,
        description="The price that the buyer saw, for a saved card: 409, and nothing is charged, when it is another one now.",
    )  # fmt: skip
    terms_accepted: bool = Field(
        False,
        strict=True,
        description="The buyer accepted the terms; needed with a saved card where there are terms.",
    )

    @model_validator(mode="after")
    def _card_and_confirm(self) -> Purchase:
        at_once = self.payment_method_id is not None
        if at_once is not self.confirm or (at_once and self.flow != "payment_intent"):
            raise ValueError(
                "payment_method_id goes with flow “payment_intent” and confirm true: the card is charged at once."
            )
        if not at_once and (self.price_cents is not None or self.terms_accepted):
            raise ValueError("price_cents and terms_accepted go with a saved card (payment_method_id).")
        return self


class AdjustAmount(Body):
    account: Account = Field(examples=["holder@demo.test"])
    amount: Micros = Field(examples=["5.00"], description="Credits; negative takes them away.")


class Adjust(AdjustAmount):
    reason: Text = Field(min_length=1, examples=["Goodwill for the outage on 12 November"])
    expires_at: Time | None = Field(default=None, description="Added credits expire then; without it never.")
    idempotency_key: Key | None = None


class Answer(BaseModel):
    """An answer; amounts come as decimal text and as whole micros (1 credit = 1,000,000 micros)."""

    model_config = ConfigDict(extra="allow")


class ProblemDetail(BaseModel):
    code: str = Field(examples=["insufficient_credits"])
    message: str = Field(
        examples=["This needs 0.30 credits and 0.10 are available; buy credits and try again."]
    )
    detail: dict[str, Any] = Field(examples=[{"needed_micros": 300_000, "available_micros": 100_000}])


class Problem(BaseModel):
    """Every refusal has this shape; the header X-Request-ID names the request in our logs."""

    error: ProblemDetail


class Balance(Answer):
    account_id: int
    available: str = Field(examples=["10.00"])
    available_micros: int = Field(examples=[10_000_000])
    posted: str
    posted_micros: int
    held: str
    held_micros: int
    total_purchased: str
    total_purchased_micros: int
    total_used: str
    total_used_micros: int


class BalanceAsOf(Answer):
    account_id: int
    posted: str
    posted_micros: int
    as_of: str


class Package(Answer):
    code: str = Field(examples=["usd_10"])
    name: str
    credits: str = Field(examples=["10.00"])
    credits_micros: int
    bonus_credits: str = Field(examples=["0.00"])
    bonus_credits_micros: int
    price_cents: int = Field(examples=[1000])
    currency: str = Field(examples=["usd"])
    popular: bool
    price_per_credit: str = Field(examples=["1.00"])


class Packages(Answer):
    catalog: str = Field(examples=["voice"])
    packages: list[Package]


class Pricing(Answer):
    catalog: str
    operations: list[dict[str, Any]]


class Me(Answer):
    account_id: int | None
    role: str


class Payment(Answer):
    state: Literal[
        "succeeded", "requires_action", "declined", "processing", "unknown", "canceled", "review"
    ] = Field(
        description="unknown: Stripe has not answered; ask again with the same key, which never charges twice."
    )
    message: str = Field(examples=["The card was charged and the credits are added."])
    confirm_url: str | None = Field(
        description="requires_action: where the owner of the account, signed in, confirms it with the bank."
    )


class Purchased(Answer):
    purchase_id: str
    session_id: str | None
    url: str | None
    credits: str
    credits_micros: int
    idempotency_key: str
    payment: Payment | None = Field(
        default=None, description="With a saved card: what became of the charge. Otherwise it is not there."
    )


class PurchaseStatus(Answer):
    status: Literal["credited", "processing", "open", "created", "expired", "failed", "review"]
    credits: str
    credits_micros: int
    available: str
    available_micros: int


class PurchaseDetail(Answer):
    purchase_id: str
    account_id: int
    status: Literal["credited", "processing", "open", "created", "expired", "failed", "review"]
    package: str | None = Field(examples=["usd_10"], description="null: a custom amount.")
    credits: str = Field(examples=["10.00"])
    credits_micros: int
    bonus_micros: int
    currency: str = Field(examples=["usd"])
    list_price_cents: int = Field(examples=[1000])
    discount_cents: int = Field(examples=[0])
    tax_cents: int = Field(examples=[0])
    paid_cents: int = Field(examples=[1000])
    receipt_url: str | None
    created_at: str
    credited_at: str | None


class Checked(Answer):
    allowed: bool = Field(examples=[True])
    reason: str = Field(
        examples=["enough_credits"],
        description="enough_credits, allowance, unlimited; or insufficient_credits, limit_reached.",
    )
    cost: str = Field(examples=["0.30"])
    cost_micros: int = Field(examples=[300_000])
    available: str = Field(examples=["10.00"])
    available_micros: int = Field(examples=[10_000_000])
    pays_from: str | None = Field(
        examples=["credits"], description="allowance, credits, mixed (both), unlimited; null when refused."
    )
    pays: dict[str, Any] = Field(
        description="What would pay: allowance_quantity, and promotional and paid credits.",
        examples=[
            {
                "allowance_quantity": 0,
                "promotional": "0.00",
                "promotional_micros": 0,
                "paid": "0.30",
                "paid_micros": 300_000,
            }
        ],
    )
    covers_quantity: float | None = Field(
        examples=[3960], description="The largest quantity that allowance and balance cover; null: unlimited."
    )


class Used(Answer):
    transaction_id: str = Field(examples=["17-42"])
    charged: str = Field(examples=["0.30"])
    charged_micros: int = Field(examples=[300_000])
    available: str
    available_micros: int
    replayed: bool = Field(description="True when this key was charged before; nothing was charged again.")
    idempotency_key: str


class UsedBatch(Answer):
    results: list[dict[str, Any]]


class StartedCall(Answer):
    call_id: int
    status: str
    max_duration_seconds: int | None
    hold_id: int | None
    charged_micros: int | None
    idempotency_key: str


class CallState(Answer):
    call_id: int
    status: str = Field(description="ok, low, ending (the last minute), end (hang up now), ended.")
    charged: str | None
    charged_micros: int | None
    cost_so_far: str
    cost_so_far_micros: int
    remaining_seconds: int


class Held(Answer):
    hold_id: int
    held: str
    held_micros: int
    expires_at: str
    idempotency_key: str


class ClosedHold(Answer):
    hold_id: int
    charged: str
    charged_micros: int
    released: str
    released_micros: int
    available: str
    available_micros: int


class Page(Answer):
    items: list[dict[str, Any]]
    next_cursor: str | None = Field(
        description="Send it as `cursor` for the next page; null on the last one."
    )


class Explained(Answer):
    transaction_id: str
    entries: list[dict[str, Any]]


class Adjusted(Answer):
    status: str = Field(description="`booked`, or `waiting` for a second person: see the approvals.")
    transaction_id: str | None
    available: str
    available_micros: int
    idempotency_key: str


class AdjustPreview(Answer):
    allowed: bool
    reason: str | None = Field(description="Why it is not allowed.")
    available_before: str = Field(examples=["10.00"])
    available_before_micros: int
    available_after: str = Field(examples=["15.00"])
    available_after_micros: int
    needs_approval: bool = Field(description="Whether it would wait for a second person.")
    approval_reason: str | None
    moved_micros: int = Field(
        description="What the caller moved on this account within 24 hours; it adds up."
    )


class Received(Answer):
    received: bool


class Health(Answer):
    status: Literal["ok"]
    database: str
    catalog: str | None
    mode: str
    stripe: str
