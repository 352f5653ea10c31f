"""Tables as files: CSV, XLSX and Parquet of any number of rows, written while they are read, never whole in memory.

A `Column` says what a field holds; the rows are mappings as the database answers them (amounts in micros, prices in the
currency's smallest unit, times as ISO 8601). Every writer takes columns, an iterator of rows and the time zone in which
times are written, and yields the file's bytes; who stops reading stops the writing.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from credits_core import currencies
from credits_core.units import format_credits

Kind = Literal["text", "time", "day", "credits", "money", "count", "number", "percent", "flag"]
Format = Literal["csv", "xlsx", "parquet"]
Row = Mapping[str, Any]

MEDIA_TYPES: Mapping[Format, str] = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "parquet": "application/vnd.apache.parquet",
}
BATCH_ROWS = 5_000  # rows of a Parquet row group, and the most that are in memory at once
SHEET_ROWS = 1_048_576  # what a sheet of a spreadsheet holds, heading included
CELL_CHARACTERS = 32_767
CHUNK_BYTES = 65_536
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Column:
    """One column: its heading, what it holds, and the field of a row it comes from.

    credits: micros, as exact decimals. money: smallest units of the currency that the row's field `currency` names. count: a
    whole number; number: a decimal; percent: 12.5 for 12.5 %. text takes lists and objects, too, as JSON.
    """

    name: str
    kind: Kind = "text"
    field: str = ""
    currency: str = "currency"

    def exact(self, row: Row) -> Any:
        """The value without loss: text, aware datetime, date, Decimal, int, bool, or None."""
        value = row.get(self.field or self.name)
        if value is None:
            return None
        match self.kind:
            case "text":
                return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            case "time":
                return dt.datetime.fromisoformat(value)
            case "day":
                return dt.date.fromisoformat(value)
            case "credits":
                return Decimal(value).scaleb(-6)
            case "money":
                return Decimal(value).scaleb(-currencies.decimals(row[self.currency]))
            case "number" | "percent":
                return Decimal(str(value))
            case _:
                return value


def chunks(
    format: Format, columns: Sequence[Column], rows: Iterable[Row], zone: ZoneInfo, title: str
) -> Iterator[bytes]:
    """The file, piece by piece; `title` names the sheet of a spreadsheet."""
    match format:
        case "csv":
            return csv_chunks(columns, rows, zone)
        case "xlsx":
            return xlsx_chunks(columns, rows, zone, title)
        case "parquet":
            return parquet_chunks(columns, rows, zone)


def harmless(text: str) -> str:
    """Text that no spreadsheet runs as a formula; signed numbers stay as they are."""
    return f"'{text}" if text.startswith(_FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    return text[1:].replace(".", "", 1).isdigit() and text[0] in "+-"


def csv_chunks(columns: Sequence[Column], rows: Iterable[Row], zone: ZoneInfo) -> Iterator[bytes]:
    """UTF-8 with a heading; times as ISO 8601 with their offset, amounts as decimals with a point."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([column.name for column in columns])
    for row in rows:
        writer.writerow([_csv_cell(column, row, zone) for column in columns])
        if text.tell() >= CHUNK_BYTES:
            yield _taken(text)
    yield _taken(text)


def _taken(text: io.StringIO) -> bytes:
    written = text.getvalue().encode()
    text.seek(0)
    text.truncate()
    return written


def _csv_cell(column: Column, row: Row, zone: ZoneInfo) -> str:
    value = column.exact(row)
    if value is None:
        return ""
    match column.kind:
        case "text":
            return harmless(value)
        case "time":
            local: str = value.astimezone(zone).isoformat()
            return local
        case "credits":
            return format_credits(row[column.field or column.name])
        case "number" | "percent" | "money":
            return format(value, "f")
        case "flag":
            return "true" if value else "false"
        case _:
            return str(value)


def xlsx_chunks(
    columns: Sequence[Column], rows: Iterable[Row], zone: ZoneInfo, title: str
) -> Iterator[bytes]:
    """A workbook whose numbers are numbers; more rows than a sheet holds go on on the next one.

    A workbook's first bytes depend on all of its rows, so it is kept in temporary files until it is complete.
    """
    from credits_core.export_sheets import Workbook  # the library is loaded where it is used

    with tempfile.TemporaryDirectory(prefix="export-") as folder:
        book = Workbook(Path(folder), columns, zone, title)
        for row in rows:
            book.add(row)
        with book.finished().open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk


class _Sink(io.RawIOBase):
    """What a library writes to; its bytes are handed on."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(self._parts[-1])

    def take(self) -> bytes:
        written = b"".join(self._parts)
        self._parts.clear()
        return written


def parquet_chunks(columns: Sequence[Column], rows: Iterable[Row], zone: ZoneInfo) -> Iterator[bytes]:
    """Row groups of at most `BATCH_ROWS`; amounts are decimal128, times know their zone."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types: dict[Kind, Any] = {
        "text": pa.string(),
        "time": pa.timestamp("us", tz=zone.key),
        "day": pa.date32(),
        "credits": pa.decimal128(25, 6),
        "money": pa.decimal128(22, 3),
        "count": pa.int64(),
        "number": pa.decimal128(38, 12),
        "percent": pa.decimal128(12, 4),
        "flag": pa.bool_(),
    }
    schema = pa.schema([(column.name, types[column.kind]) for column in columns])
    sink, rest = _Sink(), iter(rows)
    with pq.ParquetWriter(pa.PythonFile(sink, mode="w"), schema, compression="zstd") as writer:
        while batch := list(islice(rest, BATCH_ROWS)):
            arrays = [
                pa.array([column.exact(row) for row in batch], type=types[column.kind]) for column in columns
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            yield sink.take()
    yield sink.take()
