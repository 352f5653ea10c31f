"""Pieces every page is made of: header, metrics, pills, empty states, forms that post to a route."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any, Literal, ParamSpec, TypeVar

import streamlit as st
from streamlit.elements.lib.column_types import ColumnConfig

from credits_core.errors import CreditsError
from pages.common import sparklines
from pages.common.formats import Viewer

P = ParamSpec("P")
T = TypeVar("T")

# Background of a pill by what it says; both themes read well on these translucent colours.
GOOD, QUIET, WARN, BAD, BLUE = "#22C55E33", "#94A3B833", "#F59E0B40", "#EF444433", "#3B82F633"
STATUS_COLORS: Mapping[str, str] = {
    "completed": GOOD,
    "credited": GOOD,
    "purchase": GOOD,
    "grant": GOOD,
    "bonus": GOOD,
    "paid": GOOD,
    "active": GOOD,
    "sent": GOOD,
    "running": BLUE,
    "unread": BLUE,
    "ok": GOOD,
    "low": WARN,
    "ending": BAD,
    "end": BAD,
    "processing": BLUE,
    "open": BLUE,
    "created": BLUE,
    "adjustment": BLUE,
    "reversal": BLUE,
    "canceled": QUIET,
    "expired": QUIET,
    "revoked": QUIET,
    "expiry": QUIET,
    "use": QUIET,
    "promo": QUIET,
    "read": QUIET,
    "not_sent": WARN,
    "gave_up": BAD,
    "used up": QUIET,
    "abandoned": WARN,
    "review": WARN,
    "refund": WARN,
    "dispute": WARN,
    "extension": BLUE,
    "rewarded": GOOD,
    "on": GOOD,
    "scheduled": BLUE,
    "off": QUIET,
    "used_up": QUIET,
    "held": WARN,
    "taken_back": BAD,
    "failed": BAD,
    "to settle": WARN,
    "waiting": BLUE,
    "finished": GOOD,
    "repaired": GOOD,
    "accepted": QUIET,
    "processed": GOOD,
    "ignored": QUIET,
    "in order": GOOD,
    "late": BAD,
    "not run yet": QUIET,
    "debt_recovery": BAD,
    "partly_refunded": WARN,
    "refunded": WARN,
    "disputed": BAD,
    "requested": BLUE,
    "approved": BLUE,
    "succeeded": GOOD,
    "done": GOOD,
    "rejected": QUIET,
    "needs_response": BAD,
    "under_review": WARN,
    "lost": BAD,
    "won": GOOD,
}
STATUS_LABELS: Mapping[str, str] = {
    "held": "In review",
    "use": "Use",
    "ok": "Going on",
    "low": "Low",
    "ending": "Ending",
    "end": "Hang up",
    "grant": "Credits given",
    "credited": "Paid",
    "review": "In review",
    "open": "Not paid yet",
    "created": "Not paid yet",
    "debt_recovery": "Debt recovered",
    "requested": "Waits for approval",
    "sent": "On its way",
    "done": "Carried out",
}


_MARKUP = re.compile(r"([\\`*_\[\]<>:$~#|!])")


def plain(text: str) -> str:
    """Text of people (names, reasons, prices) for places where Streamlit reads Markdown: shown as it is written."""
    return _MARKUP.sub(r"\\\1", text)


def status_label(status: str) -> str:
    return STATUS_LABELS.get(status, status.replace("_", " ").capitalize())


def status_badge(status: str) -> None:
    """A status beside a title, in the colour that its pill has in tables."""
    colors: Mapping[str, Literal["green", "orange", "red", "blue"]] = {
        GOOD: "green",
        WARN: "orange",
        BAD: "red",
        BLUE: "blue",
    }
    st.badge(status_label(status), color=colors.get(STATUS_COLORS.get(status, QUIET), "gray"))


def pills_column(label: str, **options: Any) -> ColumnConfig:
    """A table column of coloured pills; its cells are one-element lists of `status_label` texts."""
    return st.column_config.MultiselectColumn(
        label,
        options=[status_label(status) for status in STATUS_COLORS],
        color=list(STATUS_COLORS.values()),
        **options,
    )


@contextmanager
def page_header(title: str, caption: str) -> Iterator[None]:
    """The title row; what is drawn inside stands at its right end (below it on a phone)."""
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        with st.container(width="content", gap=None):
            st.title(plain(title), anchor=False)
            st.caption(plain(caption))
        with st.container(
            horizontal=True, horizontal_alignment="right", vertical_alignment="center", width="content"
        ):
            yield


@contextmanager
def card(title: str, *, key: str | None = None, height: Any = "content") -> Iterator[Callable[[], Any]]:
    """A bordered box with a title; the answer opens the title row's right end for a toolbar."""
    with st.container(border=True, key=key, height=height):
        head = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center")
        head.subheader(title, anchor=False)
        yield lambda: head.container(
            horizontal=True, horizontal_alignment="right", vertical_alignment="center", width="content"
        )


