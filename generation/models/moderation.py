"""What may not be asked for."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Lower

from core.models import UUIDModel


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
