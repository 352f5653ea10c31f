"""What Stripe says of cards, charges, refunds, disputes, payouts, subscriptions and invoices, in plain values.

Amounts are minor units of `currency`, times seconds since 1970.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Any

HARD_DECLINES = frozenset(
    (
        "card_not_supported", "currency_not_supported", "expired_card", "fraudulent", "incorrect_number",
        "invalid_account", "lost_card", "merchant_blacklist", "no_action_taken", "not_permitted", "pickup_card",
        "restricted_card", "revocation_of_all_authorizations", "revocation_of_authorization", "security_violation",
        "stolen_card", "stop_payment_order", "transaction_not_allowed", "resource_missing", "payment_method_gone",
    )
)  # fmt: skip
"""Decline codes after which the same card is not to be tried again (Stripe's documentation of decline codes)."""


@dataclass(frozen=True)
class SavedCard:
    """A card kept at Stripe for later payments."""

    payment_method_id: str
    brand: str
    last4: str
    exp_month: int
    exp_year: int
    is_default: bool = False

    def expired(self, on: date) -> bool:
        """Whether its last month is over on that day."""
        return (self.exp_year, self.exp_month) < (on.year, on.month)


@dataclass(frozen=True)
class CardSetup:
    """A page for saving a card, or what became of it: `status` is open, complete or expired, and the card is known
    once it is complete."""

    session_id: str
    status: str
    customer_id: str | None
    url: str | None
    payment_method_id: str | None
    account_id: str | None
    livemode: bool


@dataclass(frozen=True)
class ChargeState:
    """An attempt to charge a saved card while its owner is not there.

    `status` is succeeded, processing (a bank debit: its end comes later), declined, requires_action (the owner must
    confirm: see `url` and `client_secret`) or canceled. Only a status of succeeded took money.
    """

    payment_intent_id: str | None
    status: str
    amount_cents: int
    currency: str
    purchase_id: str | None
    charge_id: str | None = None
    receipt_url: str | None = None
    code: str | None = None
    decline_code: str | None = None
    message: str | None = None
    url: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    livemode: bool = False

    @property
    def hard(self) -> bool:
        """Whether the bank says that this card will not work again."""
        return self.status == "declined" and bool({self.code, self.decline_code} & HARD_DECLINES)


@dataclass(frozen=True)
class RefundState:
    """A refund: `status` is pending, requires_action, succeeded, failed or canceled."""

    refund_id: str
    charge_id: str | None
    payment_intent_id: str | None
    amount_cents: int
    currency: str
    status: str
    reason: str | None
    failure_reason: str | None
    created: int
    metadata: dict[str, str]

    @property
    def counts(self) -> bool:
        """Whether the money is on its way back or there."""
        return self.status not in ("failed", "canceled")


@dataclass(frozen=True)
class DisputeState:
    """A dispute. `fee_cents` is what Stripe keeps for it; `withheld_cents` what is withdrawn now, without fees."""

    dispute_id: str
    charge_id: str
    payment_intent_id: str | None
    amount_cents: int
    currency: str
    status: str
    reason: str
    created: int
    evidence_due: int | None
    withheld_cents: int
    fee_cents: int

    @property
    def outcome(self) -> str:
        """inquiry (no money is withdrawn), open, won, lost or closed (an inquiry that came to nothing)."""
        if self.status in ("won", "lost"):
            return self.status
        if self.status in ("warning_closed", "prevented"):
            return "closed"
        return "inquiry" if self.status.startswith("warning_") else "open"


@dataclass(frozen=True)
class ChargeTotals:
    """Everything that has happened to one charge, as Stripe has it now, to converge on.

    `refunded_cents` counts refunds on their way and done; `disputed_cents` what disputes that are open or lost
    hold; `dispute` is none, closed, inquiry, won, open or lost (the worst of several); fee and net are of all balance
    transactions together, None while Stripe has not booked the charge.
    """

    charge_id: str
    payment_intent_id: str | None
    customer_id: str | None
    purchase_id: str | None
    currency: str
    amount_cents: int
    refunded_cents: int
    pending_refunds_cents: int
    dispute: str
    disputed_cents: int
    fee_cents: int | None
    net_cents: int | None
    paid: bool
    receipt_url: str | None
    livemode: bool
    created: int
    refunds: tuple[RefundState, ...]
    disputes: tuple[DisputeState, ...]
    balance_transaction_id: str | None = None

    def as_sql(self) -> dict[str, Any]:
        """The `p_totals` of `converge_purchase`; `refund_id` is our row's, when the refund is one of ours."""
        return {
            "refunded_cents": self.refunded_cents,
            "refunds": [
                {
                    "id": found.refund_id,
                    "amount_cents": found.amount_cents,
                    "status": found.status,
                    "reason": found.failure_reason or found.reason,
                    "refund_id": found.metadata.get("refund_id"),
                }
                for found in self.refunds
            ],
            "disputes": [
                {
                    "id": found.dispute_id,
                    "amount_cents": found.amount_cents,
                    "status": found.status,
                    "reason": found.reason,
                }
                for found in self.disputes
            ],
        }


@dataclass(frozen=True)
class ChargeRecord:
    """A charge in a list, for reconciliation; `metadata` is the PaymentIntent's."""

    charge_id: str
    payment_intent_id: str | None
    customer_id: str | None
    amount_cents: int
    refunded_cents: int
    currency: str
    status: str
    disputed: bool
    created: int
    balance_transaction_id: str | None
    metadata: dict[str, str]
    livemode: bool = False


@dataclass(frozen=True)
class BalanceEntry:
    """A movement of the balance at Stripe: `amount_cents` is signed, `net_cents` is what is left after the fee."""

    entry_id: str
    type: str
    category: str
    amount_cents: int
    fee_cents: int
    net_cents: int
    currency: str
    source_id: str | None
    status: str
    created: int
    available_on: int


@dataclass(frozen=True)
class PayoutState:
    """Money on its way to the bank account: `status` is pending, in_transit, paid, failed or canceled."""

    payout_id: str
    amount_cents: int
    currency: str
    status: str
    created: int
    arrival_date: int
    failure_code: str | None


@dataclass(frozen=True)
class SubscriptionState:
    """A subscription of one price: `status` is incomplete, incomplete_expired, active, past_due, unpaid, paused,
    trialing or canceled."""

    subscription_id: str
    customer_id: str
    status: str
    item_id: str
    price_id: str
    quantity: int
    unit_amount_cents: int
    currency: str
    current_period_start: int
    current_period_end: int
    cancel_at_period_end: bool
    canceled_at: int | None
    ended_at: int | None
    latest_invoice_id: str | None
    payment_method_id: str | None
    metadata: dict[str, str]
    livemode: bool
    created: int


@dataclass(frozen=True)
class InvoiceState:
    """An invoice of a subscription: `status` is draft, open, paid, uncollectible or void; the period and the price
    are those of its line. `url` is where a person sees and pays it."""

    invoice_id: str
    subscription_id: str | None
    customer_id: str | None
    status: str
    billing_reason: str | None
    currency: str
    subtotal_cents: int
    tax_cents: int
    discount_cents: int
    total_cents: int
    amount_paid_cents: int
    amount_due_cents: int
    price_id: str | None
    quantity: int | None
    period_start: int
    period_end: int
    number: str | None
    url: str | None
    pdf_url: str | None
    attempt_count: int
    next_attempt: int | None
    paid_at: int | None
    payment_intent_id: str | None
    charge_id: str | None
    receipt_url: str | None
    metadata: dict[str, str]
    livemode: bool
    created: int
    card_fingerprint: str | None = None
