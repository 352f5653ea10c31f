"""API keys of programs: list, make (the key is shown once), revoke."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse

from credits_core import api_keys, limits
from credits_core.auth.key_identity import refuse_without_secret
from credits_core.http import metering_answers as answers
from credits_core.http import metering_bodies as bodies
from credits_core.http.caller import Called
from credits_core.http.decimal_json import DecimalRoute
from credits_core.http.fields import KeyHeader, idempotency_key, with_key
from credits_core.http.reading import Whose
from credits_core.http.shapes import answer
from credits_core.http.spending import Id

router = APIRouter(prefix="/credits/api-keys", tags=["API keys"], route_class=DecimalRoute)


@router.get("", response_model=answers.ApiKeys)
def list_keys(caller: Called, account: Whose = None) -> JSONResponse:
    """All keys of the account, newest first, with their caps and when they were last used."""
    account_id = caller.account_id(account)
    found = api_keys.api_keys(caller.db, caller.identity, account_id=account_id)
    caps = _caps(limits.limits(caller.db, caller.identity, account_id=account_id))
    return answer({"items": [{**key, "caps": caps.get(key["api_key_id"], [])} for key in found["items"]]})


@router.post("", response_model=answers.MadeKey)
def make_key(caller: Called, body: bodies.NewKey, key: KeyHeader = None) -> JSONResponse:
    """Make a key for a program. `key` is in this answer alone: store it where programs keep secrets.

    Sent again with the same `Idempotency-Key`, it makes no second key and does not show the first one again.
    """
    refuse_without_secret(caller.runtime.settings)
    key = idempotency_key(key, body.idempotency_key)
    account_id = caller.account_id(body.account)
    made = api_keys.create_api_key(
        caller.db,
        caller.identity,
        body.name,
        body.scopes,
        livemode=caller.runtime.settings.stripe_live,
        expires_at=body.expires_at,
        account_id=account_id,
        idempotency_key=key,
    )
    caps: list[dict[str, Any]] = []
    for period, cap in (("day", body.cap_per_day), ("month", body.cap_per_month)):
        if cap is not None:
            now = limits.set_cap(
                caller.db,
                caller.identity,
                "day" if period == "day" else "month",
                cap,
                api_key_id=made["api_key_id"],
                account_id=account_id,
            )
            caps = _caps(now)[made["api_key_id"]]
    return answer(with_key({**made, "caps": caps}, key))


@router.delete("/{api_key_id}", response_model=answers.ApiKey)
@router.post("/{api_key_id}/revoke", response_model=answers.ApiKey, summary="Revoke Key (the same as delete)")
def revoke_key(caller: Called, api_key_id: Id) -> JSONResponse:
    """End a key, from this moment on. Repeating it gives the same answer."""
    return answer(api_keys.revoke_api_key(caller.db, caller.identity, api_key_id))


def _caps(found: dict[str, Any]) -> dict[int | None, list[dict[str, Any]]]:
    by_key: dict[int | None, list[dict[str, Any]]] = {}
    for cap in found["caps"]:
        by_key.setdefault(cap["api_key_id"], []).append(cap)
    return by_key
