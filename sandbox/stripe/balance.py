"""Balance transactions: one for each movement of the merchant's money."""

from __future__ import annotations

from sandbox.box import Box
from sandbox.state import Doc
from sandbox.stripe import objects


def move(box: Box, source: Doc, amount: int, type: str, *, fee: int = 0) -> Doc:
    """Note a movement; negative leaves the balance."""
    transaction = objects.made(
        "balance_transaction",
        amount=amount,
        available_on=objects.now(),
        currency=source["currency"],
        description=None,
        exchange_rate=None,
        fee=fee,
        fee_details=[],
        net=amount - fee,
        reporting_category=type,
        source=source["id"],
        status="available",
        type=type,
    )
    objects.save(box, transaction, parent=source["id"])
    return transaction
