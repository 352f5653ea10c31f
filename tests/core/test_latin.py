"""Names of other scripts in letters that a font has (A6)."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from credits_core.latin import readable

LATIN = frozenset(range(32, 127))


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("Zoë", "Zoe"),
        ("Zoe\u0308", "Zoe"),
        ("ｶﾀｶﾅ", "katakana"),
        ("ひらがな", "hiragana"),
        ("한국", "hangug"),
        ("राम", "raam"),
        ("Սարա", "Sara"),
        ("გია", "gia"),
        ("حسن", "hsn"),
        ("５０", "50"),
        ("𝐁𝐨𝐥𝐝", "Bold"),
        ("田中 ⅓", "?? ?"),
        ("a\u200b\u0000🦊b", "ab"),
        ("", ""),
    ],
)
def test_what_is_written(text: str, written: str) -> None:
    assert readable(text, LATIN) == written


def test_every_letter_there_is_becomes_something_the_font_has() -> None:
    """Nothing else gets through, whatever somebody is called."""
    every = (chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) != "Cs")
    assert {ord(letter) for letter in readable("".join(every), LATIN)} <= LATIN
