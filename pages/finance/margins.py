"""What operations earn: credits at what they cost when bought, less what providers charge."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

import streamlit as st

from credits_core import analytics, catalog
from credits_core.errors import CreditsError
from pages.common import charts, exports, periods, session, tables, widgets
from pages.common.formats import Viewer, plotted_money

session.guard(session.FINANCE)


def tiles(found: dict[str, Any], viewer: Viewer) -> None:
    total, currency = found["total"], found["currency"]
    share = total["margin_percent"]
    with st.grid(4, gap="small", min_column_width=150):
        widgets.tile(
            "Earned", viewer.money(round(total["revenue_cents"]), currency), None, "what the credits cost"
        )
        widgets.tile(
            "Provider cost",
            viewer.money(round(total["cost_cents"]), currency),
            None,
            "where it is known",
        )
        widgets.tile("Margin", viewer.money(round(total["margin_cents"]), currency), None, "earned less cost")
        widgets.tile("Margin in per cent", "–" if share is None else viewer.percent(share), None, "of earned")  # fmt: skip


def operations(found: dict[str, Any], viewer: Viewer) -> None:
    rows, currency = found["rows"], found["currency"]
    known = [row for row in rows if row["margin_cents"] is not None]
    with widgets.card("Margin by operation"):
        if known:
            charts.draw(
                charts.ranked_bars(
                    [row["name"] for row in known],
                    [max(plotted_money(row["margin_cents"], currency), 0) for row in known],
                    [viewer.money(round(row["margin_cents"]), currency) for row in known],
                    dark=viewer.dark,
                ),
                key="margins_chart",
                alt="Margin by operation",
            )

        def money(field: str) -> list[str]:
            return ["–" if row[field] is None else viewer.money(round(row[field]), currency) for row in rows]

        (
            tables.Table(rows, viewer)
            .text("Operation", "name")
            .count("Uses", "events")
            .credits("Credits", "charged_micros", places=2)
            .texts("Earned", money("revenue_cents"), alignment="right")
            .texts("Cost", money("cost_cents"), alignment="right")
            .texts("Margin", money("margin_cents"), alignment="right")
            .texts(
                "Share",
                [
                    "–" if row["margin_percent"] is None else viewer.percent(row["margin_percent"])
                    for row in rows
                ],
                alignment="right",
            )
            .draw(key="margins", alt="Margins by operation", wide=("Uses", "Credits", "Cost"))
        )
        if len(known) < len(rows):
            st.caption("Operations without a provider cost have no margin; administrators set costs here.")


def cost_form() -> None:
    """From now on; what was used before keeps the cost of its time."""
    person, viewer = session.guard(session.ADMIN), session.viewer()
    offered = catalog.pricing(session.database(), person.identity)["operations"]
    names = {operation["operation"]: operation["name"] for operation in offered}
    with st.form("provider_cost", border=False, clear_on_submit=True):
        operation = st.selectbox("Operation", list(names), format_func=lambda code: names[code])
        cost = st.text_input("Cost in cents", placeholder="1.4", help="For one unit; fractions are allowed.")
        unit = st.text_input(
            "Quantity in one unit",
            "1",
            help="60 where the provider charges by the minute and calls are counted in seconds; 1000 for 1K tokens.",
        )
        if not st.form_submit_button("Set from now on", type="primary"):
            return
    try:
        amounts = Decimal(cost.strip()), Decimal(unit.strip())
    except InvalidOperation:
        st.error("Enter the cost and the quantity as numbers, such as 1.4 and 60.", icon=":material/error:")
        return
    try:
        catalog.set_provider_cost(
            session.database(), person.identity, operation, amounts[0], unit_size=amounts[1]
        )
    except CreditsError as error:
        widgets.show_error(error)
        return
    st.toast(
        f"{names[operation]}: the cost counts from {viewer.day(viewer.today().isoformat())} on.",
        icon=":material/check:",
    )
    st.rerun()


person, viewer = session.guard(session.FINANCE), session.viewer()
with widgets.page_header(
    "Margins", "What used credits earned, less what providers charge. Promotional credits earn nothing."
):
    if person.role in session.ADMIN:
        with st.popover("Set a provider cost", icon=":material/edit:"):
            cost_form()
    toolbar = st.container(width="content")
with st.container(horizontal=True, vertical_alignment="center"):
    first, last = periods.choose(viewer, default="30d", with_all=False, with_months=True)
with toolbar:
    exports.menu("margins", viewer, days=(first, last), key="export")
begin, end = periods.moments(viewer, first, last)
assert begin is not None and end is not None
found = analytics.margins(session.database(), person.identity, begin, end)
if not found["rows"]:
    widgets.empty("Nothing used in these days", "Choose a longer period; usage counts when it is charged.")
else:
    tiles(found, viewer)
    operations(found, viewer)
