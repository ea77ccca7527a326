"""What the customer entered at the checkout, and how Razorpay's published test cards answer.

Source: the vendor's test-card pages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sandbox.razorpay.errors import RazorpayError

GOOD = {
    "4100280000001007": "Visa",
    "5500670000001002": "Mastercard",
    "6527658900001005": "RuPay",
}
BAD = {
    "4100280000080001": (
        "insufficient_funds",
        "Your payment could not be completed due to insufficient account balance. Try again with another account.",
    ),
    "4100280000060003": (
        "payment_declined",
        "Your payment didn't go through as it was declined by the bank. Try another payment method.",
    ),
    "4100280000000009": (
        "authentication_failed",
        "Payment processing failed because of incorrect OTP or verification details.",
    ),
}
DECLINED = BAD["4100280000060003"]


def spaced(number: str) -> str:
    """A card number as it is printed."""
    return " ".join(number[i : i + 4] for i in range(0, len(number), 4))


@dataclass(frozen=True)
class Instrument:
    """How it was paid; `refusal` is (reason, description) when the bank says no."""

    method: str
    vpa: str | None = None
    bank: str | None = None
    refusal: tuple[str, str] | None = None


def read(form: Mapping[str, str]) -> Instrument:
    """Raises: RazorpayError where the real checkout would not let the form through, so that no payment is made."""
    method = form.get("method") or ("upi" if form.get("vpa") else "card")
    if method == "upi":
        vpa = form.get("vpa") or "success@razorpay"
        if not re.fullmatch(r"[\w.-]{2,}@\w+", vpa):
            raise RazorpayError("Invalid VPA. Please enter a valid Virtual Payment Address", "vpa")
        refused = vpa == "failure@razorpay"
        return Instrument("upi", vpa=vpa, refusal=("payment_failed", "Payment failed") if refused else None)
    if method in ("netbanking", "wallet"):
        return Instrument(method, bank=form.get("bank") or "HDFC")
    if method != "card":
        raise RazorpayError("The payment method is not supported.", "method")
    number = re.sub(r"[\s-]", "", form.get("card") or "4100280000001007")
    if number in BAD:
        return Instrument("card", refusal=BAD[number])
    if number not in GOOD:
        raise RazorpayError(
            "Your payment could not be completed as the card number is not one of the test cards.", "card[number]"
        )
    otp = form.get("otp") or "754081"
    if not re.fullmatch(r"\d{4,10}", otp):
        return Instrument("card", refusal=("incorrect_otp", "Payment failed because an incorrect OTP was entered."))
    return Instrument("card")
