"""Monthly statements of an account. Rules: supabase/migrations/*_statements.sql; as a PDF: statement_pdf.py.

A month is one of the calendar by the clocks of the account's own time zone; `opening_micros` and the amounts of the movements
add up to `closing_micros`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from credits_core.db.port import Database, Identity

Answer = dict[str, Any]

# What each kind of movement is called on a statement.
KINDS: Mapping[str, str] = {
    "purchase": "Bought",
    "bonus": "Bonus",
    "grant": "Credits given",
    "adjustment": "Adjusted",
    "use": "Used",
    "reversal": "Reversed",
    "refund": "Refunded",
    "dispute": "Disputed",
    "expiry": "Expired",
    "extension": "Extended",
}


def statements(
    db: Database,
    identity: Identity,
    *,
    account_id: int | None = None,
    limit: int = 24,
    cursor: str | None = None,
) -> Answer:
    """Months of an account, newest first: items [month, from, to, complete, opening_micros, closing_micros], next_cursor."""
    answer: Answer = db.call("statements", identity, account_id=account_id, limit=limit, cursor=cursor)
    return answer


def statement(
    db: Database, identity: Identity, month: str | None = None, *, account_id: int | None = None
) -> Answer:
    """One month (`2026-11`; without one the current): opening_micros, movements [kind, operation, count, amount_micros],
    closing_micros, payments by currency, complete (whether the month is over), and its first 500 purchases, with
    `purchases_cursor` where there are more.

    InvalidRequest for what is no month, NotFound for one that has not begun."""
    answer: Answer = db.call("statement", identity, month=month, account_id=account_id)
    return answer


def purchases(
    db: Database,
    identity: Identity,
    month: str,
    *,
    account_id: int | None = None,
    limit: int = 500,
    cursor: str | None = None,
) -> Answer:
    """Purchases credited in a month, oldest first: items, next_cursor."""
    answer: Answer = db.call(
        "statement_purchases", identity, month=month, account_id=account_id, limit=limit, cursor=cursor
    )
    return answer


def every_purchase(db: Database, identity: Identity, statement: Answer) -> Iterator[Answer]:
    """All purchases of a statement, the further ones read as they are asked for."""
    yield from statement["purchases"]
    cursor = statement["purchases_cursor"]
    while cursor is not None:
        page = purchases(db, identity, statement["month"], account_id=statement["account_id"], cursor=cursor)
        yield from page["items"]
        cursor = page["next_cursor"]


def whole(
    db: Database, identity: Identity, month: str | None = None, *, account_id: int | None = None
) -> Answer:
    """Like `statement`, with all its purchases: for a document."""
    found = statement(db, identity, month, account_id=account_id)
    return found | {"purchases": list(every_purchase(db, identity, found)), "purchases_cursor": None}


def label(movement: Mapping[str, Any]) -> str:
    """What a movement is called: `Used: Call`, `Bought`."""
    kind = KINDS.get(movement["kind"], str(movement["kind"]).replace("_", " ").capitalize())
    return f"{kind}: {movement['name']}" if movement["name"] else kind


def lines(db: Database, identity: Identity, statement: Answer) -> Iterator[Answer]:
    """A statement as the rows of one table: opening, movements, closing, then all purchases of the month."""
    at = {"month": statement["month"]}
    yield at | {
        "line": "opening",
        "description": "Opening balance",
        "amount_micros": statement["opening_micros"],
    }
    for movement in statement["movements"]:
        yield at | movement | {"line": "movement", "description": label(movement)}
    yield at | {
        "line": "closing",
        "description": "Closing balance",
        "amount_micros": statement["closing_micros"],
    }
    for purchase in every_purchase(db, identity, statement):
        yield at | purchase | {"line": "purchase", "description": purchase["package_name"]}
