"""Letters in the Latin alphabet, for where a script cannot be drawn: rough, from the names that Unicode gives them.

`田中` has no reading in Unicode and stays unknown; `タナカ` is tanaka, `김` gim, `علي` aly. Enough to recognize a name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container

UNKNOWN = "?"
_SOUND = re.compile(
    r"(?:HANGUL SYLLABLE|(?:HIRAGANA|KATAKANA) LETTER(?: SMALL)?|VOWEL SIGN) (?P<sound>[A-Z]+)$"
)
_LETTER = re.compile(
    r"LETTER (?:FINAL )?(?P<start>SH|CH|KH|GH|TH|TS|DZ|ZH|PH|BH|DH|JH|[B-DF-HJ-NP-TV-Z]|[AEIOU])"
)


def readable(text: str, drawn: Container[int]) -> str:
    """The text with only such letters as a font has (`drawn`, their code points): accents and styles fall away first, then the
    script; marks, signs and controls without a letter are left out."""
    return "".join(_letter(letter, drawn) for letter in unicodedata.normalize("NFC", text))


def _letter(letter: str, drawn: Container[int]) -> str:
    if ord(letter) in drawn:
        return letter
    parts = unicodedata.normalize("NFKD", letter)
    for end in range(len(parts), 0, -1):  # without its last accent, then without the one before
        simpler = unicodedata.normalize("NFC", parts[:end])
        if all(map(unicodedata.combining, parts[end:])) and all(ord(part) in drawn for part in simpler):
            return simpler
    name = unicodedata.name(letter, "")
    if sound := _SOUND.search(name):
        return sound["sound"].lower()
    if start := _LETTER.search(name):
        return start["start"].title() if "CAPITAL" in name else start["start"].lower()
    return UNKNOWN if unicodedata.category(letter)[0] in "LN" else ""
