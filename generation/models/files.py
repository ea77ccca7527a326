"""The files we wrote, or were about to write: a row before the bytes, so that none is ever forgotten."""

from __future__ import annotations

from datetime import timedelta

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from core.models import UUIDModel

KEEP_UNREFERENCED = timedelta(hours=24)


class StoredObject(UUIDModel):
    """One key in the storage. While `expires_at` is set nothing refers to it, and after it the sweeper removes it."""

    key = models.CharField(max_length=255, unique=True)
    expires_at = models.DateTimeField(null=True, blank=True, db_default=Now() + KEEP_UNREFERENCED)

    class Meta:
        indexes = (
            models.Index(fields=["expires_at"], condition=Q(expires_at__isnull=False), name="generation_object_expiry"),
        )

    def __str__(self) -> str:
        return self.key
