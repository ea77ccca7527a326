"""What the demo shows from the inside: the ledger, the audit trail, and whether the books balance."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from audit.models import AuditLog
from billing import books
from billing.models import LedgerEntry, Wallet
from core.money import CREDIT, display


def ledger(user_id: uuid.UUID, subjects: list[str]) -> Iterator[str]:
    """Every posting that concerns the person or these subjects, both sides, oldest first."""
    mine = LedgerEntry.objects.filter(wallet_id__in=Wallet.objects.filter(user_id=user_id).values("pk"))
    about = LedgerEntry.objects.filter(transaction__subject_id__in=subjects)
    transactions = set(mine.values_list("transaction_id", flat=True)) | set(
        about.values_list("transaction_id", flat=True)
    )
    wallets = {wallet.pk: wallet for wallet in Wallet.objects.all() if wallet.user_id in (user_id, None)}
    entries = LedgerEntry.objects.filter(transaction_id__in=transactions).select_related("transaction")
    last = None
    for entry in entries.order_by("transaction__created_at", "transaction_id", "-amount"):
        wallet = wallets[entry.wallet_id]
        kind = entry.transaction.kind if entry.transaction_id != last else ""
        last = entry.transaction_id
        whose = "yours" if wallet.user_id else "house"
        sign = "+" if entry.amount > 0 else "-"
        amount = f"{sign}{display(abs(entry.amount), wallet.unit)}"
        after = f"-> {entry.balance_after}" if entry.balance_after is not None else ""
        yield f"{kind:<10} {whose} {wallet.kind:<18} {amount:>14}  {after}".rstrip()


def wallet(user_id: uuid.UUID) -> str:
    """The person's credits as they stand in the table."""
    row = Wallet.objects.get(user_id=user_id, kind="credits", unit=CREDIT)
    return f"balance {row.balance}, held {row.held}, frozen {row.frozen}, available {row.available}"


def trail(user_id: uuid.UUID) -> Iterator[str]:
    """What the audit log says about the person, oldest first."""
    for row in AuditLog.objects.filter(user_id=user_id).order_by("id"):
        who = "you" if row.actor_id == user_id else ("staff" if row.actor_id else "system")
        yield f"{row.at:%H:%M:%S}  {row.action:<24} {row.source:<8} {who}"


def check_books() -> tuple[bool, list[str]]:
    """Whether the books balance, and what was looked at or broken."""
    report = books.run()
    if report.is_clean:
        return True, [f"{len(report.checks)} checks in {report.took_ms} ms: the books balance."]
    return False, [f"{found.check}: {found.row}: {found.problem}" for found in report.findings]
