"""Refunds, disputes, and what Stripe's books say, for converging and reconciling; part of the gateway:
`gateway.money`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from credits_core.errors import NotFound
from credits_core.stripe_cards import Caller
from credits_core.stripe_shapes import SessionState, purchase_of, session_state
from credits_core.stripe_states import (
    BalanceEntry,
    ChargeRecord,
    ChargeTotals,
    DisputeState,
    PayoutState,
    RefundState,
)

_PAGE = 100
_REVERSAL_EVENTS = (
    "charge.refunded", "charge.refund.updated", "refund.created", "refund.updated", "refund.failed",
    "charge.dispute.created", "charge.dispute.updated", "charge.dispute.closed",
    "charge.dispute.funds_withdrawn", "charge.dispute.funds_reinstated",
)  # fmt: skip
_WORST_FIRST = ("lost", "open", "won", "inquiry", "closed")


class StripeMoney:
    """Lists are read page by page while they are walked through; `since` and `until` are seconds since 1970, with
    `since` included and `until` not."""

    def __init__(self, stripe: Caller) -> None:
        self._stripe = stripe

    # refunds and disputes

    def create_refund(
        self,
        payment: str,
        amount_cents: int,
        metadata: Mapping[str, str],
        key: str,
        *,
        reason: str | None = None,
    ) -> RefundState:
        """Give back part of a payment (`pi_...`) or charge (`ch_...`, `py_...`). InvalidRequest with Stripe's words when
        it is disputed, refunded already, or the amount is above what is left. `reason`: duplicate, fraudulent or
        requested_by_customer."""
        name = "payment_intent" if payment.startswith("pi_") else "charge"
        params: dict[str, Any] = {name: payment, "amount": amount_cents, "metadata": dict(metadata)}
        params |= {"reason": reason} if reason else {}
        made = self._stripe.call(lambda v1: v1.refunds.create(params, {"idempotency_key": key}))
        return refund_state(made.to_dict())

    def refund(self, refund_id: str) -> RefundState:
        """What became of a refund."""
        return refund_state(self._stripe.call(lambda v1: v1.refunds.retrieve(refund_id)).to_dict())

    def refunds_of(self, payment: str) -> list[RefundState]:
        """All refunds of a payment or charge, newest first."""
        where = {"payment_intent" if payment.startswith("pi_") else "charge": payment}
        return [refund_state(found) for found in self._walk(lambda v1, p: v1.refunds.list(p), where)]

    def changed_payments(self, since: int, until: int | None = None) -> list[str]:
        """The payments whose refunds or disputes changed in that time (at most 30 days ago), each once, oldest change
        first."""
        where = {**_between(since, until), "types": list(_REVERSAL_EVENTS)}
        events = self._walk(lambda v1, p: v1.events.list(p), where)
        payments = [event["data"]["object"].get("payment_intent") for event in events]
        return [payment for payment in dict.fromkeys(payments[::-1]) if payment is not None]

    def dispute(self, dispute_id: str) -> DisputeState:
        """What a dispute has come to."""
        return dispute_state(self._stripe.call(lambda v1: v1.disputes.retrieve(dispute_id)).to_dict())

    def charge_of(self, payment_intent_id: str) -> str | None:
        """The id of the charge that paid (or last tried to pay) an intent."""
        intent = self._stripe.call(lambda v1: v1.payment_intents.retrieve(payment_intent_id))
        return None if intent.latest_charge is None else str(intent.latest_charge)

    def totals_of_charge(self, payment: str) -> ChargeTotals:
        """Everything that happened to a charge, or to the charge of a payment (`pi_...`). NotFound when there is
        none."""
        charge_id = self.charge_of(payment) if payment.startswith("pi_") else payment
        if charge_id is None:
            raise NotFound("Stripe has no charge for this payment; nothing was paid.")
        expand = {"expand": ["balance_transaction"]}
        charge = self._stripe.call(lambda v1: v1.charges.retrieve(charge_id, expand)).to_dict()
        expand_refunds = ["data.balance_transaction", "data.failure_balance_transaction"]
        where = {"charge": charge_id, "expand": expand_refunds}
        refunds = list(self._walk(lambda v1, p: v1.refunds.list(p), where))
        disputes = list(self._walk(lambda v1, p: v1.disputes.list(p), {"charge": charge_id}))
        return _totals(charge, refunds, disputes)

    # the books

    def charges(self, since: int, until: int | None = None) -> Iterator[ChargeRecord]:
        """Charges made in that time, newest first, failed ones too."""
        for found in self._walk(lambda v1, p: v1.charges.list(p), _between(since, until)):
            yield ChargeRecord(
                charge_id=found["id"],
                payment_intent_id=found["payment_intent"],
                customer_id=found["customer"],
                amount_cents=found["amount"],
                refunded_cents=found["amount_refunded"],
                currency=found["currency"],
                status=found["status"],
                disputed=found["disputed"],
                created=found["created"],
                balance_transaction_id=found["balance_transaction"],
                metadata=found["metadata"],
                livemode=found["livemode"],
            )

    def sessions(self, since: int, until: int | None = None) -> Iterator[SessionState]:
        """Checkout pages opened in that time, newest first, paid or not."""
        found = self._walk(lambda v1, p: v1.checkout.sessions.list(p), _between(since, until))
        return (session_state(session) for session in found if session["mode"] == "payment")

    def refunds(self, since: int, until: int | None = None) -> Iterator[RefundState]:
        """Refunds made in that time, newest first."""
        return map(refund_state, self._walk(lambda v1, p: v1.refunds.list(p), _between(since, until)))

    def disputes(self, since: int, until: int | None = None) -> Iterator[DisputeState]:
        """Disputes opened in that time, newest first."""
        return map(dispute_state, self._walk(lambda v1, p: v1.disputes.list(p), _between(since, until)))

    def payouts(self, since: int, until: int | None = None) -> Iterator[PayoutState]:
        """Payouts begun in that time, newest first."""
        for found in self._walk(lambda v1, p: v1.payouts.list(p), _between(since, until)):
            yield PayoutState(
                found["id"], found["amount"], found["currency"], found["status"], found["created"],
                found["arrival_date"], found["failure_code"],
            )  # fmt: skip

    def balance_entries(
        self, since: int = 0, until: int | None = None, *, payout: str | None = None
    ) -> Iterator[BalanceEntry]:
        """Movements of the balance in that time, newest first, or those that went into one payout (the payout's own
        among them)."""
        where = _between(since, until) | ({"payout": payout} if payout else {})
        return map(balance_entry, self._walk(lambda v1, p: v1.balance_transactions.list(p), where))

    def _walk(self, list_page: Callable[[Any, Any], Any], where: dict[str, Any]) -> Iterator[dict[str, Any]]:
        params = {**where, "limit": _PAGE}
        while True:
            asked = dict(params)
            page = self._stripe.call(lambda v1, asked=asked: list_page(v1, asked)).to_dict()  # type: ignore[misc]
            yield from page["data"]
            if not page["has_more"]:
                return
            params["starting_after"] = page["data"][-1]["id"]


def refund_state(refund: Mapping[str, Any]) -> RefundState:
    """The state in a refund's JSON."""
    return RefundState(
        refund_id=refund["id"],
        charge_id=refund["charge"],
        payment_intent_id=refund["payment_intent"],
        amount_cents=refund["amount"],
        currency=refund["currency"],
        status=refund["status"],
        reason=refund["reason"],
        failure_reason=refund.get("failure_reason"),
        created=refund["created"],
        metadata=refund["metadata"] or {},
    )


