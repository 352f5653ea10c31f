"""Campaigns in words, and the dialogs by which they are made and switched."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal, InvalidOperation
from typing import Any

import streamlit as st

from credits_core import catalog, currencies, promotions
from credits_core.errors import CreditsError, InvalidRequest
from pages.common import session, widgets
from pages.common.formats import Viewer, decimal_text

KINDS = {
    "bonus_percent": "More credits, in per cent",
    "bonus_credits": "More credits, a fixed number",
    "discount_percent": "A lower price, in per cent",
    "discount_cents": "A lower price, a fixed amount",
}
NEW = "new"
_CLOSED = "campaigns_closed"


def table_key(name: str) -> str:
    """Changes when a dialog closes, so that the table has no selection then."""
    return f"{name}_{st.session_state.get(_CLOSED, 0)}"


def closed() -> None:
    st.session_state[_CLOSED] = st.session_state.get(_CLOSED, 0) + 1
    st.query_params.pop(NEW, None)


def new_button(label: str) -> None:
    """Opens a form; that it is open stands in the address, so that a rerun of the whole page keeps it."""
    st.button(label, icon=":material/add:", type="primary", key="open_new", on_click=_open)


def is_new() -> bool:
    return st.query_params.get(NEW) == "1"


def _open() -> None:
    st.query_params[NEW] = "1"


def gives(campaign: dict[str, Any], viewer: Viewer) -> str:
    """`10% more credits`, `$5.00 off`."""
    amount = viewer.number(decimal_text(campaign["amount"]))
    match campaign["kind"]:
        case "bonus_percent":
            return f"{amount}% more credits"
        case "bonus_credits":
            return f"{amount} more credits"
        case "discount_percent":
            return f"{amount}% off"
    return f"{viewer.money(int(Decimal(str(campaign['amount']))), campaign['currency'])} off"


def in_words(campaign: dict[str, Any], viewer: Viewer) -> str:
    """The whole campaign in one sentence, the same before it is made and after."""
    parts = [gives(campaign, viewer)]
    each = campaign["max_per_account"]
    parts.append("once per account" if each == 1 else f"{viewer.count(each)} times per account")
    if campaign["first_purchase_only"]:
        parts.append("first purchase only")
    if campaign["max_redemptions"]:
        parts.append(f"{viewer.count(campaign['max_redemptions'])} times in all")
    if campaign["packages"]:
        parts.append("for " + ", ".join(campaign["packages"]))
    if campaign["account_id"]:
        parts.append(f"for account {campaign['account_id']} alone")
    begin, end = viewer.time(campaign["starts_at"]), campaign["ends_at"]
    parts.append(f"from {begin} to {viewer.time(end)}" if end else f"from {begin} on")
    return f"{campaign['code']}: {', '.join(parts)}."


@st.dialog("Campaign", width="medium", on_dismiss=closed)
def campaign_dialog(campaign: dict[str, Any]) -> None:
    """One campaign with what it did, and its switch."""
    person, viewer = session.guard(session.ADMIN), session.viewer()
    st.markdown(f"**{widgets.plain(campaign['name'])}**")
    st.caption(widgets.plain(in_words(campaign, viewer)))
    money = [
        viewer.money(campaign[field], campaign["currency"]) for field in ("discount_cents", "sales_cents")
    ]
    widgets.facts(
        [
            ("State", widgets.status_label(campaign["state"])),
            ("Redeemed", viewer.count(campaign["redeemed"])),
            ("In a checkout now", viewer.count(campaign["reserved"])),
            ("Bonus given", f"{viewer.credits(campaign['bonus_micros'])} credits"),
            ("Discount given", money[0]),
            ("Sales with it", money[1]),
        ]
    )
    on = campaign["on"]
    st.caption(
        "Switched off, the code is unknown to buyers at once. Purchases that are open with it can still be paid."
        if on
        else "Switched on, the code works again within its dates and limits."
    )
    label = f"Switch {campaign['code']} {'off' if on else 'on'}"
    if st.button(label, type="primary", width="stretch", key="switch_campaign"):
        try:
            promotions.switch_campaign(session.database(), person.identity, campaign["code"], not on)
        except CreditsError as error:
            widgets.show_error(error)
            return
        st.session_state["campaign_done"] = f"{campaign['code']} is switched {'off' if on else 'on'}."
        closed()
        st.rerun()


@st.dialog("New campaign", width="medium", on_dismiss=closed)
def new_dialog() -> None:
    """The form with its preview in words. The code makes a repetition harmless: there is only one of each."""
    person, viewer = session.guard(session.ADMIN), session.viewer()
    offer = catalog.packages(session.database(), person.identity)
    wanted = _form(viewer, offer)
    if wanted is None:
        st.caption("Enter a code, a name and an amount to see the campaign in words.")
    else:
        with st.container(border=True):
            st.markdown(widgets.plain(in_words(wanted, viewer)))
    pressed = st.button(
        f"Create {wanted['code']}" if wanted else "Create", type="primary", width="stretch", key="create_campaign",
        disabled=wanted is None,
    )  # fmt: skip
    if not pressed or wanted is None:
        return
    try:
        promotions.create_campaign(
            session.database(),
            person.identity,
            **{name: value for name, value in wanted.items() if name != "currency"},
        )
    except CreditsError as error:
        widgets.show_error(error)
        return
    st.session_state["campaign_done"] = f"{wanted['code']} is made."
    closed()
    st.rerun()


def _form(viewer: Viewer, offer: dict[str, Any]) -> dict[str, Any] | None:
    """The fields; what they say as a campaign, or None while something is missing."""
    left, right = st.columns(2)
    code = left.text_input("Code", placeholder="SPRING", max_chars=40, key="new_code").strip().upper()
    name = right.text_input("Name", placeholder="Spring offer", max_chars=200, key="new_name").strip()
    left, right = st.columns(2)
    kind = left.selectbox("What it gives", list(KINDS), format_func=KINDS.get, key="new_kind")
    amount = right.text_input(_unit(kind, offer), placeholder="For example 10", key="new_amount")
    left, right = st.columns(2)
    first = left.date_input("First day", value=viewer.today(), key="new_first")
    last = right.date_input("Last day", value=None, key="new_last", help="Empty: without an end.")
    left, right = st.columns(2)
    each = left.number_input("Times per account", 1, 1_000_000, 1, key="new_each")
    total = right.number_input("Times in all", 1, None, None, key="new_total", placeholder="No limit")
    packages = st.multiselect(
        "Only for these packages", [p["code"] for p in offer["packages"]], key="new_packages", placeholder="For all",
        format_func={p["code"]: p["name"] for p in offer["packages"]}.get,
    )  # fmt: skip
    first_only = st.checkbox("Only for a first purchase", key="new_first_only")
    try:
        number = _number(kind, amount, offer["currency"])
    except InvalidRequest as error:
        widgets.show_error(error)
        return None
    if not code or not name or number is None:
        return None
    begin, end = _moments(viewer, first, last)
    return {
        "code": code, "name": name, "kind": kind, "amount": number, "starts_at": begin, "ends_at": end,
        "max_per_account": int(each), "max_redemptions": int(total) if total else None,
        "first_purchase_only": first_only, "packages": packages or None, "account_id": None,
        "currency": offer["currency"],
    }  # fmt: skip


def _unit(kind: str, offer: dict[str, Any]) -> str:
    if kind.endswith("percent"):
        return "Per cent"
    return "Credits" if kind == "bonus_credits" else f"Amount in {offer['currency'].upper()}"


def _number(kind: str, text: str, currency: str) -> Decimal | int | None:
    """The amount as the database takes it (money in the smallest coin); None while there is none."""
    if not text.strip():
        return None
    if kind == "discount_cents":
        return currencies.parse_money(text, currency)
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite() or number <= 0:
        raise InvalidRequest("Write the amount as a number above 0, such as 10 or 2.50.")
    return number


def _moments(viewer: Viewer, first: dt.date, last: dt.date | None) -> tuple[str, str | None]:
    """From the first moment of the first day to the last one's end, by the viewer's clock."""
    begin = dt.datetime.combine(first, dt.time(), viewer.zone)
    end = dt.datetime.combine(last + dt.timedelta(days=1), dt.time(), viewer.zone) if last else None
    return begin.isoformat(), end.isoformat() if end else None
