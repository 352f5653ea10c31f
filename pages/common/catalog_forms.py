"""Forms that put a price, a package or a plan into the catalog's draft."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import streamlit as st

from credits_core import catalog_drafts, currencies
from credits_core.auth.person import Person
from credits_core.errors import CreditsError, InvalidRequest
from credits_core.units import format_credits, parse_credits
from pages.common import session, widgets

ROUNDINGS = ("half_up", "half_even", "up", "down")
NEW = "new"


def put(person: Person, kind: catalog_drafts.Kind, code: str, item: dict[str, Any] | None) -> bool:
    """Change the draft and say so; False after a refusal, which is shown."""
    try:
        catalog_drafts.draft_change(session.database(), person.identity, kind, code, item)
    except CreditsError as error:
        widgets.show_error(error)
        return False
    st.toast(f"{code}: {'in the draft' if item else 'taken out of the draft'}.", icon=":material/check:")
    return True


def price_form(person: Person, operations: Sequence[Mapping[str, Any]], drafted: Mapping[str, Any]) -> None:
    """New prices for the parts of an operation's price; units and parts stay."""
    names = {operation["operation"]: operation["name"] for operation in operations}
    code = st.selectbox("Operation", list(names), format_func=lambda chosen: names[chosen], key="price_of")
    now = next(operation for operation in operations if operation["operation"] == code)
    shown = drafted.get(code) or now
    with st.form(f"price_{code}", border=False):
        parts = [_part(code, number, part) for number, part in enumerate(shown["components"])]
        with st.container(horizontal=True):
            minimum = st.text_input(
                "Minimum charge in credits",
                format_credits(shown["minimum_charge_micros"]),
                key=f"minimum_{code}",
            )
            rounding = st.selectbox(
                "Rounding", ROUNDINGS, ROUNDINGS.index(shown["rounding"]), format_func=lambda how: how.replace("_", " "),
                key=f"rounding_{code}",
            )  # fmt: skip
        sent = st.form_submit_button("Put into the draft", type="primary")
    if not sent:
        return
    try:
        components = [
            {**part, "price_micros": parse_credits(price), **_increments(steps)}
            for part, price, steps in parts
        ]
        item = {
            "components": components,
            "rounding": rounding,
            "minimum_charge_micros": parse_credits(minimum),
        }
    except CreditsError as error:
        widgets.show_error(error)
        return
    if put(person, "price", code, item):
        st.rerun()


def _part(code: str, number: int, part: Mapping[str, Any]) -> tuple[dict[str, Any], str, str | None]:
    """One component: its fields, the price as entered, and billing increments where time is billed."""
    unit = part["unit"].replace("_", " ")
    with st.container(horizontal=True):
        price = st.text_input(
            f"Credits per {unit}", format_credits(part["price_micros"]), key=f"credits_{code}_{number}"
        )
        if part["unit"] not in ("minute", "second"):
            return dict(part), price, None
        steps = st.text_input(
            "Billing increments in seconds",
            f"{part['initial']:g}/{part['following']:g}",
            key=f"steps_{code}_{number}",
            help="60/60 rounds up to the minute, 1/1 bills by the second.",
        )
    return dict(part), price, steps


def _increments(steps: str | None) -> dict[str, int]:
    if steps is None:
        return {}
    initial, _, following = steps.partition("/")
    if not (initial.strip().isdecimal() and following.strip().isdecimal()):
        raise InvalidRequest("Enter billing increments as two numbers of seconds, such as 60/60 or 1/1.")
    return {"initial": int(initial), "following": int(following)}


def package_form(
    person: Person, packages: Sequence[Mapping[str, Any]], drafted: Mapping[str, Any], currency: str
) -> None:
    """A package: another price, other credits, on or off sale, or a new one."""
    known = {package["code"]: package for package in packages} | dict(drafted)
    chosen = st.selectbox(
        "Package", [*known, NEW], key="package_of",
        format_func=lambda code: "A new package" if code == NEW else known[code]["name"],
    )  # fmt: skip
    now = known.get(
        chosen, {"name": "", "credits_micros": 0, "bonus_micros": 0, "price_cents": 0, "popular": False}
    )
    places = currencies.decimals(currency)
    with st.form(f"package_{chosen}", border=False):
        with st.container(horizontal=True):
            code = st.text_input("Code", placeholder="starter", key="new_code") if chosen == NEW else chosen
            name = st.text_input("Name", now["name"], key=f"name_{chosen}")
        with st.container(horizontal=True):
            credits = st.text_input("Credits", format_credits(now["credits_micros"]), key=f"gives_{chosen}")
            bonus = st.text_input("Bonus", format_credits(now["bonus_micros"]), key=f"bonus_{chosen}")
            price = st.text_input(
                f"Price in {currency.upper()}",
                f"{Decimal(now['price_cents']).scaleb(-places):f}",
                key=f"costs_{chosen}",
            )
        popular = st.checkbox("Marked as popular", now["popular"], key=f"popular_{chosen}")
        offered = st.checkbox("On sale", now.get("is_offered", True), key=f"offered_{chosen}")
        sent = st.form_submit_button("Put into the draft", type="primary")
    if not sent:
        return
    try:
        item = {
            "name": name, "credits_micros": parse_credits(credits), "bonus_micros": parse_credits(bonus),
            "price_cents": int(Decimal(price.strip()).scaleb(places)), "popular": popular, "is_offered": offered,
        }  # fmt: skip
    except (CreditsError, InvalidOperation):
        st.error(
            "Enter credits, bonus and price as numbers, such as 500, 50 and 45.00.", icon=":material/error:"
        )
        return
    if put(person, "package", code.strip().lower(), item):
        st.rerun()


def plan_form(
    person: Person,
    plans: Sequence[Mapping[str, Any]],
    drafted: Mapping[str, Any],
    operations: Sequence[Mapping[str, Any]],
) -> None:
    """What a plan includes of each operation a month; empty means nothing is included."""
    known = {plan["code"]: plan for plan in plans} | dict(drafted)
    chosen = st.selectbox(
        "Plan", [*known, NEW], key="plan_of",
        format_func=lambda code: "A new plan" if code == NEW else known[code]["name"],
    )  # fmt: skip
    now = known.get(chosen, {"name": "", "allowances": {}})
    with st.form(f"plan_{chosen}", border=False):
        with st.container(horizontal=True):
            code = st.text_input("Code", placeholder="pro", key="new_plan") if chosen == NEW else chosen
            name = st.text_input("Name", now["name"], key=f"plan_name_{chosen}")
        included = {
            operation["operation"]: st.text_input(
                f"{operation['name']} a month, in {operation['measure'].replace('count', 'uses')}",
                str(now["allowances"].get(operation["operation"], "")),
                key=f"included_{chosen}_{operation['operation']}",
            )
            for operation in operations
        }
        sent = st.form_submit_button("Put into the draft", type="primary")
    if sent:
        allowances = {operation: text.strip() for operation, text in included.items() if text.strip()}
        if put(person, "plan", code.strip().lower(), {"name": name, "allowances": allowances}):
            st.rerun()