def empty(title: str, what_to_do: str) -> None:
    """An empty state: what is missing and the next step."""
    with st.container(horizontal_alignment="center", gap="xxsmall"):
        st.space("small")
        st.markdown(f"**{title}**", width="content")
        st.caption(what_to_do, width="content", text_alignment="center")
        st.space("small")


def percent_change(change: float | None, viewer: Viewer) -> str | None:
    """`+18.6%` for a metric's delta; None where there is nothing to compare with."""
    if change is None:
        return None
    return viewer.percent(change, signed=True) if change < 1000 else ">999%"


def tile(
    label: str,
    value: str,
    delta: str | None,
    description: str,
    chart: Sequence[float] = (),
    chart_kind: sparklines.Kind = "line",
    *,
    delta_color: Any = "normal",
    **options: Any,
) -> None:
    """A bordered figure with its change and a sparkline; figures that were zero all along get no line."""
    with st.container(border=True, height="stretch", vertical_alignment="distribute", gap="small"):
        st.metric(label, value, delta, delta_description=description, delta_color=delta_color, **options)
        if any(chart):
            st.html(sparklines.markup(chart, chart_kind, sparklines.tone(delta, delta_color)))


def show_error(error: CreditsError) -> None:
    st.error(plain(error.message), icon=":material/error:")


def errors_as_sentences(draw: Callable[P, T]) -> Callable[P, T | None]:
    """Draws the error's sentence in place of whatever could not be loaded; the rest of the page stays."""

    @functools.wraps(draw)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T | None:
        try:
            return draw(*args, **kwargs)
        except CreditsError as error:
            show_error(error)
            return None

    return guarded


def post_form(
    action: str,
    fields: Mapping[str, str],
    label: str,
    *,
    primary: bool = True,
    note: str = "",
    disabled: bool = False,
) -> None:
    """A plain HTML form with one button that posts to a route: the way out to Stripe and the way to sign out.

    The browser follows the route's 303 itself, so nothing depends on this page's socket or session_state.
    """
    hidden = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in fields.items()
    )
    kind = "pc-primary" if primary else "pc-secondary"
    st.html(
        f'<form method="post" action="{escape(action)}" class="pc-form">{hidden}'
        f'<button type="submit" class="pc-button {kind}"{" disabled" if disabled else ""}>{escape(label)}</button>'
        f"{f'<small>{escape(note)}</small>' if note else ''}</form>"
    )


def link_button(label: str, address: str) -> None:
    """A link that looks like the primary button and stays in this tab (Streamlit's own opens another one)."""
    st.html(f'<a class="pc-button pc-primary" href="{escape(address)}">{escape(label)}</a>', width="content")


def meter(label: str, share: float, level: str, text: str) -> None:
    """A bar from 0 to 1 in the colour of its level: ok (green), warning (yellow), reached (red). The words say it as well."""
    percent = round(min(max(share, 0.0), 1.0) * 100)
    st.html(
        f'<div class="pc-meter pc-{escape(level)}">'
        f'<div class="pc-meter-head"><span>{escape(label)}</span><b>{escape(text)}</b></div>'
        f'<div class="pc-meter-bar" role="progressbar" aria-label="{escape(label)}" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{percent}"><i style="width: {percent}%"></i></div></div>'
    )


def facts(rows: Sequence[tuple[str, str]]) -> None:
    """Names and values in two columns, the values at the right edge."""
    cells = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows)
    st.html(f'<dl class="pc-facts">{cells}</dl>')


def timeline(entries: Sequence[tuple[str, str, str]]) -> None:
    """What happened one after another: moment, what, and more about it (may be empty)."""
    items = "".join(
        f"<li><time>{escape(at)}</time><b>{escape(what)}</b>{f'<span>{escape(more)}</span>' if more else ''}</li>"
        for at, what, more in entries
    )
    st.html(f'<ol class="pc-timeline">{items}</ol>')
