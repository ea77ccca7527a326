"""A person's copy of what we keep of them."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from core.models import UUIDModel


class ExportState(models.TextChoices):
    PREPARING = "preparing"
    READY = "ready"
    FAILED = "failed"
    EXPIRED = "expired"


class Export(UUIDModel):
    """A ZIP that a worker makes; `next_at` is when the next worker may take it up while it is being prepared."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="exports", db_index=False)
    state = models.CharField(max_length=9, choices=ExportState, default=ExportState.PREPARING)
    file = models.OneToOneField(
        "core.StoredObject", on_delete=models.PROTECT, null=True, blank=True, related_name="export"
    )
    bytes = models.PositiveBigIntegerField(null=True, blank=True)
    next_at = models.DateTimeField(db_default=Now())
    tries = models.PositiveSmallIntegerField(default=0)
    ready_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["user"], condition=Q(state=ExportState.PREPARING.value), name="accounts_export_one_open"
            ),
            models.CheckConstraint(
                condition=Q(state=ExportState.READY.value, file__isnull=False, expires_at__isnull=False)
                | (~Q(state=ExportState.READY.value) & Q(file=None)),
                name="accounts_export_file_when_ready",
            ),
        )
        indexes = (
            models.Index(fields=["user", "-created_at"], name="accounts_export_of_user"),
            models.Index(
                fields=["next_at"], condition=Q(state=ExportState.PREPARING.value), name="accounts_export_due"
            ),
            models.Index(
                fields=["expires_at"], condition=Q(state=ExportState.READY.value), name="accounts_export_expiry"
            ),
        )

    def __str__(self) -> str:
        return str(self.pk)
