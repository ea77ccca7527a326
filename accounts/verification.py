"""Proving the mailbox that somebody signed up with: the mailed link, and sending it again."""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.db import transaction
from django.db.models.functions import Now

import audit
from accounts import links
from accounts.models import EmailVerification, User
from core.ids import new_id
from notifications import outbox
from notifications.models import Mail

VALID_FOR = timedelta(hours=24)
RESEND_AFTER = timedelta(minutes=1)
RESENDS_A_DAY = 10


def mail_secrets(mail: Mail) -> dict[str, str]:
    """The parts of a verify-email mail that exist only while it is rendered (settings.MAIL_SECRETS)."""
    return {"link": links.url("verify-email", uuid.UUID(mail.context["verification_id"]))}


@audit.writes("email_verification")
def issue(user: User, *, reason: str = "") -> EmailVerification:
    """Make a link for the person's mailbox and queue its mail, in the caller's transaction.

    Enqueues: notifications.deliver
    """
    verification_id = new_id()
    verification = EmailVerification.objects.create(
        id=verification_id,
        user=user,
        email=user.email,
        token_hash=links.hash_of(links.token_of(verification_id)),
        expires_at=Now() + VALID_FOR,
    )
    outbox.enqueue(
        "verify-email",
        user=user,
        cause=f"verify-email:{verification_id}",
        context={"verification_id": str(verification_id)},
    )
    why = {"reason": reason} if reason else {}
    audit.record("email_verification.issued", verification, metadata=why, user=user, personal={"email": user.email})
    return verification


@audit.writes("email_verification")
def resend(user: User, *, reason: str = "") -> EmailVerification | None:
    """Issue another link unless the mailbox is verified or was written to a moment ago; staff say why.

    Locks: the user, so that a burst of requests sends one mail.
    Enqueues: notifications.deliver
    """
    with transaction.atomic():
        user = User.objects.select_for_update(of=("self",), no_key=True).get(pk=user.pk)
        if user.is_verified:
            return None
        recent = EmailVerification.objects.filter(user=user, created_at__gt=Now() - timedelta(days=1))
        if recent.filter(created_at__gt=Now() - RESEND_AFTER).exists() or recent.count() > RESENDS_A_DAY:
            return None
        return issue(user, reason=reason)
