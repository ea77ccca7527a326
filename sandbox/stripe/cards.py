"""Stripe's published test cards: how each answers. Source: the vendor's testing page."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sandbox.stripe.errors import StripeError

DECLINED = ("card_declined", "generic_decline", "Your card was declined.")
INSUFFICIENT = ("card_declined", "insufficient_funds", "Your card has insufficient funds.")
AUTHENTICATION_REQUIRED = (
    "authentication_required",
    "authentication_required",
    "Your card was declined. This transaction requires authentication.",
)
UNAUTHENTICATED = (
    "payment_intent_authentication_failure",
    None,
    "The provided PaymentMethod has failed authentication. You can provide payment_method_data or a new PaymentMethod "
    "to attempt to fulfill this PaymentIntent again.",
)

Refusal = tuple[str, str | None, str]


@dataclass(frozen=True)
class Card:
    """`refusal` is (code, decline_code, message); `is_refused_later`: it can be saved, but does not pay."""

    number: str
    what: str
    brand: str = "visa"
    refusal: Refusal | None = None
    needs_authentication: bool = False
    is_disputed: bool = False
    is_refused_later: bool = False


CARDS = {
    card.number: card
    for card in (
        Card("4242424242424242", "pays"),
        Card("5555555555554444", "pays", "mastercard"),
        Card("4000002500003155", "asks for 3-D Secure", needs_authentication=True),
        Card("4000000000000002", "declined", refusal=DECLINED),
        Card("4000000000009995", "insufficient funds", refusal=INSUFFICIENT),
        Card("4000000000000341", "can be saved, then declines", refusal=DECLINED, is_refused_later=True),
        Card("4000000000000259", "pays, then is disputed", is_disputed=True),
    )
}
# Payment methods that exist by name in test mode.
NAMED = {
    "pm_card_visa": "4242424242424242",
    "pm_card_mastercard": "5555555555554444",
    "pm_card_authenticationRequired": "4000002500003155",
    "pm_card_chargeDeclined": "4000000000000002",
    "pm_card_chargeDeclinedInsufficientFunds": "4000000000009995",
    "pm_card_chargeCustomerFail": "4000000000000341",
    "pm_card_createDispute": "4000000000000259",
}


def spaced(number: str) -> str:
    """A card number as it is printed."""
    return " ".join(number[i : i + 4] for i in range(0, len(number), 4))


def read(text: str | None) -> Card:
    """Raises: StripeError for a number that is no test card: the real form would not let it through."""
    number = re.sub(r"[\s-]", "", text or "4242424242424242")
    if number not in CARDS:
        raise StripeError("Your card number is incorrect.", "number", "incorrect_number", "card_error", 402)
    return CARDS[number]
