"""Explain a transaction: what was measured, at which price, rounded how, paid by which credits."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import streamlit as st

from credits_core import ledger
from pages.common import session, tables, widgets
from pages.common.formats import Viewer, duration, words

ROUNDING = {
    "half_up": "to the nearest micro-credit",
    "half_even": "to the nearest micro-credit, halves to even",
    "up": "up to whole micro-credits",
    "down": "down to whole micro-credits",
}


_CLOSED = "explanations_closed"


def table_key(name: str) -> str:
    """Key of a table whose selected row is explained. It changes when the dialog closes: a new table has no selection."""
    return f"{name}_{st.session_state.get(_CLOSED, 0)}"


def _closed() -> None:
    st.session_state[_CLOSED] = st.session_state.get(_CLOSED, 0) + 1


@st.dialog("Why this amount", width="medium", on_dismiss=_closed)
@widgets.errors_as_sentences
def explain_dialog(transaction_id: str) -> None:
    person, viewer = session.guard(session.EVERYBODY), session.viewer()
    what = ledger.explain(session.database(), person.identity, transaction_id)
    st.html(
        f'<div class="pc-price"><b>{viewer.credits(what["amount_micros"], signed=True)}</b>'
        f"<span>credits · {widgets.status_label(what['kind'])}</span></div>"
    )
    widgets.facts(_facts(what, viewer))
    if price := what.get("price"):
        st.markdown("**Price**")
        widgets.facts(
            [
                *[price_part(part, viewer) for part in price["components"]],
                ("Rounded", ROUNDING[price["rounding"]]),
                *(
                    [("In force since", viewer.time(price["effective_from"]))]
                    if price["effective_from"]
                    else []
                ),
            ]
        )
    if what["entries"]:
        st.markdown("**Credits it drew on**" if what["amount_micros"] < 0 else "**Credits it went to**")
        rows = what["entries"]
        (
            tables.Table(rows, viewer)
            .texts("Credits", [source_text(entry) for entry in rows])
            .credits("Amount", "amount_micros", signed=True)
            .texts(
                "Expire",
                [viewer.time(entry["expires_at"]) if entry["expires_at"] else "Never" for entry in rows],
            )
            .draw(key="explain_entries", alt="Grants and amounts")
        )


def _facts(what: Mapping[str, Any], viewer: Viewer) -> list[tuple[str, str]]:
    rows = [("Number", what["transaction_id"]), ("Booked", viewer.time(what["created_at"]))]
    if what["occurred_at"] != what["created_at"]:
        rows.append(("Happened", viewer.time(what["occurred_at"])))
    if what.get("operation"):
        rows.append(("Operation", words(what["operation"])))
    if what.get("quantity") is not None:
        rows.append(("Measured", _quantity(what, "quantity", viewer)))
    if what.get("billed_quantity") is not None and what["billed_quantity"] != what.get("quantity"):
        rows.append(("Billed", _quantity(what, "billed_quantity", viewer)))
    if what.get("paid_by"):
        rows.append(
            ("Paid by", "nothing: this account is unlimited" if what["paid_by"] == "unlimited" else "credits")
        )
    if what.get("rated_micros") is not None:
        rows.append(("Full price", viewer.credits(what["rated_micros"])))
    if what.get("reason"):
        rows.append(("Reason", what["reason"]))
    if what.get("reverses"):
        rows.append(("Reverses", what["reverses"]))
    return [
        *rows,
        ("Balance before", viewer.credits(what["posted_before_micros"])),
        ("Balance after", viewer.credits(what["posted_after_micros"])),
    ]


def _quantity(what: Mapping[str, Any], field: str, viewer: Viewer) -> str:
    """A measured quantity: a duration where the price counts time, else a number."""
    units = {part["unit"] for part in (what.get("price") or {}).get("components", ())}
    return (
        duration(what[field])
        if units & {"minute", "second"}
        else viewer.number(f"{Decimal(str(what[field])).normalize():f}")
    )


def price_part(part: Mapping[str, Any], viewer: Viewer) -> tuple[str, str]:
    """One component of a price as a fact: whether it counts once, and the price with its steps."""
    unit = words(part["unit"]).lower().replace("1k tokens", "1,000 tokens").replace("mb", "MB")
    price = f"{viewer.credits(part['price_micros'])} per {unit}"
    steps = ""
    if part["initial"] or part["following"]:
        steps = f", in steps of {duration(part['initial'])} then {duration(part['following'])}"
    free = f", first {part['free_quantity']:g} free" if part["free_quantity"] else ""
    return ("Once" if part["flat"] else "By quantity", price + steps + free)


def source_text(entry: Mapping[str, Any]) -> str:
    """Where credits come from: `Purchase, paid · grant 7`."""
    kind = "" if entry["grant_id"] is None else ", promotional" if entry["promotional"] else ", paid"
    return f"{words(entry['source'])}{kind}" + (f" · grant {entry['grant_id']}" if entry["grant_id"] else "")
