"""Staff's edits of single items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

import audit
from core import public
from wearables.models import Wearable


@audit.writes("wearable")
def save(row: Wearable, *, changed: Sequence[str], actor: Any) -> None:
    """Keep an edited or a new item, with what it was and what it is. An import that is rolled back leaves it so."""
    with transaction.atomic():
        before = Wearable.objects.select_for_update(no_key=True).filter(pk=row.pk).first()
        row.updated_at = Now()
        row.save()
        audit.record(
            "wearable.updated" if before else "wearable.created",
            row,
            old={name: getattr(before, name) for name in changed} if before else None,
            new={name: getattr(row, name) for name in changed},
            actor_id=actor.pk,
        )
        public.changed("wearables")
