"""Reconciliation: our purchases, refunds and disputes against Stripe's charges, fees and payouts; 0 differences or the list."""

from __future__ import annotations

from typing import Any

import streamlit as st

from credits_core import reconcile
from pages.common import comparing, differences, exports, paging, session, shell, tables, widgets

session.guard(session.FINANCE)

STATES = {"open": "to settle", "repaired": "repaired", "accepted": "accepted"}


def show_differences() -> None:
    with widgets.card("Differences") as toolbar:
        status = st.segmented_control(
            "Status",
            list(STATES),
            default="open",
            required=True,
            format_func=lambda code: STATES[code].capitalize(),
            key="status",
            label_visibility="collapsed",
            bind="query-params",
        )

        with toolbar():
            exports.menu("differences", viewer, key="differences_export", status=status)
        place = paging.cursor(f"differences {status}")
        answer = reconcile.differences(
            session.database(), person.identity, status=status, limit=paging.PAGE, cursor=place
        )
        rows = [{**row, "state": STATES[row["status"]]} for row in answer["items"]]
        if not rows:
            _none(status or "open")
            return
        picked = (
            tables.Table(rows, viewer)
            .texts("What", [differences.KINDS.get(row["kind"], row["kind"]) for row in rows], width="medium")
            .texts(
                "Our books", [differences.amount(row, "expected", viewer) for row in rows], alignment="right"
            )
            .texts("Stripe", [differences.amount(row, "found", viewer) for row in rows], alignment="right")
            .time("At", "occurred_at")
            .texts("Settle by", ["Repair" if row["repairable"] else "A person" for row in rows])
            .pill("State", "state")
            .text("Object", "object_id")
            .draw(
                key=differences.table_key(f"differences_{status}_{place}"),
                alt="Differences, the newest first; select one to settle it",
                wide=("At", "Settle by", "State", "Object"),
                on_select="rerun",
                selection_mode="single-row",
            )
        )
        st.caption("Select a difference to read what it means and to settle it.")
        paging.toolbar(answer["next_cursor"], key="differences")
    if picked.selection.rows:
        st.query_params[differences.KEY] = str(rows[picked.selection.rows[0]]["difference_id"])
    if row := differences.chosen(rows):
        differences.difference_dialog(row)


def _none(status: str) -> None:
    if status != "open":
        widgets.empty(
            f"Nothing {STATES[status]} yet", "Differences that were settled this way are kept here."
        )
    elif last is None:
        widgets.empty("Not compared yet", "Press Compare now, or wait for the daily run.")
    else:
        widgets.empty(
            "0 differences", f"Our books and Stripe's agree, as of {viewer.time(last['finished_at'])}."
        )


def show_runs(runs: list[dict[str, Any]]) -> None:
    with widgets.card("Runs"):
        if not runs:
            widgets.empty(
                "No runs yet", "The program compares every day by itself; Compare now does it at once."
            )
            return
        rows = [{**run, "objects": sum(run["read"].values())} for run in runs]
        (
            tables.Table(rows, viewer)
            .count("Run", "reconciliation_id")
            .pill("Status", "status")
            .time("From", "from")
            .time("To", "to")
            .count("Objects read", "objects")
            .count("Differences", "found")
            .texts(
                "Asked for by",
                [
                    "Every day" if run["requested_by"] == "daily" else _who(run["requested_by"])
                    for run in runs
                ],
            )
            .time("Finished", "finished_at")
            .texts("Problem", [run["error"] or "" for run in runs])
            .draw(
                key="runs",
                alt="Reconciliations, the newest first",
                wide=("To", "Objects read", "Asked for by", "Finished", "Problem"),
            )
        )


def _who(actor: str) -> str:
    return "A program" if actor.startswith("service") else f"Staff {actor[:8]}"


person, viewer = session.guard(session.FINANCE), session.viewer()
runs = reconcile.reconciliations(session.database(), person.identity, limit=20)["items"]
active = next((run for run in runs if run["status"] in comparing.ACTIVE), None)
last = next((run for run in runs if run["status"] == "finished"), None)
with widgets.page_header("Reconciliation", "Our books against Stripe's, every day and whenever you ask."):
    if shell.is_test_mode():
        st.badge("Test mode", icon=":material/science:", color="orange")
    comparing.open_button(disabled=active is not None)
if active:
    comparing.progress(active["reconciliation_id"])
elif runs and runs[0]["status"] == "failed":
    st.warning(widgets.plain(f"The last run did not finish: {runs[0]['error']}"), icon=":material/warning:")
if last:
    comparing.totals(last, viewer)
show_differences()
show_runs(runs)
if comparing.pending_key() and not active:
    comparing.compare_dialog()
differences.toast_after()
