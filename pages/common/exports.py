"""CSV of a whole result, built when it is asked for."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TextIO

import streamlit as st

from credits_core.units import format_credits

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def cell(value: object) -> object:
    """The value, with text that a spreadsheet would run as a formula made harmless."""
    return (
        f"'{value}"
        if isinstance(value, str) and value.startswith(_FORMULA) and not _is_number(value)
        else value
    )


def _is_number(text: str) -> bool:
    return text[1:].replace(".", "", 1).isdigit() and text[0] in "+-"


def write_csv(target: TextIO, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    writer = csv.writer(target)
    writer.writerow(columns)
    writer.writerows([cell(value) for value in row] for row in rows)


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
