"""Where a payment's money comes from and goes back to: our account at its gateway, or the person's own wallet."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from billing import ledger
from billing.gateways import wallet
from billing.models import HouseKind, Payment, PaymentAttempt, Refund

# The debit is captured in the transaction that holds it, so nobody sees it open.
_CAPTURED_WITHIN = timedelta(hours=1)


def take_in(payment: Payment, row: PaymentAttempt) -> None:
    """Post a capture's money to our sales. A top-up's goes on from there to the wallet that it fills, when fulfilled.

    Idempotent: by payment and attempt.
    Raises: InsufficientFunds, DebtOutstanding for a person's own wallet.
    """
    if payment.gateway == wallet.NAME:
        key = f"payment:{payment.pk}:wallet"
        ledger.hold(
            user_id=payment.user_id,
            amount=row.amount,
            key=key,
            subject=("payment", payment.pk),
            alarm_at=timezone.now() + _CAPTURED_WITHIN,
            unit=row.currency,
            wallet_kind=wallet.PAYS_FROM,
        )
        ledger.capture(key=key, memo=payment.title)
        return
    ledger.record_money(
        gateway=payment.gateway,
        amount=row.amount,
        currency=row.currency,
        key=f"payment:{payment.pk}:capture:{row.ref}",
        subject=("payment", payment.pk),
        memo=payment.title,
    )


def pay_out(payment: Payment, refund: Refund) -> None:
    """Post a refund's money out of our sales, back where it came from.

    Idempotent: by refund.
    """
    if payment.gateway == wallet.NAME:
        ledger.grant(
            user_id=payment.user_id,
            amount=refund.amount,
            category=None,
            key=f"refund:{refund.pk}",
            kind="refund",
            subject=("refund", refund.pk),
            house=HouseKind.SALES,
            unit=refund.currency,
            wallet_kind=wallet.PAYS_FROM,
            memo=refund.reason,
        )
        return
    ledger.record_money(
        gateway=refund.gateway,
        amount=refund.amount,
        currency=refund.currency,
        key=f"refund:{refund.pk}",
        kind="refund",
        subject=("refund", refund.pk),
        memo=refund.reason,
    )
