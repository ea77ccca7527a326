"""What wearables does when a person is erased."""

from __future__ import annotations

from typing import Any

from django.db import transaction

import audit
from wearables.models import Customization, Selection


@audit.writes("selection")
def erase(*, user: Any) -> list[str]:
    """Forget what they chose and customised (settings.ACCOUNT_ERASED). Nothing stays open. Idempotent: by state."""
    with transaction.atomic():
        forgotten = {
            "customizations": Customization.objects.filter(user=user).delete()[0],
            "selections": Selection.objects.filter(user=user).delete()[0],
        }
        if any(forgotten.values()):
            audit.record("wearable.choices_erased", ("user", user.pk), user=user, metadata=forgotten)
    return []
