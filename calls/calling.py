"""What people do: call, answer, decline, stay on the line, end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction

import audit
from billing import ledger
from calls import livekit, metering, terms
from calls.ending import finish
from calls.errors import CallAnswered, CalleeOnly, CallEnded, CallExists
from calls.metering import End
from calls.models import LONGEST, Call, Reason, State
from core import jobs
from core.errors import Invalid, PermissionDenied, detail
from core.killpoints import reach


def charged(call: Call) -> Any:
    """What a call has done to its caller's money: `none`, `held` or `settled`."""
    if call.is_open:
        return "held"
    return "settled" if call.cost else "none"


@audit.writes("call")
def initiate(*, user: Any, callee_id: UUID | None = None, phone: str = "", name: str = "", type: str = "audio") -> Call:
    """Let it ring, with the opening amount held.

    Locks: a former call of the caller that has to end, then the wallet.
    Raises: CallExists, Invalid for a callee whom nobody can call, InsufficientFunds, DebtOutstanding.
    Enqueues: calls.tend_rooms
    """
    callee = _callee(user, callee_id) if callee_id else None
    with transaction.atomic():
        _end_what_is_over(user)
        at = metering.now()
        call = Call(
            caller=user,
            callee=callee,
            recipient_phone=phone,
            recipient_name=name,
            type=type,
            rate=settings.CALL_RATE,
            strategy=settings.CALL_STRATEGY,
            held=settings.CALL_OPENING_HOLD,
            ring_until=at + timedelta(seconds=settings.CALL_RING_S),
        )
        call.due_at = call.ring_until
        if livekit.is_configured():
            call.room, call.room_due_at = f"call-{call.pk}", at
        # A twin that is under way is waited for; the constraint decides, not a look before.
        Call.objects.bulk_create([call], ignore_conflicts=True)
        if not Call.objects.filter(pk=call.pk).exists():
            raise CallExists
        ledger.hold(
            user_id=user.pk,
            amount=call.held,
            key=call.hold_key,
            subject=("call", call.pk),
            alarm_at=at + LONGEST + timedelta(hours=1),
            unit=terms.UNIT,
            wallet_kind=terms.WALLET,
        )
        audit.record(
            "call.initiated",
            call,
            user=user,
            new={"state": State.RINGING.value, "callee": callee_id, "held": call.held, "rate": call.rate},
        )
        if call.room:
            jobs.wake("calls.tend_rooms")
        reach("calls.initiated")
    call.refresh_from_db(fields=["created_at"])
    return call


def _callee(user: Any, callee_id: UUID) -> Any:
    if callee_id == user.pk:
        raise Invalid(details=[detail("self_call", "You cannot call yourself.", "callee")])
    people: Any = get_user_model().objects
    callee = people.filter(pk=callee_id, status="active", verified_at__isnull=False).first()
    if callee is None:
        raise Invalid(details=[detail("unknown_callee", "There is nobody to call here.", "callee")])
    return callee


def _end_what_is_over(user: Any) -> None:
    """A call that nobody has come to end yet must not keep its caller from the next one."""
    live = Call.objects.open().filter(caller=user)
    if live.exists():
        former = live.select_for_update(of=("self",), no_key=True).first()
        if former is not None:
            look(former)


def look(call: Call) -> bool:
    """End a locked, open call if something has ended it; else note what is held. Answers whether it is open still.

    Idempotent: by state.
    Locks: the wallet; the caller holds the call.
    """
    at = metering.now()
    held = call.held
    end = metering.overdue(call, at)
    if end is not None:
        finish(call, end, at=at)
        return False
    call.due_at = metering.next_look(call, at)
    call.save(update_fields=["held", "due_at"])
    if call.held != held:
        audit.record("call.paid_on", call, user=call.caller_id, old={"held": held}, new={"held": call.held})
    return True


