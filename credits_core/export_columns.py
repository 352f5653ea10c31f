"""The columns of every table that can be exported."""

from __future__ import annotations

from collections.abc import Mapping

from credits_core.exports import Column


def _credits(*names: str) -> list[Column]:
    """Columns of amounts: `available` of the field `available_micros`."""
    return [Column(f"{name}_credits", "credits", f"{name}_micros") for name in names]


def _money(*names: str) -> list[Column]:
    """The row's currency and columns of money in it: `net` of the field `net_cents`."""
    return [Column("currency"), *(Column(name, "money", f"{name}_cents") for name in names)]


def _counts(*names: str) -> list[Column]:
    return [Column(name, "count") for name in names]


_MONEY = (
    Column("currency"),
    Column("list_price", "money", "list_price_cents"),
    Column("discount", "money", "discount_cents"),
    Column("tax", "money", "tax_cents"),
    Column("paid", "money", "paid_cents"),
)
_PURCHASE = (
    Column("purchase_id"),
    Column("created_at", "time"),
    Column("credited_at", "time"),
    Column("status"),
    Column("package"),
    Column("package_name"),
    *_credits("credits", "bonus"),
    Column("price", "money", "price_cents"),
    *_MONEY,
    Column("promo_code"),
    Column("transaction_id"),
    Column("receipt_url"),
    Column("invoice_url"),
)
_USAGE = (
    Column("day", "day"),
    Column("operation"),
    Column("name"),
    Column("events", "count"),
    *_credits("charged"),
)

COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "transactions": (
        Column("transaction_id"),
        Column("created_at", "time"),
        Column("occurred_at", "time"),
        Column("kind"),
        *_credits("amount", "posted_after"),
        Column("operation"),
        Column("quantity", "number"),
        Column("paid_by"),
        Column("reason"),
        Column("actor"),
        Column("idempotency_key"),
        Column("reverses"),
        Column("purchase_id"),
        Column("call_id", "count"),
        Column("metadata"),
    ),
    "calls": (
        Column("call_id", "count"),
        Column("operation"),
        Column("from"),
        Column("to"),
        Column("status"),
        Column("started_at", "time"),
        Column("ended_at", "time"),
        Column("duration_seconds", "number"),
        Column("billed_seconds", "number"),
        *_credits("charged"),
        Column("ended_reason"),
        Column("transaction_id"),
    ),
    "purchases": _PURCHASE,
    "usage": _USAGE,
    "statement": (
        Column("month"),
        Column("line"),
        Column("kind"),
        Column("operation"),
        Column("description"),
        Column("count", "count"),
        Column("quantity", "number"),
        *_credits("amount"),
        *_MONEY,
        Column("credited_at", "time"),
        Column("receipt_url"),
        Column("invoice_url"),
    ),
    "accounts": (
        Column("account_id", "count"),
        Column("name"),
        Column("email"),
        Column("role"),
        *_credits("available", "held", "debt", "total_purchased", "total_used"),
        Column("last_activity_at", "time"),
        Column("created_at", "time"),
        Column("is_demo", "flag"),
    ),
    "sales": (Column("account_id", "count"), Column("email"), *_PURCHASE),
    "payments": (
        Column("account_id", "count"),
        Column("name"),
        Column("email"),
        Column("state"),
        *_PURCHASE,
        Column("refunded", "money", "refunded_cents"),
        Column("disputed", "money", "disputed_cents"),
        Column("session_id"),
        Column("payment_intent_id"),
        Column("review_reason"),
        Column("failure_reason"),
    ),
    "usage_by_day": _USAGE,
    "usage_by_account": (
        Column("account_id", "count"),
        Column("name"),
        Column("email"),
        Column("operation"),
        Column("operation_name"),
        Column("events", "count"),
        Column("quantity", "number"),
        *_credits("charged", "rated"),
    ),
    "revenue": (
        Column("month", "day"),
        *_money("sales", "refunds", "disputes", "net", "per_buyer"),
        *_counts("purchases", "buyers", "new_buyers"),
    ),
    "recurring_revenue": (
        Column("month", "day"),
        *_money("mrr", "new", "expansion", "contraction", "churn"),
        Column("subscriptions", "count"),
    ),
    "cohorts": (
        Column("cohort", "day"),
        *_counts("accounts", "months_later", "buyers"),
        *_money("sales"),
        Column("retention_percent", "percent"),
    ),
    "margins": (
        Column("operation"),
        Column("name"),
        Column("events", "count"),
        Column("quantity", "number"),
        *_credits("charged"),
        Column("currency"),
        *(Column(name, "number") for name in ("revenue_cents", "cost_cents", "margin_cents")),
        Column("margin_percent", "percent"),
    ),
    "campaigns": (
        Column("code"),
        Column("name"),
        Column("state"),
        Column("kind"),
        Column("amount", "number"),
        Column("starts_at", "time"),
        Column("ends_at", "time"),
        Column("max_redemptions", "count"),
        Column("max_per_account", "count"),
        Column("redeemed", "count"),
        Column("reserved", "count"),
        *_credits("bonus"),
        Column("currency"),
        Column("discount_given", "money", "discount_cents"),
        Column("sales", "money", "sales_cents"),
    ),
    "referrals": (
        Column("referral_id", "count"),
        Column("status"),
        Column("hold_reason"),
        Column("referrer_account_id", "count"),
        Column("referrer_email"),
        Column("referee_account_id", "count"),
        Column("referee_email"),
        *_credits("referrer", "referee"),
        Column("purchase_id"),
        Column("currency"),
        Column("paid", "money", "paid_cents"),
        Column("claimed_at", "time"),
        Column("rewarded_at", "time"),
        Column("decision_reason"),
    ),
    "audit": (
        Column("audit_id", "count"),
        Column("at", "time"),
        Column("actor"),
        Column("actor_name"),
        Column("actor_email"),
        Column("action"),
        Column("account_id", "count"),
        Column("account_email"),
        Column("detail"),
    ),
    "stripe_events": (
        Column("event_id"),
        Column("type"),
        Column("object_id"),
        Column("livemode", "flag"),
        Column("received_at", "time"),
        Column("deliveries", "count"),
        Column("outcome"),
        Column("error"),
        Column("processed_at", "time"),
    ),
    "differences": (
        Column("difference_id", "count"),
        Column("status"),
        Column("kind"),
        Column("object_id"),
        Column("purchase_id"),
        Column("account_id", "count"),
        Column("payment_intent_id"),
        Column("currency"),
        Column("expected_cents", "count"),
        Column("found_cents", "count"),
        Column("expected"),
        Column("found"),
        Column("explanation"),
        Column("occurred_at", "time"),
        Column("reconciliation_id", "count"),
        Column("last_seen_in", "count"),
        Column("decided_by"),
        Column("decided_at", "time"),
        Column("reason"),
    ),
}
