"""Back from the payment page: what became of the purchase, and the new balance."""

from __future__ import annotations

from typing import Any

import streamlit as st

from credits_core import card_payments, fulfillment
from credits_core.errors import CreditsError
from credits_core.runtime import get_runtime
from pages.common import live, session, widgets
from pages.common.formats import Viewer

session.guard(session.EVERYBODY)

PLACEHOLDER = (
    "{CHECKOUT_SESSION_ID}"  # what Stripe replaces; arriving here as it is, somebody opened the pattern
)
REFRESH_SECONDS = 3
AUTO_RELOAD = "Auto-reload"  # the name of a purchase that it made
SEEN = "seen_as_credited"  # the purchase this tab was told about
WAITING = ("processing", "open", "created")
STATES = {
    "credited": (
        st.success,
        ":material/check_circle:",
        "Payment received",
        "The credits are on your account.",
    ),
    "processing": (
        st.info,
        ":material/hourglass_top:",
        "Payment is being confirmed",
        "Your bank is still confirming it: a card takes seconds, a bank debit some days. This page looks again by itself; you can "
        "also leave, the credits come as soon as the money does.",
    ),
    "open": (
        st.info,
        ":material/hourglass_top:",
        "Not paid yet",
        "The payment page is still open. Finish paying there, or choose another package.",
    ),
    "to_confirm": (
        st.info,
        ":material/verified_user:",
        "Your bank wants you to confirm this payment",
        "Nothing is charged before that. This page looks again by itself.",
    ),
    "expired": (
        st.warning,
        ":material/timer_off:",
        "The payment page has expired",
        "Nothing was charged. Start again whenever you like.",
    ),
    "failed": (
        st.error,
        ":material/error:",
        "The payment did not go through",
        "Nothing was charged. Try another card, or ask your bank.",
    ),
    "review": (
        st.warning,
        ":material/policy:",
        "Payment received, being checked",
        "It does not match the purchase in every detail, so a person looks at it before the credits are added.",
    ),
    "given_back": (
        st.info,
        ":material/undo:",
        "Your payment goes back",
        "It did not match the purchase, so no credits were added. The money is on your statement within days.",
    ),
    "closed": (
        st.info,
        ":material/policy:",
        "This purchase is closed",
        "Your payment was looked at and no credits were added. Ask us if you expected them.",
    ),
}
REVIEWED = {"refund": "given_back", "close": "closed"}  # how a review ended without credits


def show(purchase: dict[str, Any], viewer: Viewer) -> None:
    status = "open" if purchase["status"] == "created" else purchase["status"]
    if status == "open" and (purchase["payment_method_id"] or purchase["package_name"] == AUTO_RELOAD):
        status = "to_confirm"  # a saved card: there is no page to finish paying on
    if status == "failed":
        status = REVIEWED.get(purchase["review_decision"] or "", status)
    banner, icon, title, text = STATES[status]
    if status == "failed" and purchase.get("failure_reason"):
        text = f"{widgets.plain(purchase['failure_reason'])} {text}"
    banner(f"**{title}.** {text}", icon=icon)
    with st.container(border=True):
        rows = [
            ("Package", purchase["package_name"]),
            *_money(purchase, viewer),
            ("Credits", viewer.credits(purchase["credits_micros"])),
        ]
        if purchase["bonus_micros"]:
            rows.append(("Bonus", viewer.credits(purchase["bonus_micros"], signed=True)))
        if status == "credited":
            rows += [
                ("Credited", viewer.time(purchase["credited_at"])),
                ("New balance", f"{viewer.credits(purchase['available_micros'])} credits"),
            ]
        widgets.facts([*rows, ("Purchase", purchase["purchase_id"])])
        _ways_on(status, purchase)


def _call() -> str:
    """The call that this purchase is to lengthen, if there is one."""
    text = st.query_params.get(live.CHOSEN, "")
    return text if text.isascii() and text.isdigit() and len(text) <= 18 else ""


