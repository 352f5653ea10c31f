"""The text of a PDF that fpdf2 wrote: glyph numbers of its pages by the tables that say which letters they are."""

from __future__ import annotations

import re
import zlib

_OBJECT = re.compile(rb"(\d+) 0 obj\n(.*?)endobj", re.DOTALL)
_STREAM = re.compile(rb"stream\n(.*)\nendstream", re.DOTALL)
_SHOWN = re.compile(
    rb"/F(\d+) [\d.]+ Tf|\[?((?:\((?:\\.|[^\\)])*\)\s*(?:-?[\d.]+\s*)?)+)\]? ?T[jJ]", re.DOTALL
)
_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}


def text_of(file: bytes) -> str:
    """Everything written on its pages, piece by piece, separated by blanks."""
    objects = {int(number): body for number, body in _OBJECT.findall(file)}
    fonts: dict[int, dict[int, str]] = {}
    for body in objects.values():
        for number, reference in re.findall(rb"/F(\d+) (\d+) 0 R", body):
            unicode = re.search(rb"/ToUnicode (\d+) 0 R", objects[int(reference)])
            assert unicode
            fonts[int(number)] = _letters(_content(objects[int(unicode[1])]))
    pages = [_content(body) for body in objects.values() if b"stream" in body]
    return " ".join(_page(page, fonts) for page in pages if b" Tf" in page)


def _content(body: bytes) -> bytes:
    found = _STREAM.search(body)
    assert found
    return zlib.decompress(found[1]) if b"FlateDecode" in body else found[1]


def _letters(table: bytes) -> dict[int, str]:
    return {
        int(glyph, 16): bytes.fromhex(letters.decode()).decode("utf-16-be")
        for glyph, letters in re.findall(rb"<([0-9A-Fa-f]{4})> <([0-9A-Fa-f]{4,})>\n", table)
    }


def _page(content: bytes, fonts: dict[int, dict[int, str]]) -> str:
    font: dict[int, str] = {}
    pieces: list[str] = []
    for number, shown in _SHOWN.findall(content):
        if number:
            font = fonts[int(number)]
        else:
            raw = b"".join(re.findall(rb"\(((?:\\.|[^\\)])*)\)", shown, re.DOTALL))
            raw = re.sub(rb"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), raw, flags=re.DOTALL)
            pieces.append(
                "".join(font.get(int.from_bytes(raw[n : n + 2]), "¿") for n in range(0, len(raw), 2))
            )
    return " ".join(pieces)
