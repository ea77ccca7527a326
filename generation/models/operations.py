"""What is sold: an operation is a kind of job at a provider, with its limits and its price."""

from __future__ import annotations

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Q

from core.models import UUIDModel

# A slug in which a dot may tell operations of one kind apart: `video.kie`.
_is_code = RegexValidator(r"\A[a-z0-9_-]+(\.[a-z0-9_-]+)*\Z", "Small letters, digits, - and _, parted by dots.")


class Kind(models.TextChoices):
    HEADSHOT = "headshot"
    IMAGE = "image"
    VIDEO = "video"
    AVATAR = "avatar"
    MODEL3D = "model3d", "3D model"


class Operation(UUIDModel):
    """One thing a customer can order. A job keeps a snapshot, so editing a row never changes what was agreed.

    `limits`: parameter → {"type": "text" | "integer" | "choice" | "choices" (a list) | "boolean", "min_length",
    "max_length", "min", "max", "choices", "default", "required": true | "without_picture"}; texts are moderated. A
    parameter that is not listed is refused.
    `multipliers`: parameter → {"choices": {value: "1.5"}} | {"each": true} | {"per": 6} (started units) | {"with":
    another parameter, "table": {value: {other value: "1.5"}}} (what is not in the table is not sold); the price is
    rounded up once, at the end.
    """

    code = models.CharField(max_length=40, unique=True, validators=[_is_code])
    kind = models.CharField(max_length=20, choices=Kind)
    title = models.CharField(max_length=80)
    provider = models.CharField(max_length=40)
    model = models.CharField(max_length=80)
    limits = models.JSONField(default=dict, blank=True)
    photos_min = models.PositiveSmallIntegerField(default=0)
    photos_max = models.PositiveSmallIntegerField(default=0)
    needs_consent = models.BooleanField(default=True, help_text="Faces are involved: the customer must say `consent`.")
    base_price = models.PositiveIntegerField(help_text="In credits.")
    multipliers = models.JSONField(default=dict, blank=True)
    fallback = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    is_enabled = models.BooleanField(default=True)
    is_paused = models.BooleanField(
        default=False, db_default=False, help_text="Off with its provider, and on again with it."
    )
    is_default = models.BooleanField(default=False, help_text="Ordered when the request names no operation.")
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("code",)
        permissions = [("switch_operation", "Can switch a provider off and on")]
        constraints = (
            models.CheckConstraint(condition=Q(base_price__gt=0), name="generation_operation_price"),
            models.CheckConstraint(condition=Q(photos_min__lte=F("photos_max")), name="generation_operation_photos"),
            models.CheckConstraint(
                condition=Q(is_enabled=False) | Q(is_paused=False),
                name="generation_operation_paused_is_off",
                violation_error_message="What is enabled is not off with its provider: untick one of the two.",
            ),
            models.UniqueConstraint(fields=["kind"], condition=Q(is_default=True), name="generation_operation_default"),
        )

    def __str__(self) -> str:
        return self.code
