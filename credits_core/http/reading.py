"""What a caller can read: balance, packages, prices, transactions, purchases, calls."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from starlette.responses import JSONResponse

from credits_core import accounts, catalog, currencies, ledger, purchases
from credits_core import calls as call_log
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
At = Annotated[Time | None, Query(description="A moment in the past.")]
Kind = Literal[
    "purchase", "grant", "bonus", "use", "adjustment", "reversal", "expiry", "refund", "dispute", "debt_recovery",
    "extension", "purchases", "usage",
]  # fmt: skip
TransactionId = Annotated[str, Path(pattern=r"^\d{1,18}-\d{1,18}$", examples=["17-42"])]
CallStatus = Literal["running", "completed", "canceled", "failed", "abandoned"]


@router.get("/me", response_model=models.Me)
def me(caller: Called) -> JSONResponse:
    """Who is signed in, and their account."""
    return answer(accounts.me(caller.db, caller.identity))


@router.get("/balance", response_model=models.Balance | models.BalanceAsOf)
def balance(caller: Called, account: Whose = None, at: At = None) -> JSONResponse:
    """Credits posted, held and available, and the totals bought and used; with `at`, the balance of that moment."""
    account_id = caller.account_id(account)
    if at is not None:
        return answer(ledger.balance_as_of(caller.db, caller.identity, at, account_id=account_id))
    return answer(ledger.balance(caller.db, caller.identity, account_id=account_id))


@router.get("/packages", response_model=models.Packages)
def packages(caller: Called) -> JSONResponse:
    """What can be bought. Needs no sign-in."""
    found = catalog.packages(caller.db, caller.identity_or_nobody) or {"catalog": None, "packages": []}
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
    """What each operation costs, and how it is measured and rounded. Needs no sign-in."""
    return answer(
        catalog.pricing(caller.db, caller.identity_or_nobody) or {"catalog": None, "operations": []}
    )


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
    found = ledger.transactions(
        caller.db,
        caller.identity,
        account_id=caller.account_id(account),
        kind=kind,
        from_=from_,
        to=to,
        search=search,
        limit=limit,
        cursor=cursor,
    )
    return answer(found)


@router.get("/transactions/{transaction_id}", response_model=models.Explained)
def explain(caller: Called, transaction_id: TransactionId) -> JSONResponse:
    """Why this charge: price, quantity, rounding, the grants it drew on, balance before and after."""
    return answer(ledger.explain(caller.db, caller.identity, transaction_id))


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
    """Purchases, usage or everything, newest first; purchases by the moment they were started."""
    account_id = caller.account_id(account)
    if type == "purchases":
        found = purchases.purchases(
            caller.db,
            caller.identity,
            account_id=account_id,
            limit=limit,
            cursor=cursor,
            from_=from_,
            to=to,
        )
    else:
        kind = "usage" if type == "usage" else None
        found = ledger.transactions(
            caller.db,
            caller.identity,
            account_id=account_id,
            kind=kind,
            from_=from_,
            to=to,
            limit=limit,
            cursor=cursor,
        )
    return answer(found)


@router.get("/calls", response_model=models.Page)
def calls(
    caller: Called,
    account: Whose = None,
    status: CallStatus | None = None,
    number: Annotated[str | None, Query(max_length=64, description="A part of either number.")] = None,
    from_: From = None,
    to: To = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> JSONResponse:
    """The call log, newest first."""
    found = call_log.calls(
        caller.db,
        caller.identity,
        account_id=caller.account_id(account),
        status=status,
        number=number,
        from_=from_,
        to=to,
        limit=limit,
        cursor=cursor,
    )
    return answer(found)
