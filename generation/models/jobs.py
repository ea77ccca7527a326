"""The job, its attempts at providers, its outputs. What the columns may say together is checked by the database."""

from __future__ import annotations

import secrets
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from core.models import StoredObject, UUIDModel
from generation.models.operations import Kind
from generation.models.photos import Photo


class State(models.TextChoices):
    QUEUED = "queued"
    SUBMITTING = "submitting"
    RUNNING = "running"
    STORING = "storing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


# Every legal change. Whoever makes the conditional update of a job's row has decided; see engine/moves.py.
TRANSITIONS: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.SUBMITTING, State.RUNNING, State.FAILED, State.CANCELED}),
    # To `storing` at once when the provider is synchronous; back to `queued` when it did not start, or for a stage.
    State.SUBMITTING: frozenset({State.QUEUED, State.RUNNING, State.STORING, State.FAILED, State.CANCELED}),
    State.RUNNING: frozenset({State.QUEUED, State.STORING, State.FAILED, State.CANCELED}),
    State.STORING: frozenset({State.SUCCEEDED, State.FAILED}),
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset({State.QUEUED}),  # the customer's retry: the next round, with its own hold
    State.CANCELED: frozenset(),
}
OPEN = (State.QUEUED, State.SUBMITTING, State.RUNNING, State.STORING)
TERMINAL = (State.SUCCEEDED, State.FAILED, State.CANCELED)

_is_open = Q(state__in=[state.value for state in OPEN])


class GenerationQuerySet(models.QuerySet["Generation"]):
    def visible_to(self, user: object) -> Self:
        """The person's own jobs that they have not deleted."""
        return self.filter(user=user, deleted_at=None)

    def open(self) -> Self:
        """Jobs that have not ended."""
        return self.filter(_is_open)

    def late(self) -> Self:
        """Open jobs past their deadline, by the database's clock: the sweeper ends them, unless something is wrong."""
        return self.open().filter(deadline_at__lt=Now())


