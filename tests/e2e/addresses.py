"""Addresses with what only a running program knows: a payment page, purchases in every state, people who reload or subscribe."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any

import httpx

from tests.e2e import desk
from tests.program import Program

ASKING_CARD = "4000002760003184"  # its bank wants each payment confirmed
GOOD_CARD, REFUSED_CARD = "4242424242424242", "4000000000000341"
BANK_ACCOUNT = "000222222227"  # a debit, answered days later


class Addresses:
    """`fill("checkout_return?session_id=<paid>")`: the words are made true, once each, when an address first asks for them."""

    def __init__(self, app: Program) -> None:
        self._app = app
        self._api = app.api()

    def close(self) -> None:
        self._api.close()

    def fill(self, address: str) -> str:
        filled = re.sub(r"<(\w+)>", lambda word: str(getattr(self, word[1])), address)
        return filled if filled.startswith("http") else f"{self._app.url}/{filled}"

    @property
    def checkout(self) -> str:
        """A payment page that nobody has used."""
        return str(self._begun()["url"])

    @cached_property
    def open(self) -> str:
        return str(self._begun()["session_id"])

    @cached_property
    def paid(self) -> str:
        session = str(self._begun()["session_id"])
        self._app.pay(session)
        return session

    @cached_property
    def receipt(self) -> str:
        found = self._api.get("success", params={"session_id": self.paid}).json()
        return str(found["receipt_url"])

    @cached_property
    def processing(self) -> str:
        """A purchase by a debit that is on its way."""
        return self._by_bank()[0]

    @cached_property
    def failed(self) -> str:
        """A purchase by a debit that came back."""
        session, intent = self._by_bank()
        self._control(f"payment_intents/{intent}/settle", outcome="fail")
        return session

    @cached_property
    def reloading(self) -> str:
        return self._auto_reload("finance", "4242424242424242")

    @cached_property
    def paused(self) -> str:
        return self._auto_reload("admin", ASKING_CARD)

    @cached_property
    def declined(self) -> str:
        """The dialog of a payment with a saved card that was declined."""
        return f"buy?pay={self._at_once(REFUSED_CARD, 'd' * 32)}"

    @cached_property
    def undecided(self) -> str:
        """The buy page of somebody whose bank wants a payment confirmed."""
        self._at_once(ASKING_CARD, "e" * 32)
        return "buy"

    @cached_property
    def unknown(self) -> str:
        """The dialog of a payment of which Stripe has said nothing."""
        self._control("fail-next", kind="500", count=100, path="payment_intents")
        key = self._at_once(GOOD_CARD, "f" * 32)
        self._control("fail-next", kind="500", count=0)
        return f"buy?pay={key}"

    @cached_property
    def subscribed(self) -> str:
        """The page of somebody with a plan."""
        self._subscribe("finance")
        return "plan"

    @cached_property
    def back(self) -> str:
        """Where somebody comes back to who has just chosen a plan."""
        return f"plan?session_id={self._subscribe('finance')}"

    @cached_property
    def ending(self) -> str:
        self._subscribe("admin", cancel=True)
        return "plan"

    @cached_property
    def payment(self) -> str:
        """A payment with a refund."""
        return desk.refunded(self._app)

    @cached_property
    def review(self) -> str:
        return desk.in_review(self._app)

    @cached_property
    def approval(self) -> str:
        return desk.waiting(self._app)

    def _begun(self) -> dict[str, Any]:
        begun: dict[str, Any] = self._api.post("checkout", json={"package": "usd_10"}).json()
        return begun

    def _by_bank(self) -> tuple[str, str]:
        session = str(self._begun()["session_id"])
        return session, self._control(f"sessions/{session}/pay", card=BANK_ACCOUNT)["payment_intent"]

    def _control(self, path: str, /, **body: Any) -> dict[str, Any]:
        answer = httpx.post(f"{self._app.url}/sim/control/{path}", json=body, timeout=30)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def _auto_reload(self, who: str, card: str) -> str:
        """Auto-reload of a demo person whose card works or does not: the work that is due has been done."""
        with self._app.api(f"{who}@demo.test") as person:
            self._app.pay(person.post("cards").json()["session_id"])
            (saved,) = person.get("cards").json()["items"]
            self._control(f"payment_methods/{saved['payment_method_id']}/act-as", card=card)
            words = person.get("auto-reload").json()["consent_words"]["text"]
            terms = {"threshold": "5", "target": "25", "cap_day_cents": 6000, "cap_month_cents": 15_000}
            assert person.post("auto-reload", json=terms | {"consent_text": words}).status_code == 200
            while person.get("auto-reload").json()["next_status"] not in ("idle", "paused"):
                assert self._app.command("jobs", "run", "auto-reload").returncode == 0
        return "auto_reload"

    def _at_once(self, card: str, key: str) -> str:
        """A payment of the super admin's with a saved card that behaves like this one; answers its key."""
        with self._app.api("super@demo.test") as person:
            if not person.get("cards").json()["items"]:
                self._app.pay(person.post("cards").json()["session_id"])
            (saved,) = person.get("cards").json()["items"]
            method = saved["payment_method_id"]
            self._control(f"payment_methods/{method}/act-as", card=card)
            what = {
                "package": "usd_10",
                "flow": "payment_intent",
                "payment_method_id": method,
                "confirm": True,
            }
            assert person.post("purchase", json=what | {"idempotency_key": f"pay-{key}"}).status_code == 200
        return key

    def _subscribe(self, who: str, *, cancel: bool = False) -> str:
        """A demo person gets a plan, unless it has one; answers the session that it was bought in."""
        with self._app.api(f"{who}@demo.test") as person:
            known = person.get("subscription").json()["subscription"]
            if known is None or known["status"] == "open":
                self._app.pay(person.post("subscription", json={"plan": "monthly_20"}).json()["session_id"])
                assert self._app.command("jobs", "run", "subscriptions").returncode == 0
                if cancel:
                    assert person.post("subscription/cancel").status_code == 200
            return str(person.get("subscription").json()["subscription"]["session_id"])
