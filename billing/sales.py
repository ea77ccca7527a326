"""Whether anything is sold right now: finance may have a broken invariant stop every new payment.

What has begun goes on: running jobs, refunds, and money that comes on payments already made is always credited.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db import transaction

import audit
from audit import approvals
from billing.books import all_checks
from billing.errors import SalesStopped
from billing.models import BookCheck, SalesStop
from core.errors import NotFound

STOP = "billing.set_salesstop"
ASK_AGAIN_S = 300  # as often as the books are checked


@dataclass(frozen=True, slots=True)
class Stop:
    """The invariant that stops sales now."""

    name: str
    rule: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What the newest check of the books has found broken, and which of that stops sales, if anything does."""

    broken: frozenset[str]
    stop: Stop | None


def standing() -> Standing:
    """As the newest check says: after one that found something the next looks at everything. One query."""
    stops = SalesStop.objects.order_by("name").values("name")
    newest = BookCheck.objects.order_by("-began_at").annotate(stops=ArraySubquery(stops)).only("findings").first()
    if newest is None:
        return Standing(frozenset(), None)
    broken = frozenset(finding["check"] for finding in newest.findings)
    name = next((name for name in newest.stops if name in broken), None)
    return Standing(broken, Stop(name, _rules().get(name, "")) if name else None)


def insist() -> None:
    """Let a new payment begin. Raises: SalesStopped while an invariant that stops sales is broken."""
    if standing().stop is not None:
        raise SalesStopped(retry_after=ASK_AGAIN_S)


@audit.writes("sales_stop")
def may_stop(name: str, *, actor: Any, reason: str) -> SalesStop:
    """Have an invariant stop sales whenever it is broken; at once if it is.

    Idempotent: by name. Raises: PermissionDenied; NotFound for no invariant of ours.
    """
    approvals.insist(actor, STOP)
    if name not in _rules():
        raise NotFound
    with transaction.atomic():
        fresh = SalesStop(name=name, actor=actor, reason=reason)
        SalesStop.objects.bulk_create([fresh], ignore_conflicts=True)
        row = SalesStop.objects.get(name=name)
        if row.pk == fresh.pk:
            audit.record("sales_stop.set", row, new={"name": name}, metadata={"reason": reason}, actor_id=actor.pk)
    return row


@audit.writes("sales_stop")
def may_not_stop(name: str, *, actor: Any, reason: str) -> None:
    """Sell whatever that invariant says; what it found stays found.

    Idempotent: by name. Raises: PermissionDenied.
    """
    approvals.insist(actor, STOP)
    with transaction.atomic():
        row = SalesStop.objects.select_for_update().filter(name=name).first()
        if row is None:
            return
        audit.record("sales_stop.cleared", row, old={"name": name}, metadata={"reason": reason}, actor_id=actor.pk)
        row.delete()


def _rules() -> dict[str, str]:
    return {check.name: check.rule for check in all_checks()}
