"""The wording of each kind of notice."""

from __future__ import annotations

from collections.abc import Callable

from credits_core.message_parts import Message, Words


def _low_balance(w: Words) -> Message:
    return Message(
        f"Low balance: {w.credits('available_micros')} credits left",
        (f"Your balance went below {w.credits('level_micros')} credits.",),
        w.facts(("Available", f"{w.credits('available_micros')} credits")),
        ("Buy credits", w.page("buy")),
    )


def _out_of_credits(w: Words) -> Message:
    line = "There are no credits left. Calls and services stop until you buy credits."
    return Message("Out of credits", (line,), action=("Buy credits", w.page("buy")))


def _allowance(w: Words) -> Message:
    reached = w.detail.get("used", 0) >= w.detail.get("included", 0)
    title = f"{w.text('name')}: allowance used {'up' if reached else 'to 80%'}"
    line = "Credits pay from now on." if reached else "When it is used up, credits pay."
    return Message(
        title,
        (f"Your plan includes {w.text('included')} a month; {w.text('used')} are used. {line}",),
        w.facts(("Begins anew", w.time("resets_at"))),
        ("See your plan", w.page("overview")),
    )


def _debt(w: Words) -> Message:
    return Message(
        f"Your account owes {w.credits('debt_micros')} credits",
        ("More was used or taken back than was there. Your next purchase settles it first.",),
        w.facts(("Debt", f"{w.credits('debt_micros')} credits")),
        ("Buy credits", w.page("buy")),
    )


def _credits_expiring(w: Words) -> Message:
    days = int(w.detail.get("days", 0))
    within = "tomorrow" if days == 1 else f"within {days} days"
    return Message(
        f"{w.credits('amount_micros')} credits expire {within}",
        ("Use them before they are gone; they are spent before credits that last longer.",),
        w.facts(("At risk", f"{w.credits('amount_micros')} credits"), ("From", w.time("expires_at"))),
        ("See your balance", w.page("overview")),
    )


def _purchase_credited(w: Words) -> Message:
    bonus = w.credits("bonus_micros") if w.detail.get("bonus_micros") else ""
    by_itself = " Auto-reload bought them for you." if w.detail.get("is_auto_reload") else ""
    receipt = w.text("receipt_url")
    return Message(
        f"{w.credits('credits_micros')} credits are in your account",
        (f"Thank you. Your payment of {w.money()} arrived.{by_itself}",),
        w.facts(
            ("Bought", f"{w.credits('credits_micros')} credits"),
            ("Bonus", f"{bonus} credits" if bonus else ""),
            ("Paid", w.money()),
            ("Tax included", w.money("tax_cents") if w.detail.get("tax_cents") else ""),
            ("Available now", f"{w.credits('available_micros')} credits"),
        ),
        ("Receipt", receipt)
        if receipt.startswith("https://")
        else ("See your transactions", w.page("transactions")),
    )


def _purchase_in_review(w: Words) -> Message:
    line = "Your payment arrived but does not match the purchase. We look at it and credit or refund it; nothing is lost."
    facts = w.facts(("Paid", w.money()), ("Purchase", w.text("purchase_id")))
    return Message("Your purchase is under review", (line,), facts)


def _payment_failed(w: Words) -> Message:
    what = (
        "Auto-reload could not charge your card"
        if w.detail.get("is_auto_reload")
        else "Your payment did not go through"
    )
    lines = [f"{what}. No credits were bought."]
    if w.text("next_attempt_at"):
        lines.append(f"It is tried again after {w.time('next_attempt_at')}.")
    facts = w.facts(("Amount", w.money()), ("Reason", w.text("reason")))
    again = (
        ("See what happened", w.page("auto_reload"))
        if w.detail.get("is_auto_reload")
        else ("Buy credits", w.page("buy"))
    )
    return Message(f"Payment of {w.money()} failed", tuple(lines), facts, again)


def _auto_reload_paused(w: Words) -> Message:
    pay = w.text("pay_url")
    return Message(
        "Auto-reload is paused",
        (w.text("reason"), "Nothing is charged until you resume it."),
        w.facts(("Amount", w.money())),
        ("Confirm the payment", pay) if pay else ("See what happened", w.page("auto_reload")),
    )


