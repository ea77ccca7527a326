"""Pictures that customers gave us, as we re-encoded them, and those announced. The original bytes are never kept."""

from __future__ import annotations

from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q

from core import pictures
from core.models import StoredObject, UUIDModel


class Purpose(models.TextChoices):
    """What a picture is to be used for, which decides what is taken and how much of it is kept."""

    PHOTO = "photo", "A photo to work from"
    MODEL3D = "model3d", "A view of a thing, for a 3D model"
    ARCHIVE = "archive", "A zip of such views"


class PhotoQuerySet(models.QuerySet["Photo"]):
    def visible_to(self, user: object) -> Self:
        """The person's own photos that they have not deleted."""
        return self.filter(user=user, deleted_at=None)


class Photo(UUIDModel):
    """Deleted at once for its owner (`deleted_at`); the bytes go (`file` is null) when no open job uses them."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    file = models.OneToOneField(StoredObject, null=True, on_delete=models.PROTECT, related_name="photo")
    purpose = models.CharField(max_length=10, choices=Purpose, default=Purpose.PHOTO, db_default=Purpose.PHOTO)
    filename = models.CharField(max_length=255, help_text="As the customer named it; never used as a path.")
    title = models.CharField(max_length=120, blank=True)
    description = models.CharField(max_length=1000, blank=True)
    content_type = models.CharField(max_length=40)
    bytes = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    original_format = models.CharField(max_length=10)
    original_bytes = models.PositiveBigIntegerField()
    original_width = models.PositiveIntegerField()
    original_height = models.PositiveIntegerField()
    focal_length_mm = models.FloatField(null=True, blank=True)
    camera_make = models.CharField(max_length=64, blank=True)
    camera_model = models.CharField(max_length=64, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)

    objects = PhotoQuerySet.as_manager()

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=Q(file__isnull=False) | Q(deleted_at__isnull=False), name="generation_photo_has_bytes"
            ),
        )
        indexes = (
            models.Index(fields=["user", "-created_at", "-id"], name="generation_photo_list"),
            models.Index(
                fields=["deleted_at"],
                condition=Q(deleted_at__isnull=False, file__isnull=False),
                name="generation_photo_to_purge",
            ),
        )

    def __str__(self) -> str:
        return f"{self.filename} ({self.width} by {self.height})"

    @property
    def camera(self) -> str:
        """Equal for photos through the same lens."""
        return pictures.camera_of(self)


class Upload(UUIDModel):
    """A file that its owner is putting into the storage themselves; what becomes of it has the same id.

    It goes with its bytes: once they have been taken in, or a day after it was announced.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    file = models.OneToOneField(StoredObject, on_delete=models.CASCADE, related_name="upload")
    purpose = models.CharField(max_length=10, choices=Purpose)
    filename = models.CharField(max_length=255)
    title = models.CharField(max_length=120, blank=True)
    description = models.CharField(max_length=1000, blank=True)
    content_type = models.CharField(max_length=40, help_text="As announced; the decoder decides what it is.")
    bytes = models.PositiveBigIntegerField(help_text="As announced; no other number is taken.")
    locked_until = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.filename} ({self.bytes} bytes)"
