"""Exports of a whole result: a menu of files that the server writes as it reads them, and small tables made here."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any, TextIO
from urllib.parse import urlencode

import streamlit as st

from credits_core.exports import harmless
from credits_core.units import format_credits
from pages.common.formats import Viewer
from pages.common.periods import Days

FILES = {
    "csv": ("CSV", "Text, for every program"),
    "xlsx": ("XLSX", "Spreadsheet"),
    "parquet": ("Parquet", "For analysis, exact decimals"),
}


def menu(
    what: str, viewer: Viewer, *, days: Days = (None, None), key: str, label: str = "Export", **filters: Any
) -> None:
    """A small menu with the whole result as CSV, XLSX and Parquet, whatever page of it is shown.

    `what` is a name of credits_core/export_sources.py; days and filters are those of the shown list. Times are the viewer's.
    """
    with st.popover(label, icon=":material/download:", type="tertiary", key=key):
        st.html(_links({format: address(what, format, viewer, days, **filters) for format in FILES}))


def address(what: str, format: str, viewer: Viewer, days: Days = (None, None), **filters: Any) -> str:
    """Where one of the files is."""
    first, last = days
    query = {"format": format, "time_zone": viewer.zone_name, "from": first, "to": last, **filters}
    return f"/auth/export/{what}?{urlencode({name: value for name, value in query.items() if value})}"


def _links(addresses: Mapping[str, str]) -> str:
    items = "".join(
        f'<a class="pc-file" href="{escape(addresses[format])}"><b>{title}</b><span>{escape(note)}</span></a>'
        for format, (title, note) in FILES.items()
    )
    return f'<nav class="pc-files" aria-label="File formats">{items}</nav>'


def write_csv(target: TextIO, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    writer = csv.writer(target)
    writer.writerow(columns)
    writer.writerows([harmless(value) if isinstance(value, str) else value for value in row] for row in rows)


def csv_button(
    label: str,
    file_name: str,
    fields: Sequence[str],
    rows: Callable[[], Iterable[Mapping[str, Any]]],
    *,
    key: str,
) -> None:
    """A download of the named fields of everything `rows` yields at the moment of the click.

    Amounts in micros become decimal credits (`amount_micros` -> `amount_credits`). `rows` runs outside the page's
    run: it must check the session itself and call no Streamlit function.
    """

    def build() -> bytes:
        text = io.StringIO(newline="")
        write_csv(
            text,
            [_title(field) for field in fields],
            ([_value(row, field) for field in fields] for row in rows()),
        )
        return text.getvalue().encode()

    st.download_button(
        label,
        build,
        file_name=file_name,
        mime="text/csv",
        icon=":material/download:",
        key=key,
        on_click="ignore",
        type="tertiary",
    )


def _title(field: str) -> str:
    return field.removesuffix("_micros") + "_credits" if field.endswith("_micros") else field


def _value(row: Mapping[str, Any], field: str) -> object:
    value = row.get(field)
    return format_credits(value) if field.endswith("_micros") and value is not None else value
