"""What nobody asks for: calls whose time, money or caller is gone end; rooms are made and deleted."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now

import audit
from calls import livekit, metering
from calls.calling import look
from calls.ending import finish
from calls.metering import End
from calls.models import Call, Reason, State
from core.killpoints import reach

log = structlog.get_logger("calls")

BATCH = 200
ROOM_LEASE_S = 30


def tend(*, at_most: int = 10_000) -> int:
    """Look at each call that is due, one a transaction; how many is returned.

    Idempotent: by state.
    Locks: the call, then the wallet; calls that somebody has in hand are left to them.
    """
    seen, last = 0, UUID(int=0)
    while seen < at_most:
        with transaction.atomic():
            due = Call.objects.open().filter(due_at__lte=Now(), pk__gt=last)
            call = due.select_for_update(of=("self",), no_key=True, skip_locked=True).order_by("pk").first()
            if call is None:
                return seen
            look(call)
        seen, last = seen + 1, call.pk
    return seen


def tend_rooms() -> int:
    """Make the rooms of calls that are open, delete those of calls that have ended; how many is returned.

    A token is good for one slice and makes its room anew, so a room is deleted once more when none can be good.
    Idempotent: making and deleting are.
    """
    done = 0
    while (call_id := _claim_room()) is not None and done < BATCH:
        call = Call.objects.get(pk=call_id)
        if call.is_open:
            _make(call)
        else:
            _delete(call)
        done += 1
    return done


def _claim_room() -> UUID | None:
    """Take the next room that is due; if we die, somebody takes it again when the lease is over."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE calls_call SET room_due_at = clock_timestamp() + make_interval(secs => %s) WHERE id = ("
            " SELECT id FROM calls_call WHERE room_due_at <= clock_timestamp() ORDER BY room_due_at"
            " LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED) RETURNING id",
            [ROOM_LEASE_S],
        )
        row = cursor.fetchone()
    return row[0] if row else None


def _make(call: Call) -> None:
    try:
        livekit.create_room(call.room)
    except livekit.Refused as error:
        log.error("room_refused", call=str(call.pk), error=str(error))
        fail(call.pk, Reason.NO_ROOM)
    except livekit.Away as error:
        log.warning("room_not_made", call=str(call.pk), error=str(error))
    else:
        reach("calls.room.made")
        # One that has ended meanwhile has its room deleted: it is due again.
        Call.objects.open().filter(pk=call.pk).update(room_due_at=None)


def _delete(call: Call) -> None:
    try:
        livekit.delete_room(call.room)
    except (livekit.Refused, livekit.Away) as error:
        log.warning("room_not_deleted", call=str(call.pk), error=str(error))
        return
    reach("calls.room.deleted")
    life = timedelta(seconds=settings.CALL_SLICE_S + livekit.LEEWAY_S)
    answered = Call.objects.filter(pk=call.pk, state=State.COMPLETED)
    if not answered.filter(ended_at__gt=Now() - life).update(room_due_at=F("ended_at") + life):
        Call.objects.filter(pk=call.pk).update(room_due_at=None)


@audit.writes("call")
def fail(call_id: UUID, reason: Reason) -> bool:
    """End a call that rings and cannot be had; all is released. Answers whether it did.

    Idempotent: by state.
    Locks: the call, then the wallet.
    """
    with transaction.atomic():
        call, at = metering.lock(Call.objects.filter(pk=call_id))
        if call.state != State.RINGING or not look(call):
            return False
        finish(call, End(State.FAILED, reason, at), at=at)
    return True
