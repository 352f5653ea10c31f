"""Payments: find one, see everything that happened to it, give money back, and decide about those in review."""

from __future__ import annotations

from typing import Any

import streamlit as st

from credits_core import approvals, fulfillment, payments, refunds
from credits_core.errors import CreditsError
from credits_core.runtime import get_runtime
from pages.common import (
    exports,
    paging,
    payment_parts,
    pending,
    periods,
    refunding,
    reviewing,
    session,
    tables,
    widgets,
)

session.guard(session.ADMIN)

STATUSES = (
    "credited",
    "refunded",
    "disputed",
    "processing",
    "open",
    "created",
    "expired",
    "failed",
    "review",
)
MODES = {"live": "Live", "test": "Test"}
LISTS = {"all": "All payments", "review": "Review queue"}


def filters() -> tuple[dict[str, Any], periods.Days]:
    """The filters of the URL, as arguments of the database's list, and the chosen days."""
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
        search = st.text_input(
            "Search",
            key="q",
            placeholder="Search name, e-mail, account or Stripe id",
            type="search",
            icon=":material/search:",
            label_visibility="collapsed",
            bind="query-params",
            width=320,
        )
        currency = st.selectbox(
            "Currency",
            payments.currencies(session.database(), person.identity),
            index=None,
            placeholder="Any currency",
            format_func=str.upper,
            key="currency",
            label_visibility="collapsed",
            bind="query-params",
            width=150,
        )
        mode = st.selectbox(
            "Mode",
            list(MODES),
            index=None,
            placeholder="Live and test",
            format_func=MODES.get,
            key="mode",
            label_visibility="collapsed",
            bind="query-params",
            width=150,
        )
        days = periods.choose(viewer, default="30d", with_all=True)
    words = search.strip() or None if search else None
    return {"status": status, "search": words, "currency": currency, "mode": mode}, days


def show_list(status: str | None, search: str | None, mode: str | None = None, **more: Any) -> None:
    place = paging.cursor(f"payments {status} {search} {mode} {more}")
    answer = payments.payments(
        session.database(),
        person.identity,
        status=status,
        search=search,
        livemode=None if mode is None else mode == "live",
        **more,
        limit=paging.PAGE,
        cursor=place,
    )
    rows = answer["items"]
    if not rows:
        with st.container(border=True):
            if status == "review" and not search:
                widgets.empty(
                    "Nothing to review", "Payments that do not match their purchase wait here for a decision."
                )
            else:
                widgets.empty(
                    "No payment matches",
                    "Choose another period, status, currency or mode, or search for another word.",
                )
        return
    modes = [MODES["live" if row["livemode"] else "test"] for row in rows]
    table = (
        tables.Table(rows, viewer)
        .time("Date", "created_at")
        .texts("Account", [row["name"] or row["email"] or str(row["account_id"]) for row in rows])
        .money("Price", "price_cents")
        .pill("Status", "state")
        .text("Package", "package_name")
        .texts(
            "Refunded",
            [
                viewer.money(row["refunded_cents"], row["currency"]) if row["refunded_cents"] else ""
                for row in rows
            ],
            alignment="right",
        )
        .texts("Note", [row["review_reason"] or row["failure_reason"] or "" for row in rows], width=250)
    )
    if len(set(modes)) > 1:
        table.texts("Mode", modes)
    picked = table.draw(
        key=f"payments_{place}_{status}_{search}_{mode}_{more.get('currency')}",
        alt="Payments, the newest first",
        wide=("Date", "Package", "Refunded", "Note"),
        on_select="rerun",
        selection_mode="single-row",
    )
    paging.toolbar(answer["next_cursor"], key="payments")
    if picked.selection.rows:
        st.query_params["payment"] = rows[picked.selection.rows[0]]["purchase_id"]
        st.rerun()


