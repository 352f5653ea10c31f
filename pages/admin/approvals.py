"""Approvals: requests that wait for a second person, one's own that wait, and what was decided."""

from __future__ import annotations

import streamlit as st

from credits_core import approvals
from pages.common import deciding, limit_settings, paging, pending, session, tables, widgets
from pages.common.formats import words

session.guard(session.ADMIN)

VIEWS = {"for_me": "For you", "mine": "Yours", "decided": "Decided", "limits": "Limits"}
EMPTY = {
    "for_me": (
        "Nothing waits for you",
        "What others ask for above their limit appears here.",
    ),
    "mine": (
        "None of your requests waits",
        "What you ask for above a limit appears here until somebody decides.",
    ),
    "decided": (
        "Nothing was decided yet",
        "Approved and rejected requests appear here, with who decided and why.",
    ),
}


def choose() -> str:
    return (
        st.segmented_control(
            "View",
            list(VIEWS),
            default="for_me",
            required=True,
            format_func=VIEWS.get,
            key="view",
            label_visibility="collapsed",
            bind="query-params",
        )
        or "for_me"
    )


@widgets.errors_as_sentences
def show(view: str) -> None:
    place = paging.cursor(f"approvals {view}")
    answer = approvals.approvals(
        session.database(), person.identity, view=view, limit=paging.PAGE, cursor=place
    )
    requests = answer["items"]
    if not requests:
        with st.container(border=True):
            widgets.empty(*EMPTY[view])
    elif view == "decided":
        (
            tables.Table(requests, viewer)
            .time("Decided", "decided_at")
            .texts("Request", [deciding.title(request, viewer) for request in requests])
            .pill("Status", "status")
            .texts("Kind", [words(request["kind"]) for request in requests])
            .text("Reason", "reason")
            .text("Asked by", "requested_by_name")
            .text("Decided by", "decided_by_name")
            .texts(
                "Note",
                [request["failure_reason"] or request["decision_reason"] or "" for request in requests],
            )
            .draw(
                key=f"approvals_decided_{place}",
                alt="Decided requests, the newest first",
                wide=("Decided", "Kind", "Reason", "Asked by", "Decided by", "Note"),
            )
        )
    else:
        for request in requests:
            deciding.card(request, viewer)
    paging.toolbar(answer["next_cursor"], key="approvals")
    chosen = st.query_params.get(deciding.NAME)
    request = next((one for one in requests if one["approval_id"] == chosen and view != "decided"), None)
    if request:
        deciding.decide_dialog(request)


person, viewer = session.guard(session.ADMIN), session.viewer()
with widgets.page_header("Approvals", "Above a limit, a second person decides."):
    pass
view = choose()
if view == "limits":
    limit_settings.show(person, viewer)
else:
    show(view)
if said := pending.told():
    st.toast(widgets.plain(said), icon=":material/info:")
