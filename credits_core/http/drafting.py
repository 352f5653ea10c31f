"""The draft of the catalog, for administrators: collect changes, rehearse them, ask for their release."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import Field
from starlette.responses import JSONResponse

from credits_core import catalog_drafts
from credits_core.http.approving import Approval
from credits_core.http.caller import Called
from credits_core.http.decimal_json import DecimalRoute
from credits_core.http.fields import Code, Key, KeyHeader, Text, Time, idempotency_key, with_key
from credits_core.http.metering_answers import Rehearsed
from credits_core.http.models import Answer, Body
from credits_core.http.reading import From, To
from credits_core.http.shapes import answer

router = APIRouter(prefix="/credits/admin/catalog-draft", tags=["Administration"], route_class=DecimalRoute)

REHEARSED = timedelta(days=30)
ItemKind = Annotated[Literal["price", "package", "plan"], Path()]
ItemCode = Annotated[Code, Path()]


class Item(Body):
    """What the draft holds of a price, package or plan; amounts in micros and in the currency's smallest unit."""

    item: dict[str, Any] = Field(
        examples=[{"components": [{"unit": "minute", "price_micros": 200_000, "initial": 1, "following": 1}]}]
    )


class Release(Body):
    effective_from: Time | None = Field(default=None, description="Without it, as soon as it is approved.")
    reason: Text = Field(min_length=1, examples=["The provider raised its price"])
    idempotency_key: Key | None = None


class Draft(Answer):
    draft_id: int = Field(examples=[4])
    catalog: str = Field(examples=["voice"])
    status: str = Field(examples=["open"], description="open, released or discarded.")
    version: int = Field(examples=[2], description="Counts the changes; a release is asked for one version.")
    prices: dict[str, Any]
    packages: dict[str, Any]
    plans: dict[str, Any]
    effective_from: str | None
    waits: bool = Field(description="Its release was asked for and waits for a second person.")


class Drafts(Answer):
    catalog: str = Field(examples=["voice"])
    draft: Draft | None
    before: list[Draft]
    coming: list[dict[str, Any]] = Field(description="Prices that are released and not valid yet.")


@router.get("", response_model=Drafts)
def catalog_draft(caller: Called) -> JSONResponse:
    """The open draft, those before it, and prices that are coming. For staff."""
    return answer(catalog_drafts.catalog_draft(caller.db, caller.identity))


@router.put("/{kind}/{code}", response_model=Draft)
def put_item(caller: Called, kind: ItemKind, code: ItemCode, body: Item) -> JSONResponse:
    """Put a price, package or plan into the draft, in place of one of this code."""
    return answer(catalog_drafts.draft_change(caller.db, caller.identity, kind, code, body.item))


@router.delete("/{kind}/{code}", response_model=Draft)
def take_out(caller: Called, kind: ItemKind, code: ItemCode) -> JSONResponse:
    """Take a change out of the draft."""
    return answer(catalog_drafts.draft_change(caller.db, caller.identity, kind, code, None))


@router.post("/discard", response_model=Draft)
def discard(caller: Called) -> JSONResponse:
    """Close the draft without a release."""
    return answer(catalog_drafts.discard(caller.db, caller.identity))


@router.get("/rehearsal", response_model=Rehearsed)
def rehearse(caller: Called, from_: From = None, to: To = None) -> JSONResponse:
    """Past usage (without times: of 30 days) under the draft's prices; changes nothing."""
    end = to or datetime.now(UTC)
    return answer(catalog_drafts.rehearse(caller.db, caller.identity, from_ or end - REHEARSED, end))


@router.post("/release", response_model=Approval)
def release(caller: Called, body: Release, key: KeyHeader = None) -> JSONResponse:
    """Ask another administrator to release the draft as it is now."""
    key = idempotency_key(key, body.idempotency_key)
    asked = catalog_drafts.request_release(
        caller.db, caller.identity, body.reason, key, effective_from=body.effective_from
    )
    return answer(with_key(asked, key))
