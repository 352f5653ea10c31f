"""Parts of the plan page: what a plan offers, the present one, and what comes next."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import streamlit as st

from pages.common import widgets
from pages.common.formats import Viewer, words

SUBSCRIBE = "/auth/subscribe"
Ask = Callable[[str, str], None]


def day(viewer: Viewer, text: str | None) -> str:
    """`Dec 21` in the viewer's zone."""
    moment = viewer.moment(text)
    return viewer.day(moment.date().isoformat()) if moment else "–"


def price(viewer: Viewer, plan: dict[str, Any]) -> str:
    return viewer.money(plan["price_cents"], plan["currency"])


def roll_over(viewer: Viewer, plan: dict[str, Any]) -> str:
    cap = plan["rollover_cap_micros"]
    return f"up to {viewer.credits(cap)} stay" if cap else "none"


def included(viewer: Viewer, plan: dict[str, Any]) -> list[tuple[str, str]]:
    """What goes with a plan each month before credits are spent, as facts."""
    return [
        (f"{one['name']} included", f"{viewer.count(int(one['monthly_quantity']))} a month")
        for one in plan["allowances"]
    ]


def offer(viewer: Viewer, plan: dict[str, Any], *, per_credit: bool) -> None:
    """What a plan gives, as facts in one order, so that cards can be compared line by line."""
    rows = [
        (f"Credits each {plan['interval']}", viewer.credits(plan["credits_micros"])),
        ("Roll-over", roll_over(viewer, plan)),
    ]
    rows += included(viewer, plan)
    if per_credit:
        rows.append(("Per credit", viewer.unit_price(plan["cents_per_credit"], plan["currency"])))
    widgets.facts(rows)


def choice(viewer: Viewer, plan: dict[str, Any], ask: Ask) -> None:
    """The button of a plan, or why there is none; `ask` opens the dialog for it."""
    code, kind = plan["code"], plan["choice"]
    if kind == "subscribe":
        fields = {"plan": code, "idempotency_key": f"plan-{uuid.uuid4()}"}
        widgets.post_form(SUBSCRIBE, fields, f"Subscribe for {price(viewer, plan)}")
    elif kind == "current":
        st.badge("Your plan", icon=":material/check:", color="green")
    elif kind == "planned":
        st.badge("Your next plan", icon=":material/event:", color="blue")
    elif kind == "none":
        st.caption(widgets.plain(plan["why"]))
    else:
        label = {"upgrade": "Upgrade", "downgrade": "Change to this plan", "stay": "Stay on this plan"}[kind]
        style = "primary" if kind == "upgrade" else "secondary"
        st.button(label, key=f"to_{code}", type=style, width="stretch", on_click=ask, args=("change", code))  # type: ignore[call-overload]


def notices(viewer: Viewer, current: dict[str, Any]) -> None:
    ends = day(viewer, current["period_end"])
    if current["review_reason"]:
        st.warning(
            "**A person looks at your subscription.** Something at Stripe does not match it; you need not do anything.",
            icon=":material/policy:",
        )
    if current["pay_url"]:
        due = viewer.money(current["amount_due_cents"], current["currency"])
        again = current["next_attempt_at"]
        then = f"It is tried again on {day(viewer, again)}. " if again else ""
        with st.container(border=True):
            st.error(
                widgets.plain(f"The payment of {due} did not go through. {then}Your plan stays until then; ")
                + "pay now to keep it.",
                icon=":material/credit_card_off:",
            )
            widgets.link_button(f"Pay {due}", current["pay_url"])
    if current["cancel_at_period_end"]:
        st.warning(
            f"**{widgets.plain(current['name'])} ends on {ends}.** Until then nothing changes.",
            icon=":material/event_busy:",
        )
    elif current["next"]:
        st.info(
            f"**Your plan becomes {widgets.plain(current['next']['name'])} on {ends}.** Until then nothing changes.",
            icon=":material/event:",
        )


def present(viewer: Viewer, current: dict[str, Any]) -> None:
    with widgets.card(current["name"], height="stretch") as toolbar:
        with toolbar():
            status = (
                "past due"
                if current["pay_url"]
                else "ending"
                if current["cancel_at_period_end"]
                else "active"
            )
            color = {"active": "green", "ending": "orange", "past due": "red"}[status]
            st.badge(words(status), color=color)  # type: ignore[arg-type]
        st.html(
            f'<div class="pc-price"><b>{price(viewer, current)}</b> <span>a {current["interval"]}</span></div>'
        )
        left, granted = current["left_micros"], current["credits_micros"]
        rows = [
            (f"Credits each {current['interval']}", viewer.credits(granted)),
            ("Left of them now", viewer.credits(left)),
            ("Roll-over", roll_over(viewer, current)),
            *included(viewer, current),
            ("Paid until", day(viewer, current["paid_until"])),
            ("Subscribed since", day(viewer, current["started_at"])),
        ]  # fmt: skip
        widgets.facts(rows)


def ahead(viewer: Viewer, current: dict[str, Any], ask: Ask) -> None:
    """What happens next, and what canceling means."""
    ends, stays = day(viewer, current["period_end"]), current["stays_micros"]
    with widgets.card("What happens next", height="stretch"):
        if current["cancel_at_period_end"]:
            st.markdown(
                f"- On **{ends}** the plan ends and nothing more is charged.\n"
                "- Its unused credits and what it includes end with it; credits you bought stay.\n"
                "- Until then you can keep it."
            )
            st.button("Keep my plan", type="primary", key="keep", on_click=ask, args=("keep", ""))
            return
        coming = current["next"] or current
        kept = (
            f"{viewer.credits(stays)} of what is left stay" if stays else "unused credits of this plan expire"
        )
        brings = f"**{viewer.credits(coming['credits_micros'])} credits** come; {kept}"
        if current["pay_url"]:
            st.markdown(
                f"- As soon as the payment is made, {brings}.\n"
                f"- Without it, what is left can be used until **{day(viewer, current['usable_until'])}** and comes back when it "
                "is paid.\n"
                "- When no attempt succeeds, the plan ends and nothing more is charged; credits you bought stay."
            )
        else:
            money = widgets.plain(viewer.money(current["renewal_cents"], current["currency"]))
            st.markdown(
                f"- On **{ends}** your card is charged **{money}**.\n- {brings}.\n"
                f"- You can cancel whenever you like: the plan then ends on {ends}, nothing more is charged, and "
                "credits you bought stay."
            )
        with st.container(horizontal=True):
            widgets.post_form("/auth/portal", {}, "Manage cards and invoices", primary=False)
            st.button("Cancel plan", type="tertiary", key="cancel", on_click=ask, args=("cancel", ""))
