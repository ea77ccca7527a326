"""What people have chosen from the catalogue."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection, transaction

import audit
from core.errors import Invalid, NotFound, detail
from wearables.models import Selection, Wearable

MAX_SELECTED = 100


@dataclass(frozen=True, slots=True)
class Changed:
    added: int
    removed: int


@audit.writes("selection")
def add(*, user: Any, wearable_ids: Sequence[UUID]) -> Changed:
    """Select these too.

    Locks: this person's choices. Raises: NotFound naming those not on offer, Invalid for too many.
    """
    return _choose(user, wearable_ids, keeps=True)


@audit.writes("selection")
def replace(*, user: Any, wearable_ids: Sequence[UUID]) -> Changed:
    """Select these and no others; those that stay keep their id and date. Locks and raises as `add`."""
    return _choose(user, wearable_ids, keeps=False)


@audit.writes("selection")
def remove(*, user: Any, selection_id: UUID) -> None:
    """Raises: NotFound."""
    with transaction.atomic():
        row = Selection.objects.filter(user=user, pk=selection_id).first()
        if row is None or not Selection.objects.filter(pk=row.pk).delete()[0]:
            raise NotFound
        audit.record("selection.removed", row, user=user, metadata={"wearable": row.wearable_id})


def _choose(user: Any, wearable_ids: Sequence[UUID], *, keeps: bool) -> Changed:
    wanted = list(dict.fromkeys(wearable_ids))
    with transaction.atomic():
        take_turn(user)
        there = set(Selection.objects.filter(user=user).values_list("wearable_id", flat=True))
        # What somebody has chosen before may be off by now, and stays chosen.
        on_offer([one for one in wanted if one not in there])
        new = [one for one in wanted if one not in there]
        gone = set() if keeps else there.difference(wanted)
        if len(there) + len(new) - len(gone) > MAX_SELECTED:
            message = f"At most {MAX_SELECTED} can be selected."
            raise Invalid(details=[detail("too_many", message, "wearables")])
        if gone:
            Selection.objects.filter(user=user, wearable__in=gone).delete()
        Selection.objects.bulk_create([Selection(user=user, wearable_id=one) for one in new])
        if new or gone:
            audit.record(
                "selection.changed", ("user", user.pk), user=user, metadata={"added": len(new), "removed": len(gone)}
            )
    return Changed(len(new), len(gone))


def on_offer(wearable_ids: Sequence[UUID], field: str = "wearables") -> list[Wearable]:
    """The items, in this order. One query. Raises: NotFound naming those that are unknown or switched off."""
    known = {row.pk: row for row in Wearable.objects.on_offer().filter(pk__in=wearable_ids)} if wearable_ids else {}
    missing = [one for one in wearable_ids if one not in known]
    if missing:
        message = "There is no such wearable: {}."
        raise NotFound(details=[detail("unknown_wearable", message.format(one), field) for one in missing])
    return [known[one] for one in wearable_ids]


def take_turn(user: Any) -> None:
    """In a transaction: no other change of this person's choices meanwhile.

    Locks: an advisory lock; rows that are not there yet cannot be locked.
    """
    number = int.from_bytes(hashlib.sha256(f"wearables:{user.pk}".encode()).digest()[:8], signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [number])
