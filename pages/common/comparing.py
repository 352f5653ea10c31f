"""Starting a reconciliation and watching it: the dialog for a range, progress while it runs, the totals of the last one.

The dialog is open while the URL holds `compare`, whose value is the idempotency key of the run.
"""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Mapping
from typing import Any

import streamlit as st

from credits_core import reconcile
from credits_core.errors import CreditsError
from credits_core.runtime import get_runtime
from pages.common import periods, session, widgets
from pages.common.formats import Viewer

KEY = "compare"
_VALID_KEY = re.compile(r"[0-9a-f]{32}")
ACTIVE = ("waiting", "running")
STAGES = {
    "starting": "Starting",
    "session": "Reading checkout pages",
    "charge": "Reading charges",
    "refund": "Reading refunds",
    "dispute": "Reading disputes",
    "entry": "Reading fees and movements",
    "payout": "Reading payouts",
    "lookup": "Looking up what is older",
    "comparing": "Comparing",
}


def open_button(*, disabled: bool) -> None:
    st.button(
        "Compare now",
        icon=":material/compare_arrows:",
        type="primary",
        on_click=_open,
        disabled=disabled,
        key="compare_open",
    )


def _open() -> None:
    st.query_params[KEY] = uuid.uuid4().hex


def _close() -> None:
    st.query_params.pop(KEY, None)


def pending_key() -> str | None:
    """The key of the run that is being asked for; an address somebody made up opens nothing."""
    key = st.query_params.get(KEY, "")
    return key if _VALID_KEY.fullmatch(key) else None


@st.dialog("Compare with Stripe", on_dismiss=_close)
def compare_dialog() -> None:
    person, viewer = session.guard(session.FINANCE), session.viewer()
    chosen = st.date_input(
        "Days", value=periods.last_days(viewer, 30), max_value=viewer.today(), key="compare_days"
    )
    days = chosen if isinstance(chosen, tuple) else (chosen,)
    st.caption(
        f"Days in {viewer.zone_name}, at most 400. Nothing is changed: differences are listed, and you decide about each."
    )
    if st.button("Compare", type="primary", width="stretch", key="compare_start", disabled=len(days) < 2):
        if (key := pending_key()) is None:
            return
        begin, end = periods.moments(viewer, days[0], days[-1])
        try:
            reconcile.start(
                session.database(), person.identity, begin or dt.datetime.now(viewer.zone), end or dt.datetime.now(viewer.zone),
                livemode=get_runtime().stripe.livemode, idempotency_key=f"page-{key}",
            )  # fmt: skip
        except CreditsError as error:
            widgets.show_error(error)
            return
        _close()
        st.rerun()


@st.fragment(run_every=2)
def progress(number: int) -> None:
    """What a run that is under way does now; when it is over, the page is drawn anew."""
    person, viewer = session.guard(session.FINANCE), session.viewer()
    try:
        latest = reconcile.reconciliations(session.database(), person.identity, limit=1)["items"]
    except CreditsError as error:
        widgets.show_error(error)
        return
    if not latest or latest[0]["reconciliation_id"] != number or latest[0]["status"] not in ACTIVE:
        st.rerun()
        return
    run = latest[0]
    read = sum(run["read"].values())
    steps = list(STAGES)
    step = steps.index(run["stage"]) + 1 if run["stage"] in steps else 0
    text = (
        "Waiting for a worker; it begins within seconds"
        if run["status"] == "waiting"
        else STAGES.get(run["stage"], "Working")
    )
    st.progress(step / len(steps), f"{text} · {viewer.many(read, 'object')} read so far")


def totals(run: Mapping[str, Any], viewer: Viewer) -> None:
    """Tiles and the sum of one run, for each currency."""
    days = f"{viewer.time(run['from'])} – {viewer.time(run['to'])}"
    if not run["totals"]:
        with widgets.card("Totals"):
            widgets.empty(
                "Stripe moved no money in this range",
                f"{days}. Compare a longer range to see older payments.",
            )
        return
    for money in run["totals"]:
        code = money["currency"]

        def shown(field: str, code: str = code, money: Mapping[str, Any] = money) -> str:
            return viewer.money(money[f"{field}_cents"], code)

        with st.grid("auto", gap="small", min_column_width=170):
            widgets.tile(
                f"Charged in {code.upper()}",
                shown("gross"),
                None,
                viewer.many(money["charges"], "charge"),
            )
            widgets.tile("Stripe's fees", shown("fees"), None, "cards, disputes")
            widgets.tile("Net", shown("net"), None, "after everything")
            widgets.tile("Paid out", shown("paid_out"), None, "to the bank")
            widgets.tile("Still to be paid out", shown("to_pay_out"), None, "at Stripe")
        with widgets.card(f"How it adds up in {code.upper()}"):
            rows = [("Charged", shown("gross"))]
            if money["others_cents"]:
                rows.append(("of it other business on this Stripe account", shown("others")))
            rows += [
                ("less refunds", shown("refunds")),
                ("less disputes", shown("disputes")),
                ("less Stripe's fees", shown("fees")),
            ]
            if money["other_cents"]:
                rows.append(("and other movements", shown("other")))
            rows += [
                ("Net", shown("net")),
                ("of it paid out", shown("paid_out")),
                ("of it still to be paid out", shown("to_pay_out")),
            ]
            widgets.facts([*rows, ("Difference", shown("difference"))])
            st.caption(f"Movements at Stripe, {days}.")