class Generation(UUIDModel):
    """One paid order. `lease_token` and `lease_until` say who works on it now, by the database's clock only.

    `unknown` means: a provider may be working for us and we cannot tell; the hold stays. `queue` says which workers
    take it; `stage` counts the orders that, one after the other, make what was ordered; `data` is what was made besides
    files.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    kind = models.CharField(max_length=20, choices=Kind)
    avatar = models.ForeignKey(
        "Avatar",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="generations",
        db_index=False,
        help_text="The one that it makes, or that is to be in what it makes.",
    )
    operation = models.CharField(max_length=40)
    provider = models.CharField(max_length=40)
    model = models.CharField(max_length=80)
    terms = models.JSONField(help_text="The operation's row as it was agreed.")
    params = models.JSONField(default=dict)
    price = models.PositiveIntegerField(help_text="Credits held for this round.")
    round = models.PositiveSmallIntegerField(default=1)
    state = models.CharField(max_length=10, choices=State, default=State.QUEUED)
    queue = models.CharField(max_length=20, default="providers", db_default="providers")
    stage = models.PositiveSmallIntegerField(default=1, db_default=1)
    data = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()), blank=True)
    unknown = models.BooleanField(default=False)
    progress = models.PositiveSmallIntegerField(default=0)
    step = models.CharField(max_length=40, blank=True)
    attempt = models.ForeignKey("Attempt", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    round_started_at = models.DateTimeField(db_default=Now())
    deadline_at = models.DateTimeField()
    next_at = models.DateTimeField(null=True, blank=True, db_default=Now())
    lease_token = models.UUIDField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    error_code = models.CharField(max_length=40, blank=True)
    error_message = models.CharField(max_length=300, blank=True)
    was_submitted = models.BooleanField(default=False, help_text="In this round a provider may have started.")
    finished_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)
    taken_down_at = models.DateTimeField(null=True, blank=True, help_text="By staff: its files are gone.")

    archive = models.OneToOneField(
        StoredObject,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="A zip of photos that it works from, as it was put; gone a day after the end.",
    )
    photos: models.ManyToManyField[Photo, JobPhoto] = models.ManyToManyField(
        Photo, through="JobPhoto", related_name="generations"
    )

    objects = GenerationQuerySet.as_manager()

    class Meta:
        permissions = [
            ("takedown_generation", "Can take down what a job made"),
            ("rerun_generation", "Can retry failed jobs for their owners"),
            ("end_generation", "Can cancel and release jobs"),
        ]
        constraints = (
            models.CheckConstraint(
                condition=Q(state__in=[state.value for state in State]), name="generation_generation_state"
            ),
            models.CheckConstraint(condition=Q(price__gt=0), name="generation_generation_price"),
            models.CheckConstraint(condition=Q(round__gte=1, round__lte=4), name="generation_generation_round"),
            models.CheckConstraint(condition=Q(progress__lte=100), name="generation_generation_progress"),
            models.CheckConstraint(condition=Q(stage__gte=1), name="generation_generation_stage"),
            models.CheckConstraint(
                condition=(_is_open & Q(finished_at=None, next_at__isnull=False))
                | (~_is_open & Q(finished_at__isnull=False, next_at=None, lease_token=None)),
                name="generation_generation_open_or_finished",
            ),
            models.CheckConstraint(
                condition=Q(lease_token=None, lease_until=None)
                | Q(lease_token__isnull=False, lease_until__isnull=False),
                name="generation_generation_lease",
            ),
            models.CheckConstraint(
                condition=Q(unknown=False) | Q(state__in=[State.SUBMITTING.value, State.RUNNING.value]),
                name="generation_generation_unknown",
            ),
            models.CheckConstraint(
                condition=(Q(state=State.FAILED.value) & ~Q(error_code=""))
                | (~Q(state=State.FAILED.value) & Q(error_code="")),
                name="generation_generation_error",
            ),
            models.CheckConstraint(
                condition=Q(deleted_at=None) | ~_is_open, name="generation_generation_deleted_when_finished"
            ),
        )
        indexes = (
            # With what the dashboard counts, so that it need not read the jobs themselves.
            models.Index(
                fields=["user", "-created_at", "-id"],
                include=["kind", "state", "deleted_at"],
                name="generation_job_newest",
            ),
            models.Index(fields=["queue", "state", "next_at"], condition=_is_open, name="generation_job_work"),
            models.Index(
                fields=["avatar", "-created_at", "-id"],
                condition=Q(avatar__isnull=False),
                name="generation_job_of_avatar",
            ),
            models.Index(fields=["deadline_at"], condition=_is_open, name="generation_job_deadline"),
            # What staff filter by; most jobs are in neither.
            models.Index(
                fields=["state", "-id"],
                condition=Q(state__in=[State.FAILED.value, State.CANCELED.value]),
                name="generation_job_unmade",
            ),
            models.Index(fields=["error_code", "-id"], condition=~Q(error_code=""), name="generation_job_error"),
            # Not of open jobs, whose every look would write to it.
            models.Index(fields=["finished_at"], condition=Q(finished_at__isnull=False), name="generation_job_ended"),
            models.Index(
                fields=["user", "finished_at"],
                condition=Q(state=State.CANCELED.value, was_submitted=True),
                name="generation_job_late_cancels",
            ),
        )

    def __str__(self) -> str:
        return f"{self.operation} {self.id}"

    @property
    def is_open(self) -> bool:
        return self.state in OPEN

    @property
    def hold_key(self) -> str:
        """The key of this round's hold in the ledger."""
        return f"generation:{self.id}:{self.round}"


class JobPhoto(UUIDModel):
    """A photo that a job works from."""

    generation = models.ForeignKey(Generation, on_delete=models.CASCADE, related_name="inputs", db_index=False)
    photo = models.ForeignKey(Photo, on_delete=models.PROTECT, related_name="uses")
    position = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ("position",)
        constraints = (models.UniqueConstraint(fields=["generation", "position"], name="generation_jobphoto_position"),)

    def __str__(self) -> str:
        return f"{self.generation_id} ← {self.photo_id}"


class Outcome(models.TextChoices):
    PENDING = "pending", "The call is being made"
    NOT_STARTED = "not_started", "The provider surely did not start"
    UNKNOWN = "unknown", "The provider may have started"
    RUNNING = "running", "The provider works"
    SUCCEEDED = "succeeded", "Made and used"
    FAILED = "failed", "The provider refused or failed"
    ABANDONED = "abandoned", "We ended first"


