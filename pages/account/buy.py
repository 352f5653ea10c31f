"""Buy credits: what I pay and what I get, before leaving for the payment page."""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import Any

import streamlit as st

from credits_core import card_payments, catalog, currencies, promotions
from credits_core.errors import Conflict, InvalidRequest, NotFound
from credits_core.runtime import get_runtime
from pages.common import own_cards, pay_dialog, paying, session, shell, widgets
from pages.common.formats import Viewer
from pages.common.reloading import card_name

session.guard(session.EVERYBODY)

LEAVE = "/auth/checkout"
CREDITED = (
    "You pay on Stripe's page and come back here. Credits are added as soon as the payment is confirmed."
)
AT_ONCE = "You pay here with your saved {card}, or on Stripe's page. Credits are added as soon as the payment is confirmed."


def leave_button(label: str, **what: str) -> None:
    """Leaves for the payment page. The key is fresh for each drawing: a double click of one button buys once."""
    widgets.post_form(LEAVE, {**what, "idempotency_key": f"buy-{uuid.uuid4()}"}, label)


def with_code(package: dict[str, Any], code: str, refusals: list[str] | None = None) -> dict[str, Any]:
    """The package as the code makes it; as it is where the code does not apply to it, and why is put to the refusals."""
    person = session.guard(session.EVERYBODY)
    try:
        quote = promotions.purchase_quote(
            session.database(), person.identity, package=package["code"], promo_code=code
        )
    except Conflict as error:
        if refusals is not None:
            refusals.append(error.message)
        return package
    return package | quote


def code_field() -> str:
    """The promotional code in the address, if it is one for this person; a sentence where it is not."""
    code = st.text_input(
        "Promotional code",
        key="code",
        max_chars=40,
        placeholder="If you have one",
        bind="query-params",
        width=320,
    ).strip()
    if not code:
        return ""
    refusals: list[str] = []
    try:
        quotes = [with_code(package, code, refusals) for package in offer["packages"]]
    except (NotFound, InvalidRequest) as error:
        st.warning(error.message, icon=":material/sell:")
        return ""
    if not any(quote.get("promo_code") for quote in quotes):
        why = refusals[0] if len(set(refusals)) == 1 else "This code applies to none of these packages now."
        st.warning(widgets.plain(why), icon=":material/sell:")
        return ""
    st.success(f"Code {widgets.plain(code.upper())} is applied.", icon=":material/sell:")
    return code


def package_card(package: dict[str, Any], viewer: Viewer, *, any_bonus: bool, at_once: bool) -> None:
    price = viewer.money(package["price_cents"], package["currency"])
    with st.container(
        horizontal=True,
        horizontal_alignment="distribute",
        vertical_alignment="center",
        gap="xxsmall",
    ):
        st.markdown(f"**{widgets.plain(package['name'])}**", width="content")
        if package["popular"]:
            st.badge("Popular", color="primary")
    before = package.get("list_price_cents", package["price_cents"])
    struck = (
        f" <s>{viewer.money(before, package['currency'])}</s>" if before != package["price_cents"] else ""
    )
    st.html(f'<div class="pc-price"><b>{price}</b>{struck}</div>')
    rows = [("Credits", viewer.credits(package["credits_micros"]))]
    if any_bonus:  # on every card, so that they can be compared line by line
        bonus = package["bonus_micros"]
        rows.append(("Bonus", viewer.credits(bonus, signed=True) if bonus else "–"))
    rows.append(("Per credit", viewer.unit_price(package["cents_per_credit"], package["currency"])))
    widgets.facts(rows)
    code = package.get("promo_code") or ""
    if at_once:
        paying.button(f"Buy for {price}", package["code"], name=package["code"], code=code)
    else:
        leave_button(f"Buy for {price}", package=package["code"], **({"promo_code": code} if code else {}))