def dispute_state(dispute: Mapping[str, Any]) -> DisputeState:
    """The state in a dispute's JSON."""
    booked = dispute["balance_transactions"]
    return DisputeState(
        dispute_id=dispute["id"],
        charge_id=dispute["charge"],
        payment_intent_id=dispute["payment_intent"],
        amount_cents=dispute["amount"],
        currency=dispute["currency"],
        status=dispute["status"],
        reason=dispute["reason"],
        created=dispute["created"],
        evidence_due=dispute["evidence_details"]["due_by"],
        withheld_cents=-sum(entry["amount"] for entry in booked),
        fee_cents=sum(entry["fee"] for entry in booked),
    )


def balance_entry(entry: Mapping[str, Any]) -> BalanceEntry:
    """The entry in a balance transaction's JSON."""
    return BalanceEntry(
        entry_id=entry["id"],
        type=entry["type"],
        category=entry["reporting_category"],
        amount_cents=entry["amount"],
        fee_cents=entry["fee"],
        net_cents=entry["net"],
        currency=entry["currency"],
        source_id=entry["source"],
        status=entry["status"],
        created=entry["created"],
        available_on=entry["available_on"],
    )


def _between(since: int, until: int | None) -> dict[str, Any]:
    return {"created": {"gte": since} | ({"lt": until} if until is not None else {})}


def _totals(
    charge: Mapping[str, Any], refunds: list[dict[str, Any]], disputes: list[dict[str, Any]]
) -> ChargeTotals:
    booked = [charge["balance_transaction"]]
    for refund in refunds:
        booked += [refund.get("balance_transaction"), refund.get("failure_balance_transaction")]
    for dispute in disputes:
        booked += dispute["balance_transactions"]
    entries = [entry for entry in booked if entry is not None]
    known = charge["balance_transaction"] is not None
    refund_states = tuple(map(refund_state, refunds))
    dispute_states = tuple(map(dispute_state, disputes))
    outcomes = {found.outcome for found in dispute_states}
    holding = [found for found in dispute_states if found.outcome in ("open", "lost")]
    return ChargeTotals(
        charge_id=charge["id"],
        payment_intent_id=charge["payment_intent"],
        customer_id=charge["customer"],
        purchase_id=purchase_of(charge["metadata"], any_flow=True),
        currency=charge["currency"],
        amount_cents=charge["amount"],
        refunded_cents=sum(found.amount_cents for found in refund_states if found.counts),
        pending_refunds_cents=sum(
            found.amount_cents for found in refund_states if found.status in ("pending", "requires_action")
        ),
        dispute=next((outcome for outcome in _WORST_FIRST if outcome in outcomes), "none"),
        disputed_cents=sum(found.amount_cents for found in holding),
        fee_cents=sum(entry["fee"] for entry in entries) if known else None,
        net_cents=sum(entry["net"] for entry in entries) if known else None,
        paid=charge["paid"],
        receipt_url=charge["receipt_url"],
        livemode=charge["livemode"],
        created=charge["created"],
        refunds=refund_states,
        disputes=dispute_states,
        balance_transaction_id=charge["balance_transaction"]["id"] if known else None,
    )
