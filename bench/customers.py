"""Signed-in people with credits, made by the topic functions, and what each should be told about them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db import connection
from django.utils import timezone

from accounts import sessions
from accounts.api import tokens
from accounts.models import User
from billing import ledger
from core.ids import new_id


@dataclass(frozen=True)
class Customer:
    user_id: UUID
    token: str
    balance: dict[str, int]


def make(count: int) -> list[Customer]:
    """People with a purchase each; some with credits held, some with frozen ones, some in debt."""
    made = []
    for number in range(count):
        user = User.objects.create_user(f"customer{number}@example.com")
        ledger.open_wallets(user=user)
        payment = ("payment", new_id())
        ledger.grant(user_id=user.pk, amount=100 + number, category="paid", key=f"grant:{number}", subject=payment)
        if number % 3 == 1:
            ledger.hold(
                user_id=user.pk,
                amount=50,
                key=f"hold:{number}",
                subject=("generation", new_id()),
                alarm_at=timezone.now() + timedelta(hours=1),
            )
        if number % 5 == 1:
            ledger.freeze(
                user_id=user.pk, amount=20, key=f"freeze:{number}", subject=("refund", new_id()), source=payment
            )
        if number % 7 == 1:
            ledger.claw_back(
                user_id=user.pk, amount=10_000, key=f"dispute:{number}", subject=("dispute", new_id()), source=payment
            )
        made.append((user, tokens.pair(sessions.open_for(user, remember=False))["access"]))
    return [Customer(user.pk, token, expected(user.pk)) for user, token in made]


def signed_out(customer: Customer) -> str:
    """The token of another session of the person, which has ended."""
    session = sessions.open_for(User.objects.get(pk=customer.user_id), remember=False)
    token: str = tokens.pair(session)["access"]
    sessions.end(session)
    return token


def expected(user_id: UUID) -> dict[str, int]:
    """The person's figures from the history alone: entries, open holds, open freezes, debts. Never the wallet's row."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT coalesce(sum(e.amount), 0) FROM billing_ledgerentry e WHERE e.wallet_id = w.id),"
            " (SELECT coalesce(sum(h.amount), 0) FROM billing_hold h WHERE h.wallet_id = w.id AND h.state = 'open'),"
            " (SELECT coalesce(sum(f.amount), 0) FROM billing_freeze f WHERE f.wallet_id = w.id AND f.state = 'open'),"
            " (SELECT coalesce(sum(d.remaining), 0) FROM billing_debt d"
            "  WHERE d.user_id = w.user_id AND d.unit = w.unit)"
            " FROM billing_wallet w WHERE w.user_id = %s AND w.kind = 'credits' AND w.unit = 'CREDIT'",
            [user_id],
        )
        balance, held, frozen, debt = (int(figure) for figure in cursor.fetchone() or ())
    return {
        "balance": balance,
        "held": held,
        "frozen": frozen,
        "available": balance - held - frozen,
        "debt": debt,
    }
