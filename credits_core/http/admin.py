"""For administrators: accounts, and adding or removing credits with a reason."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse

from credits_core import accounts, ledger
from credits_core.http import models
from credits_core.http.caller import Called
from credits_core.http.decimal_json import DecimalRoute
from credits_core.http.fields import KeyHeader, idempotency_key, with_key
from credits_core.http.reading import Cursor, Limit
from credits_core.http.shapes import answer

router = APIRouter(prefix="/credits/admin", tags=["Administration"], route_class=DecimalRoute)


@router.get("/users", response_model=models.Page)
def users(
    caller: Called,
    search: Annotated[str | None, Query(max_length=100)] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> JSONResponse:
    """All accounts with their balances, newest first."""
    return answer(
        accounts.accounts_list(caller.db, caller.identity, search=search, limit=limit, cursor=cursor)
    )


@router.post("/adjust", response_model=models.Adjusted)
def adjust(caller: Called, body: models.Adjust, key: KeyHeader = None) -> JSONResponse:
    """Add credits to an account or take them away. More than is there is refused with 402."""
    key = idempotency_key(key, body.idempotency_key)
    account_id = caller.account_id(body.account)
    adjusted = ledger.adjust(caller.db, caller.identity, account_id, body.amount, body.reason, key)
    return answer(with_key(adjusted, key))
