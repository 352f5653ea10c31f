"""Feature flags and the audit trail over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.responses import JSONResponse

from credits_core import audit, flags
from credits_core.http.caller import Called
from credits_core.http.decimal_json import DecimalRoute
from credits_core.http.fields import Account, Time
from credits_core.http.models import Answer, Body, Page
from credits_core.http.reading import Cursor, Limit, Whose
from credits_core.http.shapes import answer

router = APIRouter(prefix="/credits", route_class=DecimalRoute)

FlagKey = Annotated[str, Path(min_length=2, max_length=40, pattern=r"^[a-z][a-z0-9_]+$")]
Percent = Annotated[int, Field(ge=0, le=100, strict=True)]


class FlagChange(Body):
    """What is left out stays as it is."""

    on: bool | None = Field(default=None, examples=[True], description="Off: for nobody, named or not.")
    percent: Percent | None = Field(
        default=None, examples=[25], description="Of all accounts; raising it only adds some."
    )
    description: str | None = Field(default=None, min_length=3, max_length=300)


class NamedAccount(Body):
    account: Account = Field(examples=["holder@demo.test"])
    on: bool | None = Field(default=None, examples=[True], description="Null: the per cent decides again.")


class Flags(Answer):
    flags: dict[str, bool]


class Flag(Answer):
    key: str
    on: bool
    percent: int
    description: str
    named: list[dict[str, Any]]


class FlagList(Answer):
    items: list[Flag]


class Reach(Answer):
    key: str
    accounts: int = Field(examples=[40], description="All there are.")
    now: int = Field(examples=[10])
    then: int = Field(examples=[20])


class AuditPage(Page):
    actions: list[str] = Field(description="All actions there are, for the filter.")


@router.get("/flags", response_model=Flags, tags=["Account"])
def my_flags(caller: Called, account: Whose = None) -> JSONResponse:
    """Which features are switched on for an account."""
    account_id = caller.account_id(account)
    return answer({"flags": flags.flags(caller.db, caller.identity, account_id=account_id)})


@router.get("/admin/flags", response_model=FlagList, tags=["Administration"])
def list_flags(caller: Called) -> JSONResponse:
    """All flags with their per cent and named accounts."""
    return answer(flags.flag_list(caller.db, caller.identity))


@router.post("/admin/flags/{key}", response_model=Flag, tags=["Administration"])
def set_flag(caller: Called, key: FlagKey, body: FlagChange) -> JSONResponse:
    """Make a flag (with a description), or change it. The same values again change nothing."""
    return answer(
        flags.set_flag(
            caller.db,
            caller.identity,
            key,
            on=body.on,
            percent=body.percent,
            description=body.description,
        )
    )


@router.get("/admin/flags/{key}/reach", response_model=Reach, tags=["Administration"])
def reach(
    caller: Called,
    key: FlagKey,
    on: bool | None = None,
    percent: Annotated[int | None, Query(ge=0, le=100)] = None,
) -> JSONResponse:
    """How many accounts a flag reaches, now and with another per cent or state. Changes nothing."""
    return answer(flags.reach(caller.db, caller.identity, key, percent=percent, on=on))


@router.post("/admin/flags/{key}/accounts", response_model=Flag, tags=["Administration"])
def set_flag_account(caller: Called, key: FlagKey, body: NamedAccount) -> JSONResponse:
    """Switch a flag on or off for one account, whatever the per cent says."""
    account_id = caller.account_id(body.account)
    return answer(flags.set_flag_account(caller.db, caller.identity, key, account_id, body.on))


@router.get("/admin/audit", response_model=AuditPage, tags=["Administration"])
def trail(
    caller: Called,
    account: Whose = None,
    actor: Annotated[str | None, Query(max_length=100, description="A part of a name or e-mail.")] = None,
    action: Annotated[str | None, Query(max_length=64)] = None,
    search: Annotated[str | None, Query(max_length=100, description="A text in the detail.")] = None,
    from_: Annotated[Time | None, Query(alias="from")] = None,
    to: Annotated[Time | None, Query()] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> JSONResponse:
    """Who did what to whom, when and why, newest first."""
    return answer(
        audit.audit(
            caller.db,
            caller.identity,
            actor=actor,
            action=action,
            account_id=caller.account_id(account),
            search=search,
            from_=from_,
            to=to,
            limit=limit,
            cursor=cursor,
        )
    )
