"""How people want what they order to look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

import audit
from core.errors import Invalid, NotFound, detail
from wearables import selections
from wearables.models import Customization

MAX_KEPT = 100
FIELDS = (
    "name", "wearable_id", "primary_color", "secondary_color", "color_name", "size", "fit", "attributes",
)  # fmt: skip


@audit.writes("customization")
def create(*, user: Any, values: Mapping[str, Any]) -> Customization:
    """Keep a new one. Locks: this person's choices. Raises: NotFound for an item not on offer, Invalid for too many."""
    with transaction.atomic():
        selections.take_turn(user)
        _insist(values)
        if Customization.objects.filter(user=user).count() >= MAX_KEPT:
            raise Invalid(details=[detail("too_many", f"At most {MAX_KEPT} are kept; delete one first.")])
        made = Customization.objects.create(user=user, **values)
        made.refresh_from_db()
        audit.record("customization.created", made, user=user)
    return made


@audit.writes("customization")
def edit(*, user: Any, customization_id: UUID, values: Mapping[str, Any]) -> Customization:
    """Change what is named. Jobs that have begun keep what they were told. Locks: the row. Raises: NotFound."""
    with transaction.atomic():
        rows = Customization.objects.visible_to(user).select_for_update(of=("self",), no_key=True)
        row = rows.filter(pk=customization_id).first()
        if row is None:
            raise NotFound
        changed = {name: value for name, value in values.items() if getattr(row, name) != value}
        _insist(changed)
        if changed:
            Customization.objects.filter(pk=row.pk).update(**changed, updated_at=Now())
            audit.record("customization.updated", row, user=user, metadata={"fields": sorted(changed)})
            row.refresh_from_db()
    return row


@audit.writes("customization")
def delete(*, user: Any, customization_id: UUID) -> None:
    """Raises: NotFound."""
    with transaction.atomic():
        row = Customization.objects.visible_to(user).filter(pk=customization_id).first()
        if row is None or not Customization.objects.filter(pk=row.pk).delete()[0]:
            raise NotFound
        audit.record("customization.deleted", ("customization", customization_id), user=user)


def _insist(values: Mapping[str, Any]) -> None:
    if values.get("wearable_id"):
        selections.on_offer([values["wearable_id"]], field="wearable")
