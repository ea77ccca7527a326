"""Who did what to which object, append-only and sealed; and what waits for a second pair of eyes.

That AuditLog, AuditDetail and Seal stay as they were written is PostgreSQL's own refusal (migration 0004), by triggers
in plain SQL: those of pgtrigger can be told off by a session variable.
"""

from __future__ import annotations

from typing import ClassVar

import pgtrigger
from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from core.models import UUIDModel


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
            # Each ends in the order of the lists, so that a page costs the same whatever there is behind it.
            models.Index(fields=["entity_id", "at", "id"], name="audit_of_entity"),
            models.Index(fields=["user_id", "at", "id"], name="audit_of_user"),
            models.Index(fields=["actor_id", "at", "id"], name="audit_of_actor"),
            models.Index(fields=["action", "at", "id"], name="audit_of_action"),
            models.Index(fields=["user_id", "-at"], condition=Q(source="ADMIN"), name="audit_staff_acts"),
            models.Index(fields=["request_id"], name="audit_request"),
            models.Index(fields=["at", "id"], name="audit_time"),  # also the order in which rows are sealed
        ]
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
        indexes = [models.Index(fields=["ip", "log"], name="audit_detail_of_ip")]

    def __str__(self) -> str:
        return f"detail of {self.log_id}"


class Seal(models.Model):
    """A batch of rows as they were, and the seal before it: whoever changes one has to change all that follow.

    It covers every row after the mark of the seal before it, up to its own; a mark is (at, id) of the log's order.
    """

    number = models.PositiveBigIntegerField(primary_key=True)
    at = models.DateTimeField()
    until_at = models.DateTimeField()
    until_id = models.BigIntegerField()
    rows = models.PositiveIntegerField()
    previous = models.BinaryField(max_length=32, help_text="The hash of the seal before; zeros before the first.")
    content = models.BinaryField(max_length=32, help_text="The hash of the leaves one after the other.")
    hash = models.BinaryField(max_length=32, help_text="The hash of everything above, as sealing.SEAL_TEXT writes it.")
    members = ArrayField(models.BigIntegerField(), null=True, help_text="The ids of its rows; null once purged.")
    leaves = ArrayField(models.BinaryField(max_length=32), null=True, help_text="Their hashes; null once purged.")

    class Meta:
        indexes = [models.Index(fields=["at"], name="seal_newest")]

    def __str__(self) -> str:
        return f"seal {self.number}"


class Verification(UUIDModel):
    """A look through the whole log, asked for in the console or at the shell, and what it found."""

    requester = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    next_at = models.DateTimeField(db_default=Now(), null=True, help_text="When a worker takes it up; null once done.")
    done_at = models.DateTimeField(null=True)
    is_clean = models.BooleanField(null=True)
    report = models.JSONField(default=dict)

    class Meta:
        indexes = [
            models.Index(fields=["-created_at"], name="verification_newest"),
            models.Index(fields=["next_at"], condition=Q(next_at__isnull=False), name="verification_due"),
        ]

    def __str__(self) -> str:
        return f"verification of {self.created_at:%F %H:%M}"


class ExtractState(models.TextChoices):
    PREPARING = "preparing"
    READY = "ready"
    FAILED = "failed"
    EXPIRED = "expired"


class Extract(UUIDModel):
    """Rows of the log that a member of staff takes away as a file; a worker writes it."""

    class Format(models.TextChoices):
        CSV = "csv", "CSV"
        JSONL = "jsonl", "JSON, one row a line"

    requester = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    sought = models.JSONField(default=dict, help_text="Which rows; all of them where it is empty.")
    format = models.CharField(max_length=5, choices=Format.choices)
    has_details = models.BooleanField(default=False, help_text="With addresses, user agents and names.")
    state = models.CharField(max_length=9, choices=ExtractState.choices, default=ExtractState.PREPARING)
    total = models.PositiveBigIntegerField(null=True, help_text="Rows to write, once they are counted.")
    done = models.PositiveBigIntegerField(default=0)
    bytes = models.PositiveBigIntegerField(null=True)
    file = models.OneToOneField("core.StoredObject", on_delete=models.PROTECT, null=True, related_name="extract")
    next_at = models.DateTimeField(db_default=Now())
    tries = models.PositiveSmallIntegerField(default=0)
    ready_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state="ready", file__isnull=False, expires_at__isnull=False)
                | (~Q(state="ready") & Q(file=None)),
                name="extract_file_when_ready",
            )
        ]
        indexes = [
            models.Index(fields=["-created_at"], name="extract_newest"),
            models.Index(fields=["next_at"], condition=Q(state="preparing"), name="extract_due"),
            models.Index(fields=["expires_at"], condition=Q(state="ready"), name="extract_expiry"),
        ]
        permissions = [("take_extract", "Can take rows of the audit log away as a file")]

    def __str__(self) -> str:
        return f"extract of {self.created_at:%F %H:%M}"


