"""Currencies and their minor units, as Stripe counts them: `price_cents` is always the smallest unit of its
currency.

10.00 USD is 1000, 1000 JPY is 1000, 1.000 KWD is 1000. One table, so that no page and no gateway guesses.
"""

from __future__ import annotations

from decimal import Decimal, DecimalException

from credits_core.errors import InvalidRequest

MAX_MINOR_UNITS = 99_999_999  # of one charge at Stripe

_ZERO_DECIMAL = frozenset(
    ("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf")
)
_THREE_DECIMAL = frozenset(("bhd", "jod", "kwd", "omr", "tnd"))
_TWO_DECIMAL = frozenset(
    (
        "aed",
        "aud",
        "bgn",
        "brl",
        "cad",
        "chf",
        "czk",
        "dkk",
        "eur",
        "gbp",
        "hkd",
        "huf",
        "inr",
        "mxn",
        "myr",
        "nok",
        "nzd",
        "pln",
        "ron",
        "sek",
        "sgd",
        "thb",
        "usd",
        "zar",
    )
)
_SYMBOLS = {"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥", "cad": "CA$", "aud": "A$", "inr": "₹", "krw": "₩"}
# Stripe's smallest charges where they are not 50 units.
_MINIMUM = {
    "aed": 200,
    "bgn": 100,
    "czk": 1500,
    "dkk": 250,
    "gbp": 30,
    "hkd": 400,
    "huf": 17500,
    "mxn": 1000,
    "myr": 200,
    "nok": 300,
    "pln": 200,
    "ron": 200,
    "sek": 300,
    "thb": 1000,
}


def known(currency: str) -> bool:
    """Whether this is a currency we can charge in."""
    return currency.lower() in _ZERO_DECIMAL | _TWO_DECIMAL | _THREE_DECIMAL


def decimals(currency: str) -> int:
    """How many decimals the currency's main unit has: 2 for USD, 0 for JPY, 3 for KWD. KeyError if not known."""
    code = currency.lower()
    if code in _ZERO_DECIMAL:
        return 0
    if code in _THREE_DECIMAL:
        return 3
    if code in _TWO_DECIMAL:
        return 2
    raise KeyError(currency)


def minimum(currency: str) -> int:
    """The smallest amount Stripe charges in that currency, in its minor units."""
    return _MINIMUM.get(currency.lower(), 50)


def format_money(amount: int, currency: str) -> str:
    """Text of an amount of minor units: `format_money(1000, "usd")` is `$10.00`, `(1000, "jpy")` is `¥1,000`."""
    places = decimals(currency)
    whole, part = divmod(abs(amount), 10**places)
    symbol = _SYMBOLS.get(currency.lower())
    text = f"{whole:,}" + (f".{part:0{places}d}" if places else "")
    sign = "-" if amount < 0 else ""
    return f"{sign}{symbol}{text}" if symbol else f"{sign}{text} {currency.upper()}"


def parse_money(text: str, currency: str) -> int:
    """Minor units of a decimal text of the main unit: `("12.50", "usd")` is 1250. InvalidRequest for other text, parts of a
    minor unit, nothing or less, and more than a charge can be."""
    try:
        amount = Decimal(text.strip()).scaleb(decimals(currency))
    except DecimalException:
        raise InvalidRequest(f"“{text}” is not an amount of money; write a number such as 25.") from None
    if not amount.is_finite() or amount != amount.to_integral_value() or not 0 < amount <= MAX_MINOR_UNITS:
        raise InvalidRequest(
            f"“{text}” is not an amount in {currency.upper()}; write a number above 0 with its usual decimals."
        )
    return int(amount)


def plain_money(amount: int, currency: str) -> str:
    """The number alone, as a form holds it: `(1250, "usd")` is `12.50`, `(1200, "usd")` is `12`."""
    places = decimals(currency)
    whole, part = divmod(amount, 10**places)
    return f"{whole}.{part:0{places}d}" if part else str(whole)
