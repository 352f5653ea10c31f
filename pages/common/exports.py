"""CSV of a whole result, built when it is asked for."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TextIO

import streamlit as st

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def cell(value: object) -> object:
    """The value, with text that a spreadsheet would run as a formula made harmless."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) and not _is_number(value) else value


def _is_number(text: str) -> bool:
    return text[1:].replace(".", "", 1).isdigit() and text[0] in "+-"


def write_csv(target: TextIO, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    writer = csv.writer(target)
    writer.writerow(columns)
    writer.writerows([cell(value) for value in row] for row in rows)


def csv_button(
    label: str, file_name: str, columns: Sequence[str], rows: Callable[[], Iterable[Sequence[object]]], *, key: str
) -> None:
    """A download of everything `rows` yields at the moment of the click.

    `rows` runs outside the page's run: it must check the session itself and call no Streamlit function.
    """

    def build() -> bytes:
        text = io.StringIO(newline="")
        write_csv(text, columns, rows())
        return text.getvalue().encode()

    st.download_button(label, build, file_name=file_name, mime="text/csv", icon=":material/download:", key=key,
                       on_click="ignore", type="tertiary")


def pick(items: Iterable[Mapping[str, Any]], fields: Sequence[str]) -> Iterable[list[Any]]:
    """Rows of the named fields, in that order."""
    return ([item.get(field) for field in fields] for item in items)
