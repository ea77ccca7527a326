"""What calls tell a person of themselves (settings.ACCOUNT_EXPORT)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from accounts.exports import Part, Rows
from calls.models import Call

_MADE = (
    "id", "created_at", "callee", "recipient_phone", "recipient_name", "type", "state", "reason", "rate", "strategy",
    "answered_at", "ended_at", "billed_s", "cost",
)  # fmt: skip
_GOT = ("id", "created_at", "caller", "type", "state", "reason", "answered_at", "ended_at")


def export(*, user: Any) -> Iterator[Part]:
    """The calls that they made, and those that they got without what these cost others."""
    yield Rows("calls", Call.objects.filter(caller=user).order_by("created_at").values(*_MADE).iterator())
    yield Rows("calls-received", Call.objects.filter(callee=user).order_by("created_at").values(*_GOT).iterator())
