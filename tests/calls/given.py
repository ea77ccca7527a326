"""Money to call with, calls, and time that passes."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import F

from accounts.models import User
from billing.models import Hold
from calls import calling
from calls.models import Call
from tests.billing.given import topped_up, wallet

PHONE = "+2348012345678"


def fund(user: User, naira: int) -> None:
    """Naira on the wallet for calls."""
    topped_up(user, naira * 100, kind="calls")


def money(user: User) -> tuple[int, int]:
    """(balance, held) of the wallet for calls, in naira."""
    row = wallet(user, "calls")
    return (row.balance or 0) // 100, row.held // 100


def ringing(caller: User, callee: User | None = None) -> Call:
    """A call as POST calls makes it."""
    if callee is None:
        return calling.initiate(user=caller, phone=PHONE)
    return calling.initiate(user=caller, callee_id=callee.pk)


def answered(caller: User, callee: User | None = None) -> Call:
    call = ringing(caller, callee)
    return calling.answer(user=callee or caller, call_id=call.pk)


def passes(call: Call, seconds: float, *, beating: bool = True) -> None:
    """Let time pass on the call, as if all of it had begun that much earlier; with beats nobody falls silent."""
    span = timedelta(seconds=seconds)
    moved = {"ring_until": F("ring_until") - span, "answered_at": F("answered_at") - span}
    if not beating:
        moved["last_beat_at"] = F("last_beat_at") - span
    Call.objects.filter(pk=call.pk).update(**moved, due_at=F("due_at") - span)


def fresh(call: Call) -> Call:
    return Call.objects.get(pk=call.pk)


def hold_of(call: Call) -> tuple[str, int, int]:
    """(state, amount, captured) of its hold, in naira."""
    hold = Hold.objects.get(key=call.hold_key)
    return hold.state, hold.amount // 100, hold.captured // 100