def _back_to_the_call(purchase: dict[str, Any], viewer: Viewer) -> None:
    """Credited: at once back to the call, which has its new talk time."""
    st.session_state["topped_up"] = (
        f"{viewer.credits(purchase['credits_micros'])} credits added; the call goes on."
    )
    st.switch_page("account/live_call.py", query_params={live.CHOSEN: _call()})


def _money(purchase: dict[str, Any], viewer: Viewer) -> list[tuple[str, str]]:
    """The price, and what it is made of where there is more to say: discount, tax, what was paid."""
    amounts = [("Price", purchase["list_price_cents"])]
    if purchase["discount_cents"]:
        amounts.append(("Discount", -purchase["discount_cents"]))
    if purchase["tax_cents"]:
        amounts.append(("Tax", purchase["tax_cents"]))
    if len(amounts) > 1 and purchase["paid_cents"]:
        amounts.append(("Paid", purchase["paid_cents"]))
    elif len(amounts) > 1:
        amounts.append(("To pay", purchase["price_cents"]))
    return [(name, viewer.money(cents, purchase["currency"])) for name, cents in amounts]


def _ways_on(status: str, purchase: dict[str, Any]) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if status == "open" and purchase.get("url"):
            widgets.link_button("Continue to payment", purchase["url"])
        if status == "to_confirm":
            widgets.link_button(
                "Confirm with your bank", card_payments.confirm_path(purchase, int(_call() or 0))
            )
        if _call():
            st.page_link(
                "account/live_call.py",
                label="Back to the call",
                icon=":material/phone_in_talk:",
                query_params={live.CHOSEN: _call()},
            )
        if purchase["package_name"] == AUTO_RELOAD:
            st.page_link("account/auto_reload.py", label="To auto-reload", icon=":material/autorenew:")
        if status == "credited":
            st.page_link("account/overview.py", label="To the overview", icon=":material/dashboard:")
        else:
            st.page_link("account/buy.py", label="Buy credits", icon=":material/add_card:")
        if purchase.get("receipt_url"):
            st.link_button(
                "Receipt", purchase["receipt_url"], icon=":material/receipt_long:", type="tertiary"
            )
        if purchase.get("invoice_url"):
            st.link_button("Invoice", purchase["invoice_url"], icon=":material/description:", type="tertiary")


@st.fragment(run_every=REFRESH_SECONDS)
def follow(session_id: str) -> None:
    """Asks Stripe again until the purchase has come to an end; then the whole page is drawn once more."""
    person, viewer = session.guard(session.EVERYBODY), session.viewer()
    try:
        purchase = fulfillment.fulfill(get_runtime(), person.identity, session_id)
    except CreditsError as error:
        widgets.show_error(error)
        return
    if purchase["status"] not in WAITING:
        st.rerun()  # ends the refreshing, and the balance in the sidebar is the new one
    show(purchase, viewer)


def page() -> None:
    person, viewer = session.guard(session.EVERYBODY), session.viewer()
    st.title("Your purchase", anchor=False)
    session_id = st.query_params.get("session_id", "")
    if not session_id or session_id == PLACEHOLDER:
        with st.container(border=True):
            widgets.empty(
                "No purchase to show",
                "This address is where the payment page sends you back. Choose a package to start.",
            )
            with st.container(horizontal_alignment="center"):
                st.page_link("account/buy.py", label="Buy credits", icon=":material/add_card:")
    else:
        purchase = fulfillment.fulfill(get_runtime(), person.identity, session_id)
        if purchase["status"] == "credited" and _call():
            _back_to_the_call(purchase, viewer)
        if purchase["status"] == "credited" and st.session_state.get(SEEN) != session_id:
            st.session_state[SEEN] = session_id
            st.rerun()  # once: the sidebar was drawn before, and whoever credited it may have come in between
        if purchase["status"] in WAITING:
            follow(session_id)
        else:
            show(purchase, viewer)


with st.container(width=680):
    page()
