"""What wearables tells a person of themselves (settings.ACCOUNT_EXPORT)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import F

from accounts.exports import Part, Rows
from wearables import queries

_CUSTOMIZATION = (
    "id", "created_at", "updated_at", "name", "primary_color", "secondary_color", "color_name", "size", "fit",
    "attributes",
)  # fmt: skip


def export(*, user: Any) -> Iterator[Part]:
    """Selections and customisations."""
    chosen = queries.selections(user).values("id", "created_at", code=F("wearable__code"), name=F("wearable__name"))
    yield Rows("selections", chosen.iterator())
    kept = queries.customizations(user).values(*_CUSTOMIZATION, wearable_code=F("wearable__code"))
    yield Rows("customizations", kept.iterator())
