"""The control plane's cardholders and banks: who pays with what, disputes, and what becomes of it.

`sessions/{id}/pay|expire|alter`, `payment_intents/{id}/pay|settle|alter`, `payment_methods/{id}/act-as`,
`charges/{id}/dispute`, `disputes/{id}/win|lose|respond`, `refunds/{id}/settle`, `payouts/create`,
`payouts/{id}/fail`, `tax`, and `{kind}/{id}/alter` for every kind of object.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from credits_core.stripe_sim import (
    attempts,
    balance,
    cards,
    disputes,
    payments,
    refunds,
    session_flow,
    sessions,
)
from credits_core.stripe_sim.errors import StripeFault, missing
from credits_core.stripe_sim.events import Context
from credits_core.stripe_sim.simulator import Simulator
from credits_core.stripe_sim.store import Obj

Body = dict[str, Any]
Action = Callable[..., Obj]


def pay_session(sim: Simulator, base: str, body: Body, session_id: str) -> Obj:
    """Pay a session (or save the card) without a browser: `{"card", "email"?, "promotion_code"?, "challenge":
    "complete"|"fail"|"leave"}`. A bank account's number pays by bank, which takes three days."""
    with sim.change(base) as ctx:
        if body.get("promotion_code"):
            sessions.enter_code(ctx, session_id, str(body["promotion_code"]))
        moved = session_flow.present_card(ctx, session_id, _card(body), body.get("email"))
        moved = _challenge(ctx, moved, body)
        session = ctx.store.get("checkout.session", session_id)
    session_flow.raise_if_declined(moved)
    assert session is not None  # it was paid a moment ago
    return session


def pay_intent(sim: Simulator, base: str, body: Body, intent_id: str) -> Obj:
    """Confirm a PaymentIntent as Stripe.js would with the client secret; the body is that of `pay_session`."""
    with sim.change(base) as ctx:
        intent = attempts.present_card(ctx, intent_id, _card(body), return_url=None, email=body.get("email"))
        intent = _challenge(ctx, session_flow.follow_up(ctx, intent), body)
    payments.raise_if_declined(intent)
    return intent


def settle_intent(sim: Simulator, base: str, body: Body, intent_id: str) -> Obj:
    """The bank answers a debit under way now: `{"outcome": "succeed"|"fail"}`."""
    with sim.change(base) as ctx:
        return session_flow.settle_debit(ctx, intent_id, succeeds=_succeeds(body))


def expire_session(sim: Simulator, base: str, _body: Body, session_id: str) -> Obj:
    """Expire an open session now."""
    with sim.change(base) as ctx:
        return sessions.expire_session(ctx, {}, session_id)


def alter(sim: Simulator, base: str, body: Body, *path: str) -> Obj:
    """Set top-level fields of any object, to see what a caller makes of a Stripe that disagrees with its
    rows."""
    object_id = path[-1]
    with sim.change(base) as ctx:
        found = ctx.store.any(object_id)
        if found is None:
            raise StripeFault(f"There is no object {object_id}.", status=404)
        unknown = sorted(set(body) - set(found))
        if unknown:
            raise StripeFault(f"{found['object']} has no field {', '.join(unknown)}.", param=unknown[0])
        return ctx.store.save(found | body)


def act_as(sim: Simulator, base: str, body: Body, method_id: str) -> Obj:
    """Let a saved card behave like another test card from now on: `{"card"}`."""
    with sim.change(base) as ctx:
        method = ctx.store.get("payment_method", method_id)
        if method is None:
            raise missing("PaymentMethod", method_id, "payment_method")
        ctx.store.set_private(method_id, number=_card(body).number)
        return method


