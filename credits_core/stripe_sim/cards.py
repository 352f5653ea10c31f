"""The test cards and bank accounts, by number and by Stripe's names for them (`pm_card_visa`), and what each
one does."""

from __future__ import annotations

from dataclasses import dataclass

from credits_core.stripe_sim.store import Obj, new_id

Decline = tuple[str, str | None, str]
"""Stripe's code, decline_code and message."""


@dataclass(frozen=True)
class Card:
    """A test card, or a bank account when `delayed` says how a debit of it ends (`succeed`, `fail`).

    `challenge` asks for 3-D Secure: `always`, or `unless_saved` (not when nobody is there and it was saved with
    the cardholder's confirmation). A card that does not attach is declined when it is saved, too. `refund` is
    what becomes of refunds: they wait (`pending`), or fail later (`failed`).
    """

    number: str
    brand: str
    declined: Decline | None = None
    challenge: str | None = None
    attaches: bool = True
    disputed: bool = False
    refund: str | None = None
    delayed: str | None = None

    @property
    def last4(self) -> str:
        return self.number[-4:]


def _declined(decline_code: str, message: str = "Your card was declined.") -> Decline:
    return ("card_declined", decline_code, message)


_CARDS = [
    Card("4242424242424242", "visa"),
    Card("5555555555554444", "mastercard"),
    Card("4000000000000002", "visa", declined=_declined("generic_decline"), attaches=False),
    Card("4000000000009995", "visa", attaches=False,
         declined=_declined("insufficient_funds", "Your card has insufficient funds.")),
    Card("4000000000009987", "visa", declined=_declined("lost_card"), attaches=False),
    Card("4000000000009979", "visa", declined=_declined("stolen_card"), attaches=False),
    Card("4000000000000341", "visa", declined=_declined("generic_decline")),
    Card("4000000000000069", "visa", declined=("expired_card", None, "Your card has expired."), attaches=False),
    Card("4000000000000127", "visa", attaches=False,
         declined=("incorrect_cvc", None, "Your card's security code is incorrect.")),
    Card("4000002500003155", "visa", challenge="unless_saved"),
    Card("4000002760003184", "visa", challenge="always"),
    Card("4000000000000259", "visa", disputed=True),
    Card("4000000000007726", "visa", refund="pending"),
    Card("4000000000005126", "visa", refund="failed"),
    Card("000123456789", "bank", delayed="succeed"),
    Card("000222222227", "bank", delayed="fail"),
]  # fmt: skip
BY_NUMBER = {card.number: card for card in _CARDS}
BANK = BY_NUMBER["000123456789"]
BY_NAME = {
    "pm_card_visa": "4242424242424242",
    "pm_card_mastercard": "5555555555554444",
    "pm_card_chargeDeclined": "4000000000000002",
    "pm_card_chargeDeclinedInsufficientFunds": "4000000000009995",
    "pm_card_visa_chargeDeclinedLostCard": "4000000000009987",
    "pm_card_visa_chargeDeclinedStolenCard": "4000000000009979",
    "pm_card_chargeCustomerFail": "4000000000000341",
    "pm_card_chargeDeclinedExpiredCard": "4000000000000069",
    "pm_card_chargeDeclinedIncorrectCvc": "4000000000000127",
    "pm_card_authenticationRequiredOnSetup": "4000002500003155",
    "pm_card_authenticationRequired": "4000002760003184",
    "pm_card_createDispute": "4000000000000259",
    "pm_card_pendingRefund": "4000000000007726",
    "pm_card_refundFail": "4000000000005126",
    "pm_usBankAccount_success": "000123456789",
    "pm_usBankAccount_insufficientFunds": "000222222227",
}
BANK_FAILED: Decline = (
    "insufficient_funds",
    None,
    "The customer's account has insufficient funds to cover this payment.",
)


# fmt: off
def payment_method(card: Card, now: int, email: str | None) -> Obj:
    """A new PaymentMethod of that card or account; of its number only the last four digits are kept."""
    kind = "us_bank_account" if card.delayed else "card"
    return {
        "id": new_id("pm_"), "object": "payment_method", "type": kind, "created": now, "livemode": False,
        "allow_redisplay": "unspecified", "customer": None, "customer_account": None, "metadata": {},
        "billing_details": billing_details(email),
        kind: _bank(card) if card.delayed else {
            "brand": card.brand, "checks": dict(_CHECKS), "country": "US", "display_brand": card.brand,
            "exp_month": 12, "exp_year": 2034, "fingerprint": _fingerprint(card), "funding": "credit",
            "generated_from": None, "last4": card.last4,
            "networks": {"available": [card.brand], "preferred": None},
            "regulated_status": "unregulated", "three_d_secure_usage": {"supported": True}, "wallet": None,
        },
    }


def _bank(card: Card) -> Obj:
    return {
        "account_holder_type": "individual", "account_type": "checking", "bank_name": "STRIPE TEST BANK",
        "financial_connections_account": None, "fingerprint": _fingerprint(card), "last4": card.last4,
        "networks": {"preferred": "ach", "supported": ["ach"]}, "routing_number": "110000000",
        "status_details": {},
    }


def charge_details(card: Card, method: Obj, *, challenged: bool) -> Obj:
    """How a charge shows the card or account that paid it."""
    if card.delayed:
        return {"type": "us_bank_account", "us_bank_account": {
            "account_holder_type": "individual", "account_type": "checking", "bank_name": "STRIPE TEST BANK",
            "expected_debit_date": None, "fingerprint": _fingerprint(card), "last4": card.last4,
            "mandate": None, "payment_reference": None, "routing_number": "110000000",
        }}
    shown = {name: method["card"][name] for name in (
        "brand", "checks", "country", "exp_month", "exp_year", "fingerprint", "funding", "last4", "wallet")}
    secure = {"authentication_flow": "challenge", "result": "authenticated", "result_reason": None,
              "version": "2.2.0"} if challenged else None
    return {"type": "card", "card": {**shown, "network": card.brand, "mandate": None, "installments": None,
                                     "three_d_secure": secure}}


def billing_details(email: str | None) -> Obj:
    """Who pays, as PaymentMethod and Charge show it."""
    address = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))
    return {"address": address, "email": email, "name": None, "phone": None, "tax_id": None}
# fmt: on


def _fingerprint(card: Card) -> str:
    return f"sim{card.last4}fingerprnt"[:16]


_CHECKS = {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"}
