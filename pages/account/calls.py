"""Call log: every call with its duration, what of it was billed, and what it cost."""

from __future__ import annotations

from typing import Any

import streamlit as st

from credits_core import calls
from pages.common import exports, paging, periods, session, tables, widgets
from pages.common.formats import words

session.guard(session.EVERYBODY)

STATUSES = ("completed", "running", "canceled", "failed", "abandoned")


def filters() -> tuple[dict[str, Any], periods.Days]:
    """The filters of the URL: arguments of the database's list, and the days."""
    with st.container(horizontal=True, vertical_alignment="center"):
        status = st.selectbox(
            "Status",
            STATUSES,
            index=None,
            placeholder="Any status",
            format_func=widgets.status_label,
            key="status",
            label_visibility="collapsed",
            bind="query-params",
            width=170,
        )
        number = st.text_input(
            "Number",
            key="number",
            placeholder="Search a number",
            type="search",
            icon=":material/search:",
            label_visibility="collapsed",
            bind="query-params",
            width=280,
        )
        first, last = periods.choose(viewer, default="30d", with_all=True)
    return {"status": status, "number": number.strip() or None if number else None}, (first, last)


person, viewer = session.guard(session.EVERYBODY), session.viewer()
with widgets.page_header("Call log", "Every call, with its billed duration and its cost in credits."):
    toolbar = st.container()
chosen, days = filters()
with toolbar:
    exports.menu("calls", viewer, days=days, key="export", **chosen)
begin, end = periods.moments(viewer, *days)
chosen |= {"from_": begin, "to": end}
place = paging.cursor(f"calls {chosen}")
answer = calls.calls(session.database(), person.identity, **chosen, limit=paging.PAGE, cursor=place)
rows = answer["items"]
if not rows:
    with st.container(border=True):
        widgets.empty(
            "No calls match",
            "Choose another period or clear the filters. New calls appear here by themselves.",
        )
else:
    (
        tables.Table(rows, viewer)
        .time("Started", "started_at")
        .text("From", "from")
        .text("To", "to")
        .pill("Status", "status")
        .duration("Duration", "duration_seconds")
        .duration("Billed", "billed_seconds")
        .cost_bar("Cost", "charged_micros")
        .texts("Ended by", [words(row["ended_reason"] or "") for row in rows])
        .draw(key="calls", alt="Calls, the newest first", wide=("From", "Status", "Duration", "Ended by"))
    )
    paging.toolbar(answer["next_cursor"], key="calls")
