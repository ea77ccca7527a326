"""What the periodic check of the books found."""

from __future__ import annotations

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
