"""What staff do to a person's account, each with its reason: suspend, reinstate, vouch, sign out, reset."""

from __future__ import annotations

from typing import Any

import structlog
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

import audit
from accounts import mfa, sessions, users
from accounts.models import EndReason, User, UserStatus
from core.errors import Conflict, PermissionDenied

security = structlog.get_logger("security")


def _lock(user: User, actor: User | None) -> User:
    """The person's row, locked, if the actor may lay hands on it; None is an operator at the shell.

    Raises: PermissionDenied for oneself, and for a superuser unless the actor is one.
    """
    user = User.objects.select_for_update(of=("self",), no_key=True).get(pk=user.pk)
    if actor is not None and actor.pk == user.pk:
        raise PermissionDenied("A colleague has to do this for you.")
    if actor is not None and user.is_superuser and not actor.is_superuser:
        raise PermissionDenied("Only a superuser may do this to a superuser.")
    return user


def _record(action: str, user: User, actor: User | None, reason: str, **facts: Any) -> None:
    security.warning(action, user=str(user.pk), actor=str(actor.pk) if actor else None)
    audit.record(action, user, metadata={"reason": reason}, user=user, actor_id=actor.pk if actor else None, **facts)


def _end_everything(user: User) -> None:
    """End the person's sessions: tokens and the console's carry the epoch."""
    User.objects.filter(pk=user.pk).update(epoch=F("epoch") + 1, updated_at=Now())
    sessions.end_all(user, reason=EndReason.STAFF)
    user.refresh_from_db(fields=["epoch", "updated_at"])


@audit.writes("user")
def suspend(user: User, *, actor: User | None, reason: str) -> User:
    """Shut a person out at once. What they have ordered keeps its promise: open jobs end as they would have.

    Idempotent: by state.
    Locks: the user, then their sessions by id.
    Raises: PermissionDenied; Conflict for who is leaving or has left.
    """
    return _move(user, UserStatus.ACTIVE, UserStatus.SUSPENDED, actor=actor, reason=reason)


@audit.writes("user")
def reinstate(user: User, *, actor: User | None, reason: str) -> User:
    """Let a suspended person in again, by a new sign-in.

    Idempotent: by state.
    Locks: the user.
    Raises: PermissionDenied; Conflict for who is leaving or has left.
    """
    return _move(user, UserStatus.SUSPENDED, UserStatus.ACTIVE, actor=actor, reason=reason)


def _move(user: User, old: UserStatus, new: UserStatus, *, actor: User | None, reason: str) -> User:
    with transaction.atomic():
        user = _lock(user, actor)
        if user.status == new:
            return user
        if user.status != old:
            raise Conflict("This account is being deleted, or is deleted.")
        User.objects.filter(pk=user.pk).update(status=new)
        user.status = new
        _end_everything(user)
        action = "user.suspended" if new == UserStatus.SUSPENDED else "user.reinstated"
        _record(action, user, actor, reason, old={"status": old.value}, new={"status": new.value})
    return user


@audit.writes("user")
def vouch(user: User, *, actor: User | None, reason: str) -> User:
    """Take a mailbox for proved by staff's word, with all that a proved mailbox gives.

    Idempotent: by state.
    Locks: the user; then what settings.EMAIL_VERIFIED locks.
    Raises: PermissionDenied; Conflict for who is not active.
    Enqueues: notifications.deliver
    """
    with transaction.atomic():
        user = _lock(user, actor)
        if user.is_verified:
            return user
        if not user.is_active:
            raise Conflict("This account is not active.")
        users.mark_verified(user, actor_id=actor.pk if actor else None, reason=reason)
    return user


@audit.writes("session")
def sign_out(user: User, *, actor: User | None, reason: str) -> User:
    """End all sessions of a person, those of the console included.

    Locks: the user, then the sessions by id.
    Raises: PermissionDenied.
    """
    with transaction.atomic():
        user = _lock(user, actor)
        _end_everything(user)
        _record("user.signed_out", user, actor, reason)
    return user


@audit.writes("mfa")
def reset_mfa(user: User, *, actor: User | None, reason: str) -> User:
    """Remove a colleague's second factor, who is told and sets up another at the next sign-in; ends their sessions.

    Idempotent: by state.
    Locks: the user, then their sessions by id.
    Raises: PermissionDenied; Conflict for who has none.
    Enqueues: notifications.deliver
    """
    with transaction.atomic():
        user = _lock(user, actor)
        if not mfa.is_enrolled(user):
            raise Conflict("There is no second factor to reset.")
        mfa.forget(user, actor=actor, reason=reason)
        _end_everything(user)
    return user