def new_token() -> str:
    """Our name for an attempt, which rides where the provider echoes it. Nobody can guess it."""
    return f"at_{secrets.token_hex(16)}"


class Attempt(UUIDModel):
    """One start at a provider, committed before the call; everything the provider did or cost lands here.

    `discard_at`: when to next see to it that the provider's copy is deleted and its cost known. `made`: the outputs and
    data of a synchronous answer or of a finished stage, for whoever goes on with the job; empty once it has ended.
    """

    generation = models.ForeignKey(Generation, on_delete=models.PROTECT, related_name="attempts", db_index=False)
    round = models.PositiveSmallIntegerField()
    n = models.PositiveSmallIntegerField()
    stage = models.PositiveSmallIntegerField(default=1, db_default=1)
    provider = models.CharField(max_length=40)
    model = models.CharField(max_length=80)
    token = models.CharField(max_length=40, unique=True, default=new_token)
    provider_job_id = models.CharField(max_length=200, null=True, blank=True)
    outcome = models.CharField(max_length=12, choices=Outcome, default=Outcome.PENDING)
    request = models.JSONField(default=dict, blank=True)
    answer = models.JSONField(default=dict, blank=True)
    made = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()), blank=True)
    answered_at = models.DateTimeField(null=True, blank=True)
    latency_ms = models.PositiveIntegerField(null=True, blank=True)
    provider_cost = models.DecimalField(max_digits=16, decimal_places=6, null=True, blank=True)
    cost_unit = models.CharField(max_length=40, blank=True)
    error_code = models.CharField(max_length=40, blank=True)
    error_message = models.CharField(max_length=300, blank=True)
    misses = models.PositiveSmallIntegerField(default=0)
    store_tries = models.PositiveSmallIntegerField(default=0)
    discard_at = models.DateTimeField(null=True, blank=True)
    discarded_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["generation", "round", "n"], name="generation_attempt_once"),
            models.UniqueConstraint(
                fields=["provider", "provider_job_id"],
                condition=Q(provider_job_id__isnull=False),
                name="generation_attempt_provider_job",
            ),
        )
        indexes = (
            models.Index(
                fields=["discard_at"], condition=Q(discard_at__isnull=False), name="generation_attempt_discard"
            ),
        )

    def __str__(self) -> str:
        return f"{self.generation_id} {self.round}.{self.n} at {self.provider}"


class Asset(UUIDModel):
    """One output, in our storage. The row outlives its bytes (`purged_at`) when the customer deletes the job."""

    generation = models.ForeignKey(Generation, on_delete=models.PROTECT, related_name="assets", db_index=False)
    attempt = models.ForeignKey(Attempt, on_delete=models.PROTECT, related_name="+")
    position = models.PositiveSmallIntegerField(default=0)
    file = models.OneToOneField(StoredObject, null=True, on_delete=models.PROTECT, related_name="asset")
    thumbnail = models.OneToOneField(
        StoredObject, null=True, blank=True, on_delete=models.PROTECT, related_name="thumbnail_of"
    )
    content_type = models.CharField(max_length=40)
    bytes = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)
    width = models.PositiveIntegerField(null=True, blank=True)
    height = models.PositiveIntegerField(null=True, blank=True)
    duration_s = models.FloatField(null=True, blank=True)
    purged_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("position",)
        constraints = (
            models.UniqueConstraint(fields=["generation", "position"], name="generation_asset_position"),
            models.CheckConstraint(
                condition=Q(file__isnull=False, purged_at=None) | Q(file=None, purged_at__isnull=False),
                name="generation_asset_stored_or_purged",
            ),
        )

    def __str__(self) -> str:
        return f"{self.generation_id} output {self.position}"


class Consent(UUIDModel):
    """The customer's word that the person pictured agrees, and the wording they saw."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    generation = models.OneToOneField(Generation, on_delete=models.PROTECT, related_name="consent")
    wording = models.CharField(max_length=20)

    def __str__(self) -> str:
        return f"{self.generation_id} {self.wording}"
