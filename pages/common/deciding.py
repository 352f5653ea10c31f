"""Requests that a second person decides about: one as a card, and the dialog in which it is approved or rejected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from credits_core import approvals
from credits_core.errors import CreditsError
from pages.common import pending, refunding, reviewing, session, widgets
from pages.common.formats import Viewer, words

NAME = "decide"
Request = Mapping[str, Any]


def title(request: Request, viewer: Viewer) -> str:
    """What would be done, in a few words."""
    whose = request["name"] or request["email"] or f"account {request['account_id']}"
    if request["kind"] == "adjustment":
        return f"{viewer.credits(request['amount'], signed=True)} credits for {whose}"
    if request["kind"] == "reversal":
        return f"Reverse a transaction: {viewer.credits(request['amount'], signed=True)} credits for {whose}"
    if request["kind"] == "extension":
        ends = viewer.time(request["payload"]["expires_at"])
        return f"Later end for {viewer.credits(request['amount'])} credits of {whose}: {ends}"
    if request["kind"] == "refund":
        return f"Refund {viewer.money(request['amount'], request['currency'])} to {whose}"
    if request["kind"] == "review":
        way = reviewing.WAYS[request["payload"]["decision"]]
        return f"{way}: {viewer.money(request['amount'], request['currency'])} by {whose}"
    if request["kind"] == "price_change" and "catalog" in request["payload"]:
        return f"Prices of {words(request['payload']['catalog'])} for {whose}"
    what = request["payload"].get("operation") or request["preview"].get("catalog") or ""
    return f"{words(request['kind'])}: {words(str(what))}"


def effect(request: Request, viewer: Viewer) -> list[tuple[str, str]]:
    """What it meant when it was asked for."""
    preview = request["preview"]
    if request["kind"] in ("adjustment", "reversal", "extension"):
        return _move(request, viewer)
    if request["kind"] == "price_change":
        return [
            ("Price now", _price(preview.get("now"), viewer)),
            ("Price then", _price(preview.get("then"), viewer)),
        ]
    if request["kind"] == "catalog_release":
        return _release(request, viewer)
    if request["kind"] not in ("refund", "review"):
        return []
    money = viewer.money(request["amount"], request["currency"])
    label = "Paid" if request["kind"] == "review" else "Money back"
    rows = [
        (label, money),
        ("Credits", viewer.credits(preview["credits_micros"])),
        ("Bonus", viewer.credits(preview["bonus_micros"])),
    ]
    if preview.get("referral"):
        rows.append(("Referral", refunding.reward_lost(preview["referral"], viewer)))
    return rows


def _move(request: Request, viewer: Viewer) -> list[tuple[str, str]]:
    """The balance before and after, which transaction it undoes, and what the same person moved before."""
    preview = request["preview"]
    rows = [
        ("Available when asked", viewer.credits(preview["available_before_micros"])),
        ("Available afterwards", viewer.credits(preview["available_after_micros"])),
    ]
    if request["kind"] == "adjustment":
        rows.insert(1, ("Change", viewer.credits(request["amount"], signed=True)))
    if transaction := request["payload"].get("transaction_id"):
        rows.append(("Transaction", transaction))
    if preview.get("moved_micros"):
        rows.append(
            ("Moved by the same person in the 24 hours before", viewer.credits(preview["moved_micros"]))
        )
    return rows


def _release(request: Request, viewer: Viewer) -> list[tuple[str, str]]:
    """What a draft of the catalog changes, by name, and from when on."""
    starts = request["payload"].get("effective_from")
    changed = [
        (words(part), ", ".join(request["preview"].get(part) or ()))
        for part in ("prices", "packages", "plans")
    ]
    return [
        *((part, names or "As now") for part, names in changed),
        ("Starts", viewer.time(starts) if starts else "When approved"),
    ]


def _price(components: Any, viewer: Viewer) -> str:
    """A price in its parts, or the name of the catalog it is taken from."""
    if isinstance(components, str):
        return f"As in {words(components)}"
    parts = [
        f"{viewer.credits(part['price_micros'])} per {words(part['unit']).lower()}"
        for part in components or ()
    ]
    return " + ".join(parts) or "–"


def card(request: Request, viewer: Viewer) -> None:
    """A request that waits: what, why, by whom, until when, and the button to decide."""
    with st.container(border=True, width=860):
        st.markdown(f"**{widgets.plain(title(request, viewer))}**")
        st.caption(
            widgets.plain(
                f"{words(request['kind'])} · asked by {request['requested_by_name'] or 'somebody'}, "
                f"{viewer.time(request['requested_at'])} · "
                + ("expired " if request["status"] == "expired" else "can be decided until ")
                + viewer.time(request["expires_at"])
            )
        )
        st.markdown(widgets.plain(f"“{request['reason']}”"))
        widgets.facts(effect(request, viewer))
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button(
                "Take it back" if request["is_own"] else "Decide",
                icon=":material/undo:" if request["is_own"] else ":material/gavel:",
                type="secondary" if request["is_own"] else "primary",
                key=f"decide_{request['approval_id']}",
                on_click=_open,
                args=(request["approval_id"],),
            )
            if request["purchase_id"]:
                st.page_link(
                    "admin/payments.py",
                    label="Payment",
                    icon=":material/credit_card:",
                    query_params={"payment": request["purchase_id"]},
                )
            elif request["kind"] == "catalog_release":
                st.page_link("admin/catalog.py", label="Catalog", icon=":material/sell:")
            elif request["account_id"]:
                st.page_link(
                    "admin/accounts.py",
                    label="Account",
                    icon=":material/person:",
                    query_params={"account": str(request["account_id"])},
                )


def _open(approval_id: str) -> None:
    st.query_params[NAME] = approval_id


@st.dialog("Decide about a request", width="medium", on_dismiss=lambda: pending.end(NAME))
def decide_dialog(request: Request) -> None:
    session.guard(session.ADMIN)
    viewer = session.viewer()
    st.markdown(f"**{widgets.plain(title(request, viewer))}**")
    st.markdown(widgets.plain(f"“{request['reason']}” – {request['requested_by_name'] or 'somebody'}"))
    with st.container(border=True):
        widgets.facts(effect(request, viewer))
    reason = st.text_input(
        "Reason", max_chars=200, key="decide_reason", placeholder="Who asked reads it; rejecting needs one"
    )
    with st.container(horizontal=True):
        if not request["is_own"]:
            approved = st.button("Approve", type="primary", icon=":material/check:", key="decide_approve")
            if approved:
                _decide(request, True, reason, viewer)
        rejected = st.button(
            "Take it back" if request["is_own"] else "Reject",
            icon=":material/close:",
            key="decide_reject",
            disabled=not (reason or "").strip(),
        )
        if rejected:
            _decide(request, False, reason, viewer)


def _decide(request: Request, approve: bool, reason: str | None, viewer: Viewer) -> None:
    """Deciding twice is refused by the database, so a click that comes again does nothing."""
    person = session.guard(session.ADMIN)
    try:
        decided = approvals.decide_approval(
            session.database(),
            person.identity,
            request["approval_id"],
            approve,
            reason=(reason or "").strip() or None,
        )
        pending.tell(_carry_out(decided, viewer) if approve else "Rejected; nothing has happened.")
        pending.end(NAME)
    except CreditsError as error:
        widgets.show_error(error)
        return
    st.rerun()


def _carry_out(decided: Request, viewer: Viewer) -> str:
    """What was approved and needs Stripe goes there at once; jobs would send it seconds later."""
    if decided["kind"] == "refund":
        refund = {
            "refund_id": decided["approval_id"],
            "status": decided["status"],
            "total_cents": decided["amount"],
            "currency": decided["currency"],
        }
        return refunding.send_now(refund, viewer)
    return reviewing.carry_out(decided) if decided["kind"] == "review" else "Approved and carried out."
