"""What a caller can read: balance, packages, prices, transactions, purchases, calls."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse

from credits_core import currencies
from credits_core.http import models
from credits_core.http.caller import Called
from credits_core.http.decimal_json import DecimalRoute
from credits_core.http.fields import Account, Time
from credits_core.http.shapes import answer

router = APIRouter(prefix="/credits", tags=["Reading"], route_class=DecimalRoute)

Whose = Annotated[Account | None, Query(description="Another account, for staff and programs.")]
Limit = Annotated[int, Query(ge=1, le=500)]
Cursor = Annotated[str | None, Query(max_length=200, description="`next_cursor` of the page before.")]
From = Annotated[Time | None, Query(alias="from")]
To = Annotated[Time | None, Query()]
Kind = Literal[
    "purchase", "grant", "bonus", "use", "adjustment", "reversal", "expiry", "refund", "debt_recovery"
]


@router.get("/me", response_model=models.Me)
def me(caller: Called) -> JSONResponse:
    """Who is signed in, and their account."""
    return answer(caller.call("me"))


@router.get("/balance", response_model=models.Balance | models.BalanceAsOf)
def balance(
    caller: Called,
    account: Whose = None,
    at: Annotated[Time | None, Query(description="A moment in the past.")] = None,
) -> JSONResponse:
    """Credits posted, held and available, and the totals bought and used; with `at`, the balance of that moment."""
    account_id = caller.account_id(account)
    if at is not None:
        return answer(caller.call("balance_as_of", at=at, account_id=account_id))
    return answer(caller.call("balance", account_id=account_id))


@router.get("/packages", response_model=models.Packages)
def packages(caller: Called) -> JSONResponse:
    """What can be bought."""
    found = caller.public_call("packages") or {"catalog": None, "packages": []}
    for package in found["packages"]:
        package["bonus_credits_micros"] = package.pop("bonus_micros")
        package["price_per_credit"] = _in_major_units(package["cents_per_credit"], package["currency"])
    return answer(found)


def _in_major_units(cents: str, currency: str) -> str:
    """`100.0000` cents as `1.00` dollars: at least the currency's own decimals, more only if needed."""
    places = currencies.decimals(currency)
    whole, _, fraction = format(Decimal(cents).scaleb(-places), "f").partition(".")
    fraction = fraction.rstrip("0").ljust(places, "0")
    return f"{whole}.{fraction}" if fraction else whole


@router.get("/pricing", response_model=models.Pricing)
def pricing(caller: Called) -> JSONResponse:
    """What each operation costs, and how it is measured and rounded."""
    return answer(caller.public_call("pricing") or {"catalog": None, "operations": []})


@router.get("/transactions", response_model=models.Page)
def transactions(
    caller: Called,
    account: Whose = None,
    kind: Kind | None = None,
    from_: From = None,
    to: To = None,
    search: Annotated[str | None, Query(max_length=100)] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> JSONResponse:
    """The ledger, newest first."""
    return answer(
        caller.call(
            "transactions",
            account_id=caller.account_id(account),
            kind=kind,
            **{"from": from_},
            to=to,
            search=search,
            limit=limit,
            cursor=cursor,
        )
    )


@router.get("/transactions/{transaction_id}", response_model=models.Explained)
def explain(caller: Called, transaction_id: str) -> JSONResponse:
    """Why this charge: price, quantity, rounding, the grants it drew on, balance before and after."""
    return answer(caller.call("explain", transaction_id=transaction_id[:64]))


@router.get("/history", response_model=models.Page)
def history(
    caller: Called,
    type: Literal["purchases", "usage", "transactions"] = "transactions",
    account: Whose = None,
    from_: From = None,
    to: To = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> JSONResponse:
    """Purchases, usage or everything, newest first."""
    account_id = caller.account_id(account)
    if type == "purchases":
        return answer(caller.call("purchases", account_id=account_id, limit=limit, cursor=cursor))
    kind = "usage" if type == "usage" else None
    span = {"from": from_, "to": to}
    return answer(
        caller.call("transactions", account_id=account_id, kind=kind, **span, limit=limit, cursor=cursor)
    )


@router.get("/calls", response_model=models.Page)
def calls(
    caller: Called,
    account: Whose = None,
    status: Literal["running", "completed", "canceled", "failed", "abandoned"] | None = None,
    number: Annotated[str | None, Query(max_length=64)] = None,
    from_: From = None,
    to: To = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> JSONResponse:
    """The call log, newest first."""
    span = {"from": from_, "to": to}
    return answer(
        caller.call(
            "calls",
            account_id=caller.account_id(account),
            status=status,
            number=number,
            **span,
            limit=limit,
            cursor=cursor,
        )
    )
