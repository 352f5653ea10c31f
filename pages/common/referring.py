"""Referrals in words: the terms, what happens next, why one waits."""

from __future__ import annotations

from typing import Any

from pages.common.formats import Viewer

HELD = {
    "same_card": "Paid with a card of the inviting account, or of another account it invited",
    "month_rewards": "The month's number of rewards is reached",
    "month_credits": "The month's credits are reached",
    "total_rewards": "The number of rewards in all is reached",
    "total_credits": "The credits in all are reached",
    "program_off": "Rewards were switched off when the purchase was paid",
}


def terms(program: dict[str, Any], viewer: Viewer) -> list[tuple[str, str]]:
    """The terms as names and values."""
    rows = [
        ("You get", f"{viewer.credits(program['referrer_micros'])} credits"),
        ("They get", f"{viewer.credits(program['referee_micros'])} credits"),
        (
            "For their first purchase of",
            f"{viewer.money(program['min_purchase_cents'], program['currency'])} or more",
        ),
        ("Within", f"{viewer.count(program['open_days'])} days"),
    ]
    if limits := _limits(program, viewer):
        rows.append(("At most", limits))
    return [*rows, ("When it is refunded", "both rewards are taken back")]


def _limits(program: dict[str, Any], viewer: Viewer) -> str:
    parts = []
    for span, words in (("month", "a month"), ("total", "in all")):
        if program[f"{span}_rewards"] is not None:
            parts.append(f"{viewer.count(program[f'{span}_rewards'])} rewards {words}")
        if program[f"{span}_micros"] is not None:
            parts.append(f"{viewer.credits(program[f'{span}_micros'])} credits {words}")
    return ", ".join(parts)


def what_happens(row: dict[str, Any], viewer: Viewer) -> str:
    """What the person who invited should know of one who joined."""
    match row["status"]:
        case "open":
            return f"Rewarded after a first purchase until {viewer.time(row['expires_at'])}"
        case "held":
            return (
                "A limit is reached; we look at it"
                if row["held_for"] == "limit"
                else "We look at the payment first"
            )
        case "rewarded":
            return f"Credits added {viewer.time(row['rewarded_at'])}"
        case "taken_back":
            return "The purchase was refunded or disputed"
        case "expired":
            return "Nothing was bought in time"
    return "Not rewarded after a review"


def invitation(invited: dict[str, Any], viewer: Viewer) -> str:
    """What somebody who was invited should know."""
    credits = viewer.credits(invited["reward_micros"])
    smallest = viewer.money(invited["min_purchase_cents"], invited["currency"])
    end = viewer.time(invited["expires_at"])
    return {
        "open": f"You get {credits} credits after your first purchase of at least {smallest}, until {end}.",
        "held": f"Your {credits} credits are being looked at. You need not do anything.",
        "rewarded": f"You got {credits} credits for your first purchase.",
        "taken_back": f"Your {credits} credits were taken back with the purchase that was refunded or disputed.",
        "expired": "The invitation has ended: nothing was bought in time.",
    }.get(invited["status"], "The invitation was not rewarded after a review.")
