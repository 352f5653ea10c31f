"""Files of exports (G7): what a cell becomes in CSV, XLSX and Parquet, and that a file is written while it is read."""

from __future__ import annotations

import datetime as dt
import io
import re
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from credits_core import exports
from credits_core.export_sheets import Workbook
from credits_core.exports import Column
from tests.core.sheets import read_xlsx

BERLIN = ZoneInfo("Europe/Berlin")
COLUMNS = (
    Column("text"),
    Column("at", "time"),
    Column("day", "day"),
    Column("amount_credits", "credits", "amount_micros"),
    Column("price", "money", "price_cents"),
    Column("uses", "count"),
    Column("quantity", "number"),
    Column("share", "percent"),
    Column("demo", "flag"),
)
ROW = {
    "text": "=1+1",
    "at": "2026-10-25T00:30:00.250000Z",
    "day": "2026-10-25",
    "amount_micros": -1_234_567_890,
    "price_cents": 1999,
    "currency": "usd",
    "uses": 7,
    "quantity": 1.5,
    "share": 12.5,
    "demo": True,
}
EMPTY: dict[str, Any] = {}
YEN = {"price_cents": 500, "currency": "jpy", "text": "+15550100"}
DINAR = {"price_cents": 1005, "currency": "kwd"}


def made(format: exports.Format, *rows: Any, zone: ZoneInfo = BERLIN) -> bytes:
    return b"".join(exports.chunks(format, COLUMNS, rows, zone, "Things"))


def test_csv_has_exact_decimals_the_zones_times_and_no_formulas() -> None:
    lines = made("csv", ROW, EMPTY, YEN, DINAR).decode().split("\r\n")
    assert lines == [
        "text,at,day,amount_credits,price,uses,quantity,share,demo",
        "'=1+1,2026-10-25T02:30:00.250000+02:00,2026-10-25,-1234.56789,19.99,7,1.5,12.5,true",
        ",,,,,,,,",
        "+15550100,,,,500,,,,",
        ",,,,1.005,,,,",
        "",
    ]


def test_parquet_has_decimals_and_times_with_their_zone() -> None:
    table = pq.read_table(io.BytesIO(made("parquet", ROW, EMPTY, YEN, DINAR)))
    assert table.schema.field("amount_credits").type == pa.decimal128(25, 6)
    assert table.schema.field("at").type == pa.timestamp("us", tz="Europe/Berlin")
    first, empty, yen, dinar = table.to_pylist()
    assert first["text"] == "=1+1", "nothing runs a Parquet file: text stays as it is"
    assert first["at"].astimezone(dt.UTC) == dt.datetime(2026, 10, 25, 0, 30, 0, 250_000, dt.UTC)
    assert first["amount_credits"] == Decimal("-1234.567890")
    assert (first["price"], yen["price"], dinar["price"]) == (Decimal("19.99"), 500, Decimal("1.005"))
    assert (first["uses"], first["quantity"], first["share"], first["demo"]) == (
        7,
        Decimal("1.5"),
        12.5,
        True,
    )
    assert set(empty.values()) == {None}


def test_xlsx_numbers_are_numbers_and_text_is_text() -> None:
    (sheet,) = read_xlsx(made("xlsx", ROW, EMPTY, YEN)).values()
    heading, first, empty, yen = sheet
    assert heading[:2] == ["text", "at (Europe/Berlin)"]
    assert first[0] == "=1+1" and yen[0] == "+15550100"
    # days since 1899-12-30, by the clock of Berlin in summer
    at = dt.datetime(1899, 12, 30) + dt.timedelta(days=first[1])  # noqa: DTZ001
    assert abs(at - dt.datetime(2026, 10, 25, 2, 30, 0, 250_000)) < dt.timedelta(milliseconds=1)  # noqa: DTZ001
    assert first[3:] == [-1234.56789, 19.99, 7, 1.5, 12.5, True]
    assert empty == [] and yen[4] == 500
    book = zipfile.ZipFile(io.BytesIO(made("xlsx", ROW)))
    assert b"<f>" not in book.read("xl/worksheets/sheet1.xml")


def test_names_of_every_script_survive_in_every_format() -> None:
    names = ["Zoë", "علي", "שרה", "李雷", "🦊 Fox", "a\x0bb", 'quo"te, comma\nline']
    rows = [{"text": name} for name in names]
    table = pq.read_table(io.BytesIO(made("parquet", *rows)))
    assert table["text"].to_pylist() == names
    (sheet,) = read_xlsx(made("xlsx", *rows)).values()
    assert [row[0] for row in sheet[1:]] == [name.replace("\x0b", "_x000B_") for name in names]
    import csv

    assert [row[0] for row in csv.reader(io.StringIO(made("csv", *rows).decode(), newline=""))][1:] == names


@pytest.mark.parametrize(
    ("value", "written"),
    [("=1+1", "'=1+1"), ("@cmd", "'@cmd"), ("+15550100", "+15550100"), ("-0.60", "-0.60"), ("-x", "'-x"), ("\tx", "'\tx")],
)  # fmt: skip
def test_cells_run_nothing_in_a_spreadsheet(value: str, written: str) -> None:
    assert exports.harmless(value) == written


def test_more_rows_than_a_sheet_holds_go_on_on_the_next_one(tmp_path: Path) -> None:
    book = Workbook(tmp_path, COLUMNS[:1], BERLIN, "Things", rows=3)
    for number in range(5):
        book.add({"text": str(number)})
    sheets = read_xlsx(book.finished().read_bytes())
    assert {name: [row[0] for row in rows] for name, rows in sheets.items()} == {
        "Things": ["text", "0", "1"],
        "Things 2": ["text", "2", "3"],
        "Things 3": ["text", "4"],
    }


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_the_file_begins_before_the_last_row_is_read(format: exports.Format) -> None:
    read = 0

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal read
        for read in range(1, 20_001):
            yield ROW | {"text": f"row {read}"}

    pieces = exports.chunks(format, COLUMNS, rows(), BERLIN, "Things")
    assert next(pieces) and read <= exports.BATCH_ROWS
    assert b"".join(pieces) and read == 20_000


def test_who_stops_reading_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    pieces = exports.xlsx_chunks(COLUMNS, [ROW] * 10, BERLIN, "Things")
    assert next(pieces) and any(tmp_path.iterdir())
    pieces.close()  # type: ignore[attr-defined]
    assert not any(tmp_path.iterdir())


def test_an_empty_result_is_a_file_with_its_heading() -> None:
    assert re.fullmatch(rb"text,at,.*demo\r\n", made("csv"))
    assert pq.read_table(io.BytesIO(made("parquet"))).num_rows == 0
    (sheet,) = read_xlsx(made("xlsx")).values()
    assert len(sheet) == 1
