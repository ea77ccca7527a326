"""A call: who calls whom, where it stands, how far it is paid for. Times are the database's."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from calls import terms
from core.models import UUIDModel

LONGEST = timedelta(hours=24)


class State(models.TextChoices):
    RINGING = "ringing"
    ANSWERED = "answered"
    COMPLETED = "completed"
    CANCELED = "canceled"
    MISSED = "missed"
    FAILED = "failed"


# Every legal change. Only an answered call is ever billed.
TRANSITIONS: dict[State, frozenset[State]] = {
    State.RINGING: frozenset({State.ANSWERED, State.CANCELED, State.MISSED, State.FAILED}),
    State.ANSWERED: frozenset({State.COMPLETED}),
    State.COMPLETED: frozenset(),
    State.CANCELED: frozenset(),
    State.MISSED: frozenset(),
    State.FAILED: frozenset(),
}
OPEN = (State.RINGING, State.ANSWERED)


class Reason(models.TextChoices):
    """Why a call has ended."""

    HUNG_UP = "hung_up", "One of them hung up"
    LEFT = "left", "One of them left the room"
    NO_HEARTBEAT = "no_heartbeat", "The caller's app fell silent"
    OUT_OF_FUNDS = "out_of_funds", "The money was gone"
    TOO_LONG = "too_long", "The longest time was over"
    CANCELED = "canceled", "The caller gave up"
    DECLINED = "declined", "It was declined"
    UNANSWERED = "unanswered", "Nobody answered"
    NO_ROOM = "no_room", "There was no room to talk in"
    CALLEE_GONE = "callee_gone", "The callee's account is gone"
    STAFF = "staff", "Staff ended it"


class Type(models.TextChoices):
    AUDIO = "audio"
    VIDEO = "video"


_is_open = Q(state__in=[state.value for state in OPEN])
_was_answered = Q(state__in=[State.ANSWERED.value, State.COMPLETED.value])


class CallQuerySet(models.QuerySet["Call"]):
    def visible_to(self, user: object) -> Self:
        """The calls that the person makes or gets."""
        return self.filter(Q(caller=user) | Q(callee=user))

    def open(self) -> Self:
        """Calls that have not ended."""
        return self.filter(_is_open)


class Call(UUIDModel):
    """One call that `caller` pays, to a user or to a phone number.

    `held` is what the hold in the ledger is over; `due_at` is when the call has to be looked at next, `room_due_at`
    when its room has to be made or deleted. `rate` and `strategy` are the terms as they were when it began.
    """

    caller = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    callee = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    recipient_phone = models.CharField(max_length=16, blank=True)
    recipient_name = models.CharField(max_length=120, blank=True)
    type = models.CharField(max_length=5, choices=Type, default=Type.AUDIO)
    state = models.CharField(max_length=9, choices=State, default=State.RINGING)
    reason = models.CharField(max_length=20, choices=Reason, blank=True)
    rate = models.PositiveIntegerField(help_text="Kobo a minute.")
    strategy = models.CharField(max_length=20, choices=terms.Strategy)
    held = models.PositiveBigIntegerField(help_text="Kobo.")
    ring_until = models.DateTimeField()
    answered_at = models.DateTimeField(null=True, blank=True)
    last_beat_at = models.DateTimeField(null=True, blank=True, help_text="Of the caller's app, or the answer.")
    ended_at = models.DateTimeField(null=True, blank=True)
    billed_s = models.PositiveIntegerField(default=0)
    cost = models.PositiveBigIntegerField(default=0, help_text="Kobo, captured.")
    due_at = models.DateTimeField(null=True, blank=True)
    room = models.CharField(max_length=60, blank=True, help_text="At LiveKit; empty: the apps connect by themselves.")
    room_due_at = models.DateTimeField(null=True, blank=True)

    objects = CallQuerySet.as_manager()

    class Meta:
        permissions = (("end_call", "Can end calls that are open"),)
        constraints = (
            models.UniqueConstraint(fields=["caller"], condition=_is_open, name="calls_call_one_live"),
            models.CheckConstraint(condition=Q(state__in=[state.value for state in State]), name="calls_call_state"),
            models.CheckConstraint(
                condition=(_is_open & Q(ended_at=None, due_at__isnull=False, reason=""))
                | (~_is_open & Q(ended_at__isnull=False, due_at=None) & ~Q(reason="")),
                name="calls_call_open_or_ended",
            ),
            models.CheckConstraint(
                condition=(_was_answered & Q(answered_at__isnull=False, last_beat_at__gte=F("answered_at")))
                | (~_was_answered & Q(answered_at=None, last_beat_at=None, billed_s=0, cost=0)),
                name="calls_call_answered",
            ),
            models.CheckConstraint(condition=Q(cost__lte=F("held")), name="calls_call_cost_within_hold"),
            models.CheckConstraint(condition=Q(rate__gt=0, held__gt=0), name="calls_call_amounts"),
            models.CheckConstraint(condition=~Q(caller=F("callee")), name="calls_call_to_somebody_else"),
        )
        indexes = (
            models.Index(fields=["caller", "-created_at", "-id"], name="calls_call_of_caller"),
            models.Index(
                fields=["callee", "-created_at", "-id"],
                condition=Q(callee__isnull=False),
                name="calls_call_of_callee",
            ),
            models.Index(fields=["due_at"], condition=_is_open, name="calls_call_due"),
            models.Index(fields=["room_due_at"], condition=Q(room_due_at__isnull=False), name="calls_call_room_due"),
            models.Index(fields=["ended_at"], name="calls_call_ended"),
        )

    def __str__(self) -> str:
        return f"call {self.id}"

    @property
    def is_open(self) -> bool:
        return self.state in OPEN

    @property
    def hold_key(self) -> str:
        """The key of its hold in the ledger."""
        return f"call:{self.id}"

    @property
    def paid_until(self) -> datetime | None:
        """Until when what is held pays for it; None before the answer."""
        if self.answered_at is None:
            return None
        paid = terms.paid_seconds(self.held, rate=self.rate, strategy=self.strategy)
        return self.answered_at + min(timedelta(seconds=paid), LONGEST)
