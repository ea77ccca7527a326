"""Looking as a customer: staff read what the customer's own API answers, for a reason that the customer is told."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

import audit
from accounts.models import Look, User, UserStatus
from core import context
from core.errors import Conflict, PermissionDenied

LOOK = "accounts.look_as_user"
LASTS = timedelta(minutes=15)


def may_be_looked_at(user: User) -> bool:
    """Whether this is a customer, and still one."""
    return not (user.is_staff or user.is_superuser) and user.status in (UserStatus.ACTIVE, UserStatus.SUSPENDED)


@audit.writes("look")
def begin(user: User, *, actor: Any, reason: str) -> Look:
    """Let `actor` look for a while.

    Locks: the user.
    Raises: PermissionDenied for whoever may not, and for staff as customers; Conflict for who is leaving or has left.
    """
    if not actor.is_active or not actor.has_perm(LOOK):
        raise PermissionDenied
    with transaction.atomic(), context.use(on_behalf_of_id=user.pk):
        user = User.objects.select_for_update(of=("self",), no_key=True).get(pk=user.pk)
        if user.is_staff or user.is_superuser:
            raise PermissionDenied("Nobody looks as a member of staff.")
        if not may_be_looked_at(user):
            raise Conflict("This account is being deleted, or is deleted.")
        look = Look.objects.create(user=user, actor=actor, reason=reason, ends_at=Now() + LASTS)
        audit.record("look.begun", look, metadata={"reason": reason}, user=user, actor_id=actor.pk)
    look.refresh_from_db()
    return look


def live(user_id: uuid.UUID, *, actor: Any) -> Look | None:
    """The actor's look at this customer, if it lasts and both still are who they were. One query."""
    mine = Look.objects.filter(user_id=user_id, actor_id=actor.pk, ends_at__gt=Now()).select_related("user")
    look: Look | None = mine.order_by("-created_at").first()
    return look if look and actor.has_perm(LOOK) and may_be_looked_at(look.user) else None


@audit.writes("look")
def note(look: Look, *, section: str) -> None:
    """Put on record what is about to be shown."""
    with context.use(on_behalf_of_id=look.user_id):
        audit.record("look.shown", look, metadata={"section": section}, user=look.user_id, actor_id=look.actor_id)
