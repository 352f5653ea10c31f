"""Spreadsheets of exports: typed cells in sheets of limited length, by XlsxWriter row by row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import xlsxwriter

from credits_core import currencies, exports

_PATTERNS = {
    "time": "yyyy-mm-dd hh:mm:ss",
    "day": "yyyy-mm-dd",
    "credits": "#,##0.00####",
    "count": "#,##0",
    "number": "#,##0.############",
    "percent": '0.0#"%"',
}
_WIDTHS = {"text": 22, "time": 20, "day": 12, "flag": 9}
_OTHER_WIDTH = 15


class Workbook:
    """One workbook under way in a folder: `add` every row, then `finished` answers the file."""

    def __init__(
        self, folder: Path, columns: Sequence[exports.Column], zone: ZoneInfo, title: str, rows: int = 0
    ) -> None:
        self._path = folder / "export.xlsx"
        self._columns, self._zone, self._title = columns, zone, title
        self._most = rows or exports.SHEET_ROWS
        self._book = xlsxwriter.Workbook(
            self._path,
            {
                "constant_memory": True,
                "tmpdir": str(folder),
                "strings_to_formulas": False,
                "strings_to_urls": False,
            },
        )
        self._formats: dict[str, Any] = {}
        self._bold = self._book.add_format({"bold": True, "bottom": 1})
        self._sheets = 0
        self._start_sheet()

    def add(self, row: exports.Row) -> None:
        """One row, on the next sheet when this one is full."""
        if self._row == self._most:
            self._end_sheet()
            self._start_sheet()
        for place, column in enumerate(self._columns):
            value = column.exact(row)
            if value is not None:
                self._write(place, column, value, row)
        self._row += 1

    def finished(self) -> Path:
        """Writes the file; nothing can be added any more."""
        self._end_sheet()
        self._book.close()
        return self._path

    def _write(self, place: int, column: exports.Column, value: Any, row: exports.Row) -> None:
        match column.kind:
            case "text":
                self._sheet.write_string(self._row, place, value[: exports.CELL_CHARACTERS])
            case "flag":
                self._sheet.write_boolean(self._row, place, value)
            case "time":  # a cell has no zone: it shows the clock of the one asked for, as its heading says
                local = value.astimezone(self._zone).replace(tzinfo=None)
                self._sheet.write_datetime(self._row, place, local, self._format(_PATTERNS["time"]))
            case "day":
                self._sheet.write_datetime(self._row, place, value, self._format(_PATTERNS["day"]))
            case "money":
                places = currencies.decimals(row[column.currency])
                pattern = "#,##0" + (f".{'0' * places}" if places else "")
                self._sheet.write_number(self._row, place, value, self._format(pattern))
            case _:
                self._sheet.write_number(self._row, place, value, self._format(_PATTERNS[column.kind]))

    def _format(self, pattern: str) -> Any:
        if pattern not in self._formats:
            self._formats[pattern] = self._book.add_format({"num_format": pattern})
        return self._formats[pattern]

    def _start_sheet(self) -> None:
        self._sheets += 1
        name = self._title if self._sheets == 1 else f"{self._title} {self._sheets}"
        self._sheet = self._book.add_worksheet(name)
        self._sheet.freeze_panes(1, 0)
        for place, column in enumerate(self._columns):
            self._sheet.set_column(place, place, _WIDTHS.get(column.kind, _OTHER_WIDTH))
            heading = f"{column.name} ({self._zone.key})" if column.kind == "time" else column.name
            self._sheet.write_string(0, place, heading, self._bold)
        self._row = 1

    def _end_sheet(self) -> None:
        self._sheet.autofilter(0, 0, self._row - 1, len(self._columns) - 1)
