"""Reading calls, always as somebody."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from calls.models import Call
from core.errors import NotFound


def calls(user: Any) -> QuerySet[Call]:
    """The calls that the person makes or gets, newest first, with who calls: one query however many."""
    return Call.objects.visible_to(user).select_related("caller").order_by("-created_at", "-id")


def call(user: Any, call_id: UUID) -> Call:
    """One of the person's calls.

    Raises: NotFound.
    """
    found = calls(user).filter(pk=call_id).first()
    if found is None:
        raise NotFound
    return found
