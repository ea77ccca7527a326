"""What LiveKit tells. It only ever shortens a bill: nothing here begins, prolongs or charges a call."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import transaction

import audit
from calls import metering
from calls.calling import look
from calls.ending import finish
from calls.metering import End
from calls.models import Call, Reason, State
from core.errors import NotFound
from inbox.deliveries import Outcome

_LEFT = ("participant_left", "participant_connection_aborted", "room_finished")
# They are back under another session, or never were away.
_STAYS = ("DUPLICATE_IDENTITY", "MIGRATION")


@audit.writes("call")
def handle(event: Mapping[str, Any], *, stale: bool) -> Outcome:
    """End an answered call when one of its two has left its room, or the room is gone: at that moment, not now.

    Idempotent: by state.
    Locks: the call, then the wallet.
    """
    room, person = event.get("room"), event.get("participant")
    name = room.get("name") if isinstance(room, dict) else None
    call_id = _id(name)
    if event.get("event") not in _LEFT or call_id is None:
        return Outcome.IGNORED
    is_over = event["event"] == "room_finished"
    who = person if isinstance(person, dict) else {}
    if who.get("disconnectReason") in _STAYS:
        return Outcome.IGNORED
    with transaction.atomic():
        try:
            call, at = metering.lock(Call.objects.filter(pk=call_id, room=name))
        except NotFound:
            return Outcome.UNMATCHED
        if not is_over and who.get("identity") not in _identities(call):
            return Outcome.IGNORED
        left_at = _moment(event.get("createdAt"))
        if call.state != State.ANSWERED or left_at is None or left_at < _whole(call.answered_at):
            return Outcome.IGNORED  # of before the answer, or too late to matter
        if look(call):
            assert call.answered_at is not None
            left_at = min(max(left_at, call.answered_at), at)
            finish(call, End(State.COMPLETED, Reason.LEFT, left_at), at=at)
    return Outcome.PROCESSED


def _identities(call: Call) -> set[str]:
    return {str(call.caller_id), str(call.callee_id)}


def _id(name: Any) -> UUID | None:
    try:
        return UUID(str(name).removeprefix("call-"))
    except ValueError:
        return None


def _moment(seconds: Any) -> datetime | None:
    """Their time is text: whole seconds since 1970."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _whole(moment: datetime | None) -> datetime:
    assert moment is not None
    return moment.replace(microsecond=0)
