"""Staff's edits of what is sold and what is blocked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

import audit
from core import public
from generation.models import BlockedTerm, Operation


@audit.writes("operation")
def save(row: Operation | BlockedTerm, *, changed: Sequence[str], actor: Any) -> None:
    """Keep an edited or a new row, with what it was and what it is."""
    kind = row._meta.model_name
    with transaction.atomic():
        before = type(row)._default_manager.select_for_update().filter(pk=row.pk).first()
        row.save()
        if isinstance(row, Operation):
            public.changed("operations")
        audit.record(
            f"{kind}.updated" if before else f"{kind}.created",
            row,
            old={name: _plain(before, name) for name in changed} if before else None,
            new={name: _plain(row, name) for name in changed},
            actor_id=actor.pk,
        )


def to_be_switched(provider: str, *, is_enabled: bool) -> QuerySet[Operation]:
    """What a provider's switch would turn on or off: on again comes only what went off by it."""
    of_provider = Operation.objects.filter(provider=provider).order_by("code")
    return of_provider.filter(is_paused=True) if is_enabled else of_provider.filter(is_enabled=True)


@audit.writes("operation")
def switch(provider: str, *, is_enabled: bool, actor: Any, reason: str) -> list[str]:
    """Take all that a provider makes off sale, or put just that back; jobs that have begun go on. Answers what was
    switched.

    Idempotent: what stands so already stays.
    Locks: the operations, by code.
    """
    with transaction.atomic():
        rows = list(to_be_switched(provider, is_enabled=is_enabled).select_for_update(no_key=True))
        for row in rows:
            row.is_enabled, row.is_paused = is_enabled, not is_enabled
            row.save(update_fields=["is_enabled", "is_paused", "updated_at"])
            audit.record(
                "operation.updated",
                row,
                old={"is_enabled": not is_enabled},
                new={"is_enabled": is_enabled},
                metadata={"reason": reason, "provider": provider},
                actor_id=actor.pk,
            )
        if rows:
            public.changed("operations")
    return [row.code for row in rows]


@audit.writes("operation")
def remove(row: BlockedTerm, *, actor: Any) -> None:
    """Take a term off the list."""
    with transaction.atomic():
        was = {"term": row.term, "category": row.category}
        audit.record(f"{row._meta.model_name}.deleted", row, old=was, actor_id=actor.pk)
        row.delete()


def _plain(row: Operation | BlockedTerm, name: str) -> object:
    """The stored value: a foreign key as its id."""
    return row.serializable_value(name)
