"""The test cards, by number and by Stripe's names for them (`pm_card_visa`), and what each one does."""

from __future__ import annotations

from dataclasses import dataclass

from credits_core.stripe_sim.store import Obj, new_id


@dataclass(frozen=True)
class Card:
    """A test card: `declined` is Stripe's (code, decline_code, message); `challenge` asks for 3-D Secure."""

    number: str
    brand: str
    declined: tuple[str, str | None, str] | None = None
    challenge: bool = False
    disputed: bool = False

    @property
    def last4(self) -> str:
        return self.number[-4:]


_DECLINED = "Your card was declined."
_CARDS = [
    Card("4242424242424242", "visa"),
    Card("5555555555554444", "mastercard"),
    Card("4000000000000002", "visa", declined=("card_declined", "generic_decline", _DECLINED)),
    Card(
        "4000000000009995",
        "visa",
        declined=("card_declined", "insufficient_funds", "Your card has insufficient funds."),
    ),
    Card("4000000000000069", "visa", declined=("expired_card", None, "Your card has expired.")),
    Card(
        "4000000000000127",
        "visa",
        declined=("incorrect_cvc", None, "Your card's security code is incorrect."),
    ),
    Card("4000002500003155", "visa", challenge=True),
    Card("4000002760003184", "visa", challenge=True),
    Card("4000000000000259", "visa", disputed=True),
]
BY_NUMBER = {card.number: card for card in _CARDS}
BY_NAME = {
    "pm_card_visa": "4242424242424242",
    "pm_card_mastercard": "5555555555554444",
    "pm_card_chargeDeclined": "4000000000000002",
    "pm_card_chargeDeclinedInsufficientFunds": "4000000000009995",
    "pm_card_chargeDeclinedExpiredCard": "4000000000000069",
    "pm_card_chargeDeclinedIncorrectCvc": "4000000000000127",
    "pm_card_authenticationRequiredOnSetup": "4000002500003155",
    "pm_card_authenticationRequired": "4000002760003184",
    "pm_card_createDispute": "4000000000000259",
}


# fmt: off
def payment_method(card: Card, now: int, email: str | None) -> Obj:
    """A new PaymentMethod of that card; of its number only the last four digits are kept."""
    return {
        "id": new_id("pm_"), "object": "payment_method", "type": "card", "created": now, "livemode": False,
        "allow_redisplay": "unspecified", "customer": None, "customer_account": None, "metadata": {},
        "billing_details": billing_details(email),
        "card": {
            "brand": card.brand, "checks": dict(_CHECKS), "country": "US", "display_brand": card.brand,
            "exp_month": 12, "exp_year": 2034, "fingerprint": f"sim{card.last4}fingerprnt"[:16],
            "funding": "credit",
            "generated_from": None, "last4": card.last4,
            "networks": {"available": [card.brand], "preferred": None},
            "regulated_status": "unregulated", "three_d_secure_usage": {"supported": True}, "wallet": None,
        },
    }


def billing_details(email: str | None) -> Obj:
    """Who pays, as PaymentMethod and Charge show it."""
    address = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))
    return {"address": address, "email": email, "name": None, "phone": None, "tax_id": None}
# fmt: on


_CHECKS = {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"}
