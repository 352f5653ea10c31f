"""Campaigns: codes for buyers and what they brought; referrals, those held for review, and their terms."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from credits_core import approvals, promotions
from credits_core.auth.person import Person
from credits_core.errors import CreditsError
from pages.common import campaigns, exports, paging, referral_desk, session, tables, widgets
from pages.common.formats import Viewer

session.guard(session.ADMIN)

STATES = ("on", "scheduled", "off", "used_up", "expired")
PARTS: dict[str, Callable[[Person, Viewer], None]] = {}


def show_campaigns(person: Person, viewer: Viewer) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        state = st.selectbox(
            "State", STATES, index=None, placeholder="All states", format_func=widgets.status_label,
            key="state", label_visibility="collapsed", bind="query-params", width=170,
        )  # fmt: skip
        search = st.text_input(
            "Search", key="q", placeholder="Search code or name", type="search", label_visibility="collapsed",
            icon=":material/search:", bind="query-params", width=260,
        )  # fmt: skip
        exports.menu("campaigns", viewer, key="export", status=state, search=search)
    search = (search or "").strip() or None
    place = paging.cursor(f"campaigns {state} {search}")
    answer = promotions.campaigns(
        session.database(), person.identity, state=state, search=search, limit=paging.PAGE, cursor=place
    )
    rows = answer["items"]
    if not rows:
        with st.container(border=True):
            widgets.empty(
                "No campaign matches", "Clear the filters, or make a campaign with a code to hand out."
            )
        return
    picked = (
        tables.Table(rows, viewer)
        .text("Code", "code")
        .text("Name", "name", width=190)
        .texts("Gives", [campaigns.gives(row, viewer) for row in rows])
        .pill("State", "state")
        .texts(
            "Redeemed",
            [_of(row["redeemed"], row["max_redemptions"], viewer) for row in rows],
            alignment="right",
        )
        .credits("Bonus given", "bonus_micros", places=2)
        .money("Discount given", "discount_cents")
        .money("Sales with it", "sales_cents")
        .texts("Until", [viewer.time(row["ends_at"]) for row in rows])
        .draw(
            key=campaigns.table_key(f"campaigns_{place}_{state}_{search}"),
            alt="Campaigns, the newest first",
            wide=("Name", "Gives", "Bonus given", "Discount given", "Sales with it", "Until"),
            on_select="rerun",
            selection_mode="single-row",
        )
    )
    paging.toolbar(answer["next_cursor"], key="campaigns")
    if picked.selection.rows:
        campaigns.campaign_dialog(rows[picked.selection.rows[0]])


def _of(count: int, most: int | None, viewer: Viewer) -> str:
    return viewer.count(count) if most is None else f"{viewer.count(count)} of {viewer.count(most)}"


PARTS["campaigns"] = show_campaigns
PARTS["referrals"] = referral_desk.show_referrals
PARTS["referral_terms"] = referral_desk.show_terms
LABELS = {"campaigns": "Campaigns", "referrals": "Referrals", "referral_terms": "Referral terms"}


def waiting(person: Person) -> int:
    """Referrals that wait for a decision; where the database does not answer, the part below says so."""
    try:
        return int(approvals.approvals_count(session.database(), person.identity)["held_referrals"])
    except CreditsError:
        return 0


person, viewer = session.guard(session.ADMIN), session.viewer()
with widgets.page_header("Campaigns", "Codes for buyers and invitations, with what they gave and brought."):
    if held := waiting(person):
        st.badge(
            "1 referral held" if held == 1 else f"{viewer.count(held)} referrals held",
            icon=":material/policy:",
            color="orange",
        )
    campaigns.new_button("New campaign")
if done := st.session_state.pop("campaign_done", None):
    st.toast(widgets.plain(done), icon=":material/check_circle:")
part = (
    st.segmented_control(
        "Part", list(PARTS), default="campaigns", required=True, format_func=LABELS.get, key="part",
        label_visibility="collapsed", bind="query-params",
    )
    or "campaigns"
)  # fmt: skip
PARTS[part](person, viewer)
if campaigns.is_new():
    campaigns.new_dialog()
