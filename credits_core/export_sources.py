"""What can be exported: the columns of each table, and how its rows are read page by page as the caller."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from credits_core import (
    accounts,
    analytics,
    audit,
    calls,
    exports,
    finance,
    ledger,
    operations,
    payments,
    promotions,
    purchases,
    reconcile,
    referrals,
    statements,
)
from credits_core.db.port import Database, Identity
from credits_core.errors import InvalidRequest, NotFound
from credits_core.export_columns import COLUMNS
from credits_core.exports import Column, Format, Row

PAGE = 500  # the most a list answers
ACCOUNTS_A_PAGE = 100
DAYS_A_PAGE = 31
UTC = ZoneInfo("UTC")
MONTH = re.compile(r"\d{4}-\d{2}", re.ASCII)
TEXTS = ("kind", "status", "search", "number", "month", "actor", "currency", "mode", "unit", "operation")
MODES: Mapping[str | None, bool | None] = {None: None, "test": False, "live": True}  # as livemode
MAX_TEXT = 100
DAYS = 30  # of usage, when no days are asked for


@dataclass(frozen=True)
class Asked:
    """What narrows an export: days (both included) by the clocks of `zone`, and the filters of the list."""

    zone: ZoneInfo = UTC
    first: dt.date | None = None
    last: dt.date | None = None
    account_id: int | None = None
    kind: str | None = None
    status: str | None = None
    search: str | None = None
    number: str | None = None
    month: str | None = None
    actor: str | None = None
    currency: str | None = None
    mode: str | None = None
    unit: str | None = None
    operation: str | None = None
    livemode: bool = False

    def moments(self) -> dict[str, Any]:
        """The days as `from_` and `to` of a list by time."""
        after = self.last + dt.timedelta(days=1) if self.last else None
        return {
            "from_": dt.datetime.combine(self.first, dt.time(), self.zone) if self.first else None,
            "to": dt.datetime.combine(after, dt.time(), self.zone) if after else None,
        }

    def days(self) -> tuple[dt.date, dt.date]:
        """First and last day, for what cannot be without."""
        last = self.last or dt.datetime.now(self.zone).date()
        return self.first or last - dt.timedelta(days=DAYS - 1), last

    @classmethod
    def of(cls, query: Mapping[str, str | None], account_id: int | None, *, livemode: bool) -> Asked:
        """From the texts of a query: from, to (days), time_zone, and TEXTS. `mode` (test or live) is of payments, which know
        both. InvalidRequest."""
        texts = {name: (query.get(name) or "")[:MAX_TEXT] or None for name in TEXTS}
        if texts["mode"] not in MODES:
            raise InvalidRequest("mode is test or live; without it both.")
        return cls(
            _zone(query.get("time_zone") or "UTC"),
            _day(query.get("from")),
            _day(query.get("to")),
            account_id,
            **texts,
            livemode=livemode,
        )


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidRequest("There is no such time zone; use a name such as Europe/Berlin or UTC.") from None


def _day(text: str | None) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text) if text else None
    except ValueError:
        raise InvalidRequest("Give days as year, month and day, such as 2026-11-20.") from None


Read = Callable[[Database, Identity, Asked], Iterable[Row]]


@dataclass(frozen=True)
class Source:
    """A table that can be exported. `for_staff`: its database function refuses everybody else."""

    columns: tuple[Column, ...]
    read: Read
    for_staff: bool = False


@dataclass(frozen=True)
class Export:
    """A file that is being written: send `chunks` as they come."""

    file_name: str
    media_type: str
    chunks: Iterator[bytes]


def open_export(db: Database, identity: Identity, what: str, format: Format, asked: Asked) -> Export:
    """Begins an export. The first page is read at once, so that a refusal comes as an error and not as half a file."""
    if what not in SOURCES:
        raise NotFound(f"There is no export “{what[:40]}”; choose one of {', '.join(SOURCES)}.")
    if asked.first and asked.last and asked.last < asked.first:
        raise InvalidRequest("The last day lies before the first one; give them in this order.")
    source = SOURCES[what]
    rows = iter(source.read(db, identity, asked))
    head = [row for row in [next(rows, None)] if row is not None]
    title = what.replace("_", " ").capitalize()
    return Export(
        file_name(what, format, asked),
        exports.MEDIA_TYPES[format],
        exports.chunks(format, source.columns, chain(head, rows), asked.zone, title),
    )


def file_name(what: str, format: Format, asked: Asked) -> str:
    """`transactions-account-17-2026-10-01-to-2026-10-31.csv`: made of names, numbers and dates alone."""
    parts = [what.replace("_", "-")]
    if asked.account_id is not None:
        parts.append(f"account-{asked.account_id}")
    if asked.month is not None and MONTH.fullmatch(asked.month):  # SQL says what is wrong with others
        parts.append(asked.month)
    parts += [day.isoformat() for day in (asked.first,) if day]
    parts += [f"to-{day.isoformat()}" for day in (asked.last,) if day]
    return f"{'-'.join(parts)}.{format}"


def every(page: Callable[..., Mapping[str, Any]], limit: int = PAGE, **filters: object) -> Iterator[Row]:
    """All rows of a list that is paged by key."""
    cursor: str | None = None
    while True:
        answer = page(**filters, limit=limit, cursor=cursor)
        yield from answer["items"]
        cursor = answer["next_cursor"]
        if cursor is None:
            return


def _transactions(db: Database, identity: Identity, asked: Asked) -> Iterator[Row]:
    return every(
        lambda **page: ledger.transactions(db, identity, **page),
        account_id=asked.account_id, kind=asked.kind, search=asked.search, **asked.moments(),
    )  # fmt: skip


def _calls(db: Database, identity: Identity, asked: Asked) -> Iterator[Row]:
    return every(
        lambda **page: calls.calls(db, identity, **page),
        account_id=asked.account_id, status=asked.status, number=asked.number, **asked.moments(),
    )  # fmt: skip


def _purchases(db: Database, identity: Identity, asked: Asked) -> Iterator[Row]:
    return every(
        lambda **page: purchases.purchases(db, identity, **page),
        account_id=asked.account_id, status=asked.status, **asked.moments(),
    )  # fmt: skip


def _spans(asked: Asked) -> Iterator[tuple[dt.date, dt.date]]:
    """The days asked for in parts that one answer holds."""
    first, last = asked.days()
    while first <= last:
        yield first, min(first + dt.timedelta(days=DAYS_A_PAGE - 1), last)
        first += dt.timedelta(days=DAYS_A_PAGE)


def _used(rows: Iterable[Row]) -> Iterator[Row]:
    """Charts need days without use, a file does not."""
    return (row for row in rows if row["events"] or row["charged_micros"])


def _usage(db: Database, identity: Identity, asked: Asked) -> Iterator[Row]:
    for first, last in _spans(asked):
        yield from _used(
            analytics.usage_analytics(
                db, identity, account_id=asked.account_id, first=first, last=last,
                group_by="day_operation", time_zone=asked.zone.key,
            )["rows"]
        )  # fmt: skip


def _usage_report(db: Database, identity: Identity, asked: Asked) -> Iterator[Row]:
    """In one answer, which is at most 800 days: only the whole range knows where weeks are cut and what lay before."""
    first, last = asked.days()
    unit = cast(analytics.Unit, asked.unit or "day")  # SQL says what is wrong with others
    found = analytics.usage_report(
        db, identity, account_id=asked.account_id, first=first, last=last, unit=unit,
        operation=asked.operation, time_zone=asked.zone.key,
    )  # fmt: skip
    return (row for row in found["rows"] if row["events"] or row["before_micros"])


def _usage_by_day(db: Database, identity: Identity, asked: Asked) -> Iterator[Row]:
    for first, last in _spans(asked):
        overview = analytics.finance_overview(
            db, identity, livemode=asked.livemode, first=first, last=last, time_zone=asked.zone.key
        )
        yield from _used(overview["usage"]["rows"])


def _usage_by_account(db: Database, identity: Identity, asked: Asked) -> Iterator[Row]:
    first, last = asked.days()
    return every(
        lambda **page: analytics.usage_by_account(db, identity, **page),
        ACCOUNTS_A_PAGE, first=first, last=last, time_zone=asked.zone.key,
    )  # fmt: skip


def _sales(db: Database, identity: Identity, asked: Asked) -> Iterator[Row]:
    return every(
        lambda **page: purchases.sales(db, identity, **page),
        livemode=asked.livemode, first=asked.first, last=asked.last, time_zone=asked.zone.key,
    )  # fmt: skip


MONTHS = 36  # the most that figures by month answer


def _by_month(figures: Callable[..., Mapping[str, Any]]) -> Read:
    """All months there are of one of finance's figures."""

    def read(db: Database, identity: Identity, asked: Asked) -> Iterator[Row]:
        answer = figures(db, identity, livemode=asked.livemode, months=MONTHS, time_zone=asked.zone.key)
        yield from answer["rows"]

    return read


