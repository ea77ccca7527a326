"""The meter of a call that is locked: what it holds is raised slice by slice, and what should have ended it is found.

Everything counts from the answer by the database's clock; nothing that a client or LiveKit says is a time here but to
make a bill smaller.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings

from billing import ledger
from calls import terms
from calls.models import LONGEST, Call, Reason, State
from core.errors import NotFound
from core.sql import fetch


@dataclass(frozen=True, slots=True)
class End:
    """How a call has ended, and when."""

    state: State
    reason: Reason
    at: datetime


def lock(calls: Any) -> tuple[Call, datetime]:
    """Lock the only call among these, and read the clock once it is ours.

    Raises: NotFound.
    """
    found = calls.select_for_update(of=("self",), no_key=True).first()
    if found is None:
        raise NotFound
    return found, now()


def lock_visible(user: Any, call_id: UUID) -> tuple[Call, datetime]:
    """Lock one of the person's calls.

    Raises: NotFound.
    """
    return lock(Call.objects.visible_to(user).filter(pk=call_id))


def now() -> datetime:
    """The database's clock as it is now: not that of the transaction's or statement's start, which may have waited."""
    row = fetch("SELECT clock_timestamp()", ())
    assert row is not None
    moment: datetime = row[0]
    return moment


def interval() -> timedelta:
    """How long the caller's app is believed to be there after a beat."""
    return timedelta(seconds=settings.CALL_HEARTBEAT_S)


def silence() -> timedelta:
    return timedelta(seconds=settings.CALL_SILENCE_S)


def overdue(call: Call, at: datetime) -> End | None:
    """What has ended the call by then, if something has. An answered one is paid on for first, where it can be.

    Locks: the wallet; the caller holds the call.
    """
    if call.state == State.RINGING:
        return End(State.MISSED, Reason.UNANSWERED, call.ring_until) if at >= call.ring_until else None
    assert call.answered_at is not None
    assert call.last_beat_at is not None
    if at >= call.last_beat_at + silence():
        return End(State.COMPLETED, Reason.NO_HEARTBEAT, call.last_beat_at)
    pay_on(call, at)
    assert call.paid_until is not None
    if at < call.paid_until:
        return None
    is_long = at >= call.answered_at + LONGEST
    return End(State.COMPLETED, Reason.TOO_LONG if is_long else Reason.OUT_OF_FUNDS, call.paid_until)


def pay_on(call: Call, at: datetime) -> None:
    """Hold what the slice costs in which the next beat falls; of what is too little for it, hold all there is.

    The total counts from the answer, so asking twice holds once.
    Locks: the wallet; the caller holds the call, and writes `held` down.
    """
    assert call.answered_at is not None
    elapsed = min(at + interval() - call.answered_at, LONGEST)
    slices = elapsed // timedelta(seconds=settings.CALL_SLICE_S) + 1
    wanted = _cost(call, slices * settings.CALL_SLICE_S)
    if wanted <= call.held:
        return
    extended = ledger.extend(key=call.hold_key, to=wanted)
    if extended.status == "insufficient":
        affordable = _cost(call, _paid(call, extended.amount + extended.available))
        if affordable > call.held:
            extended = ledger.extend(key=call.hold_key, to=affordable)
    call.held = max(call.held, extended.amount)


def next_look(call: Call, at: datetime) -> datetime:
    """When an open call has to be looked at again if nobody does before."""
    if call.state == State.RINGING:
        return call.ring_until
    assert call.last_beat_at is not None
    assert call.paid_until is not None
    # A beat ahead of the money's end there is still time to hold more; past that, it ends with the money.
    ahead = call.paid_until - interval()
    return min(call.last_beat_at + silence(), ahead if ahead > at else call.paid_until)


def bill(call: Call, end: datetime) -> tuple[int, int]:
    """The whole seconds that are paid, and what they cost, at most what is held.

    Units: kobo.
    """
    if call.answered_at is None:
        return 0, 0
    assert call.last_beat_at is not None
    assert call.paid_until is not None
    until = min(end, call.last_beat_at + interval(), call.paid_until)
    seconds = max(0, (until - call.answered_at) // timedelta(seconds=1))
    return seconds, min(_cost(call, seconds), call.held)


def _cost(call: Call, seconds: int) -> int:
    return terms.cost(seconds, rate=call.rate, strategy=call.strategy)


def _paid(call: Call, amount: int) -> int:
    return terms.paid_seconds(amount, rate=call.rate, strategy=call.strategy)
