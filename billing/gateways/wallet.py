"""The person's own wallet of money as a way to pay. Nobody is asked: the money moves in our own transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NoReturn
from uuid import UUID

from billing.gateways.base import (
    AttemptFact,
    DisputeFact,
    Opening,
    Page,
    RefundFact,
    RefundStatus,
    Rejected,
    Snapshot,
    StartFact,
)

NAME = "wallet"
PAYS_FROM = "primary"


class Wallet:
    name = NAME
    currencies: tuple[str, ...] = ("NGN", "USD", "EUR", "GBP")
    default_currency = "NGN"
    open_for = timedelta(minutes=60)
    is_remote = False

    def is_configured(self) -> bool:
        return True

    def refunds(self) -> bool:
        return True

    def start(self, opening: Opening) -> StartFact:
        return StartFact(opening.reference, opening.reference, opening.amount, opening.currency)

    def refund(self, attempt_ref: str, *, amount: int, currency: str, refund_id: UUID, reason: str) -> RefundFact:
        return RefundFact(str(refund_id), attempt_ref, RefundStatus.PROCESSED, amount, currency, refund_id)

    def close(self, ref: str) -> None:
        """It was paid when it was started."""

    def is_payable(self, start: StartFact, flow: str) -> bool:
        return True

    def find_start(self, reference: str) -> StartFact | None:
        return None

    def find_refund(self, attempt_ref: str, refund_id: UUID) -> RefundFact | None:
        return None

    def payments_since(self, since: int, *, skip: int | str = 0) -> Page[AttemptFact]:
        return Page((), None)

    def refunds_since(self, since: int, *, skip: int | str = 0) -> Page[RefundFact]:
        return Page((), None)

    def disputes_since(self, since: int, *, skip: int | str = 0) -> Page[DisputeFact]:
        return Page((), None)

    def capture(self, attempt_ref: str, *, amount: int, currency: str) -> None:
        _unknown(attempt_ref)

    def fetch(self, ref: str, *, dispute_refs: Sequence[str] = ()) -> Snapshot:
        _unknown(ref)

    def fetch_start(self, ref: str) -> StartFact:
        _unknown(ref)

    def fetch_attempt(self, ref: str) -> AttemptFact:
        _unknown(ref)

    def fetch_refund(self, ref: str) -> RefundFact:
        _unknown(ref)

    def fetch_dispute(self, ref: str) -> DisputeFact:
        _unknown(ref)

    def client(self, start: StartFact) -> dict[str, Any]:
        return {}

    def checkout_url(self, start: StartFact, *, page_url: str, return_url: str) -> str:
        return page_url

    def check_client(self, claim: Mapping[str, str], *, refs: Sequence[str]) -> bool:
        return False


def _unknown(ref: str) -> NoReturn:
    raise Rejected(f"a wallet keeps no record of {ref[:64]!r} besides our own books", status=404, code="not_remote")