def _margins(db: Database, identity: Identity, asked: Asked) -> Iterator[Row]:
    first, last = asked.days()
    moments = replace(asked, first=first, last=last).moments()
    found = analytics.margins(db, identity, moments["from_"], moments["to"])
    yield from ({**row, "currency": found["currency"]} for row in found["rows"])


def _accounts(db: Database, identity: Identity, asked: Asked) -> Iterator[Row]:
    return every(lambda **page: accounts.accounts_list(db, identity, **page), search=asked.search)


def _payments(db: Database, identity: Identity, asked: Asked) -> Iterator[Row]:
    return every(
        lambda **page: payments.payments(db, identity, **page),
        status=asked.status, search=asked.search, currency=asked.currency, livemode=MODES[asked.mode], **asked.moments(),
    )  # fmt: skip


def _stripe_events(db: Database, identity: Identity, asked: Asked) -> Iterator[Row]:
    return every(
        lambda **page: operations.stripe_events(db, identity, **page),
        type=asked.kind, outcome=asked.status, search=asked.search,
    )  # fmt: skip


def _differences(db: Database, identity: Identity, asked: Asked) -> Iterator[Row]:
    return every(
        lambda **page: reconcile.differences(db, identity, **page), status=asked.status, kind=asked.kind
    )


def _statement(db: Database, identity: Identity, asked: Asked) -> Iterator[Row]:
    found = statements.statement(db, identity, asked.month, account_id=asked.account_id)
    return statements.lines(db, identity, found)