def show_lists() -> None:
    waiting = approvals.approvals_count(session.database(), person.identity)["in_review"]
    with widgets.page_header("Payments", "Every payment of everybody. Select one to open it."):
        if waiting:
            st.badge(f"{waiting} in review", icon=":material/policy:", color="orange")
        toolbar = st.container()
    chosen = (
        st.segmented_control(
            "List",
            list(LISTS),
            default="all",
            required=True,
            format_func=LISTS.get,
            key="list",
            label_visibility="collapsed",
            bind="query-params",
        )
        or "all"
    )
    if chosen == "review":
        show_list("review", None)
        return
    arguments, days = filters()
    with toolbar:
        exports.menu("payments", viewer, days=days, key="export", **arguments)
    begin, end = periods.moments(viewer, *days)
    show_list(**arguments, from_=begin, to=end)


def back() -> None:
    st.query_params.clear()


def ask_stripe(payment: dict[str, Any]) -> None:
    """Bring the payment to where Stripe says it is, now."""
    session.guard(session.ADMIN)
    runtime = get_runtime()
    try:
        if payment["status"] == "credited" and payment["payment_intent_id"]:
            refunds.converge(runtime.db, runtime.stripe, payment["payment_intent_id"])
        else:
            fulfillment.fulfill_session(
                runtime.db, runtime.stripe, payment["session_id"] or payment["payment_intent_id"] or ""
            )
        pending.tell("This is what Stripe says now.")
    except CreditsError as error:
        pending.tell(error.message)


def show_payment(purchase_id: str) -> None:
    st.button("All payments", icon=":material/chevron_left:", type="tertiary", on_click=back)
    payment = payments.payment(session.database(), person.identity, purchase_id)
    name = payment["name"] or payment["email"] or f"Account {payment['account_id']}"
    with widgets.page_header(
        f"{viewer.money(payment['price_cents'], payment['currency'])} by {name}",
        f"{payment['package_name']} · {payment['email'] or 'no e-mail'} · account {payment['account_id']} · "
        f"{viewer.time(payment['created_at'])}",
    ):
        widgets.status_badge(payment["state"])
        st.button(
            "Ask Stripe again", icon=":material/sync:", on_click=ask_stripe, args=(payment,), key="ask_stripe"
        )
        if payment["status"] == "credited":
            refunding.open_button()
    if payment["status"] == "review":
        reviewing.card(payment, viewer)
    _figures(payment)
    left, right = st.columns(2)
    with left, widgets.card("What happened", height="stretch"):
        payment_parts.timeline(payment, viewer)
    with right, widgets.card("Details", height="stretch") as toolbar:
        with toolbar():
            st.page_link(
                "admin/accounts.py",
                label="Account",
                icon=":material/person:",
                query_params={"account": str(payment["account_id"])},
            )
        payment_parts.facts(payment, viewer)
    with widgets.card("Refunds"):
        payment_parts.refund_rows(payment, viewer)
    if payment["disputes"]:
        with widgets.card("Disputes"):
            payment_parts.disputes(payment, viewer)
    with widgets.card("Credits"):
        payment_parts.grants(payment, viewer)
    with widgets.card("Events from Stripe"):
        payment_parts.events(payment, viewer)
    if pending.key(refunding.NAME) and payment["status"] == "credited":
        refunding.refund_dialog(payment)
    elif pending.key(reviewing.NAME) and payment["status"] == "review":
        reviewing.review_dialog(payment)


def _figures(payment: dict[str, Any]) -> None:
    currency = payment["currency"]
    with st.grid(4, gap="small", min_column_width=140):
        st.metric(
            "Paid",
            "–" if payment["paid_cents"] is None else viewer.money(payment["paid_cents"], currency),
            border=True,
        )
        st.metric("Refunded", viewer.money(payment["refunded_cents"], currency), border=True)
        st.metric("Disputed", viewer.money(payment["disputed_cents"], currency), border=True)
        st.metric("Credits", viewer.credits(payment["credits_micros"]), border=True)


person, viewer = session.guard(session.ADMIN), session.viewer()
if chosen_payment := st.query_params.get("payment"):
    show_payment(chosen_payment)
else:
    show_lists()
if said := pending.told():
    st.toast(widgets.plain(said), icon=":material/info:")
