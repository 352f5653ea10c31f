"""The API: requests are routed, run once per idempotency key, and answered with what they ask to expand."""

from __future__ import annotations

import hashlib
import json

from credits_core.stripe_sim import endpoints, forms
from credits_core.stripe_sim.errors import StripeFault
from credits_core.stripe_sim.events import Context
from credits_core.stripe_sim.store import Obj


def run(ctx: Context, method: str, path: str, form: str) -> tuple[int, Obj, bool]:
    """Answer one request inside the store's transaction: status, body, and whether it is a replay.

    With an idempotency key the first executed answer is kept and given again; the same key with other
    parameters is refused. Requests refused before they run (unknown or malformed parameters) are not kept, as
    at Stripe.
    """
    for endpoint in endpoints.ENDPOINTS:
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
    ctx.store.db.execute("savepoint attempt")
    try:
        body = endpoint.action(ctx, given, *match.groups())
        for expansion in given.get("expand", []):
            expand(ctx, body, expansion)
    except StripeFault as fault:
        if not fault.keeps_effects:
            if fault.status != 402:
                raise
            ctx.store.db.execute("rollback to attempt")  # declined, and nothing is changed
        status, body = fault.status, fault.body
    if key:
        ctx.store.db.execute(
            "insert into idempotency values (?, ?, ?, ?)", (key, fingerprint, status, json.dumps(body))
        )
    return status, body, False


_INCLUDED = {
    ("checkout.session", "line_items"): ("item", "parent", "/v1/checkout/sessions/{}/line_items"),
    ("charge", "refunds"): ("refund", "charge", "/v1/charges/{}/refunds"),
    ("invoice", "payments"): ("invoice_payment", "invoice", "/v1/invoice_payments?invoice={}"),
}
"""Lists that an answer has only when they are asked for: the kind, the field that names the owner, the address."""


def expand(ctx: Context, obj: Obj, path: str) -> None:
    """Replace the id at a dotted path by its object, in place; lists that are only included on request are added."""
    head, _, rest = path.partition(".")
    included = _INCLUDED.get((str(obj.get("object")), head))
    if included:
        kind, field, url = included
        where = {field: obj["id"]} if field != "parent" else {}
        parent = obj["id"] if field == "parent" else None
        found = ctx.store.find(kind, where, parent=parent)
        obj[head] = {"object": "list", "data": found, "has_more": False, "url": url.format(obj["id"])}
    elif head not in obj:
        raise StripeFault(f"This property cannot be expanded ({path}).", param="expand")
    elif isinstance(obj[head], str):
        if (found_one := ctx.store.any(obj[head])) is None:
            raise StripeFault(f"This property cannot be expanded ({path}).", param="expand")
        obj[head] = found_one
    for child in obj[head] if isinstance(obj[head], list) else [obj[head]]:
        if rest and isinstance(child, dict):
            expand(ctx, child, rest)