def _campaigns(db: Database, identity: Identity, asked: Asked) -> Iterator[Row]:
    return every(
        lambda **page: promotions.campaigns(db, identity, **page), state=asked.status, search=asked.search
    )


def _referrals(db: Database, identity: Identity, asked: Asked) -> Iterator[Row]:
    return every(
        lambda **page: referrals.referrals(db, identity, **page),
        status=asked.status, account_id=asked.account_id,
    )  # fmt: skip


def _audit(db: Database, identity: Identity, asked: Asked) -> Iterator[Row]:
    rows = every(
        lambda **page: audit.audit(db, identity, **page),
        actor=asked.actor, action=asked.kind, account_id=asked.account_id, search=asked.search, **asked.moments(),
    )  # fmt: skip
    return ({**row, "actor_name": row["who"]["name"], "actor_email": row["who"]["email"]} for row in rows)


SOURCES: Mapping[str, Source] = {
    "transactions": Source(COLUMNS["transactions"], _transactions),
    "calls": Source(COLUMNS["calls"], _calls),
    "purchases": Source(COLUMNS["purchases"], _purchases),
    "usage": Source(COLUMNS["usage"], _usage),
    "usage_report": Source(COLUMNS["usage_report"], _usage_report),
    "statement": Source(COLUMNS["statement"], _statement),
    "accounts": Source(COLUMNS["accounts"], _accounts, for_staff=True),
    "payments": Source(COLUMNS["payments"], _payments, for_staff=True),
    "sales": Source(COLUMNS["sales"], _sales, for_staff=True),
    "usage_by_day": Source(COLUMNS["usage_by_day"], _usage_by_day, for_staff=True),
    "usage_by_account": Source(COLUMNS["usage_by_account"], _usage_by_account, for_staff=True),
    "revenue": Source(COLUMNS["revenue"], _by_month(finance.revenue_by_month), for_staff=True),
    "recurring_revenue": Source(
        COLUMNS["recurring_revenue"], _by_month(finance.recurring_revenue), for_staff=True
    ),
    "cohorts": Source(COLUMNS["cohorts"], _by_month(finance.cohorts), for_staff=True),
    "margins": Source(COLUMNS["margins"], _margins, for_staff=True),
    "campaigns": Source(COLUMNS["campaigns"], _campaigns, for_staff=True),
    "referrals": Source(COLUMNS["referrals"], _referrals, for_staff=True),
    "audit": Source(COLUMNS["audit"], _audit, for_staff=True),
    "stripe_events": Source(COLUMNS["stripe_events"], _stripe_events, for_staff=True),
    "differences": Source(COLUMNS["differences"], _differences, for_staff=True),
}