class ApprovalState(models.TextChoices):
    PENDING = "pending"
    APPROVED = "approved"
    REFUSED = "refused"
    EXPIRED = "expired"
    EXECUTED = "executed"


# `approved` is passed through within one transaction; it stays only for acts that end later.
APPROVAL_TRANSITIONS: dict[str, set[str]] = {
    ApprovalState.PENDING: {ApprovalState.APPROVED, ApprovalState.REFUSED, ApprovalState.EXPIRED},
    ApprovalState.APPROVED: {ApprovalState.EXECUTED},
    ApprovalState.REFUSED: set(),
    ApprovalState.EXPIRED: set(),
    ApprovalState.EXECUTED: set(),
}


class Approval(UUIDModel):
    """An act that one member of staff asks for and another one lets happen. What is asked never changes."""

    act = models.CharField(max_length=120, help_text="The function that does it: a name in APPROVAL_ACTS.")
    payload = models.JSONField(help_text="What the function is told.")
    summary = models.CharField(max_length=200, help_text="What it would do, in words.")
    unit = models.CharField(max_length=6)
    amount = models.BigIntegerField(help_text="What is at stake, in the unit's minor unit.")
    customer = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+", help_text="Whom it benefits."
    )
    requester = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    reason = models.CharField(max_length=500)
    expires_at = models.DateTimeField()
    state = models.CharField(max_length=8, choices=ApprovalState.choices, default=ApprovalState.PENDING)
    approver = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+", help_text="Who decided."
    )
    decision_reason = models.CharField(max_length=500, blank=True)
    decided_at = models.DateTimeField(null=True)
    executed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(approver__isnull=True) | ~Q(approver=F("requester")), name="approval_by_another"
            ),
            models.CheckConstraint(
                condition=Q(customer__isnull=True)
                | (~Q(customer=F("requester")) & (Q(approver__isnull=True) | ~Q(customer=F("approver")))),
                name="approval_benefits_neither",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["pending", "expired"], approver__isnull=True, decided_at__isnull=True)
                | Q(state__in=["approved", "refused", "executed"], approver__isnull=False, decided_at__isnull=False),
                name="approval_decided_by_somebody",
            ),
            models.CheckConstraint(
                condition=Q(state="executed", executed_at__isnull=False)
                | (~Q(state="executed") & Q(executed_at__isnull=True)),
                name="approval_executed_at",
            ),
        ]
        indexes = [
            models.Index(fields=["expires_at"], condition=Q(state="pending"), name="approval_pending"),
            models.Index(fields=["-created_at"], name="approval_newest"),
        ]
        permissions = [("decide_approval", "Can approve and refuse what colleagues ask for")]
        triggers: ClassVar = [
            pgtrigger.Trigger(
                name="frozen",
                operation=pgtrigger.Update,
                when=pgtrigger.Before,
                condition=pgtrigger.AnyChange(
                    "act", "payload", "summary", "unit", "amount", "customer", "requester", "reason", "expires_at"
                ),
                func="RAISE EXCEPTION 'an approval stays as it was asked for';",
            ),
            pgtrigger.Trigger(
                name="final",
                operation=pgtrigger.Update,
                when=pgtrigger.Before,
                condition=pgtrigger.Q(old__state__in=["refused", "expired", "executed"]),
                func="RAISE EXCEPTION 'an approval is decided once';",
            ),
            pgtrigger.Trigger(
                name="stays",
                operation=pgtrigger.Delete,
                when=pgtrigger.Before,
                func="RAISE EXCEPTION 'approvals stay';",
            ),
        ]

    def __str__(self) -> str:
        return self.summary


class DayTotal(models.Model):
    """What a member of staff has moved, or a customer been given, on one day (UTC). Limits are measured against it."""

    day = models.DateField()
    scope = models.CharField(max_length=50, help_text="staff:<id> or customer:<id>")
    unit = models.CharField(max_length=6)
    amount = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["day", "scope", "unit"], name="day_total_once")]

    def __str__(self) -> str:
        return f"{self.day} {self.scope} {self.amount} {self.unit}"