def dispute(sim: Simulator, base: str, body: Body, charge_id: str) -> Obj:
    """Let the cardholder dispute a charge: `{"amount"?, "reason"?, "inquiry"?: true}`; an inquiry takes no money."""
    amount = whole(body["amount"], "amount") if "amount" in body else None
    reason, inquiry = str(body.get("reason", "fraudulent")), body.get("inquiry") is True
    with sim.change(base) as ctx:
        return disputes.open_dispute(ctx, charge_id, amount=amount, reason=reason, inquiry=inquiry)


def win(sim: Simulator, base: str, _body: Body, dispute_id: str) -> Obj:
    """The bank decides for us."""
    with sim.change(base) as ctx:
        return disputes.decide(ctx, dispute_id, won=True)


def lose(sim: Simulator, base: str, _body: Body, dispute_id: str) -> Obj:
    """The bank decides against us."""
    with sim.change(base) as ctx:
        return disputes.decide(ctx, dispute_id, won=False)


def respond(sim: Simulator, base: str, _body: Body, dispute_id: str) -> Obj:
    """We sent evidence; the bank reviews it."""
    with sim.change(base) as ctx:
        return disputes.update_dispute(ctx, {"submit": True}, dispute_id)


def settle_refund(sim: Simulator, base: str, body: Body, refund_id: str) -> Obj:
    """What the bank says of a refund later: `{"outcome": "succeed"|"fail"}`."""
    with sim.change(base) as ctx:
        return refunds.settle_refund(ctx, refund_id, succeeds=_succeeds(body))


def create_payout(sim: Simulator, base: str, body: Body) -> Obj:
    """Pay out what is available now: `{"currency"?}`."""
    with sim.change(base) as ctx:
        return balance.create_payout(ctx, str(body.get("currency", "usd")))


def fail_payout(sim: Simulator, base: str, _body: Body, payout_id: str) -> Obj:
    """The bank sends a payout back."""
    with sim.change(base) as ctx:
        return balance.fail_payout(ctx, payout_id)


def tax(sim: Simulator, _base: str, body: Body) -> Obj:
    """The rate of automatic tax from now on: `{"basis_points": 2000, "inclusive"?: true}`."""
    rate, inclusive = whole(body.get("basis_points", 0), "basis_points"), body.get("inclusive") is True
    sim.store.set_setting("tax", [rate, inclusive])
    return {"basis_points": rate, "inclusive": inclusive}


def whole(value: Any, name: str) -> int:
    """A whole number that is not negative, or 400."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 10**9:
        raise StripeFault(f"{name} must be a whole number, not negative.", param=name)
    return value


def _succeeds(body: Body) -> bool:
    if body.get("outcome") not in ("succeed", "fail"):
        raise StripeFault("outcome must be succeed or fail.", param="outcome")
    return bool(body["outcome"] == "succeed")


def _challenge(ctx: Context, moved: Obj, body: Body) -> Obj:
    wanted = body.get("challenge", "complete")
    if moved["status"] != "requires_action" or wanted == "leave":
        return moved
    return session_flow.answer_challenge(ctx, moved["id"], passed=wanted == "complete")


def _card(body: Body) -> cards.Card:
    number = str(body.get("card", "")).replace(" ", "")
    if number not in cards.BY_NUMBER:
        raise StripeFault(f"card must be one of the test cards: {', '.join(cards.BY_NUMBER)}.", param="card")
    return cards.BY_NUMBER[number]


# fmt: off
ROUTES: dict[str, Action] = {
    "sessions/{id}/pay": pay_session, "sessions/{id}/expire": expire_session,
    "payment_intents/{id}/pay": pay_intent, "payment_intents/{id}/settle": settle_intent,
    "payment_methods/{id}/act-as": act_as, "charges/{id}/dispute": dispute,
    "disputes/{id}/win": win, "disputes/{id}/lose": lose, "disputes/{id}/respond": respond,
    "refunds/{id}/settle": settle_refund, "payouts/create": create_payout, "payouts/{id}/fail": fail_payout,
    "tax": tax, "{kind}/{id}/alter": alter,
}
# fmt: on
