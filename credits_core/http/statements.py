"""Monthly statements, and Stripe's page for cards and invoices."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.responses import Response

from credits_core import export_sources, saved_cards, statement_pdf, statements
from credits_core.export_sources import Asked
from credits_core.http.caller import Called
from credits_core.http.decimal_json import DecimalRoute
from credits_core.http.exporting import streamed
from credits_core.http.models import Answer
from credits_core.http.reading import Cursor, Limit, Whose
from credits_core.http.shapes import answer

router = APIRouter(prefix="/credits", tags=["Statements"], route_class=DecimalRoute)

Month = Annotated[str, Path(pattern=r"^\d{4}-\d{2}$", examples=["2026-11"])]
Balance = Annotated[str, Field(examples=["12.50"])]


class StatementMonth(Answer):
    month: str = Field(examples=["2026-11"])
    complete: bool = Field(description="Whether the month is over.")
    opening: Balance
    opening_micros: int
    closing: Balance
    closing_micros: int


class Statements(Answer):
    items: list[StatementMonth]
    time_zone: str = Field(description="The account's; months are cut by its clocks.")
    next_cursor: str | None


class Movement(Answer):
    kind: str = Field(examples=["use"])
    operation: str | None = Field(examples=["call"])
    count: int
    amount: str = Field(examples=["-3.15"])
    amount_micros: int


class Payment(Answer):
    currency: str = Field(examples=["usd"])
    purchases: int
    list_price_cents: int
    discount_cents: int
    tax_cents: int
    total_cents: int
    refunded_cents: int


class Statement(StatementMonth):
    movements: list[Movement] = Field(description="Opening and movements add up to closing.")
    purchases: list[dict[str, Any]] = Field(
        description="With price, discount, tax, receipt and invoice; the first 500. PDF and CSV hold all."
    )
    purchases_cursor: str | None = Field(description="Where there are more: `cursor` of their list.")
    payments: list[Payment]


class StatementPurchases(Answer):
    items: list[dict[str, Any]]
    next_cursor: str | None


class PortalPage(Answer):
    url: str = Field(description="Good for a short time: send the browser there at once.")


@router.get("/statements", response_model=Statements)
def read_statements(
    caller: Called,
    account: Whose = None,
    limit: Annotated[int, Query(ge=1, le=120)] = 24,
    cursor: Cursor = None,
) -> Response:
    """The months of an account, newest first, with the balance at their beginning and end."""
    found = statements.statements(
        caller.db, caller.identity, account_id=caller.account_id(account), limit=limit, cursor=cursor
    )
    return answer(found)


@router.get(
    "/statements/{month}",
    response_model=Statement,
    responses={200: {"content": {"application/pdf": {}, "text/csv": {}}}},
)
def read_statement(
    caller: Called, month: Month, format: Literal["json", "pdf", "csv"] = "json", account: Whose = None
) -> Response:
    """One month: opening balance, what came and went, closing balance, and what was paid. Also as PDF and CSV."""
    account_id = caller.account_id(account)
    if format == "csv":
        asked = Asked(account_id=account_id, month=month)
        return streamed(export_sources.open_export(caller.db, caller.identity, "statement", "csv", asked))
    if format == "pdf":
        return pdf_file(statements.whole(caller.db, caller.identity, month, account_id=account_id))
    return answer(statements.statement(caller.db, caller.identity, month, account_id=account_id))


@router.get("/statements/{month}/purchases", response_model=StatementPurchases)
def read_purchases(
    caller: Called, month: Month, account: Whose = None, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """The purchases credited in a month, oldest first; `purchases_cursor` of a statement goes on where it ends."""
    found = statements.purchases(
        caller.db,
        caller.identity,
        month,
        account_id=caller.account_id(account),
        limit=limit,
        cursor=cursor,
    )
    return answer(found)


def pdf_file(found: dict[str, Any]) -> Response:
    """A statement as a file to keep."""
    name = statement_pdf.file_name(found)
    return Response(
        statement_pdf.pdf(found),
        media_type="application/pdf",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


@router.post("/portal", response_model=PortalPage)
def portal(caller: Called) -> Response:
    """A page at Stripe where the caller looks after saved cards and finds invoices; its link leads back to the statements."""
    return answer({"url": saved_cards.portal(caller.runtime, caller.identity, caller.base_url)})
