"""Spending: hold an amount for a subject, then capture it (all or a part) or release it. One round trip each."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection
from django.db.models import Sum

import audit
from billing.errors import DebtOutstanding, HoldClosed, InsufficientCredits, InsufficientFunds, LedgerKeyMismatch
from billing.ledger.calls import Subject, asked_by, call, known_unit, units
from billing.models import Debt, Hold
from core.errors import Error, detail
from core.money import CREDIT, display
from notifications import outbox

Status = Literal["ok", "insufficient", "debt_outstanding"]


@dataclass(frozen=True, slots=True)
class Held:
    hold_id: uuid.UUID
    status: Status
    available: int
    required: int
    is_replay: bool


@dataclass(frozen=True, slots=True)
class Extended:
    """`status` ok, or why the hold stays at `amount`: insufficient, debt_outstanding."""

    hold_id: uuid.UUID
    status: Status
    amount: int
    available: int


@dataclass(frozen=True, slots=True)
class Captured:
    """`before` and `after` are the wallet's balance less what is frozen: what is held is not spent until captured."""

    transaction_id: uuid.UUID
    amount: int
    before: int
    after: int
    available: int
    is_replay: bool


@dataclass(frozen=True, slots=True)
class Released:
    hold_id: uuid.UUID
    amount: int
    available: int
    is_replay: bool


@audit.writes("credits")
def hold(
    *,
    user_id: uuid.UUID,
    amount: int,
    key: str,
    subject: Subject,
    alarm_at: datetime,
    unit: str = CREDIT,
    wallet_kind: str = "credits",
) -> Held:
    """Promise `amount` of what is available to `subject`. Only capture or release ends it, never a clock.

    Idempotent: by key.
    Locks: the wallet.
    Raises: InsufficientCredits, InsufficientFunds, DebtOutstanding, LedgerKeyMismatch.
    """
    status, hold_id, available, is_replay = call(
        "SELECT status, hold_id, available, is_replay FROM ledger_hold(%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (user_id, wallet_kind, unit, units(amount), key, *subject, alarm_at, asked_by()),
    )
    if status == "ok":
        return Held(hold_id, status, available, amount, is_replay)
    if status == "mismatch":
        raise LedgerKeyMismatch(f"The hold {key} exists with other figures.")
    raise refusal(status, user_id=user_id, unit=known_unit(unit), required=amount, available=available)


@audit.writes("credits")
def extend(*, key: str, to: int) -> Extended:
    """Raise an open hold to `to` in all; a smaller figure changes nothing. A refusal is answered, not raised: the call
    that it pays for then ends in good order.

    Idempotent: `to` is absolute.
    Locks: the wallet.
    Raises: HoldClosed; Hold.DoesNotExist for an unknown key.
    """
    status, hold_id, amount, available = call(
        "SELECT status, hold_id, amount, available FROM ledger_extend(%s, %s, %s)", (key, units(to), asked_by())
    )
    if status == "unknown":
        raise Hold.DoesNotExist(key)
    if status == "closed":
        raise HoldClosed(f"The hold {key} has ended.")
    return Extended(hold_id, status, amount, available)


@audit.writes("credits")
def capture(*, key: str, amount: int | None = None, memo: str = "") -> Captured:
    """Spend what was held under `key`, or `amount` of it, and free the rest. Always succeeds on an open hold.

    Idempotent: by key; a second capture answers the first.
    Locks: the wallet.
    Raises: HoldClosed when it was released; LedgerKeyMismatch when it was captured with another amount; ValueError for
        more than is held; Hold.DoesNotExist for an unknown key.
    Enqueues: credit-low-warning, when this takes the balance below the threshold.
    """
    status, transaction_id, taken, before, after, available, user_id, unit, is_replay = call(
        "SELECT status, transaction_id, amount, before, after, available, user_id, unit, is_replay"
        " FROM ledger_capture(%s, %s, %s, %s, %s)",
        (key, None if amount is None else units(amount), None, memo, asked_by()),
    )
    if status == "unknown":
        raise Hold.DoesNotExist(key)
    if status == "released":
        raise HoldClosed(f"The hold {key} was released.")
    if status == "mismatch":
        raise LedgerKeyMismatch(f"The hold {key} was captured with {taken}.")
    if status == "excessive":
        raise ValueError(f"{amount} is more than the hold {key} holds")
    if unit == CREDIT and not is_replay and before >= settings.LOW_CREDIT_THRESHOLD > after:
        _warn_of_low_credit(user_id=user_id, transaction_id=transaction_id, remaining=after)
    return Captured(transaction_id, taken, before, after, available, is_replay)


@audit.writes("credits")
def release(*, key: str) -> Released:
    """Free what was held under `key`; credits that ended meanwhile end now.

    Idempotent: by key.
    Locks: the wallet.
    Raises: HoldClosed when it was captured; Hold.DoesNotExist for an unknown key.
    """
    status, hold_id, amount, available, is_replay = call(
        "SELECT status, hold_id, amount, available, is_replay FROM ledger_release(%s, %s)", (key, asked_by())
    )
    if status == "unknown":
        raise Hold.DoesNotExist(key)
    if status == "captured":
        raise HoldClosed(f"The hold {key} was captured.")
    return Released(hold_id, amount, available, is_replay)


@audit.writes("credits")
def release_all(keys: Sequence[str]) -> None:
    """As `release` for many holds, in one round trip.

    Locks: the wallets, by id, so that two who release many never wait for each other in a ring.
    Raises: as `release`, when any is wrong: let nothing of it commit.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT h.key, r.status"
            " FROM (SELECT key FROM billing_hold WHERE key = ANY(%s) ORDER BY wallet_id, id) h,"
            " LATERAL ledger_release(h.key, %s) r",
            [list(keys), asked_by()],
        )
        found = dict(cursor.fetchall())
    for key in keys:
        if key not in found:
            raise Hold.DoesNotExist(key)
        if found[key] == "captured":
            raise HoldClosed(f"The hold {key} was captured.")


def refusal(status: str, *, user_id: uuid.UUID, unit: str, required: int, available: int) -> Error:
    """The 402 for a refused status, with its figures."""
    figures: dict[str, Any] = {"required": required, "available": available, "unit": unit}
    if status == "debt_outstanding":
        owed = Debt.objects.filter(user_id=user_id, is_blocking=True, remaining__gt=0)
        debts = [
            {"amount": row["total"], "unit": row["unit"]}
            for row in owed.values("unit").annotate(total=Sum("remaining")).order_by("unit")
        ]
        text = " and ".join(display(debt["amount"], debt["unit"]) for debt in debts)
        return DebtOutstanding(details=[detail("debt_outstanding", f"Owed: {text}.", **figures, debts=debts)])
    kind = InsufficientCredits if unit == CREDIT else InsufficientFunds
    text = f"This needs {display(required, unit)}; {display(available, unit)} available."
    return kind(details=[detail(kind.code, text, **figures)])


def _warn_of_low_credit(*, user_id: uuid.UUID, transaction_id: uuid.UUID, remaining: int) -> None:
    outbox.enqueue(
        "credit-low-warning",
        user=get_user_model().objects.get(pk=user_id),
        cause=f"low:{transaction_id}",
        context={"remaining": display(remaining, CREDIT)},
    )
