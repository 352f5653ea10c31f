"""The state of an account in figures and in a banner: what is there, how fast it goes, how long it lasts."""

from __future__ import annotations

from typing import Any

import streamlit as st

from credits_core import auto_reload
from pages.common import forecast_card, session, widgets
from pages.common.formats import Viewer, plotted

LEVELS = {"new": st.info, "low": st.warning, "empty": st.error, "debt": st.error}


def run_out_text(run_out: dict[str, Any], viewer: Viewer) -> tuple[str, str]:
    """The run-out estimate and, in words, what it rests on."""
    if run_out["reason"] == "unlimited":
        return "Never", "use is not charged"
    if run_out["reason"] == "empty":
        return "–", "no credits left"
    if run_out["reason"] == "no_use":
        return "–", f"no use in {run_out['basis_days']} days"
    days = run_out["days"]
    if days is None:  # use that dies out
        return "Over a year", "use is falling"
    shown = f"{viewer.count(days)} days"
    if days <= 1:
        shown = "1 day" if days else "Under a day"
    elif days > 365:
        shown = "Over a year"
    return shown, forecast_card.range_text(
        run_out, viewer
    ) or f"at {viewer.about(run_out['daily_micros'])} a day"


def tiles(overview: dict[str, Any], viewer: Viewer) -> None:
    balance, month, days, run_out = (overview[part] for part in ("balance", "month", "days", "run_out"))
    kind, name = ("calls", "call") if overview["has_calls"] else ("events", "use")
    shown, why = run_out_text(run_out, viewer)
    last_month = viewer.month(month["before_from"])
    held = f" · {viewer.credits(balance['held_micros'])} held" if balance["held_micros"] else ""

    def against(field: str) -> tuple[str | None, str]:
        """The change of a figure of this month, and what it is compared with."""
        change = widgets.percent_change(month[field], viewer)
        return change, f"vs {last_month}" if change else f"none in {last_month}"

    with st.grid(5, gap="small", min_column_width=150):
        widgets.tile(
            "Available credits",
            "Unlimited" if balance["unlimited"] else viewer.about(balance["available_micros"]),
            viewer.credits(overview["today_micros"], signed=True) if overview["today_micros"] else None,
            ("today" if overview["today_micros"] else "unchanged today") + held,
            [plotted(day["posted_micros"]) for day in days],
            "area",
            delta_color="blue",
            help=f"What you can spend now, exactly {viewer.credits(balance['available_micros'])}. "
            "Held credits are set aside for what is running.",
        )
        widgets.tile(
            "Spent this month",
            viewer.about(month["spent_micros"]),
            *against("spent_change_percent"),
            [plotted(day["spent_micros"]) for day in days],
            "bar",
            delta_color="blue",
        )
        widgets.tile(
            f"{kind if kind == 'calls' else 'uses'} this month".capitalize(),
            viewer.count(month[kind]),
            *against(f"{kind}_change_percent"),
            [day[kind] for day in days],
            "line",
            delta_color="blue",
        )
        widgets.tile(
            f"Avg. cost per {name}",
            viewer.about(month[f"{name}_average_micros"] or 0),
            *against(f"{name}_average_change_percent"),
            [plotted(day[f"{name}_average_micros"]) for day in days],
            "line",
            delta_color="inverse",
        )
        widgets.tile(
            "Credits last",
            shown,
            "low" if overview["level"] == "low" else None,
            why,
            [plotted(left) for left in run_out["projection_micros"]],
            "line",
            delta_color="red",
            delta_arrow="off",
            help=f"From {run_out['basis_days']} days of use at {viewer.about(run_out['daily_micros'])} a day now. "
            "The dates are the range it ends in 8 times in 10.",
        )


def banner(overview: dict[str, Any], viewer: Viewer) -> None:
    """Says it before it hurts, with the way out beside it."""
    level = overview["level"]
    if level == "ok":
        return
    person = session.guard(session.EVERYBODY)
    reload = auto_reload.state(session.database(), person.identity)["state"]
    ahead = "Auto-reload buys more by itself." if reload == "on" else "Calls stop when credits reach zero."
    text = {
        "new": "**Welcome.** Buy your first credits to make calls and use services.",
        "debt": f"**You owe {viewer.credits(overview['balance']['debt_micros'])} credits.** The next purchase settles it first.",
        "empty": "**There are no credits left.** Calls and services stop until you buy credits.",
        "low": f"**Your credits cover {_covered(overview, viewer)}.** {ahead}",
    }[level]
    with st.container(key="low_balance", horizontal=True, vertical_alignment="center"):
        LEVELS[level](text, icon=":material/notifications_active:", width="stretch")
        st.page_link("account/buy.py", label="Buy credits", icon=":material/add_card:")
        if level != "new" and reload != "on":
            label = "Set up auto-reload" if reload == "off" else "Auto-reload is paused"
            st.page_link("account/auto_reload.py", label=label, icon=":material/autorenew:")


def _covered(overview: dict[str, Any], viewer: Viewer) -> str:
    shown = run_out_text(overview["run_out"], viewer)[0].lower()
    return f"about {shown}" if overview["run_out"]["days"] else shown
