"""Audit trail: who did what to whom, when and why."""

from __future__ import annotations

from typing import Any

import streamlit as st

from credits_core import accounts, audit
from credits_core.errors import NotFound
from pages.common import campaigns, exports, paging, periods, session, tables, trail, widgets

session.guard(session.ADMIN)


def text(label: str, key: str, placeholder: str, width: int) -> str | None:
    """A field of the filter, kept in the URL."""
    found = st.text_input(
        label, key=key, placeholder=placeholder, label_visibility="collapsed", bind="query-params",
        width=width, type="search",
    )  # fmt: skip
    return (found or "").strip() or None


def account_of(found: str | None) -> int | None:
    """The account a person typed, by number or e-mail; -1 for one there is none of, so that nothing matches."""
    if found is None:
        return None
    try:
        return int(accounts.find_account(session.database(), person.identity, found)["account_id"])
    except NotFound:
        return -1


@st.dialog("What was done", width="medium", on_dismiss=campaigns.closed)
def row_dialog(row: dict[str, Any]) -> None:
    session.guard(session.ADMIN)
    widgets.facts(trail.facts(row, session.viewer()))
    with st.expander("As it is stored"):
        st.json(row["detail"])
        st.caption(f"Row {row['audit_id']} by {widgets.plain(row['actor'])}")


person, viewer = session.guard(session.ADMIN), session.viewer()
with widgets.page_header(
    "Audit trail", "Everything that staff and programs changed. Rows are never altered or removed."
):
    toolbar = st.container()
with st.container(horizontal=True, vertical_alignment="center"):
    known = audit.audit(session.database(), person.identity, limit=1)["actions"]
    action = st.selectbox(
        "Action", known, index=None, placeholder="Everything", format_func=trail.action, key="action",
        label_visibility="collapsed", bind="query-params", width=220,
    )  # fmt: skip
    actor = text("Who", "who", "Who: name, e-mail or system", 220)
    account = text("Account", "account", "Account: number or e-mail", 210)
    search = text("Search", "q", "Search reasons and values", 210)
    first, last = periods.choose(viewer, default="30d", with_all=True)
account_id = account_of(account)
begin, end = periods.moments(viewer, first, last)
with toolbar:
    exports.menu(
        "audit",
        viewer,
        days=(first, last),
        key="export",
        kind=action,
        actor=actor,
        account=account,
        search=search,
    )
chosen = {
    "action": action,
    "actor": actor,
    "account_id": account_id,
    "search": search,
    "from_": begin,
    "to": end,
}
place = paging.cursor(f"audit {chosen}")
answer = audit.audit(session.database(), person.identity, **chosen, limit=paging.PAGE, cursor=place)
rows = answer["items"]
if not rows:
    with st.container(border=True):
        widgets.empty("Nothing matches", "Choose another period, or clear the filters.")
else:
    picked = (
        tables.Table(rows, viewer)
        .time("When", "at")
        .texts("What", [trail.action(row["action"]) for row in rows], phone_width=110)
        .texts("Who", [trail.who(row) for row in rows], phone_width=100)
        .texts("Account", [row["account_email"] or "" for row in rows])
        .texts("Why", [trail.summary(row, viewer) for row in rows], width="large")
        .draw(
            key=campaigns.table_key(f"audit_{place}_{chosen}"),
            alt="Audit trail, the newest first",
            wide=("Account", "Why"),
            on_select="rerun",
            selection_mode="single-row",
        )
    )
    paging.toolbar(answer["next_cursor"], key="audit")
    if picked.selection.rows:
        row_dialog(rows[picked.selection.rows[0]])
