"""The dialog in which a saved card is charged: what is paid and got, the button that names the money, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from credits_core import card_payments, promotions
from credits_core.runtime import get_runtime
from credits_core.stripe_states import SavedCard
from pages.common import paying, session, shell, widgets
from pages.common.formats import Viewer
from pages.common.reloading import card_name

LOOK_SECONDS = 4
TITLE = "Pay with your saved card"
# What was shown, and is charged or nothing is.
SHOWN = ("price_cents", "currency", "credits_micros", "bonus_micros")


def show(cards: Sequence[SavedCard], call_id: int | None = None) -> None:
    """The dialog of the payment in the address, if there is one; at the end of a page."""
    if paying.key() is not None:
        _dialog(tuple(cards), call_id)


@st.dialog(TITLE, width="small", on_dismiss=paying.end)
@widgets.errors_as_sentences
def _dialog(cards: tuple[SavedCard, ...], call_id: int | None) -> None:
    person, viewer = session.guard(session.EVERYBODY), session.viewer()
    key, what = paying.key(), paying.wanted()
    if key is None:
        return
    payment = card_payments.look(get_runtime(), person.identity, key)
    if payment is not None:
        _became(payment, cards, call_id, viewer)
    elif what is not None and cards:
        _form(key, what, cards, call_id, viewer)
    else:
        st.info("Choose what to buy on the page behind this.", icon=":material/add_card:")


def _form(
    key: str, what: Mapping[str, Any], cards: Sequence[SavedCard], call_id: int | None, viewer: Viewer
) -> None:
    person = session.guard(session.EVERYBODY)
    if card_payments.payments(session.database(), person.identity)["items"]:
        st.warning(
            "**Another payment is not decided yet.** See it on the page behind this first, so that you do not pay twice.",
            icon=":material/hourglass_top:",
        )
    top = st.container()
    card = _card(cards)
    code = st.text_input(
        "Promotional code", value=st.query_params.get(paying.CODE, ""), key=f"code_{key}", max_chars=40,
        placeholder="If you have one",
    ).strip()  # fmt: skip
    quote = promotions.purchase_quote(session.database(), person.identity, **what, promo_code=code or None)
    price = viewer.money(quote["price_cents"], quote["currency"])
    with top:
        _facts(quote, price, viewer)
    accepted = _terms()
    shown = {name: quote[name] for name in SHOWN}
    # A button of its own for each price and card: a click on what was seen never pays what is shown only now.
    name = "-".join(["pay_now", card.payment_method_id, *(str(value) for value in shown.values())])
    pressed = st.button(
        widgets.plain(f"Pay {price} with {card_name(card)}"),
        type="primary", width="stretch", icon=":material/lock:", key=name, disabled=not accepted,
    )  # fmt: skip
    goes_on = "The call goes on. " if call_id else ""
    st.caption(f"{goes_on}The card is charged at once, and the credits are there as soon as it is.")
    if pressed:
        with st.spinner("Charging the card …"):
            card_payments.pay(
                get_runtime(), person.identity, payment_method_id=card.payment_method_id, idempotency_key=key,
                **what, promo_code=code or None, shown=shown, terms_accepted=accepted,
            )  # fmt: skip
        st.rerun()  # the dialog shows what became of it
    _another_way(what, call_id, code=code, label="Pay another way")


def _card(cards: Sequence[SavedCard]) -> SavedCard:
    """The card to charge: the only one, or the one picked (at first the default one)."""
    if len(cards) == 1:
        return cards[0]
    names = {
        card.payment_method_id: f"{card_name(card)} ({card.exp_month:02d}/{card.exp_year})" for card in cards
    }
    picked = st.selectbox("Card", list(names), format_func=names.get, key="pay_card")
    return next(card for card in cards if card.payment_method_id == picked)


def _facts(quote: Mapping[str, Any], price: str, viewer: Viewer) -> None:
    rows = [("Package", quote["name"]), ("Credits", viewer.credits(quote["credits_micros"]))]
    if quote["bonus_micros"]:
        rows.append(("Bonus", viewer.credits(quote["bonus_micros"], signed=True)))
    if quote["list_price_cents"] != quote["price_cents"]:
        rows.append(("Without the code", viewer.money(quote["list_price_cents"], quote["currency"])))
    rows += [
        ("Per credit", viewer.unit_price(quote["cents_per_credit"], quote["currency"])),
        ("You pay", price),
    ]
    if shell.is_test_mode():
        st.badge(shell.TEST_MODE, icon=":material/science:", color="orange")
    widgets.facts(rows)


def _terms() -> bool:
    """Whether the terms are accepted; yes where there are none."""
    url = get_runtime().stripe.options.terms_url
    return url is None or st.checkbox(f"I accept the [terms]({url})", key="pay_terms")


def _another_way(what: Mapping[str, Any] | None, call_id: int | None, *, code: str, label: str) -> None:
    """The payment page, for another card or another kind of payment."""
    if what is not None:
        key = f"page-{paying.key()}"  # one intention, one page
        widgets.post_form(
            "/auth/checkout",
            {**paying.fields(what, call_id, code=code), "idempotency_key": key},
            label,
            primary=False,
        )


def _became(
    payment: Mapping[str, Any], cards: Sequence[SavedCard], call_id: int | None, viewer: Viewer
) -> None:
    """What became of a payment, and the way on."""
    status = payment["status"]
    money = viewer.money(payment["price_cents"], payment["currency"])
    with_what = widgets.plain(f"{money} with {paying.name_of(payment, cards)}")
    if status == "credited":
        _paid(payment, money, cards, call_id, viewer)
    elif status == "open":
        _to_confirm(payment, with_what, call_id)
    elif status in ("created", "processing"):
        _unknown(payment["status"], with_what)
    elif status == "review":
        st.warning(
            f"**{with_what} is being checked.** {card_payments.STATES[status][1]}", icon=":material/policy:"
        )
    else:
        _failed(payment, money, call_id)


def _paid(
    payment: Mapping[str, Any], money: str, cards: Sequence[SavedCard], call_id: int | None, viewer: Viewer
) -> None:
    """The whole page is drawn anew with the new balance, and says so once."""
    bonus = payment["bonus_micros"]
    more = f" and {viewer.credits(bonus)} as a bonus" if bonus else ""
    goes_on = "; the call goes on" if call_id else ""
    credits = f"{viewer.credits(payment['credits_micros'])} credits added{more}{goes_on}."
    text = f"{money} paid with {paying.name_of(payment, cards)}: {credits}"
    st.session_state[paying.DONE] = {"text": text, "receipt_url": payment["receipt_url"]}
    paying.end()
    st.rerun()


def _to_confirm(payment: Mapping[str, Any], with_what: str, call_id: int | None) -> None:
    goes_on = " The call goes on meanwhile, and you come back to it." if call_id else ""
    st.info(
        f"**Your bank wants you to confirm {with_what}.** Nothing is charged before that.{goes_on}",
        icon=":material/verified_user:",
    )
    widgets.link_button("Confirm with your bank", card_payments.confirm_path(payment, call_id))
    if st.button("Cancel this payment", type="tertiary", icon=":material/close:", key="pay_cancel"):
        person = session.guard(session.EVERYBODY)
        card_payments.cancel(get_runtime(), person.identity, paying.key() or "")
        st.rerun()


def _unknown(status: str, with_what: str) -> None:
    st.warning(f"**{with_what}: not known yet.** {paying.SAYS[status]}", icon=":material/hourglass_top:")
    _watch(status)
    if st.button("Ask Stripe again", icon=":material/refresh:", key="pay_again", width="stretch"):
        person = session.guard(session.EVERYBODY)
        with st.spinner("Asking Stripe …"):
            card_payments.resume(get_runtime(), person.identity, paying.key() or "")
        st.rerun()
    st.caption("That repeats the very same payment: the card is charged once at most.")


@st.fragment(run_every=LOOK_SECONDS)
def _watch(status: str) -> None:
    """Looks until it is known; the poll asks Stripe."""
    person = session.guard(session.EVERYBODY)
    payment = card_payments.look(get_runtime(), person.identity, paying.key() or "")
    if payment is not None and payment["status"] != status:
        st.rerun()


def _failed(payment: Mapping[str, Any], money: str, call_id: int | None) -> None:
    reason = payment["failure_reason"] if payment["status"] == "failed" else "This payment was given up."
    st.error(
        f"**{widgets.plain(reason or 'The card was not charged.')}** Nothing was charged.",
        icon=":material/credit_card_off:",
    )
    what = payment["package"] or f"amount-{payment['list_price_cents']}"
    code = payment["promo_code"] or ""
    st.markdown("**Choose another way**")
    st.button(
        "Try again, or another saved card",
        icon=":material/credit_card:", width="stretch", key="pay_retry", on_click=paying.begin, args=(what, code),
    )  # fmt: skip
    _another_way(paying.wanted(what), call_id, code=code, label=f"Enter another card for {money}")
