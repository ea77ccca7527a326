"""What every table shares, and core's own tables: idempotency keys, stored files and tallies."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from core.ids import new_id

KEEP_UNREFERENCED = timedelta(hours=24)


class UUIDModel(models.Model):
    """A row named outward by a UUIDv7; `created_at` is the database's clock."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        abstract = True


class IdempotencyKey(UUIDModel):
    """One row per (user, method, route, key): what was asked, and the 2xx answer once there is one.

    A request that calls a gateway holds the row by a lease (`locked_until`); `subject_id` names what it made,
    so that the same key resumes it and never makes a second.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    method = models.CharField(max_length=8)
    route = models.CharField(max_length=200)
    key = models.CharField(max_length=255)
    fingerprint = models.BinaryField(max_length=32)
    subject_id = models.UUIDField(null=True)
    locked_until = models.DateTimeField(null=True)
    status = models.PositiveSmallIntegerField(null=True)
    headers = models.JSONField(default=dict)
    body = models.BinaryField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "method", "route", "key"], name="idempotency_key_once"),
        ]
        indexes = [models.Index(fields=["created_at"], name="idempotency_key_age")]

    def __str__(self) -> str:
        return f"{self.method} {self.route} {self.key}"


class StoredObject(UUIDModel):
    """One key in the storage, written before its bytes, so that none is ever forgotten.

    While `expires_at` is set nothing refers to it, and after it the sweeper removes it.
    """

    key = models.CharField(max_length=255, unique=True)
    expires_at = models.DateTimeField(null=True, blank=True, db_default=Now() + KEEP_UNREFERENCED)

    class Meta:
        db_table = "generation_storedobject"  # where it was born; renaming it would stop the release before
        indexes = [
            models.Index(
                fields=["expires_at"], condition=models.Q(expires_at__isnull=False), name="generation_object_expiry"
            ),
        ]

    def __str__(self) -> str:
        return self.key


class Tally(models.Model):
    """That something came into a state, so many times: a trigger of its table adds a row, and `tallies.fold` adds up.

    A metric is the sum of its rows, so it only ever rises, and reading it costs the same whatever there is behind it.
    """

    name = models.CharField(max_length=40, help_text="The metric, without `_total`.")
    labels = ArrayField(models.TextField())
    n = models.PositiveBigIntegerField()

    class Meta:
        verbose_name_plural = "tallies"

    def __str__(self) -> str:
        return f"{self.name} {', '.join(self.labels)}: {self.n}"
