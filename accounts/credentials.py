"""Setting a new password: by whoever knows the old one, and by whoever reads the mailbox."""

from __future__ import annotations

import structlog
from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

import audit
from accounts import devices, links, passwords, sessions
from accounts.errors import PasswordWrong, VerificationExpired
from accounts.models import EmailChange, EndReason, PasswordReset, Session, User, UserStatus
from core import clock, context
from core.errors import Conflict
from notifications import outbox

security = structlog.get_logger("security")


@audit.writes("user")
def change_password(user: User, *, current: str, new: str, session: Session | None = None) -> User:
    """Set a new password; every token of the person is refused from now on, and every session but this one ends.

    Locks: the user; the sessions, by id.
    Raises: PasswordWrong; Invalid for a password that is too weak.
    Enqueues: notifications.deliver
    """
    passwords.confirm(user, current)
    confirmed = user.password
    passwords.check(new, user, field="new_password")
    encoded = make_password(new)  # slow on purpose, so before the transaction
    with transaction.atomic():
        user = User.objects.select_for_update(of=("self",), no_key=True).get(pk=user.pk)
        if user.password != confirmed:
            raise PasswordWrong  # another request has changed it since
        _set(user, encoded, session=session, how="changed")
    return user


@audit.writes("user")
def set_password(user: User, *, new: str) -> User:
    """Set a new password for somebody who cannot, by an operator at the shell; every session of the person ends.

    Locks: the user; the sessions, by id.
    Raises: Conflict for who has left; Invalid for a password that is too weak.
    Enqueues: notifications.deliver
    """
    passwords.check(new, user, field="new_password")
    encoded = make_password(new)
    with transaction.atomic():
        user = User.objects.select_for_update(of=("self",), no_key=True).get(pk=user.pk)
        if user.status in (UserStatus.DELETING, UserStatus.DELETED):
            raise Conflict("This account is being deleted, or is deleted.")
        _set(user, encoded, session=None, how="set_by_operator", by_themselves=False)
    return user


@audit.writes("user")
def reset_password(*, token: str, new: str) -> User:
    """Set a new password by the token that was mailed, once; every session of the person ends.

    Whoever resets still needs their second factor to sign in.
    Locks: the user; the sessions, by id.
    Raises: VerificationInvalid, VerificationExpired; Invalid for a password that is too weak, which uses nothing up.
    Enqueues: notifications.deliver
    """
    reset, is_expired = links.find(PasswordReset.objects.select_related("user"), token)
    if is_expired:
        raise VerificationExpired
    assert reset.user is not None
    passwords.check(new, reset.user, field="new_password")
    encoded = make_password(new)
    with transaction.atomic():
        user = links.consume(PasswordReset, token).user
        assert user is not None
        _set(user, encoded, session=None, how="reset")
    return user


def _set(user: User, encoded: str, *, session: Session | None, how: str, by_themselves: bool = True) -> None:
    User.objects.filter(pk=user.pk).update(password=encoded, epoch=F("epoch") + 1, updated_at=Now())
    user.refresh_from_db(fields=["password", "epoch", "updated_at"])
    sessions.end_all(user, reason=EndReason.PASSWORD, but=session)
    # Whoever knew the old password may have asked for these.
    links.withdraw(user, PasswordReset, EmailChange)
    now = context.current()
    outbox.enqueue(
        "password-changed",
        user=user,
        cause=f"password-changed:{user.pk}:{user.epoch}",
        context={
            "at": clock.now().isoformat(timespec="minutes"),
            "device": devices.name(now.user_agent) if by_themselves else "Our staff, at the server",
            "ip": now.ip or "unknown",
        },
    )
    actor_id = user.pk if by_themselves else None
    audit.record("user.password_changed", user, metadata={"how": how}, user=user, actor_id=actor_id)
    security.info("password", outcome=how, user=str(user.pk))
