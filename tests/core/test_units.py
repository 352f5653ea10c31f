"""Credits as text and micros as integers: exact in both directions, and only what is an amount is taken (B, A15)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credits_core.errors import InvalidRequest
from credits_core.units import MAX_MICROS, format_credits, parse_credits


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (0, "0.00"),
        (10_000_000, "10.00"),
        (225_000, "0.225"),
        (-300_000, "-0.30"),
        (1, "0.000001"),
        (-1, "-0.000001"),
        (1_508_333, "1.508333"),
        (123_456_789_000_000, "123456789.00"),
    ],
)
def test_format(micros: int, text: str) -> None:
    assert format_credits(micros) == text
    assert parse_credits(text) == micros


@given(st.integers(-MAX_MICROS, MAX_MICROS))
def test_text_and_back(micros: int) -> None:
    assert parse_credits(format_credits(micros)) == micros


@pytest.mark.parametrize(
    "text",
    ["", "ten", "1,5", "NaN", "inf", "-inf", "1e300", "1e999999", "0.0000001", "9223372036854.775808", "1 2"],
)
def test_what_is_no_amount_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(InvalidRequest, match="is not an amount of credits"):
        parse_credits(text)
