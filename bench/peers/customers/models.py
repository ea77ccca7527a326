from __future__ import annotations

from typing import Any

import pghistory
from auditlog.registry import auditlog
from django.db import models
from simple_history.models import HistoricalRecords


class Customer(models.Model):
    name = models.CharField(max_length=100)
    email = models.EmailField()
    city = models.CharField(max_length=100)
    status = models.CharField(max_length=20)
    credits = models.BigIntegerField(default=0)
    note = models.TextField(blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.name


class Unwatched(Customer):
    pass


class Inserted(Customer):
    """What happens to it is one more row, made by hand."""


class Ours(Customer):
    pass


class Logged(Customer):
    """By django-auditlog."""


class Historied(Customer):
    """By django-simple-history."""

    history = HistoricalRecords()


@pghistory.track()
class Tracked(Customer):
    """By django-pghistory, in triggers."""


auditlog.register(Logged)


class Entry(models.Model):
    """The row made by hand: the columns and indexes of our own log, without what proves it."""

    at = models.DateTimeField(auto_now_add=True)
    action = models.CharField(max_length=80)
    entity_type = models.CharField(max_length=60)
    entity_id = models.CharField(max_length=64)
    user_id = models.UUIDField(null=True)
    actor_id = models.UUIDField(null=True)
    source = models.CharField(max_length=8)
    request_id = models.CharField(max_length=80)
    old: Any = models.JSONField(null=True)
    new: Any = models.JSONField(null=True)
    ip = models.GenericIPAddressField(null=True)
    user_agent = models.CharField(max_length=400)

    class Meta:
        indexes = [
            models.Index(fields=["entity_id", "at"], name="entry_entity"),
            models.Index(fields=["user_id", "at"], name="entry_user"),
            models.Index(fields=["actor_id", "at"], name="entry_actor"),
            models.Index(fields=["action", "at"], name="entry_action"),
            models.Index(fields=["request_id"], name="entry_request"),
            models.Index(fields=["at"], name="entry_time"),
            models.Index(fields=["ip"], name="entry_ip"),
        ]

    def __str__(self) -> str:
        return self.action
