"""System: what needs somebody, jobs and their last runs, versions, what waits where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from credits_core import jobs, operations
from credits_core.errors import CreditsError
from credits_core.http import VERSION
from credits_core.runtime import get_runtime
from pages.common import retention_settings, session, tables, widgets
from pages.common.formats import Viewer, words

session.guard(session.ADMIN)

JOB = "job"
_DONE, _CLOSED = "job_done", "jobs_closed"
QUEUES = (
    ("Purchases on their way", "purchases_waiting"),
    ("Purchases in review", "purchases_in_review"),
    ("Referrals held for review", "referrals_held"),
    ("Refunds on their way", "refunds_waiting"),
    ("Stripe events to process", "events_waiting"),
    ("Messages to send", "messages_waiting"),
    ("Open holds", "holds_open"),
    ("Transactions not in charts yet", "rollup_behind"),
)


def show_alerts() -> None:
    """What is wrong now, each with its evidence; below it what has ended."""
    everything = operations.operations_alerts(session.database(), person.identity, open_only=False, limit=20)[
        "items"
    ]
    live = [alert for alert in everything if alert["resolved_at"] is None]
    with widgets.card("Operations alerts"):
        if not live:
            widgets.empty(
                "Nothing needs you",
                "Late jobs, failing payments, queues and differences show up here by themselves.",
            )
        for alert in live:
            _alert(alert)
        over = [alert for alert in everything if alert["resolved_at"]]
        if over:
            with st.expander(f"Resolved lately ({len(over)})"):
                (
                    tables.Table(over, viewer)
                    .texts("What", [words(alert["kind"]) for alert in over])
                    .text("About", "sentence", width="large")
                    .time("Opened", "opened_at")
                    .time("Resolved", "resolved_at")
                    .draw(key="resolved", alt="Alerts that ended by themselves", wide=("Opened", "About"))
                )


def _alert(alert: Mapping[str, Any]) -> None:
    with st.container(border=True, key=f"alert_{alert['alert_id']}"):
        st.markdown(f"**{words(alert['kind'])}**")
        st.write(widgets.plain(alert["sentence"]))
        seen = f"since {viewer.time(alert['opened_at'])}"
        if alert["acknowledged_at"]:
            seen += f" · somebody is at it since {viewer.time(alert['acknowledged_at'])}"
        st.caption(seen)
        with st.container(horizontal=True, vertical_alignment="center"):
            with st.popover("Evidence", icon=":material/search:", type="tertiary"):
                st.json(alert["evidence"])
            if not alert["acknowledged_at"]:
                st.button(
                    "I am at it",
                    icon=":material/check:",
                    key=f"ack_{alert['alert_id']}",
                    on_click=_acknowledge,
                    args=(alert["alert_id"],),
                )


def _acknowledge(alert_id: int) -> None:
    somebody = session.guard(session.ADMIN)
    try:
        operations.acknowledge(session.database(), somebody.identity, alert_id)
    except CreditsError as error:
        st.session_state[_DONE] = error.message


def show_jobs() -> None:
    with widgets.card("Jobs"):
        rows = jobs.overview(session.database(), person.identity)
        table = (
            tables.Table([{**row, "state": STATES[row["state"]]} for row in rows], viewer)
            .text("Job", "job")
            .pill("State", "state")
            .text("What it does", "does", width="large")
            .texts("Every", [_period(row["every_seconds"]) for row in rows], alignment="right")
            .time("Last run", "last_finished_at", seconds=True)
            .time("Next", "due_at", seconds=True)
        )
        problems = [row.get("last_error") or "" for row in rows]
        if any(problems):
            table.texts("Problem", problems)
        picked = table.draw(
            key=f"jobs_{st.session_state.get(_CLOSED, 0)}",
            alt="Background jobs; select one to see its last run or to run it now",
            wide=("What it does", "Every", "Next", "Problem"),
            on_select="rerun",
            selection_mode="single-row",
        )
        st.caption("Select a job to see its last outcome, or to run it now.")
    if picked.selection.rows:
        st.query_params[JOB] = rows[picked.selection.rows[0]]["job"]
    row = next((row for row in rows if row["job"] == st.query_params.get(JOB)), None)
    if row:
        job_dialog(row)


STATES = {
    "waiting": "in order",
    "running": "running",
    "failed": "failed",
    "late": "late",
    "never": "not run yet",
}


def _period(seconds: int) -> str:
    return (
        f"{seconds // 3600} h"
        if seconds % 3600 == 0
        else f"{seconds // 60} min"
        if seconds % 60 == 0
        else f"{seconds} s"
    )


def _closed() -> None:
    st.query_params.pop(JOB, None)
    st.session_state[_CLOSED] = st.session_state.get(_CLOSED, 0) + 1


@st.dialog("Job", width="medium", on_dismiss=_closed)
@widgets.errors_as_sentences
def job_dialog(row: Mapping[str, Any]) -> None:
    somebody, viewer = session.guard(session.ADMIN), session.viewer()
    st.markdown(f"**{row['job']}**: {widgets.plain(row['does'])}.")
    widgets.facts(
        [
            ("Last started", viewer.time(row.get("last_started_at"))),
            ("Last finished", viewer.time(row.get("last_finished_at"))),
            ("Next", viewer.time(row.get("due_at"))),
            ("Runs", viewer.count(row.get("runs") or 0)),
            ("Failed in a row", viewer.count(row.get("failures") or 0)),
        ]
    )
    if row.get("last_error"):
        st.error(widgets.plain(row["last_error"]), icon=":material/error:")
    if row.get("last_outcome"):
        st.json(row["last_outcome"])
    if st.button("Run now", icon=":material/play_arrow:", type="primary", width="stretch", key="job_run"):
        with st.spinner(f"Running {row['job']}"):
            done = jobs.run_now(get_runtime(), somebody.identity, row["job"])
        st.session_state[_DONE] = (
            f"{words(row['job'])} has run."
            if done is not None
            else f"{words(row['job'])} is running in another process."
        )
        _closed()
        st.rerun()


def show_figures(status: Mapping[str, Any], viewer: Viewer) -> None:
    settings = get_runtime().settings
    stripe = "simulator" if settings.simulator else "live" if settings.stripe_live else "test mode"
    left, middle, right = st.columns(3)
    with left, widgets.card("Versions", height="stretch"):
        widgets.facts(
            [
                ("Program", VERSION), ("Last migration", status["migration"] or "not known"), ("PostgreSQL", status["postgres"]),
                ("Catalog", status["catalog"] or "none"), ("Database", words(settings.mode)), ("Stripe", words(stripe)),
            ]
        )  # fmt: skip
    with middle, widgets.card("Waiting", height="stretch"):
        widgets.facts([(label, viewer.count(status[field])) for label, field in QUEUES])
    with right, widgets.card("Last checks", height="stretch"):
        widgets.facts(_checks(status, viewer))


def _checks(status: Mapping[str, Any], viewer: Viewer) -> list[tuple[str, str]]:
    rows = [
        ("Accounts", viewer.count(status["accounts"])),
        ("Transactions", viewer.count(status["transactions"])),
        ("Database size", f"{viewer.count(status['database_bytes'] // 1_000_000)} MB"),
    ]
    verify, books = status["last_verify"], status["last_reconciliation"]
    if verify:
        rows += [
            ("Ledger check", verify["error"] or "0 differences"),
            ("Checked", viewer.time(verify["finished_at"])),
        ]
    else:
        rows.append(("Ledger check", "not run yet"))
    if books:
        found = "failed" if books["status"] == "failed" else viewer.many(books["found"], "difference")
        rows += [("Reconciliation", found), ("Compared", viewer.time(books["finished_at"]))]
    else:
        rows.append(("Reconciliation", "not run yet"))
    return rows


person, viewer = session.guard(session.ADMIN), session.viewer()
with widgets.page_header("System", "What needs somebody, what runs by itself, and what waits."):
    st.button("Refresh", icon=":material/refresh:", key="refresh")
show_alerts()
show_figures(operations.system_status(session.database(), person.identity), viewer)
show_jobs()
retention_settings.show(person, viewer)
if told := st.session_state.pop(_DONE, None) or st.session_state.pop(retention_settings.DONE, None):
    st.toast(widgets.plain(told), icon=":material/info:")
