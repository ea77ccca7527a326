"""What may not be asked for, and what may not stay."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower

from core.models import UUIDModel
from generation.models.jobs import Generation


class Category(models.TextChoices):
    ADULT = "adult", "Adult content"
    MINORS = "minors", "Sexual content about minors"
    VIOLENCE = "violence", "Graphic violence"
    HATE = "hate", "Hate"
    SELF_HARM = "self_harm", "Self-harm"
    DECEPTION = "deception", "Forged documents and deception"


class BlockedTerm(UUIDModel):
    """A word or a phrase that is refused where it stands as whole words, whatever its case or accents."""

    term = models.CharField(max_length=100)
    category = models.CharField(max_length=20, choices=Category)
    is_active = models.BooleanField(default=True)
    note = models.CharField(max_length=200, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("category", "term")
        constraints = (models.UniqueConstraint(Lower("term"), name="generation_blockedterm_once"),)

    def __str__(self) -> str:
        return f"{self.term} ({self.category})"


class ReportReason(models.TextChoices):
    ADULT = "adult", "Adult content"
    MINORS = "minors", "Sexual content about minors"
    VIOLENCE = "violence", "Graphic violence"
    HATE = "hate", "Hate"
    SELF_HARM = "self_harm", "Self-harm"
    DECEPTION = "deception", "Deception"
    LIKENESS = "likeness", "Shows somebody who has not agreed"
    COPYRIGHT = "copyright", "Shows what belongs to somebody else"
    OTHER = "other", "Something else"


class ReportStatus(models.TextChoices):
    OPEN = "open", "Waits for staff"
    UPHELD = "upheld", "Taken down"
    DISMISSED = "dismissed", "Stays"


class Report(UUIDModel):
    """Somebody says that what a job made must go. Staff decide within settings.REMOVAL_WITHIN_S of `created_at`."""

    generation = models.ForeignKey(Generation, on_delete=models.PROTECT, related_name="reports", db_index=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    reason = models.CharField(max_length=20, choices=ReportReason)
    comment = models.CharField(max_length=1000, blank=True)
    status = models.CharField(max_length=10, choices=ReportStatus, default=ReportStatus.OPEN)
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    decision = models.CharField(max_length=500, blank=True, help_text="Why, in staff's words.")

    class Meta:
        permissions = [("decide_report", "Can dismiss reports")]
        constraints = (
            models.UniqueConstraint(fields=["generation", "user"], name="generation_report_once"),
            models.CheckConstraint(
                condition=Q(status="open", decided_at=None) | (~Q(status="open") & Q(decided_at__isnull=False)),
                name="generation_report_decided",
            ),
        )
        indexes = (models.Index(fields=["created_at"], condition=Q(status="open"), name="generation_report_open"),)

    def __str__(self) -> str:
        return f"{self.reason}: {self.generation_id}"
