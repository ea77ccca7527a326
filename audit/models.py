"""Who did what to which object. Append-only: PostgreSQL refuses UPDATE, DELETE and TRUNCATE of the log."""

from __future__ import annotations

import pgtrigger
from django.db import models
from django.db.models.functions import Now


def append_only(table: str) -> list[pgtrigger.Trigger]:
    """The triggers that keep a table as it was written."""
    refuse = f"RAISE EXCEPTION '{table} is append-only: % is refused', TG_OP;"
    return [
        pgtrigger.Trigger(
            name="append_only",
            operation=pgtrigger.Update | pgtrigger.Delete,
            when=pgtrigger.Before,
            func=refuse,
        ),
        pgtrigger.Trigger(
            name="no_truncate",
            level=pgtrigger.Statement,
            operation=pgtrigger.Truncate,
            when=pgtrigger.Before,
            func=refuse,
        ),
    ]


class AuditLog(models.Model):
    """One fact. Its subject is named by (type, id), so the log sits below every app that writes to it."""

    class Source(models.TextChoices):
        API = "API"
        WEBHOOK = "WEBHOOK"
        SYSTEM = "SYSTEM"
        ADMIN = "ADMIN"

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(db_default=Now(), editable=False)
    action = models.CharField(max_length=80)
    entity_type = models.CharField(max_length=60)
    entity_id = models.CharField(max_length=64)
    user_id = models.UUIDField(null=True)  # whose object it is
    actor_id = models.UUIDField(null=True)  # who acted; null is the system
    on_behalf_of_id = models.UUIDField(null=True)
    source = models.CharField(max_length=8, choices=Source)
    request_id = models.CharField(max_length=80)
    old = models.JSONField(null=True)
    new = models.JSONField(null=True)
    metadata = models.JSONField(default=dict)
    detail_hash = models.BinaryField(max_length=32, null=True)

    class Meta:
        indexes = [
            models.Index(fields=["entity_type", "entity_id", "id"], name="audit_entity"),
            models.Index(fields=["user_id", "id"], name="audit_user"),
            models.Index(fields=["actor_id", "id"], name="audit_actor"),
            models.Index(fields=["action", "id"], name="audit_action"),
            models.Index(fields=["request_id"], name="audit_request"),
            models.Index(fields=["at"], name="audit_at"),
        ]
        triggers = append_only("audit_auditlog")
        verbose_name = "audit row"

    def __str__(self) -> str:
        return f"{self.action} {self.entity_type} {self.entity_id}"


class AuditDetail(models.Model):
    """The personal part of a row. The row keeps its salted hash: erasing this is seen as erased, not as changed."""

    log = models.OneToOneField(AuditLog, on_delete=models.PROTECT, primary_key=True, related_name="detail")
    salt = models.BinaryField(max_length=16)
    ip = models.GenericIPAddressField(null=True)
    user_agent = models.CharField(max_length=400, blank=True)
    personal = models.JSONField(default=dict)

    class Meta:
        indexes = [models.Index(fields=["ip"], name="audit_detail_ip")]
        triggers = [
            # Erasing a person deletes rows here, one at a time; nothing ever changes one.
            pgtrigger.Protect(name="no_update", operation=pgtrigger.Update),
            pgtrigger.Trigger(
                name="no_truncate",
                level=pgtrigger.Statement,
                operation=pgtrigger.Truncate,
                when=pgtrigger.Before,
                func="RAISE EXCEPTION 'audit_auditdetail is never emptied: % is refused', TG_OP;",
            ),
        ]

    def __str__(self) -> str:
        return f"detail of {self.log_id}"
