"""The catalog: what is sold and what it costs now, the draft of what comes, its rehearsal and release."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import streamlit as st

from credits_core import catalog, catalog_drafts
from credits_core.auth.person import Person
from credits_core.errors import CreditsError
from credits_core.units import format_credits
from pages.common import catalog_forms, periods, session, tables, widgets
from pages.common.formats import Viewer

session.guard(session.ADMIN)

PARTS = {"price": "Prices", "package": "Packages", "plan": "Plans"}


def price_text(price: Mapping[str, Any], viewer: Viewer) -> str:
    """`0.15 per minute, billed 60/60 s`."""
    parts = []
    for part in price["components"]:
        text = f"{viewer.number(format_credits(part['price_micros']))} per {part['unit'].replace('_', ' ')}"
        if part["unit"] in ("minute", "second"):
            text += f", billed {part.get('initial', 0):g}/{part.get('following', 0):g} s"
        parts.append(text)
    return " + ".join(parts)


def now_cards(found: Mapping[str, Any], viewer: Viewer) -> None:
    """What is valid now, with what the draft would put in its place."""
    prices, packages, plans, draft = (found[part] for part in ("operations", "packages", "plans", "items"))
    with widgets.card("Prices"):
        table = (
            tables.Table(prices, viewer)
            .text("Operation", "name")
            .texts("Now", [price_text(price, viewer) for price in prices])
        )
        if draft["prices"]:
            coming = [draft["prices"].get(price["operation"]) for price in prices]
            table.texts("In the draft", [price_text(price, viewer) if price else "" for price in coming])
        table.draw(key="prices", alt="Prices now and in the draft")
    left, right = st.columns([3, 2])
    with left, widgets.card("Packages", height="stretch"):
        table = (
            tables.Table(packages, viewer)
            .text("Package", "name")
            .credits("Credits", "credits_micros")
            .credits("Bonus", "bonus_micros")
            .money("Price", "price_cents")
        )
        if draft["packages"]:
            coming = [draft["packages"].get(row["code"]) for row in packages]
            table.texts(
                "In the draft",
                [
                    _package_text(new, row["currency"], viewer)
                    for new, row in zip(coming, packages, strict=True)
                ],
            )
        table.draw(key="packages", alt="Packages on sale", wide=("Bonus",))
    with right, widgets.card("Plans", height="stretch"):
        if not plans:
            widgets.empty(
                "No plans with allowances",
                "Such a plan includes uses each month before credits are spent. Subscriptions are on the page Plan.",
            )
        else:
            (
                tables.Table(plans, viewer)
                .text("Plan", "name")
                .texts("Each month", [_included(plan["allowances"]) for plan in plans])
                .texts(
                    "In the draft",
                    [_included(draft["plans"].get(plan["code"], {}).get("allowances", {})) for plan in plans],
                )
                .draw(key="plans", alt="Plans and what they include")
            )


def _package_text(package: Mapping[str, Any] | None, currency: str, viewer: Viewer) -> str:
    if package is None:
        return ""
    if not package["is_offered"]:
        return "off sale"
    bonus = f" + {viewer.credits(package['bonus_micros'])}" if package["bonus_micros"] else ""
    return f"{viewer.credits(package['credits_micros'])}{bonus} for {viewer.money(package['price_cents'], currency)}"


def _included(allowances: Mapping[str, Any]) -> str:
    return ", ".join(f"{amount} {operation}" for operation, amount in allowances.items())


def draft_card(person: Person, found: Mapping[str, Any]) -> None:
    items, draft = found["items"], found["draft"]
    with widgets.card("Draft") as toolbar:
        if draft and draft["waits"]:
            toolbar().badge("Waits for a second person", icon=":material/hourglass:", color="orange")
        chosen = st.segmented_control(
            "Change", list(PARTS), default="price", required=True, format_func=PARTS.get, key="part",
            bind="query-params", label_visibility="collapsed",
        )  # fmt: skip
        left, right = st.columns([3, 2])
        with left:
            if chosen == "package":
                catalog_forms.package_form(person, found["packages"], items["packages"], found["currency"])
            elif chosen == "plan":
                catalog_forms.plan_form(person, found["plans"], items["plans"], found["operations"])
            else:
                catalog_forms.price_form(person, found["operations"], items["prices"])
        with right:
            contents(person, items)


def contents(person: Person, items: Mapping[str, Any]) -> None:
    """What is in the draft, each with the way out."""
    listed = [("price", code) for code in items["prices"]] + [("package", code) for code in items["packages"]]
    listed += [("plan", code) for code in items["plans"]]
    if not listed:
        widgets.empty(
            "The draft is empty",
            "Put prices, packages or plans into it; nothing changes until it is released.",
        )
    for kind, code in listed:
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.markdown(f"**{widgets.plain(code)}** · {kind}")
            if st.button("Take out", key=f"out_{kind}_{code}", type="tertiary") and catalog_forms.put(
                person, kind, code, None
            ):
                st.rerun()


@widgets.errors_as_sentences
def rehearsal_card(person: Person, viewer: Viewer) -> None:
    with widgets.card("Rehearsal on past usage"):
        with st.container(horizontal=True, vertical_alignment="center"):
            first, last = periods.choose(viewer, default="30d", with_all=False)
        begin, end = periods.moments(viewer, first, last)
        assert begin is not None and end is not None
        found = catalog_drafts.rehearse(session.database(), person.identity, begin, end)
        if not found["events"]:
            widgets.empty("Nothing used in these days", "Choose a longer period to rehearse.")
            return
        with st.grid("auto", gap="small", min_column_width=170):
            widgets.tile(
                "Paid then",
                viewer.about(found["before_micros"]),
                None,
                f"{viewer.count(found['events'])} uses",
            )
            widgets.tile(
                "With the draft", viewer.about(found["after_micros"]), None, "credits for the same uses"
            )
            widgets.tile("Would run out", viewer.count(found["would_run_out"]), None, "accounts, on the way")
        left, right = st.columns([1, 1])
        with left:
            (
                tables.Table(found["operations"], viewer)
                .text("Operation", "operation")
                .credits("Then", "before_micros", places=2)
                .credits("Draft", "after_micros", places=2)
                .credits("Difference", "difference_micros", signed=True, places=2)
                .draw(key="rehearsed", alt="Credits by operation, then and with the draft")
            )
        with right:
            (
                tables.Table(found["accounts"][:50], viewer)
                .text("Account", "name")
                .credits("Difference", "difference_micros", signed=True, places=2)
                .time("Would have run out", "runs_out_at")
                .draw(key="concerned", alt="Accounts by the difference, the largest first")
            )


def release_card(person: Person, draft: Mapping[str, Any], viewer: Viewer) -> None:
    with widgets.card("Release"):
        if draft["waits"]:
            st.info(
                "Asked for. Another administrator decides about it under Approvals; a change of the draft withdraws it."
            )
            return
        st.caption(
            "Another administrator approves it. Prices count from the moment below; what was charged before never changes."
        )
        with st.form("release", border=False):
            with st.container(horizontal=True):
                day = st.date_input("From", viewer.today(), min_value=viewer.today(), key="release_day")
                hour = st.time_input(
                    "at", dt.time(), key="release_time", help="Today at a time that has passed means at once."
                )
            reason = st.text_input(
                "Reason", placeholder="The provider raised its price", max_chars=500, key="release_reason"
            )
            with st.container(horizontal=True):
                ask = st.form_submit_button("Ask for the release", type="primary")
                drop = st.form_submit_button("Discard the draft")
        if drop:
            catalog_drafts.discard(session.database(), person.identity)
            st.toast("The draft is discarded.", icon=":material/delete:")
            st.rerun()
        if ask:
            at = dt.datetime.combine(day, hour, viewer.zone)
            request(person, draft, reason, at if at > dt.datetime.now(viewer.zone) else None)


def request(person: Person, draft: Mapping[str, Any], reason: str, at: dt.datetime | None) -> None:
    # The same click twice is one request; asked again after a rejection it is a new one.
    key = f"release-{draft['draft_id']}-{draft['version']}-{dt.datetime.now(dt.UTC):%Y%m%d%H%M}"
    try:
        catalog_drafts.request_release(session.database(), person.identity, reason, key, effective_from=at)
    except CreditsError as error:
        widgets.show_error(error)
        return
    st.toast("Asked for; it stands under Approvals.", icon=":material/check:")
    st.rerun()


def history(found: Mapping[str, Any], viewer: Viewer) -> None:
    left, right = st.columns([1, 1])
    with left, widgets.card("Coming prices", height="stretch"):
        if not found["coming"]:
            widgets.empty("No prices with a later date", "A release with a date stands here until it comes.")
        else:
            (
                tables.Table(found["coming"], viewer)
                .text("Operation", "name")
                .texts("Price", [price_text(price, viewer) for price in found["coming"]])
                .time("From", "effective_from")
                .draw(key="coming", alt="Prices with a later date")
            )
    with right, widgets.card("Earlier drafts", height="stretch"):
        if not found["before"]:
            widgets.empty("None yet", "Released and discarded drafts are listed here.")
        else:
            (
                tables.Table(found["before"], viewer)
                .pill("Status", "status")
                .text("By", "created_by_name")
                .time("Closed", "closed_at")
                .texts(
                    "Changes",
                    [", ".join([*d["prices"], *d["packages"], *d["plans"]]) for d in found["before"]],
                )
                .draw(key="before", alt="Released and discarded drafts", wide=("By",))
            )


person, viewer = session.guard(session.ADMIN), session.viewer()
drafts = catalog_drafts.catalog_draft(session.database(), person.identity)
offered = catalog.packages(session.database(), person.identity)
found = drafts | {
    "operations": catalog.pricing(session.database(), person.identity)["operations"],
    "packages": offered["packages"],
    "currency": offered["currency"],
    "plans": catalog.plans(session.database(), person.identity)["plans"],
    "items": drafts["draft"] or {"prices": {}, "packages": {}, "plans": {}},
}
with widgets.page_header("Catalog", f"{offered['name']} · sold in {offered['currency'].upper()}"):
    is_open = drafts["draft"] is not None
    st.badge(
        "Draft open" if is_open else "No draft",
        icon=":material/edit_note:",
        color="blue" if is_open else "gray",
    )
now_cards(found, viewer)
draft_card(person, found)
if any(found["items"][part] for part in ("prices", "packages", "plans")):
    if found["items"]["prices"]:
        rehearsal_card(person, viewer)
    release_card(person, drafts["draft"], viewer)
history(found, viewer)