@audit.writes("call")
def answer(*, user: Any, call_id: UUID) -> Call:
    """Take the call; from now on it costs. To a phone number, the caller's app says so.

    Idempotent: by state.
    Locks: the call, then the wallet.
    Raises: NotFound, CalleeOnly, CallEnded.
    """
    with transaction.atomic():
        call, at = metering.lock_visible(user, call_id)
        _only_callee(call, user)
        if call.state == State.RINGING and look(call):
            call.state = State.ANSWERED
            call.answered_at = call.last_beat_at = at
            call.save(update_fields=["state", "answered_at", "last_beat_at"])
            audit.record(
                "call.answered",
                call,
                user=call.caller_id,
                old={"state": State.RINGING.value},
                new={"state": State.ANSWERED.value},
            )
            look(call)
            reach("calls.answered")
    if call.state != State.ANSWERED:
        raise CallEnded(charged=charged(call))
    return call


@audit.writes("call")
def decline(*, user: Any, call_id: UUID) -> Call:
    """Refuse a call that rings; all that was held is released.

    Idempotent: by state.
    Locks: the call, then the wallet.
    Raises: NotFound, CalleeOnly; CallAnswered; CallEnded where it ended another way.
    """
    with transaction.atomic():
        call, at = metering.lock_visible(user, call_id)
        _only_callee(call, user)
        if call.state == State.RINGING and look(call):
            finish(call, End(State.CANCELED, Reason.DECLINED, at), at=at)
    if call.state == State.ANSWERED:
        raise CallAnswered(charged="held")
    if call.reason != Reason.DECLINED:
        raise CallEnded(charged=charged(call))
    return call


def _only_callee(call: Call, user: Any) -> None:
    """Who answers for a phone number is the caller's app."""
    if user.pk != (call.callee_id or call.caller_id):
        raise CalleeOnly(charged=charged(call) if user.pk == call.caller_id else "none")


@audit.writes("call")
def end(*, user: Any, call_id: UUID) -> Call:
    """Hang up; before the answer the caller gives up, or the callee declines. The seconds are paid, no more.

    Idempotent: by state.
    Locks: the call, then the wallet.
    Raises: NotFound.
    """
    with transaction.atomic():
        call, at = metering.lock_visible(user, call_id)
        if call.is_open and look(call):
            is_answered = call.state == State.ANSWERED
            if is_answered:
                over = End(State.COMPLETED, Reason.HUNG_UP, at)
            elif user.pk == call.caller_id:
                over = End(State.CANCELED, Reason.CANCELED, at)
            else:
                over = End(State.CANCELED, Reason.DECLINED, at)
            finish(call, over, at=at)
    return call


@audit.writes("call")
def end_by_staff(call_id: UUID, *, actor: Any, reason: str) -> Call:
    """End a call that is open, now: one that was answered is paid to this second, one that rings costs nothing.

    Idempotent: by state.
    Locks: the call, then the wallet.
    Raises: NotFound; PermissionDenied for one's own.
    """
    with transaction.atomic():
        call, at = metering.lock(Call.objects.filter(pk=call_id))
        if actor.pk in (call.caller_id, call.callee_id):
            raise PermissionDenied("A colleague has to end your own call from here.")
        if call.is_open and look(call):
            is_answered = call.state == State.ANSWERED
            over = State.COMPLETED if is_answered else State.CANCELED
            finish(call, End(over, Reason.STAFF, at), at=at, actor=actor, reason=reason)
    return call


def heartbeat(*, user: Any, call_id: UUID) -> Call:
    """Stay on the line. Only the caller's beats keep the meter running: nobody keeps it running for who pays.

    Idempotent: by state; a call that has ended meanwhile is answered as it ended.
    Locks: the call, then the wallet.
    Raises: NotFound.
    """
    with transaction.atomic():
        call, at = metering.lock_visible(user, call_id)
        if call.is_open and look(call) and call.state == State.ANSWERED and user.pk == call.caller_id:
            assert call.last_beat_at is not None
            call.last_beat_at = max(at, call.last_beat_at)
            call.due_at = metering.next_look(call, at)
            call.save(update_fields=["last_beat_at", "due_at"])
            reach("calls.beaten")
    return call
