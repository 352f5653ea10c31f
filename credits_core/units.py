"""Credits and micros: 1 credit = 1,000,000 micros. Decimal text at the edges, integers everywhere else."""

from __future__ import annotations

from decimal import Decimal, DecimalException

from credits_core.errors import InvalidRequest

MICROS_PER_CREDIT = 1_000_000
MAX_MICROS = 2**63 - 1


def format_credits(micros: int) -> str:
    """Decimal text of an amount: at least 2 decimals, more only if needed (`10_000_000` -> `10.00`)."""
    sign = "-" if micros < 0 else ""
    whole, fraction = divmod(abs(micros), MICROS_PER_CREDIT)
    return f"{sign}{whole}.{f'{fraction:06d}'.rstrip('0').ljust(2, '0')}"


def parse_credits(text: str | int | Decimal) -> int:
    """Micros of a decimal text such as `-12.5`. Raises InvalidRequest for other text or parts of a micro."""
    try:
        micros = Decimal(str(text).strip()) * MICROS_PER_CREDIT
    except DecimalException:
        raise InvalidRequest(f"“{text}” is not an amount of credits; write a number such as 12.50.") from None
    if not micros.is_finite() or abs(micros) > MAX_MICROS or micros != micros.to_integral_value():
        raise InvalidRequest(
            f"“{text}” is not an amount of credits; use at most 6 decimals and a sensible size."
        )
    return int(micros)
