"""Invented people that customers have made, to make pictures of: a profile in words and a face."""

from __future__ import annotations

from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q

from core.models import UUIDModel
from generation.models.jobs import OPEN, Asset, Generation


class AvatarStatus(models.TextChoices):
    CREATING = "creating"
    READY = "ready"
    FAILED = "failed"


# An avatar has no state of its own to go wrong: it has its face, or it is as far as the job that makes it.
IS_STATUS: dict[AvatarStatus, Q] = {
    AvatarStatus.READY: Q(thumbnail__isnull=False),
    AvatarStatus.CREATING: Q(thumbnail=None, generation__state__in=[state.value for state in OPEN]),
    AvatarStatus.FAILED: Q(thumbnail=None) & ~Q(generation__state__in=[state.value for state in OPEN]),
}


class AvatarQuerySet(models.QuerySet["Avatar"]):
    def visible_to(self, user: object) -> Self:
        """The person's own avatars that they have not deleted."""
        return self.filter(user=user, deleted_at=None)

    def having(self, *statuses: AvatarStatus) -> Self:
        """Those in one of these statuses."""
        wanted = Q(pk__in=[])
        for status in statuses:
            wanted |= IS_STATUS[status]
        return self.filter(wanted)


class Avatar(UUIDModel):
    """`generation` is the job that makes it, once and in as many rounds as that takes; profile and face come together.

    Deleted for its owner only (`deleted_at`): what was made with it stays.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    generation = models.OneToOneField(Generation, on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=100)
    description = models.CharField(max_length=1000)
    style = models.CharField(max_length=200, blank=True)
    content_category = models.CharField(max_length=10, default="sfw")
    profile = models.JSONField(default=dict, blank=True, help_text="See profiles.SCHEMA; empty until it is ready.")
    thumbnail = models.OneToOneField(
        Asset, null=True, blank=True, on_delete=models.PROTECT, related_name="face_of", help_text="Null: not ready."
    )
    updated_at = models.DateTimeField(auto_now=True)
    deleted_at = models.DateTimeField(null=True, blank=True)

    objects = AvatarQuerySet.as_manager()

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=(Q(thumbnail=None) & Q(profile={})) | (Q(thumbnail__isnull=False) & ~Q(profile={})),
                name="generation_avatar_whole",
            ),
        )
        indexes = (models.Index(fields=["user", "-created_at", "-id"], name="generation_avatar_list"),)

    def __str__(self) -> str:
        return f"avatar {self.id}"

    @property
    def status(self) -> AvatarStatus:
        if self.thumbnail_id is not None:
            return AvatarStatus.READY
        return AvatarStatus.CREATING if self.generation.is_open else AvatarStatus.FAILED
