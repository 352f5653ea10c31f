"""The audit trail in words: what was done, by whom, and what its row holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pages.common.formats import Viewer, words

ACTIONS: Mapping[str, str] = {
    "adjust": "Adjusted credits",
    "reverse": "Reversed a transaction",
    "extend_grant": "Gave credits a later end",
    "load_catalog": "Loaded a catalog",
    "set_price": "Set a price",
    "set_provider_cost": "Set a provider's cost",
    "set_plan": "Put an account on a plan",
    "set_cap": "Set a spending cap",
    "set_account_settings": "Changed an account's settings",
    "create_api_key": "Made an API key",
    "revoke_api_key": "Ended an API key",
    "create_campaign": "Made a campaign",
    "switch_campaign": "Switched a campaign",
    "request_refund": "Asked for a refund",
    "decide_refund": "Decided about a refund",
    "dispute": "Followed a dispute",
    "set_referral_program": "Set the terms of invitations",
    "decide_referral": "Decided about a referral",
    "ask_adjustment": "Asked for an adjustment",
    "ask_price_change": "Asked for a new price",
    "ask_review": "Asked to settle a payment in review",
    "decide_adjustment": "Decided about an adjustment",
    "decide_price_change": "Decided about a new price",
    "decide_review": "Decided about a payment in review",
    "ask_reversal": "Asked for a reversal",
    "ask_extension": "Asked for a later end of credits",
    "decide_reversal": "Decided about a reversal",
    "decide_extension": "Decided about a later end of credits",
    "set_approval_limit": "Changed a limit of approvals",
    "set_retention": "Changed how long old messages or events are kept",
    "draft_change": "Changed a draft of the catalog",
    "discard_catalog_draft": "Threw a draft of the catalog away",
    "catalog_release": "Released a catalog",
    "start_reconciliation": "Started a reconciliation",
    "repair_difference": "Repaired a difference with Stripe",
    "accept_difference": "Accepted a difference with Stripe",
    "acknowledge_alert": "Took note of an operations alert",
    "run_job": "Ran a job by hand",
    "process_event_again": "Processed a Stripe event again",
    "add_notice_target": "Connected a channel for notices",
    "change_notice_target": "Changed a channel for notices",
    "remove_notice_target": "Removed a channel for notices",
    "rotate_target_secret": "Changed a webhook's secret",
    "resend_delivery": "Sent a message again",
    "set_email_choices": "Chose which notices come by e-mail",
    "set_flag": "Changed a feature flag",
    "set_flag_account": "Named an account for a flag",
}


def action(code: str) -> str:
    return ACTIONS.get(code) or words(code)


def who(row: Mapping[str, Any]) -> str:
    """A name, with the e-mail where a row of a table has room for it."""
    known = row["who"]
    if known["kind"] == "system":
        return f"System ({known['name']})" if known["name"] else "System"
    if known["kind"] == "key":
        return f"API key {known['name']}"
    return known["email"] or known["name"] or row["actor"]


def summary(row: Mapping[str, Any], viewer: Viewer) -> str:
    """The reason if one was given, else what the row holds, in a line."""
    detail = row["detail"]
    if detail.get("reason"):
        return str(detail["reason"])
    return ", ".join(
        f"{words(name.removesuffix('_micros').removesuffix('_cents'))}: {value(name, found, viewer)}"
        for name, found in detail.items()
        if found is not None and not isinstance(found, dict | list)
    )


def value(name: str, found: Any, viewer: Viewer) -> str:
    """One value of a row: credits and yes or no as people read them, everything else as it is."""
    if isinstance(found, bool):
        return "yes" if found else "no"
    if name.endswith("_micros") and isinstance(found, int):
        return f"{viewer.credits(found)} credits"
    return "–" if found is None else str(found)


def facts(row: Mapping[str, Any], viewer: Viewer) -> list[tuple[str, str]]:
    """Everything a row holds as names and values; what was changed as before and after."""
    rows = [
        ("When", viewer.time(row["at"])),
        ("Who", who(row)),
        ("What", action(row["action"])),
    ]
    if row["account_id"]:
        rows.append(("Account", row["account_email"] or f"Account {row['account_id']}"))
    before, after = (_part(row["detail"], side) for side in ("before", "after"))
    for name, found in row["detail"].items():
        if name in ("before", "after"):
            continue
        rows.append((_label(name), value(name, found, viewer)))
    for name in {**before, **after}:
        if before.get(name) != after.get(name):
            old = f"{value(name, before[name], viewer)} → " if name in before else ""
            rows.append((_label(name), f"{old}{value(name, after.get(name), viewer)}"))
    return rows


def _part(detail: Mapping[str, Any], side: str) -> Mapping[str, Any]:
    part = detail.get(side)
    return part if isinstance(part, dict) else {}


def _label(name: str) -> str:
    return words(name.removesuffix("_micros"))


def change_of_flag(row: Mapping[str, Any]) -> str:
    """What a change of a feature flag was, in a line."""
    if row["action"] == "set_flag_account":
        named = row["account_email"] or f"account {row['account_id']}"
        on = row["detail"]["on"]
        return f"By per cent again for {named}" if on is None else f"{'On' if on else 'Off'} for {named}"
    before, after = (_part(row["detail"], side) for side in ("before", "after"))
    if not before:
        return "Made"
    parts = []
    if before["on"] != after["on"]:
        parts.append("switched on" if after["on"] else "switched off")
    if before["percent"] != after["percent"]:
        parts.append(f"{before['percent']}% → {after['percent']}%")
    if before["description"] != after["description"]:
        parts.append("described anew")
    return ", ".join(parts).capitalize() or "No change"
