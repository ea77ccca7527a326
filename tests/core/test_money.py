"""Minor units: the exponent of every currency, and amounts as people read them."""

from __future__ import annotations

import pytest

from core.money import EXPONENTS, display, exponent, typed


@pytest.mark.parametrize(
    ("currency", "digits"),
    [("INR", 2), ("USD", 2), ("EUR", 2), ("GBP", 2), ("BRL", 2), ("NGN", 2), ("JPY", 0), ("KWD", 3), ("CREDIT", 0)],
)
def test_exponents_are_iso_4217(currency: str, digits: int) -> None:
    assert exponent(currency) == digits


@pytest.mark.parametrize(
    ("amount", "unit", "text"),
    [
        (49_900, "INR", "₹499.00"),
        (999, "USD", "$9.99"),
        (5, "EUR", "€0.05"),
        (100, "GBP", "£1.00"),
        (123_456_789, "BRL", "R$1,234,567.89"),
        (1_999, "JPY", "¥1,999"),
        (10_000, "NGN", "₦100.00"),
        (-50, "NGN", "-₦0.50"),
        (12_345, "KWD", "12.345 KWD"),
        (1, "CREDIT", "1 credit"),
        (2_000, "CREDIT", "2,000 credits"),
    ],
)
def test_amounts_read_as_people_write_them(amount: int, unit: str, text: str) -> None:
    assert display(amount, unit) == text


@pytest.mark.parametrize("unit", sorted(EXPONENTS))
@pytest.mark.parametrize("amount", [0, 1, 9, 10, 99, 100, 101, 999_999_999_999])
def test_no_amount_is_lost_in_any_unit(unit: str, amount: int) -> None:
    digits = [character for character in display(amount, unit) if character.isdigit()]

    assert int("".join(digits)) == amount


@pytest.mark.parametrize(
    ("text", "unit", "amount"),
    [
        ("99", "INR", 9_900),
        ("99.5", "INR", 9_950),
        ("0.29", "USD", 29),
        ("99", "JPY", 99),
        ("1.005", "KWD", 1_005),
        ("9999999999999.99", "EUR", 999_999_999_999_999),
    ],
)
def test_what_people_type_is_taken_exactly(text: str, unit: str, amount: int) -> None:
    assert typed(text, unit) == amount


@pytest.mark.parametrize("unit", ["INR", "JPY", "KWD"])
@pytest.mark.parametrize(
    "text", ["", "-1", "+1", "1,000", "1 000", "1_000", "1e3", ".5", "1.", "1.0005", "٣", "nan", "0x1", "₹1", "1" * 14]
)
def test_what_could_be_misread_is_refused_with_how_to_write_it(text: str, unit: str) -> None:
    with pytest.raises(ValueError, match=f"^Write it in {unit} like 99.*thousands.$"):
        typed(text, unit)


def test_a_currency_without_decimals_takes_none() -> None:
    with pytest.raises(ValueError, match="like 99: no decimals"):
        typed("99.00", "JPY")
