"""Filing what a gateway says and our books cannot take by themselves, once per cause, for a person to look at."""

from __future__ import annotations

from typing import Any

from django.db.models.functions import Now

import audit
from billing.models import Break, BreakKind, Payment


@audit.writes("break")
def file(
    kind: BreakKind,
    *,
    cause: str,
    gateway: str,
    payment: Payment | None = None,
    amount: int | None = None,
    currency: str = "",
    details: dict[str, Any] | None = None,
) -> bool:
    """File a break in the caller's transaction. Returns whether it is new.

    Idempotent: by cause.
    """
    if Break.objects.filter(cause=cause[:120]).exists():
        return False
    row = Break(
        kind=kind,
        cause=cause[:120],
        gateway=gateway,
        payment=payment,
        amount=amount,
        currency=currency,
        details=details or {},
    )
    Break.objects.bulk_create([row], ignore_conflicts=True)
    if not Break.objects.filter(pk=row.pk).exists():
        return False
    audit.record(
        "break.filed",
        ("break", row.pk),
        new={"kind": kind.value, "cause": row.cause, "amount": amount, "currency": currency},
        metadata={"payment": payment.pk if payment else None, "gateway": gateway},
        user=payment.user_id if payment else None,
    )
    return True


@audit.writes("break")
def settle_itself(cause: str, resolution: str) -> None:
    """Close a break that later news has answered.

    Idempotent: a closed or unknown one stays as it is.
    """
    row = Break.objects.filter(cause=cause[:120], resolved_at=None).first()
    if row and Break.objects.filter(pk=row.pk, resolved_at=None).update(resolved_at=Now(), resolution=resolution):
        audit.record("break.resolved", ("break", row.pk), new={"resolution": resolution})
