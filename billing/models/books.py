"""What the periodic check of the books found, and which findings stop sales."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from core.models import UUIDModel


class BookCheck(UUIDModel):
    """One run of check_books: what it looked at and every row that it named."""

    since = models.DateTimeField(null=True, help_text="Only wallets touched since; null for everything.")
    began_at = models.DateTimeField(help_text="The moment of the snapshot that was checked.")
    took_ms = models.PositiveIntegerField()
    is_clean = models.BooleanField()
    findings = models.JSONField(default=list)
    outstanding = models.BigIntegerField(null=True, help_text="Credits that customers own; of full checks only.")

    class Meta:
        indexes = [models.Index(fields=["-began_at"], name="book_check_newest")]

    def __str__(self) -> str:
        return f"{self.began_at:%F %T} {'clean' if self.is_clean else 'broken'}"


class SalesStop(UUIDModel):
    """An invariant that nothing is sold without: while the newest check finds it broken, no new payment begins."""

    name = models.CharField(max_length=60, unique=True)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    reason = models.CharField(max_length=500)

    class Meta:
        default_permissions = ("view",)
        permissions = (("set_salesstop", "Can have an invariant stop sales, and let them go on"),)

    def __str__(self) -> str:
        return self.name
