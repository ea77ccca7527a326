"""Wearables, what people selected of them, their customisations, and the imports that filled the catalogue."""

from __future__ import annotations

from typing import Self

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.core.validators import MinLengthValidator, RegexValidator
from django.db import models
from django.db.models import F, Func, Q, Value
from django.db.models.functions import Concat, Lower, Now

from core.models import UUIDModel

MAX_TAGS = 20
MAX_TAG = 40


class ImportState(models.TextChoices):
    PLANNED = "planned"
    APPLIED = "applied"
    ROLLED_BACK = "rolled_back"
    DISCARDED = "discarded", "discarded for a newer plan"


TRANSITIONS: dict[ImportState, set[ImportState]] = {
    ImportState.PLANNED: {ImportState.APPLIED, ImportState.DISCARDED},
    ImportState.APPLIED: {ImportState.ROLLED_BACK},
}


class Import(UUIDModel):
    """One file: planned in the console and then applied, or applied at once at the shell.

    `report`: what was read, the counts, and the first errors and differences (imports.Report). `content`: the file,
    deflated, while it is only planned.
    """

    filename = models.CharField(max_length=200)
    sha256 = models.CharField(max_length=64)
    state = models.CharField(max_length=20, choices=ImportState)
    report = models.JSONField(default=dict)
    content = models.BinaryField(null=True)
    applied_at = models.DateTimeField(null=True)
    rolled_back_at = models.DateTimeField(null=True)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")

    class Meta:
        permissions = (("apply_import", "Can plan, apply and roll back imports"),)
        indexes = (models.Index(fields=["-created_at"], name="wearables_import_newest"),)

    def __str__(self) -> str:
        return f"import {self.filename}"


class Words(Func):
    """What the catalogue is searched by, in small letters."""

    template = "to_tsvector('english', %(expressions)s)"


class WearableQuerySet(models.QuerySet["Wearable"]):
    def on_offer(self) -> Self:
        """What customers see."""
        return self.filter(is_active=True)


class Wearable(UUIDModel):
    """One item. `code` is its ID in the file that it came from. It is switched off, never deleted."""

    code = models.CharField(max_length=40, unique=True)
    category = models.CharField(max_length=60)
    subcategory = models.CharField(max_length=60, blank=True)
    name = models.CharField(max_length=200)
    description = models.CharField(max_length=2000, blank=True)
    image_url = models.CharField(
        max_length=500, blank=True, validators=[RegexValidator(r"\Ahttps?://\S+\Z", "An http or https address.")]
    )
    has_image = models.GeneratedField(
        expression=~Q(image_url=""),  # type: ignore[arg-type]
        output_field=models.BooleanField(),
        db_persist=True,
    )
    tags = ArrayField(models.CharField(max_length=MAX_TAG), default=list, blank=True, size=MAX_TAGS)
    style = models.CharField(max_length=40, blank=True)
    color = models.CharField(max_length=40, blank=True)
    material = models.CharField(max_length=40, blank=True)
    season = models.CharField(max_length=40, blank=True)
    occasion = models.CharField(max_length=40, blank=True)
    size = models.CharField(max_length=20, blank=True)
    fit = models.CharField(max_length=20, blank=True)
    is_active = models.BooleanField(default=True, db_default=True)
    sort_order = models.PositiveIntegerField(default=0, db_default=0, help_text="Smaller ones come first.")
    updated_at = models.DateTimeField(db_default=Now(), editable=False)
    origin = models.ForeignKey(
        Import, null=True, blank=True, editable=False, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    words = models.GeneratedField(
        expression=Lower(
            Concat(
                "name", Value(" "), "category", Value(" "), "subcategory", Value(" "), "style", Value(" "), "color",
                Value(" "), "material",
            )
        ),
        output_field=models.TextField(),
        db_persist=True,
    )  # fmt: skip

    objects = WearableQuerySet.as_manager()

    class Meta:
        constraints = (
            models.CheckConstraint(condition=~Q(code="") & ~Q(category="") & ~Q(name=""), name="wearables_named"),
        )
        indexes = (
            models.Index(fields=["sort_order", "id"], condition=Q(is_active=True), name="wearables_order"),
            models.Index(
                fields=["category", "sort_order", "id"], condition=Q(is_active=True), name="wearables_category"
            ),
            models.Index(fields=["origin"], condition=Q(origin__isnull=False), name="wearables_origin"),
            GinIndex(Words(F("words")), name="wearables_words"),
            GinIndex(fields=["words"], opclasses=["gin_trgm_ops"], name="wearables_trigrams"),
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.code})"


class Former(models.Model):
    """What an item was before an import changed it."""

    of_import = models.ForeignKey(Import, on_delete=models.CASCADE, related_name="former")
    wearable = models.ForeignKey(Wearable, on_delete=models.CASCADE, related_name="+", db_index=False)
    was = models.JSONField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=["of_import", "wearable"], name="wearables_former_once"),)

    def __str__(self) -> str:
        return f"{self.wearable_id} before {self.of_import_id}"


class Selection(UUIDModel):
    """Somebody has chosen an item. It stays when the item is switched off or imported anew."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False)
    wearable = models.ForeignKey(Wearable, on_delete=models.PROTECT, related_name="+")

    class Meta:
        constraints = (models.UniqueConstraint(fields=["user", "wearable"], name="wearables_selected_once"),)

    def __str__(self) -> str:
        return f"selection {self.id}"


class Size(models.TextChoices):
    XS = "XS"
    S = "S"
    M = "M"
    L = "L"
    XL = "XL"
    XXL = "XXL"


class Fit(models.TextChoices):
    SLIM = "SLIM"
    REGULAR = "REGULAR"
    LOOSE = "LOOSE"


class CustomizationQuerySet(models.QuerySet["Customization"]):
    def visible_to(self, user: object) -> Self:
        return self.filter(user=user)


class Customization(UUIDModel):
    """How somebody wants an item, or whatever they order, to look. `attributes`: their own words, name → text."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False)
    name = models.CharField(max_length=100, validators=[MinLengthValidator(1)])
    wearable = models.ForeignKey(Wearable, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    primary_color = models.CharField(max_length=7, blank=True)
    secondary_color = models.CharField(max_length=7, blank=True)
    color_name = models.CharField(max_length=60, blank=True)
    size = models.CharField(max_length=3, choices=Size, blank=True)
    fit = models.CharField(max_length=7, choices=Fit, blank=True)
    attributes = models.JSONField(default=dict, blank=True)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = CustomizationQuerySet.as_manager()

    class Meta:
        indexes = (models.Index(fields=["user", "-created_at", "-id"], name="wearables_custom_list"),)

    def __str__(self) -> str:
        return f"customization {self.id}"
