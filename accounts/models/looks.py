"""Members of staff who looked at the product as a customer sees it."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from core.models import UUIDModel


class Look(UUIDModel):
    """Until `ends_at` its actor may read what the customer's own API answers. The customer is told of it."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="looks", db_index=False)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    reason = models.CharField(max_length=500)
    ends_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.CheckConstraint(condition=~models.Q(user=models.F("actor")), name="accounts_look_at_another"),
        )
        indexes = (models.Index(fields=["user", "-created_at"], name="accounts_look_of_user"),)

    def __str__(self) -> str:
        return str(self.pk)
