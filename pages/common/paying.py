"""Paying at once with a saved card: what is asked for stands in the address, so that a restarted server pays it once.

The dialog (pay_dialog.py) is open while the URL holds `pay`, which is the idempotency key of the payment; see pending.py. What
became of it is asked of the database: a payment whose end is not known is shown, also in another tab and after a restart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from credits_core import card_payments
from credits_core.auth.person import Person
from credits_core.stripe_states import SavedCard
from pages.common import pending, session, widgets
from pages.common.formats import Viewer
from pages.common.reloading import card_name

PAY, WHAT, CODE = "pay", "what", "promo"
DONE = "paid_at_once"
_AMOUNT, _KEY = re.compile(r"amount-(\d{1,9})"), re.compile(r"pay-([0-9a-f]{32})")
_CODES = 64  # characters of a package's code
SHOWN = 3


def begin(what: str, code: str = "") -> None:
    """Open the dialog for a package (its code), or an amount (`amount-2500`: in the smallest unit)."""
    pending.begin(PAY)
    st.query_params[WHAT] = what
    if code:
        st.query_params[CODE] = code


def end() -> None:
    for name in (PAY, WHAT, CODE):
        st.query_params.pop(name, None)


def key() -> str | None:
    """The idempotency key of the payment in the address."""
    found = pending.key(PAY)
    return None if found is None else f"pay-{found}"


def wanted(text: str | None = None) -> dict[str, Any] | None:
    """What the payment in the address (or this text) buys, as arguments; None for what nobody can have asked for."""
    text = st.query_params.get(WHAT, "") if text is None else text
    if amount := _AMOUNT.fullmatch(text):
        return {"amount_cents": int(amount[1])}
    return {"package": text} if text and len(text) <= _CODES else None


def fields(what: Mapping[str, Any], call_id: int | None, *, code: str = "") -> dict[str, str]:
    """What the form to the payment page sends to buy the same there."""
    known = {"promo_code": code, "call": str(call_id) if call_id else ""}
    return {name: str(value) for name, value in {**what, **known}.items() if value}


def button(label: str, what: str, *, name: str, primary: bool = True, code: str = "") -> bool:
    """The button that asks for something; in a fragment, the page is to be drawn anew when it answers True."""
    kind: Any = "primary" if primary else "secondary"
    return st.button(
        widgets.plain(label), key=f"pay_{name}", type=kind, width="stretch", on_click=begin, args=(what, code)
    )


def say_done() -> dict[str, Any] | None:
    """Says once that the last payment worked, and answers it."""
    done: dict[str, Any] | None = st.session_state.pop(DONE, None)
    if done is not None:
        st.toast(widgets.plain(done["text"]), icon=":material/check_circle:")
    return done


def name_of(payment: Mapping[str, Any], cards: Sequence[SavedCard]) -> str:
    """The card of a payment, as people know it."""
    used = (card for card in cards if card.payment_method_id == payment["payment_method_id"])
    return card_name(next(used, None))


def undecided(person: Person, viewer: Viewer, cards: Sequence[SavedCard], call_id: int | None = None) -> None:
    """Payments whose end is not known, each with the way on. The one that the dialog shows is not said twice."""
    found = card_payments.payments(session.database(), person.identity)["items"]
    rest = [payment for payment in found if payment["idempotency_key"] != key()]
    for payment in rest[:SHOWN]:
        money = viewer.money(payment["price_cents"], payment["currency"])
        what = widgets.plain(f"{money} with {name_of(payment, cards)}, {viewer.time(payment['created_at'])}")
        with st.container(border=True, key=f"undecided_{payment['purchase_id']}"):
            st.warning(
                f"**A payment is not decided yet:** {what}. {SAYS[payment['status']]}",
                icon=":material/hourglass_top:",
            )
            with st.container(horizontal=True, vertical_alignment="center"):
                if payment["status"] == "open":
                    widgets.link_button(
                        "Confirm with your bank", card_payments.confirm_path(payment, call_id)
                    )
                if ours := _KEY.fullmatch(payment["idempotency_key"]):
                    label, name = "See this payment", f"see_{payment['purchase_id']}"
                    if st.button(
                        label, icon=":material/visibility:", key=name, on_click=_see, args=(ours[1],)
                    ):
                        st.rerun()  # the whole page, also from a fragment


def _see(payment_key: str) -> None:
    st.query_params[PAY] = payment_key


SAYS: Mapping[str, str] = {
    "open": "Your bank wants you to confirm it. Nothing is charged before that.",
    "processing": "The bank is still confirming it; the credits come as soon as the money does.",
    "created": "Stripe has not answered, so it is not known whether the card was charged. It is found out by itself within "
    "minutes; do not pay again before.",
}
