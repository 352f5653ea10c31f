"""Figures for pages and reports: usage and sales by day in the viewer's zone, overviews, quotes.

Days are calendar days of `time_zone` (an IANA name); the sums of days always equal the total of their range.
All amounts are integer micros (`*_micros`) or the currency's smallest unit (`*_cents`).
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

from credits_core.db.port import Database, Identity

GroupBy = Literal["day", "operation", "day_operation"]
Unit = Literal["day", "week", "month"]
Answer = dict[str, Any]


def account_overview(
    db: Database, identity: Identity, *, account_id: int | None = None, days: int = 30, time_zone: str = "UTC"
) -> Answer:
    """Balance, this month against last, run-out estimate, warning level and the last `days` (2 to 366) day by day.

    `level` is new, debt, empty, low (less than a week left) or ok. Without `account_id`: the caller's own.
    """
    answer: Answer = db.call(
        "account_overview", identity, account_id=account_id, days=days, time_zone=time_zone
    )
    return answer


def usage_analytics(
    db: Database,
    identity: Identity,
    *,
    account_id: int | None = None,
    first: dt.date | None = None,
    last: dt.date | None = None,
    group_by: GroupBy = "day",
    time_zone: str = "UTC",
) -> Answer:
    """Usage of one account from day `first` to day `last`, both included (default: the last 30 days).

    `rows` are grouped as asked, with zero rows for days without use; `operations` are the sums by operation, the
    largest first; `total_micros` is the sum of the range. InvalidRequest for an unknown zone or over 800 days.
    """
    answer: Answer = db.call(
        "usage_analytics",
        identity,
        account_id=account_id,
        **_days(first, last),
        group_by=group_by,
        time_zone=time_zone,
    )
    return answer


def usage_report(
    db: Database,
    identity: Identity,
    *,
    account_id: int | None = None,
    first: dt.date | None = None,
    last: dt.date | None = None,
    unit: Unit = "day",
    operation: str | None = None,
    time_zone: str = "UTC",
) -> Answer:
    """Usage of one account from day `first` to `last`, both included, by `unit`, against the same number of days before.

    `buckets` [start, end, charged_micros, events, before_micros], `operations` the largest first, `rows` by bucket and operation;
    `quantity` in the operation's `measure` (seconds, tokens, bytes, count). NotFound for an unknown operation.
    """
    answer: Answer = db.call(
        "usage_report",
        identity,
        account_id=account_id,
        **_days(first, last),
        unit=unit,
        operation=operation,
        time_zone=time_zone,
    )
    return answer


def run_out_forecast(
    db: Database, identity: Identity, *, account_id: int | None = None, time_zone: str = "UTC"
) -> Answer:
    """When the credits run out: date, soonest_date and latest_date (8 times in 10 it lies between; None beyond a year), the `path`
    of the next 60 days, and in `past` the forecast of 30 days ago against what happened (None without use before)."""
    answer: Answer = db.call("run_out_forecast", identity, account_id=account_id, time_zone=time_zone)
    return answer


def finance_overview(
    db: Database,
    identity: Identity,
    *,
    livemode: bool,
    first: dt.date | None = None,
    last: dt.date | None = None,
    time_zone: str = "UTC",
) -> Answer:
    """Sales (by currency, package, day) and usage (by day and operation, top accounts) of everybody. For staff.

    Changes in per cent compare with as many days before. Test and live sales are never in one answer.
    """
    answer: Answer = db.call(
        "finance_overview", identity, livemode=livemode, **_days(first, last), time_zone=time_zone
    )
    return answer


def usage_by_account(
    db: Database,
    identity: Identity,
    *,
    first: dt.date,
    last: dt.date,
    time_zone: str = "UTC",
    limit: int = 50,
    cursor: str | None = None,
) -> Answer:
    """Usage of the next `limit` accounts (by number) by operation: items, next_cursor. A page may be empty. For staff."""
    answer: Answer = db.call(
        "usage_by_account", identity, **_days(first, last), time_zone=time_zone, limit=limit, cursor=cursor
    )
    return answer


def margins(db: Database, identity: Identity, start: dt.datetime, end: dt.datetime) -> Answer:
    """Revenue, provider cost and margin by operation, from `start` to before `end`: rows. For staff.

    Revenue is what the credits cost that paid; promotional credits earn nothing. `cost_cents` is None without a cost."""
    answer: Answer = db.call("margins", identity, **{"from": start, "to": end})
    return answer


def account_detail(db: Database, identity: Identity, account_id: int | None = None) -> Answer:
    """Who an account is, its balance, and its grants in spend order. NotFound when there is no such account."""
    answer: Answer = db.call("account_detail", identity, account_id=account_id)
    return answer


def _days(first: dt.date | None, last: dt.date | None) -> dict[str, str | None]:
    return {"from": first.isoformat() if first else None, "to": last.isoformat() if last else None}
