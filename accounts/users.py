"""People: registration, verification of the mailbox, the profile."""

from __future__ import annotations

import uuid
from typing import Any

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils.module_loading import import_string
from psycopg.errors import UniqueViolation

import audit
from accounts import links, passwords, verification
from accounts.emails import fold
from accounts.errors import EmailTaken, UsernameTaken
from accounts.models import EmailVerification, User
from core import files
from core.errors import Invalid, detail
from core.models import StoredObject
from notifications import outbox

security = structlog.get_logger("security")

PROFILE = ("username", "first_name", "last_name", "bio", "avatar", "locale", "currency")


@audit.writes("user")
def register(*, email: str, password: str, first_name: str = "", last_name: str = "") -> User:
    """Make a person who has yet to prove their mailbox, with what settings.USER_REGISTERED opens for them.

    Raises: EmailTaken; Invalid for an address that is none or a password that is too weak.
    Enqueues: notifications.deliver
    """
    try:
        user = User(email=fold(email), first_name=first_name, last_name=last_name)
    except ValueError as error:
        raise Invalid(details=[detail("invalid", "Enter a valid email address.", "email")]) from error
    passwords.check(password, user)
    user.set_password(password)  # slow on purpose, so before the transaction
    try:
        with transaction.atomic():
            user.save(force_insert=True)
            user.refresh_from_db(fields=["created_at", "updated_at"])
            for path in settings.USER_REGISTERED:
                import_string(path)(user=user)
            verification.issue(user)
            audit.record("user.registered", user, user=user, actor_id=user.pk, personal={"email": user.email})
    except IntegrityError as error:
        if not violates(error, "accounts_user_email"):
            raise
        security.info("register", outcome="email_taken")
        raise EmailTaken from error
    security.info("register", outcome="ok", user=str(user.pk))
    return user


@audit.writes("user")
def verify_email(*, token: str) -> User:
    """Prove the mailbox by the token that was mailed to it, and give what settings.EMAIL_VERIFIED gives for that.

    Locks: the user; then what the named functions lock.
    Raises: VerificationInvalid, VerificationExpired.
    Enqueues: notifications.deliver
    """
    with transaction.atomic():
        user = links.consume(EmailVerification, token).user
        if not user.is_verified:
            mark_verified(user, actor_id=user.pk)
    security.info("verify_email", outcome="ok", user=str(user.pk))
    return user


def welcome(user: User) -> None:
    """Give what settings.EMAIL_VERIFIED gives to whoever proves a mailbox for the first time, in that transaction.

    Enqueues: notifications.deliver
    """
    for path in settings.EMAIL_VERIFIED:
        import_string(path)(user=user)
    outbox.enqueue("welcome", user=user, cause=f"welcome:{user.pk}", context={"first_name": user.first_name})


@audit.writes("user")
def mark_verified(user: User, *, actor_id: uuid.UUID | None, **how: str) -> None:
    """Note that the mailbox is proved, in the caller's transaction, and give what settings.EMAIL_VERIFIED gives.

    Locks: the caller holds the user; then what the named functions lock.
    Enqueues: notifications.deliver
    """
    User.objects.filter(pk=user.pk).update(verified_at=Now(), updated_at=Now())
    user.refresh_from_db(fields=["verified_at", "updated_at"])
    welcome(user)
    audit.record("user.verified", user, metadata=how, user=user, actor_id=actor_id, personal={"email": user.email})


@audit.writes("user")
def update_profile(user: User, changes: dict[str, Any]) -> User:
    """Change profile fields (those of PROFILE); what is not named stays. `avatar` is a stored file of avatars.take.

    Locks: the user.
    Raises: UsernameTaken.
    Enqueues: core.remove_files, for the picture that was there.
    """
    if unknown := changes.keys() - set(PROFILE):
        raise ValueError(f"not profile fields: {', '.join(sorted(unknown))}")
    try:
        with transaction.atomic():
            user = User.objects.select_for_update(of=("self",), no_key=True).get(pk=user.pk)
            old = {name: getattr(user, name) for name in changes if getattr(user, name) != changes[name]}
            new = {name: changes[name] for name in old}
            if not new:
                return user
            if "avatar" in new:
                _swap(old["avatar"], new["avatar"])
            User.objects.filter(pk=user.pk).update(**new, updated_at=Now())
            user.refresh_from_db(fields=[*new, "updated_at"])
            audit.record(
                "user.updated",
                user,
                metadata={"fields": sorted(new)},
                user=user,
                personal={"old": _plain(old), "new": _plain(new)},
            )
    except IntegrityError as error:
        if not violates(error, "accounts_user_username"):
            raise
        raise UsernameTaken from error
    return user


def _swap(old: StoredObject | None, new: StoredObject | None) -> None:
    if new is not None:
        files.adopt([new.pk])
    if old is not None:
        files.let_go([old.pk])


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value.key if isinstance(value, StoredObject) else value for name, value in values.items()}


def violates(error: IntegrityError, constraint: str) -> bool:
    """Whether the database refused because of this unique constraint."""
    cause = error.__cause__
    return isinstance(cause, UniqueViolation) and (cause.diag.constraint_name or "").startswith(constraint)
