"""What the books would look like after an act of staff: the act itself, in a transaction that is rolled back.

A refund is taken as far as its gateway's yes, and what needs a colleague as far as the colleague's, though nobody is
asked: so the figures are those of the very code that will run.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import OperationalError, connection, transaction
from django.db.models import Max, Q, Sum
from django.utils.module_loading import import_string

from audit.models import Approval, ApprovalState
from billing import refunds, staff_refunds
from billing.gateways.base import RefundFact, RefundStatus
from billing.models import CreditLot, Debt, LedgerEntry, Payment, Refund, RefundState, Wallet
from core import http
from core.errors import Conflict
from core.locks import is_lock_timeout
from core.money import CREDIT, display

Figures = dict[str, int]


@dataclass(frozen=True, slots=True)
class Standing:
    """A customer's money at one moment: each wallet's and each debt's figures, and what is in each lot."""

    figures: dict[tuple[str, str], Figures]
    lots: dict[uuid.UUID, CreditLot]


def of(act: Callable[[], Any], *, customer_id: uuid.UUID | None) -> list[str]:
    """Each figure before → after, and what moves on our own accounts. Nothing is kept, and no gateway is asked.

    All of it is one snapshot, so what others do meanwhile is not taken for the act's.
    Raises: what the act raises; Conflict when somebody changes the same rows just now.
    """
    is_nested = connection.in_atomic_block
    try:
        with http.looking_only(), transaction.atomic():
            if not is_nested:
                with connection.cursor() as cursor:
                    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            before = _standing(customer_id)
            last = LedgerEntry.objects.aggregate(last=Max("id"))["last"] or 0
            asked = _carry_on(act())
            told = [*asked, *_changes(before, _standing(customer_id)), *_postings(last)]
            transaction.set_rollback(True)
    except OperationalError as error:
        if is_lock_timeout(error):
            raise Conflict(retry_after=1) from error
        raise
    return told


def of_approval(approval: Approval, decide: Callable[[], Any]) -> list[str]:
    """What a colleague's yes would do (settings.APPROVAL_REHEARSAL)."""
    return [approval.summary, *of(decide, customer_id=approval.customer_id)]


def _carry_on(done: Any) -> list[str]:
    """Take what the act has begun to its end; what has to be asked for first is said."""
    asked: list[str] = []
    cause = staff_refunds.cause_of(done.pk) if isinstance(done, Approval) else ""
    if isinstance(done, Approval) and done.state == ApprovalState.PENDING:
        asked = ["This becomes a request: nothing happens until a colleague approves it. Then:"]
        import_string(done.act)(done)
    refund = Refund.objects.filter(cause=cause).first() if cause else done
    if isinstance(refund, Refund) and refund.state == RefundState.REQUESTED:
        refunds.record(refund, _yes(refund))
    payment = done if isinstance(done, Payment) else None
    if isinstance(refund, Refund):
        payment = Payment.objects.get(pk=refund.payment_id)
    if payment is not None:
        back, price = display(payment.refunded, payment.currency), display(payment.received, payment.currency)
        asked.append(f"Payment: {payment.state.replace('_', ' ')}, {back} of {price} given back")
    return asked


def _yes(refund: Refund) -> RefundFact:
    return RefundFact(
        f"rehearsal:{refund.pk}", refund.attempt.ref, RefundStatus.PROCESSED, refund.amount, refund.currency, refund.pk
    )


def _standing(customer_id: uuid.UUID | None) -> Standing:
    if customer_id is None:
        return Standing({}, {})
    wallets = Wallet.objects.filter(user_id=customer_id)
    figures: dict[tuple[str, str], Figures] = {
        (row.kind, row.unit): {
            "balance": row.balance or 0,
            "available": row.available,
            "held": row.held,
            "frozen": row.frozen,
        }
        for row in wallets
    }
    debts = Debt.objects.filter(user_id=customer_id, remaining__gt=0).values("unit")
    for row in debts.order_by("unit").annotate(owed=Sum("remaining")):
        figures["debt", row["unit"]] = {"owed": row["owed"]}
    lots = CreditLot.objects.filter(wallet__in=wallets, exhausted_at=None).order_by("id")
    return Standing(figures, {lot.pk: lot for lot in lots})


def _changes(before: Standing, after: Standing) -> list[str]:
    lines = []
    for key in sorted({*before.figures, *after.figures}):
        kind, unit = key
        old, new = before.figures.get(key, {}), after.figures.get(key, {})
        moved = [
            f"{name} {display(old.get(name, 0), unit)} → {display(new.get(name, 0), unit)}"
            for name in new or old
            if old.get(name, 0) != new.get(name, 0)
        ]
        if moved:
            lines.append(f"{kind.capitalize()}: {', '.join(moved)}")
    if not lines:
        lines.append("The customer's balances and debts stay as they are.")
    return [*lines, *_lots(before, after)]


def _lots(before: Standing, after: Standing) -> list[str]:
    gone = CreditLot.objects.in_bulk(before.lots.keys() - after.lots.keys())
    now = after.lots | gone
    lines = []
    for pk, lot in sorted(now.items()):
        old = before.lots.get(pk)
        had, frozen = (old.remaining, old.frozen) if old else (0, 0)
        what = f"Lot of {display(lot.amount, CREDIT)}, {lot.category}{'' if old else ', new'}"
        if had != lot.remaining:
            lines.append(f"{what}: {had:,} → {lot.remaining:,} left")
        elif frozen != lot.frozen:
            lines.append(f"{what}: {frozen:,} → {lot.frozen:,} frozen")
    return lines


def _postings(last: int) -> list[str]:
    """What moves on our own side. House wallets have no balance of their own, so the movement is told."""
    ours = LedgerEntry.objects.filter(Q(wallet__user=None), id__gt=last)
    sums = ours.values("wallet__kind", "wallet__unit").order_by("wallet__kind").annotate(amount=Sum("amount"))
    return [_moved(row["wallet__kind"], row["amount"], row["wallet__unit"]) for row in sums if row["amount"]]


def _moved(account: str, amount: int, unit: str) -> str:
    return f"Posted to our account {account}: {'+' if amount > 0 else ''}{display(amount, unit)}"
