"""The API: which endpoint takes what and does what; lists, expansion, idempotency."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from credits_core.stripe_sim import catalog_api, forms, params, payments, refunds, sessions
from credits_core.stripe_sim.errors import StripeFault, missing
from credits_core.stripe_sim.events import Context
from credits_core.stripe_sim.store import Obj

Action = Callable[..., Obj]


@dataclass(frozen=True)
class Endpoint:
    """One line of the API: the method, the path below `/v1`, the parameters, and the action."""

    method: str
    path: re.Pattern[str]
    spec: dict[str, forms.Spec]
    action: Action


def _retrieve(kind: str) -> Action:
    def action(ctx: Context, _params: dict[str, Any], object_id: str) -> Obj:
        found = ctx.store.get(kind, object_id)
        if found is None:
            raise missing(kind, object_id)
        return found

    return action


_FILTERS = {"lookup_keys": "lookup_key", "types": "type", "ids": "id"}


def _list(kind: str, url: str) -> Action:
    def action(ctx: Context, given: dict[str, Any]) -> Obj:
        where = {
            _FILTERS.get(name, name): value
            for name, value in given.items()
            if name not in ("expand", "limit", "starting_after", "ending_before", "created")
        }
        return _page(ctx, kind, url, given, where, None)

    return action


def _session_items(ctx: Context, given: dict[str, Any], session_id: str) -> Obj:
    sessions_url = f"/v1/checkout/sessions/{session_id}/line_items"
    if ctx.store.get("checkout.session", session_id) is None:
        raise missing("checkout.session", session_id, "session")
    return _page(ctx, "item", sessions_url, given, {}, session_id)


def _page(
    ctx: Context, kind: str, url: str, given: dict[str, Any], where: dict[str, Any], parent: str | None
) -> Obj:
    limit = given.get("limit", 10)
    if not 1 <= limit <= 100:
        raise StripeFault("Invalid limit: must be between 1 and 100.", param="limit")
    for name in ("starting_after", "ending_before"):
        if given.get(name) and ctx.store.get(kind, given[name]) is None:
            raise missing(kind, given[name], name)
    found, more = ctx.store.page(
        kind,
        where,
        limit=limit,
        parent=parent,
        after=given.get("starting_after"),
        before=given.get("ending_before"),
        created=given.get("created"),
    )
    return {"object": "list", "data": found, "has_more": more, "url": url}


def _endpoint(method: str, path: str, spec: dict[str, forms.Spec], action: Action) -> Endpoint:
    return Endpoint(method, re.compile("/v1" + path.replace("*", r"([A-Za-z0-9_\-.]+)")), spec, action)


def _resource(kind: str, path: str, listing: dict[str, forms.Spec]) -> list[Endpoint]:
    return [
        _endpoint("GET", path, listing, _list(kind, f"/v1{path}")),
        _endpoint("GET", f"{path}/*", params.EXPAND, _retrieve(kind)),
    ]


# fmt: off
ENDPOINTS: list[Endpoint] = [
    *_resource("product", "/products", params.PRODUCT_LIST),
    _endpoint("POST", "/products", params.PRODUCT_CREATE, catalog_api.create_product),
    _endpoint("POST", "/products/*", params.PRODUCT_UPDATE, catalog_api.update_product),
    *_resource("price", "/prices", params.PRICE_LIST),
    _endpoint("POST", "/prices", params.PRICE_CREATE, catalog_api.create_price),
    _endpoint("POST", "/prices/*", params.PRICE_UPDATE, catalog_api.update_price),
    *_resource("customer", "/customers", params.CUSTOMER_LIST),
    _endpoint("POST", "/customers", params.CUSTOMER_CREATE, catalog_api.create_customer),
    *_resource("checkout.session", "/checkout/sessions", params.SESSION_LIST),
    _endpoint("POST", "/checkout/sessions", params.SESSION_CREATE, sessions.create_session),
    _endpoint("POST", "/checkout/sessions/*/expire", params.EXPAND, sessions.expire_session),
    _endpoint("GET", "/checkout/sessions/*/line_items", params.PAGE, _session_items),
    *_resource("payment_intent", "/payment_intents", params.INTENT_LIST),
    _endpoint("POST", "/payment_intents", params.INTENT_CREATE, payments.create_intent),
    _endpoint("POST", "/payment_intents/*/confirm", params.INTENT_CONFIRM, payments.confirm_intent),
    _endpoint("POST", "/payment_intents/*/cancel", params.INTENT_CANCEL, payments.cancel_intent),
    *_resource("charge", "/charges", params.CHARGE_LIST),
    *_resource("refund", "/refunds", params.OF_PAYMENT_LIST),
    _endpoint("POST", "/refunds", params.REFUND_CREATE, refunds.create_refund),
    *_resource("dispute", "/disputes", params.OF_PAYMENT_LIST),
    *_resource("event", "/events", params.EVENT_LIST),
]
# fmt: on


def run(ctx: Context, method: str, path: str, form: str) -> tuple[int, Obj, bool]:
    """Answer one request inside the store's transaction: status, body, and whether it is a replay.

    With an idempotency key the first executed answer is kept and given again; the same key with other
    parameters is refused. Requests refused before they run (unknown or malformed parameters) are not kept, as
    at Stripe.
    """
    for endpoint in ENDPOINTS:
        match = endpoint.path.fullmatch(path)
        if match and endpoint.method == method:
            break
    else:
        raise StripeFault(f"Unrecognized request URL ({method}: {path}).", status=404)
    given = forms.apply(endpoint.spec, forms.decode(form))
    key = ctx.idempotency_key if method == "POST" else None
    fingerprint = hashlib.sha256(json.dumps([method, path, given], sort_keys=True).encode()).hexdigest()
    kept = ctx.store.db.execute(
        "select fingerprint, status, body from idempotency where key = ?", (key,)
    ).fetchone()
    if kept:
        if kept[0] != fingerprint:
            raise StripeFault(
                "Keys for idempotent requests can only be used with the same parameters they were first used"
                f" with. Try using a key other than '{key}' if you meant to execute a different request.",
                kind="idempotency_error",
            )
        return int(kept[1]), json.loads(kept[2]), True
    status, body = 200, {}
    try:
        body = endpoint.action(ctx, given, *match.groups())
        for expansion in given.get("expand", []):
            expand(ctx, body, expansion)
    except StripeFault as fault:
        if not fault.keeps_effects:
            raise
        status, body = fault.status, fault.body
    if key:
        ctx.store.db.execute(
            "insert into idempotency values (?, ?, ?, ?)", (key, fingerprint, status, json.dumps(body))
        )
    return status, body, False


def expand(ctx: Context, obj: Obj, path: str) -> None:
    """Replace the id at a dotted path by its object, in place; the lists `line_items` and `refunds` are
    added."""
    head, _, rest = path.partition(".")
    if head == "line_items" and obj.get("object") == "checkout.session":
        url = f"/v1/checkout/sessions/{obj['id']}/line_items"
        obj[head] = {
            "object": "list",
            "data": sessions.line_items(ctx, obj["id"]),
            "has_more": False,
            "url": url,
        }
    elif head == "refunds" and obj.get("object") == "charge":
        found = ctx.store.find("refund", {"charge": obj["id"]})
        obj[head] = {
            "object": "list",
            "data": found,
            "has_more": False,
            "url": f"/v1/charges/{obj['id']}/refunds",
        }
    elif head not in obj:
        raise StripeFault(f"This property cannot be expanded ({path}).", param="expand")
    elif isinstance(obj[head], str):
        if (found_one := ctx.store.any(obj[head])) is None:
            raise StripeFault(f"This property cannot be expanded ({path}).", param="expand")
        obj[head] = found_one
    for child in obj[head] if isinstance(obj[head], list) else [obj[head]]:
        if rest and isinstance(child, dict):
            expand(ctx, child, rest)
