"""Exports of a whole result: a menu of files that the server writes as it reads them."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any
from urllib.parse import urlencode

import streamlit as st

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
