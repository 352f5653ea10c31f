"""Reads the cells of a spreadsheet, as far as ours have any: numbers, texts, truth values."""

from __future__ import annotations

import io
import zipfile
from typing import Any
from xml.etree import ElementTree

_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def read_xlsx(file: bytes) -> dict[str, list[list[Any]]]:
    """Rows by the name of their sheet; cells without a value are None, rows end with their last cell."""
    with zipfile.ZipFile(io.BytesIO(file)) as book:
        names = [
            str(sheet.get("name"))
            for sheet in ElementTree.fromstring(book.read("xl/workbook.xml")).iter(f"{_MAIN}sheet")
        ]
        return {
            name: _rows(book.read(f"xl/worksheets/sheet{number}.xml")) for number, name in enumerate(names, 1)
        }


def _rows(xml: bytes) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for row in ElementTree.fromstring(xml).iter(f"{_MAIN}row"):
        while len(rows) < int(row.get("r", "1")) - 1:
            rows.append([])
        cells: list[Any] = []
        for cell in row.iter(f"{_MAIN}c"):
            place = _column(str(cell.get("r")))
            cells += [None] * (place - len(cells)) + [_value(cell)]
        rows.append(cells)
    return rows


def _column(reference: str) -> int:
    number = 0
    for letter in reference.rstrip("0123456789"):
        number = number * 26 + ord(letter) - 64
    return number - 1


def _value(cell: ElementTree.Element) -> Any:
    kind, text = cell.get("t"), "".join(cell.itertext())
    if kind == "inlineStr":
        return text
    return text == "1" if kind == "b" else float(text)
