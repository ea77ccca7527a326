"""What accounts, mail and the log tell a person of themselves (settings.ACCOUNT_EXPORT)."""

from __future__ import annotations

from collections.abc import Iterator

from accounts.exports import Bytes, Part, Rows
from accounts.models import Look, Session, User
from audit.models import AuditLog
from notifications.models import Mail

_PROFILE = (
    "id", "email", "username", "first_name", "last_name", "bio", "locale", "currency", "status", "verified_at",
    "created_at", "updated_at", "last_login",
)  # fmt: skip
_SESSION = ("id", "created_at", "last_seen_at", "ip", "user_agent", "expires_at", "ended_at", "end_reason")
_LOOK = ("id", "created_at", "ends_at", "reason")
_MAIL = ("id", "created_at", "name", "to", "subject", "state", "sent_at")


def export(*, user: User) -> Iterator[Part]:
    """The profile with its picture, sign-ins, looks of staff, mails, and what the person did."""
    yield Rows("profile", User.objects.filter(pk=user.pk).values(*_PROFILE))
    if user.avatar_id:
        yield Bytes("picture.jpg", user.avatar_id)
    yield Rows("sessions", Session.objects.filter(user=user).order_by("created_at").values(*_SESSION).iterator())
    yield Rows("looks", Look.objects.filter(user=user).order_by("created_at").values(*_LOOK).iterator())
    yield Rows("mails", Mail.objects.filter(user=user).order_by("created_at").values(*_MAIL).iterator())
    # What staff did is told without who they are and where they sat.
    about = AuditLog.objects.filter(user_id=user.pk).order_by("id")
    yield Rows("history", about.values("at", "action", "entity_type", "entity_id", "source").iterator())
    own = AuditLog.objects.filter(actor_id=user.pk).order_by("id")
    yield Rows("acts", own.values("at", "action", "entity_id", "detail__ip", "detail__user_agent").iterator())
