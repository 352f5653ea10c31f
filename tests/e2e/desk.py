"""What the payments desk has to do in browser tests: a payment with a refund, one in review, and requests that wait."""

from __future__ import annotations

from typing import Any

import psycopg

from credits_core.db.embedded import EmbeddedServer
from tests.program import Program


def bought(app: Program, package: str, *, paid_cents: int | None = None) -> dict[str, Any]:
    """The demo holder buys a package; with `paid_cents` its price is changed while the page is open, so that it goes to review."""
    with app.api() as api:
        session = api.post("checkout", json={"package": package}).json()["session_id"]
        if paid_cents is not None:
            _change_price(app, session, paid_cents)
        app.pay(session)
        found: dict[str, Any] = api.get("success", params={"session_id": session}).json()
    return found


def _change_price(app: Program, session: str, price_cents: int) -> None:
    """As if the package had cost that much when it was chosen: no function of the product can do it."""
    with (
        EmbeddedServer.start(app.data_dir) as server,
        psycopg.connect(server.owner_dsn(), autocommit=True) as owner,
    ):
        owner.execute(
            "update credits.purchases set price_cents = %s, list_price_cents = %s where session_id = %s",
            (price_cents, price_cents, session),
        )


def refunded(app: Program) -> str:
    """A payment of which a part is refunded: its purchase."""
    payment = bought(app, "usd_20")["purchase_id"]
    with app.api("admin@demo.test") as admin:
        body = {"purchase_id": payment, "amount_cents": 500, "reason": "One call too many"}
        assert admin.post("admin/refunds", json=body).status_code == 200
    return str(payment)


def in_review(app: Program) -> str:
    """A payment that does not match its purchase: the purchase."""
    return str(bought(app, "usd_10", paid_cents=2000)["purchase_id"])


def waiting(app: Program) -> str:
    """A gift that another administrator has to approve: its request. And another gift that shall be taken back."""
    with app.api("admin@demo.test") as admin:
        slip = {"account": "finance@demo.test", "amount": "9000", "reason": "Credits of the old contract"}
        given = admin.post("admin/adjust", json=slip).json()
        undo = {"transaction_id": given["transaction_id"], "reason": "It was meant for another account"}
        assert admin.post("admin/reverse", json=undo).status_code == 202
        gift = {"account": "holder@demo.test", "amount": "12000", "reason": "Credits of the old contract"}
        asked = admin.post("admin/adjust", json=gift)
        assert asked.status_code == 202
    return str(asked.json()["approval_id"])
