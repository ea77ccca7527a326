"""The one way a call ends: its row, its money, its mail and its trail in one transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction

import audit
from billing import ledger
from calls import metering, terms
from calls.metering import End
from calls.models import TRANSITIONS, Call, State
from core import jobs
from core.killpoints import reach
from core.money import display
from notifications import outbox


@audit.writes("call")
def finish(call: Call, end: End, *, at: datetime, actor: Any = None, reason: str = "") -> None:
    """End a locked, open call: capture what its seconds cost, or release all of it. `actor` and `reason`: of staff.

    Locks: the wallet; the caller holds the call.
    Enqueues: call-summary after a call that was answered; calls.tend_rooms
    """
    old = State(call.state)
    assert end.state in TRANSITIONS[old]
    seconds, cost = metering.bill(call, end.at)
    call.state, call.reason, call.ended_at = end.state, end.reason, end.at
    call.billed_s, call.cost, call.due_at = seconds, cost, None
    call.room_due_at = at if call.room else None
    call.save(update_fields=["state", "reason", "ended_at", "billed_s", "cost", "held", "due_at", "room_due_at"])
    reach("calls.finish.decided")
    if cost:
        ledger.capture(key=call.hold_key, amount=cost, memo=f"{seconds} s")
    else:
        ledger.release(key=call.hold_key)
    reach("calls.finish.settled")
    audit.record(
        f"call.{end.state.value}",
        call,
        user=call.caller_id,
        old={"state": old.value},
        new={"state": end.state.value, "reason": end.reason.value, "billed_s": seconds, "cost": cost},
        metadata={"reason": reason} if reason else None,
        actor_id=getattr(actor, "pk", None),
    )
    if end.state == State.COMPLETED:
        outbox.enqueue(
            "call-summary",
            user=call.caller,
            cause=f"call:{call.pk}",
            context={
                "call_id": str(call.pk),
                "recipient": recipient(call),
                "duration": spoken(seconds),
                "cost": display(cost, terms.UNIT),
                "date": end.at.date().isoformat(),
            },
        )
    if call.room:
        jobs.wake("calls.tend_rooms")
    transaction.on_commit(lambda: reach("calls.finish.committed"))


def recipient(call: Call) -> str:
    """Whom it was to, as the caller knows them."""
    if call.recipient_name:
        return call.recipient_name
    if call.callee is not None:
        return call.callee.get_full_name() or "another person"
    return call.recipient_phone


def spoken(seconds: int) -> str:
    """`1 min 5 s`."""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
