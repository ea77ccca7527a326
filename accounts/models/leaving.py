"""Somebody's wish to be forgotten, and how far it has come."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from core.models import UUIDModel


class Erasure(UUIDModel):
    """Due while `finished_at` is empty: first until everything is closed and the row anonymised, then until the last
    mail has left and its address is forgotten, too."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="erasure")
    next_at = models.DateTimeField(db_default=Now())
    tries = models.PositiveIntegerField(default=0)
    waits_for = models.JSONField(default=list, blank=True, help_text="What was still open at the last try.")
    anonymised_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = (
            models.Index(fields=["next_at"], condition=Q(finished_at__isnull=True), name="accounts_erasure_due"),
            models.Index(fields=["-created_at"], name="accounts_erasure_newest"),
        )

    def __str__(self) -> str:
        return str(self.user_id)