def _refund_succeeded(w: Words) -> Message:
    return Message(
        f"Refund of {w.money()}",
        ("The money is on its way to the card you paid with; banks take up to ten days.",),
        w.facts(("Refund", w.money()), ("Credits taken back", w.credits("credits_micros"))),
        ("See your transactions", w.page("transactions")),
    )


def _call_ending(w: Words) -> Message:
    ends = "must end now" if w.text("status") == "end" else f"ends in {w.text('remaining_seconds')} seconds"
    return Message(
        f"A call {ends}: credits run out",
        ("Hang up, or buy credits to go on.",),
        w.facts(("Call", w.text("call_id")), ("To", w.text("to")), ("From", w.text("from"))),
        ("Buy credits", w.page("buy")),
    )


def _webhook_disabled(w: Words) -> Message:
    return Message(
        f"“{w.text('name')}” was switched off",
        (f"{w.text('reason')} Nothing more is sent there until you switch it on.",),
        w.facts(("Address", w.text("address")), ("Last error", w.text("last_error"))),
        ("See its deliveries", w.page("notifications")),
    )


def _subscription_renewed(w: Words) -> Message:
    receipt = w.text("receipt_url")
    return Message(
        f"{w.text('plan') or 'Your plan'}: {w.credits('credits_micros')} credits for the new period",
        (f"Your subscription was renewed for {w.money()}.",),
        w.facts(
            ("Paid", w.money()), ("Credits", w.credits("credits_micros")), ("Until", w.time("period_end"))
        ),
        ("Receipt", receipt)
        if receipt.startswith("https://")
        else ("See your transactions", w.page("transactions")),
    )


def _subscription_payment_failed(w: Words) -> Message:
    pay = w.text("pay_url")
    lines = [
        f"The payment for {w.text('plan') or 'your plan'} did not go through. New credits come when it is paid."
    ]
    if w.text("next_attempt_at"):
        lines.append(f"It is tried again at {w.time('next_attempt_at')}.")
    action = (
        ("Pay now", pay) if pay.startswith(("https://", w.base_url)) else ("See your plan", w.page("plan"))
    )
    return Message("Subscription payment failed", tuple(lines), w.facts(("Amount", w.money())), action)


def _subscription_ended(w: Words) -> Message:
    return Message(
        f"{w.text('plan') or 'Your plan'} has ended",
        (
            "Nothing more is charged. Its unused credits end with the last period that is paid; credits you bought stay yours.",
        ),
        w.facts(("Ended", w.time("ended_at")), ("Reason", w.text("reason").replace("_", " "))),
        ("See your plan", w.page("plan")),
    )


def _referral_rewarded(w: Words) -> Message:
    return Message(
        f"{w.credits('amount_micros')} credits for an invitation",
        ("Thank you for bringing somebody along, or for coming along.",),
        w.facts(("Credits", w.credits("amount_micros")), ("For", w.text("reason"))),
        ("See your transactions", w.page("transactions")),
    )


def _test(w: Words) -> Message:
    line = "This is a test message: what you are told arrives here."
    return Message("Test message", (line,), action=("Notification settings", w.page("notifications")))


WRITERS: dict[str, Callable[[Words], Message]] = {
    "low_balance": _low_balance,
    "out_of_credits": _out_of_credits,
    "allowance_warning": _allowance,
    "allowance_reached": _allowance,
    "debt": _debt,
    "credits_expiring": _credits_expiring,
    "purchase_credited": _purchase_credited,
    "purchase_in_review": _purchase_in_review,
    "payment_failed": _payment_failed,
    "auto_reload_paused": _auto_reload_paused,
    "refund_succeeded": _refund_succeeded,
    "subscription_renewed": _subscription_renewed,
    "subscription_payment_failed": _subscription_payment_failed,
    "subscription_ended": _subscription_ended,
    "referral_rewarded": _referral_rewarded,
    "call_ending": _call_ending,
    "webhook_disabled": _webhook_disabled,
    "test": _test,
}