@st.fragment
@widgets.errors_as_sentences
def custom_amount(custom: dict[str, Any], currency: str, code: str, *, at_once: bool) -> None:
    """Any amount between the smallest and the largest, with what it buys; with the code where it applies to amounts."""
    person, viewer = session.guard(session.EVERYBODY), session.viewer()
    smallest, largest = (viewer.money(custom[end], currency) for end in ("min_cents", "max_cents"))
    with widgets.card("Another amount") as toolbar:
        toolbar().caption(widgets.plain(f"{smallest} to {largest}"))
        for step in custom["volume_steps"]:
            least = viewer.money(step["min_cents"], currency)
            st.caption(f":material/redeem: {step['bonus_percent']}% bonus from {widgets.plain(least)} on")
        left, right = st.columns([1, 1], vertical_alignment="bottom")
        scale = 10 ** currencies.decimals(currency)
        units = left.number_input(
            f"Amount in {currency.upper()}",
            min_value=-(-custom["min_cents"] // scale),
            max_value=custom["max_cents"] // scale,
            value=None,
            step=1,
            key="amount",
            placeholder="For example 25",
            bind="query-params",
        )
        if not units:
            right.caption("Enter an amount to see what it buys.")
            return
        quote = promotions.purchase_quote(session.database(), person.identity, amount_cents=units * scale)
        if code:
            with suppress(Conflict):
                quote = promotions.purchase_quote(
                    session.database(), person.identity, amount_cents=units * scale, promo_code=code
                )
        applied = quote["promo_code"] or ""
        with left:
            widgets.facts(
                [
                    *(
                        [("Without the code", viewer.money(quote["list_price_cents"], currency))]
                        if quote["list_price_cents"] != quote["price_cents"]
                        else []
                    ),
                    ("You pay", viewer.money(quote["price_cents"], currency)),
                    ("You get", f"{viewer.credits(quote['credits_micros'])} credits"),
                    *(
                        [("Bonus", viewer.credits(quote["bonus_micros"], signed=True))]
                        if quote["bonus_micros"]
                        else []
                    ),
                    ("Per credit", viewer.unit_price(quote["cents_per_credit"], currency)),
                ]
            )
        label, cents = f"Buy for {viewer.money(quote['price_cents'], currency)}", quote["list_price_cents"]
        with right:
            if not at_once:
                leave_button(label, amount_cents=str(cents), **({"promo_code": applied} if applied else {}))
            elif paying.button(label, f"amount-{cents}", name="amount", code=applied):
                st.rerun()  # the whole page, which opens the dialog


def paid_here() -> None:
    """Says once, and stays until the next click, that a saved card was charged."""
    if (done := paying.say_done()) is None:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.success(widgets.plain(done["text"]), icon=":material/check_circle:", width="stretch")
        if done["receipt_url"]:
            st.link_button("Receipt", done["receipt_url"], icon=":material/receipt_long:", type="tertiary")


def save_a_card() -> None:
    """The way to pay here the next time; nothing is charged by it."""
    with widgets.card("Pay here the next time"):
        left, right = st.columns([2, 1], vertical_alignment="center")
        left.caption(
            "With a saved card you buy without leaving the page, also while a call is running. It is entered on Stripe's page and "
            "kept there; nothing is charged by saving it."
        )
        with right:
            widgets.post_form("/auth/save-card", {"next": "/buy"}, "Save a card", primary=False)


person, viewer = session.guard(session.EVERYBODY), session.viewer()
offer = catalog.packages(session.database(), person.identity)
cards = own_cards.usable(person, viewer)
with widgets.page_header("Buy credits", AT_ONCE.format(card=card_name(cards[0])) if cards else CREDITED):
    if shell.is_test_mode():
        st.badge(shell.TEST_MODE, icon=":material/science:", color="orange")
if st.query_params.pop("card", None):  # back from the page where a card is saved
    st.toast("The card is saved.", icon=":material/credit_card:")
paid_here()
paying.undecided(person, viewer, cards)
if st.query_params.get("canceled"):  # back from the payment page without paying
    st.info(
        "**Payment canceled.** Nothing was charged. Choose a package whenever you like.",
        icon=":material/undo:",
    )
if not offer["packages"] and not offer["custom"]:
    with st.container(border=True):
        widgets.empty(
            "Nothing is for sale right now", "Ask an administrator to load a catalog with packages."
        )
code = code_field() if offer["packages"] else ""
packages = [with_code(package, code) if code else package for package in offer["packages"]]
any_bonus = any(package["bonus_micros"] for package in packages)
with st.grid(min(max(len(packages), 1), 5), gap="small", min_column_width=150, border=True) as grid:
    for package in packages:
        with grid.cell():
            package_card(package, viewer, any_bonus=any_bonus, at_once=bool(cards))
if offer["custom"]:
    custom_amount(offer["custom"], offer["currency"], code, at_once=bool(cards))
if not cards and card_payments.is_offered(get_runtime().stripe):
    save_a_card()
pay_dialog.show(cards)
