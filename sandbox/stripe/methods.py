"""Payment methods: the cards that customers entered."""

from __future__ import annotations

from sandbox.box import Box
from sandbox.state import Doc
from sandbox.stripe import cards, objects


def make(box: Box, card: cards.Card, *, customer: str | None = None, email: str | None = None) -> Doc:
    method = objects.made(
        "payment_method",
        allow_redisplay="unspecified",
        billing_details={"address": None, "email": email, "name": None, "phone": None},
        card={"brand": card.brand, "country": "US", "exp_month": 12, "exp_year": 2034, "funding": "credit",
              "last4": card.number[-4:]},
        customer=customer,
        metadata={},
        type="card",
        _number=card.number,
    )  # fmt: skip
    objects.save(box, method, parent=customer)
    return method


def named(box: Box, name: str, *, param: str = "payment_method") -> Doc:
    """A stored method, or a fresh one for a name of test mode (`pm_card_visa`). Raises: StripeError."""
    if name in cards.NAMED:
        return make(box, cards.CARDS[cards.NAMED[name]])
    return objects.load(box, "payment_method", name, param=param, status=400)


def card_of(method: Doc) -> cards.Card:
    return cards.CARDS[method["_number"]]
