"""Amounts are integers in the unit's minor unit. Nothing here converts between units."""

from __future__ import annotations

import re
from decimal import Decimal

CREDIT = "CREDIT"

# ISO 4217 exponents of what we can be asked to sell in; credits are whole.
EXPONENTS: dict[str, int] = {
    CREDIT: 0,
    "INR": 2,
    "USD": 2,
    "EUR": 2,
    "GBP": 2,
    "NGN": 2,
    "BRL": 2,
    "AUD": 2,
    "CAD": 2,
    "SGD": 2,
    "AED": 2,
    "ZAR": 2,
    "KES": 2,
    "GHS": 2,
    "JPY": 0,
    "KRW": 0,
    "VND": 0,
    "CLP": 0,
    "KWD": 3,
    "BHD": 3,
    "OMR": 3,
}
CURRENCIES = sorted(set(EXPONENTS) - {CREDIT})
SYMBOLS: dict[str, str] = {
    "INR": "₹",
    "USD": "$",
    "EUR": "€",
    "GBP": "£",
    "NGN": "₦",
    "JPY": "¥",
    "BRL": "R$",
}


def exponent(unit: str) -> int:
    """How many decimal digits the unit has.

    Raises: KeyError for a unit we do not know.
    """
    return EXPONENTS[unit]


def display(amount: int, unit: str) -> str:
    """The amount as people read it: `₹1,999.00`, `100 credits`, `12.345 KWD`.

    Units: `amount` in the minor unit.
    """
    if unit == CREDIT:
        return f"{amount:,} credit{'' if abs(amount) == 1 else 's'}"
    digits = exponent(unit)
    whole, part = divmod(abs(amount), 10**digits)
    number = f"{whole:,}" + (f".{part:0{digits}d}" if digits else "")
    sign = "-" if amount < 0 else ""
    symbol = SYMBOLS.get(unit)
    return f"{sign}{symbol}{number}" if symbol else f"{sign}{number} {unit}"


def minor(value: str | int | Decimal, unit: str) -> int:
    """An amount written in the major unit (`"3000.50"`), exactly.

    Raises: ValueError for what is no amount, or has more decimals than the unit.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError(f"{value!r} is no amount")
    try:
        amount = Decimal(value).scaleb(exponent(unit))
    except ArithmeticError as error:
        raise ValueError(f"{value!r} is no amount") from error
    if not amount.is_finite() or amount != amount.to_integral_value():
        raise ValueError(f"{value!r} is no amount of {unit}")
    return int(amount)


def typed(text: str, unit: str) -> int:
    """An amount of the major unit as a person types it, exactly: digits alone, with no more decimals than the unit has.

    Raises: ValueError, with a sentence for that person; KeyError for a unit we do not know.
    """
    digits = exponent(unit)
    decimals = rf"(\.[0-9]{{1,{digits}}})?" if digits else ""
    if not re.fullmatch(rf"[0-9]{{1,13}}{decimals}", text):
        most = f"at most {digits} decimals" if digits else "no decimals"
        raise ValueError(
            f"Write it in {unit} like {major(99 * 10**digits, unit)}: {most}, no sign and nothing between thousands."
        )
    return minor(text, unit)


def major(amount: int, unit: str) -> str:
    """A positive amount as a decimal number of the major unit: `3000.50`.

    Units: `amount` in the minor unit.
    """
    digits = exponent(unit)
    whole, part = divmod(amount, 10**digits)
    return f"{whole}.{part:0{digits}d}" if digits else str(whole)
