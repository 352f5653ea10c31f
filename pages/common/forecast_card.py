"""When the credits run out: a date with a range, the way there, and how the forecast of a month ago came out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from credits_core import analytics
from credits_core.auth.person import Person
from pages.common import charts, session, widgets
from pages.common.formats import Viewer, plotted

TRENDS = {"rising": "rising", "falling": "falling", "steady": "steady"}


def range_text(run_out: Mapping[str, Any], viewer: Viewer) -> str:
    """`Nov 30 – Dec 8`, `from Nov 30 on`, one day, or nothing where there is no date."""
    soonest, latest = run_out["soonest_date"], run_out["latest_date"]
    if run_out["reason"] not in ("weeks", "average") or soonest is None:
        return ""
    if latest is None:
        return f"{viewer.day(soonest)} or later"
    return viewer.day(soonest) if soonest == latest else f"{viewer.day(soonest)} – {viewer.day(latest)}"


@widgets.errors_as_sentences
def card(person: Person, viewer: Viewer) -> None:
    found = analytics.run_out_forecast(session.database(), person.identity, time_zone=viewer.zone_name)
    with widgets.card("How long it lasts", height="stretch") as toolbar:
        with toolbar():
            if st.button(
                "How good is this?", icon=":material/fact_check:", type="tertiary", key="forecast_check"
            ):
                past_dialog(found)
        text = range_text(found, viewer)
        if not text:
            widgets.empty("No date yet", _why_none(found["reason"]))
            return
        st.caption(_sentence(found, text, viewer))
        path = [
            row for row in found["path"] if found["latest_days"] is None or row["day"] <= found["latest_date"]
        ]
        charts.draw(
            charts.range_left(
                [row["day"] for row in path or found["path"][:2]],
                [plotted(row["expected_micros"]) for row in path or found["path"][:2]],
                [plotted(row["at_least_micros"]) for row in path or found["path"][:2]],
                [plotted(row["at_most_micros"]) for row in path or found["path"][:2]],
                dark=viewer.dark,
            ),
            key="forecast",
            alt=f"Credits left on the days to come: they run out {text}",
        )


def _why_none(reason: str) -> str:
    return {
        "unlimited": "Use of this account is not charged.",
        "empty": "There are no credits left. Buy some and use them for a few days.",
        "no_use": "Nothing was used lately. After some days of use a date appears here.",
    }.get(reason, "At this pace the credits last longer than a year.")


def _sentence(found: Mapping[str, Any], text: str, viewer: Viewer) -> str:
    middle = f"About {viewer.day(found['date'])}" if found["date"] else "Beyond a year"
    pace = f"{viewer.about(found['daily_micros'])} a day, {TRENDS[found['trend']]}"
    return f"{middle} ({text}), going by {found['basis_days']} days of use: {pace}."


@st.dialog("Last month's forecast", width="medium")
def past_dialog(found: Mapping[str, Any]) -> None:
    """The forecast of 30 days ago against what happened."""
    session.guard(session.EVERYBODY)
    viewer, past = session.viewer(), found["past"]
    if past is None:
        widgets.empty(
            "Nothing to compare yet", "A month after your first use you see here how good the forecast was."
        )
    else:
        (st.success if past["was_within"] else st.warning)(
            "**It came true.** What was used lies within the range." if past["was_within"]
            else "**It missed.** What was used lies outside the range: the use changed since.",
            icon=":material/fact_check:",
        )  # fmt: skip
        least, most = viewer.about(past["at_least_micros"]), viewer.about(past["at_most_micros"])
        rows = [
            ("Days", f"{viewer.day(past['from'])} – {viewer.day(past['to'])}"),
            ("Expected use", f"{viewer.about(past['expected_micros'])} ({least} to {most})"),
            ("What was used", viewer.about(past["spent_micros"])),
            ("Credits of that day", viewer.about(past["had_micros"])),
        ]
        if past["lasts"]:
            expected = past["lasts"]["date"]
            rows += [
                ("Expected to last until", viewer.day(expected) if expected else "beyond a year"),
                ("They were used up on", viewer.day(past["used_up_on"]) if past["used_up_on"] else "not yet"),
            ]
        widgets.facts(rows)
    st.caption(
        "The range holds 8 times in 10. It comes from whole weeks of use, their weekdays and a trend where one stands out; "
        "credits that expire before count as gone."
    )
