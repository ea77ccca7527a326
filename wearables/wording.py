"""What is chosen, in the words that a picture is ordered with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from core.errors import Invalid, NotFound, detail
from wearables import selections
from wearables.models import Customization

MAX_WORN = 8
MAX_LENGTH = 1200


@dataclass(frozen=True, slots=True)
class Worn:
    """`text` for the prompt; `own_words` are what of it the customer typed, which nobody has read yet."""

    text: str
    own_words: str


def worn(*, user: Any, wearable_ids: Sequence[UUID], customization_id: UUID | None) -> Worn:
    """Items by name and category, and how the customisation wants its item, or else all of the look. Two queries.

    Raises: NotFound for items not on offer and for other people's customisations, Invalid when it says too much.
    """
    items = selections.on_offer(list(dict.fromkeys(wearable_ids)))
    looks, about = "", None
    if customization_id is not None:
        mine = Customization.objects.visible_to(user).select_related("wearable")
        custom = mine.filter(pk=customization_id).first()
        if custom is None:
            message = f"There is no such customization: {customization_id}."
            raise NotFound(details=[detail("unknown_customization", message, "customization")])
        looks = _looks(custom)
        if custom.wearable is not None and custom.wearable not in items:
            items.append(custom.wearable)
        about = custom.wearable_id
    parts = []
    for item in items:
        part = f"{item.name} ({item.category})"
        parts.append(f"{part}, {looks}" if looks and about == item.pk else part)
    if looks and about is None:
        parts.append(f"all of it {looks}" if items else looks)
    text = f"Wearing: {'; '.join(parts)}." if parts else ""
    if len(text) > MAX_LENGTH:
        raise Invalid(details=[detail("too_long", "They say too much together; name fewer.", "wearables")])
    return Worn(text, looks)


def _looks(custom: Customization) -> str:
    colors = [color for color in (custom.color_name, custom.primary_color, custom.secondary_color) if color]
    said = [f"in {' and '.join(colors)}"] if colors else []
    said += [f"{custom.fit.lower()} fit"] if custom.fit else []
    said += [f"size {custom.size}"] if custom.size else []
    said += [f"{name}: {text}" for name, text in custom.attributes.items() if text]
    return ", ".join(said)
