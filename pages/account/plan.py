"""Plan: the subscription, what happens next, and what else can be chosen; each change says what is paid now."""

from __future__ import annotations

from typing import Any

import streamlit as st

from credits_core import subscriptions
from credits_core.errors import CreditsError
from credits_core.runtime import get_runtime
from pages.common import plan_parts, plan_wishes, session, shell, tables, widgets
from pages.common.formats import Viewer

session.guard(session.EVERYBODY)

REFRESH_SECONDS = 3
SEEN = "seen_as_subscribed"  # the page at Stripe that this tab came back from
RUNNING = ("active", "past_due")
WAITING = ("created", "open", "incomplete")
ENDED = {
    "canceled": "It was canceled. Choose a plan whenever you want it back.",
    "payment_failed": "The last payment could not be collected. Choose a plan to start again.",
}


def arrived(viewer: Viewer, session_id: str) -> dict[str, Any] | None:
    """Back from Stripe's page: asks Stripe, and says what became of it; None when that could not be found out."""
    person = session.guard(session.EVERYBODY)
    try:
        found = subscriptions.arrive(get_runtime(), person.identity, session_id)
    except CreditsError as error:
        widgets.show_error(error)
        return None
    current = found["subscription"]
    if current is not None and current["status"] in RUNNING and found["payments"]:
        if st.session_state.get(SEEN) != session_id:
            st.session_state[SEEN] = session_id
            st.rerun()  # once: the balance in the sidebar was drawn before
        credits = viewer.credits(found["payments"][-1]["credits_micros"])
        st.success(
            f"**You are subscribed to {widgets.plain(current['name'])}.** {credits} credits are on your account.",
            icon=":material/check_circle:",
        )
    return found


def offers(viewer: Viewer, found: dict[str, Any]) -> None:
    current = found["subscription"]
    plans = found["plans"]
    running = current is not None and current["status"] in RUNNING
    if not plans:
        with st.container(border=True):
            widgets.empty("No plans are offered right now", "Buy credits whenever you need them instead.")
            with st.container(horizontal_alignment="center"):
                st.page_link("account/buy.py", label="Buy credits", icon=":material/add_card:")
        return
    st.subheader("Compare plans" if running else "Choose a plan", anchor=False)
    comparable = not any(plan["allowances"] for plan in plans)
    with st.grid(max(2, min(len(plans), 4)), gap="small", min_column_width=230, border=True) as grid:
        for plan in plans:
            with grid.cell():
                st.markdown(f"**{widgets.plain(plan['name'])}**")
                st.html(
                    f'<div class="pc-price"><b>{plan_parts.price(viewer, plan)}</b> <span>a {plan["interval"]}</span></div>'
                )
                plan_parts.offer(viewer, plan, per_credit=comparable)
                plan_parts.choice(viewer, plan, plan_wishes.ask)
    if not running:
        st.caption(
            "You pay on Stripe's page and come back here. It renews by itself; cancel whenever you like, and it ends with the "
            "paid period."
        )


def payments(viewer: Viewer, found: dict[str, Any]) -> None:
    rows = found["payments"]
    if not rows:
        return
    for row in rows:
        row["paid_cents"] = (
            row["amount_total_cents"] if row["amount_total_cents"] is not None else row["price_cents"]
        )
    periods = [
        f"{plan_parts.day(viewer, row['period_start'])} – {plan_parts.day(viewer, row['period_end'])}"
        for row in rows
    ]
    with widgets.card("Payments of this plan"):
        (
            tables.Table(rows, viewer)
            .time("Paid", "created_at")
            .text("Plan", "package_name")
            .texts("For", periods)
            .money("Amount", "paid_cents")
            .credits("Credits", "credits_micros", signed=True)
            .pill("Status", "status")
            .link("Receipt", "receipt_url", "View")
            .draw(key="plan_payments", alt="Payments of this plan, the newest first", wide=("Paid", "Plan", "Status", "Receipt"))
        )  # fmt: skip


@st.fragment(run_every=REFRESH_SECONDS)
def follow(session_id: str) -> None:
    """Asks Stripe again until the payment is through; then the whole page is drawn once more."""
    person = session.guard(session.EVERYBODY)
    try:
        found = subscriptions.arrive(get_runtime(), person.identity, session_id)
    except CreditsError as error:
        widgets.show_error(error)
        return
    if found["subscription"] is None or found["subscription"]["status"] not in WAITING:
        st.rerun()
    current = found["subscription"]
    st.info(
        "**Not paid yet.** The payment page is still open. Finish paying there, or choose another plan below.",
        icon=":material/hourglass_top:",
    )
    if current["url"]:
        widgets.link_button("Continue to payment", current["url"])


def page() -> None:
    person, viewer = session.guard(session.EVERYBODY), session.viewer()
    with widgets.page_header("Plan", "Credits every month, paid by card. Cancel whenever you like."):
        if shell.is_test_mode():
            st.badge(shell.TEST_MODE, icon=":material/science:", color="orange")
    if st.query_params.get("canceled"):
        st.info("**Nothing was charged.** Choose a plan whenever you like.", icon=":material/undo:")
    session_id = st.query_params.get("session_id", "")
    back = arrived(viewer, session_id) if session_id else None
    found = back or subscriptions.state(get_runtime(), person.identity)
    current = found["subscription"]
    if current is not None and current["status"] in RUNNING:
        plan_parts.notices(viewer, current)
        left, right = st.columns([2, 3])
        with left:
            plan_parts.present(viewer, current)
        with right:
            plan_parts.ahead(viewer, current, plan_wishes.ask)
    elif current is not None and current["status"] in WAITING and back:
        follow(session_id)
    elif current is not None and current["status"] == "ended":
        st.info(
            f"**{widgets.plain(current['name'])} ended on {plan_parts.day(viewer, current['ended_at'])}.** "
            f"{ENDED[current['ended_reason']]}",
            icon=":material/event_busy:",
        )
    offers(viewer, found)
    payments(viewer, found)
    plan_wishes.dialog(found)
    plan_wishes.toast_after()


page()
