"""The sign-up grant: promo credits, once per person and once per mailbox, within the day's budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from django.conf import settings
from django.db import connection, transaction

import audit
from billing import ledger, mailboxes
from billing.models import CreditLot, HouseKind, SignUpGrant
from core.ids import new_id

if TYPE_CHECKING:
    from accounts.models import User

log = structlog.get_logger("grants")

Outcome = SignUpGrant.Outcome


class _Refused(Exception):
    def __init__(self, outcome: str) -> None:
        self.outcome = outcome


def sign_up(*, user: User) -> SignUpGrant | None:
    """Give a person the sign-up credits inside the transaction that verifies the mailbox.

    Whatever happens here, the verification stands: a refusal is a recorded outcome, and a fault of ours is logged.

    Idempotent: one decision per user.
    """
    try:
        with transaction.atomic():
            return decide(user=user)
    except Exception:
        log.exception("sign_up_grant_failed", user=str(user.pk))
        return None


@audit.writes("credits")
def decide(*, user: User) -> SignUpGrant:
    """Decide once about the person's sign-up credits, and give them if nothing speaks against it.

    Idempotent: one decision per user; one grant per mailbox.
    Locks: the decision, the day's budget, the domain's budget, the wallet.
    Units: SIGN_UP_GRANT, PROMO_DAILY_BUDGET and PROMO_DOMAIN_DAILY_CAP are credits; a day is a UTC day.
    """
    amount = settings.SIGN_UP_GRANT
    mailbox = mailboxes.normalise(user.email)
    with transaction.atomic():
        try:
            with transaction.atomic():
                if amount <= 0:
                    raise _Refused(Outcome.OFF)
                if not _insert(user, mailbox, Outcome.GRANTED, amount):
                    raise _Refused(Outcome.MAILBOX_USED)
                if not _reserve("", amount, settings.PROMO_DAILY_BUDGET):
                    raise _Refused(Outcome.BUDGET_SPENT)
                domain = mailbox.rpartition("@")[2]
                if not _reserve(mailboxes.keyed_hash(domain).hex(), amount, settings.PROMO_DOMAIN_DAILY_CAP):
                    raise _Refused(Outcome.DOMAIN_CAPPED)
                ledger.grant(
                    user_id=user.pk,
                    amount=amount,
                    category=CreditLot.Category.PROMO,
                    house=HouseKind.PROMO,
                    key=f"sign-up:{user.pk}",
                    subject=("user", user.pk),
                    memo="Sign-up credits",
                )
                is_new = True
        except _Refused as refused:
            # The person may have been decided about before; then this changes nothing.
            is_new = _insert(user, mailbox, refused.outcome, 0)
        decision = SignUpGrant.objects.get(user=user)
        if is_new:
            audit.record(
                "sign_up_grant.decided",
                ("user", user.pk),
                user=user.pk,
                new={"outcome": decision.outcome, "amount": decision.amount},
            )
        return decision


def _insert(user: User, mailbox: str, outcome: str, amount: int) -> bool:
    """Write the decision unless the person has one already, or the mailbox its grant."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO billing_signupgrant (id, user_id, mailbox_hash, outcome, amount)"
            " VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            [new_id(), user.pk, mailboxes.keyed_hash(mailbox), outcome, amount],
        )
        return bool(cursor.rowcount == 1)


def _reserve(scope: str, amount: int, budget: int) -> bool:
    """Count the amount against today's budget of this scope, if it fits. Holds the counter until the commit."""
    if amount > budget:
        return False
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO billing_promospending AS spent (day, scope, amount)"
            " VALUES ((now() AT TIME ZONE 'UTC')::date, %s, %s)"
            " ON CONFLICT (day, scope) DO UPDATE SET amount = spent.amount + excluded.amount"
            " WHERE spent.amount + excluded.amount <= %s",
            [scope, amount, budget],
        )
        return bool(cursor.rowcount == 1)
