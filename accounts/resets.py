"""Forgotten passwords: anybody may name an address, and whoever reads its mailbox gets a link."""

from __future__ import annotations

import uuid
from datetime import timedelta

import structlog
from django.db import transaction
from django.db.models.functions import Now

import audit
from accounts import links
from accounts.emails import fold
from accounts.models import PasswordReset, User
from core import jobs
from core.errors import Invalid, detail
from core.ids import new_id
from notifications import outbox
from notifications.models import Mail

security = structlog.get_logger("security")

# OWASP's ASVS asks for ten minutes at most; a mail server that greylists takes longer than that to accept one mail.
VALID_FOR = timedelta(minutes=30)
AGAIN_AFTER = timedelta(minutes=1)
A_DAY = 10
BATCH = 100


def mail_secrets(mail: Mail) -> dict[str, str]:
    """The parts of a password-reset mail that exist only while it is rendered (settings.MAIL_SECRETS)."""
    return {"link": links.url("reset-password", uuid.UUID(mail.context["reset_id"]))}


@audit.writes("password_reset")
def ask(*, email: str) -> None:
    """Note that somebody forgot the password of this address.

    Whose address it is is not even looked up here: the same statements run for everybody, so neither the answer nor
    the time it takes tells whether there is an account.
    Raises: Invalid for an address that is none.
    Enqueues: accounts.mail_resets
    """
    try:
        address = fold(email)
    except ValueError as error:
        raise Invalid(details=[detail("invalid", "Enter a valid email address.", "email")]) from error
    reset_id = new_id()
    with transaction.atomic():
        reset = PasswordReset.objects.create(
            id=reset_id,
            email=address,
            token_hash=links.hash_of(links.token_of(reset_id)),
            expires_at=Now() + VALID_FOR,
        )
        audit.record("password_reset.asked", reset)
        jobs.wake("accounts.mail_resets")
    security.info("forgot_password", outcome="noted", reset=str(reset_id))


@audit.writes("password_reset")
def mail_due() -> int:
    """Mail a link to each person who asked, and forget what was asked for nobody; answers how many were looked at.

    Idempotent: each request is taken by one worker, once.
    Locks: the request, then the user.
    Enqueues: notifications.deliver; accounts.mail_resets, when more is left than one run should take.
    """
    taken = 0
    while taken < BATCH and _mail_next():
        taken += 1
    if taken == BATCH:
        jobs.wake("accounts.mail_resets")
    return taken


def _mail_next() -> bool:
    with transaction.atomic():
        reset = (
            PasswordReset.objects.filter(user__isnull=True)
            .select_for_update(skip_locked=True, no_key=True)
            .order_by("created_at")
            .first()
        )
        if reset is None:
            return False
        user = User.objects.filter(email=reset.email).select_for_update(of=("self",), no_key=True).first()
        refusal = _refusal(user)
        if user is None or refusal:
            reset.delete()
            audit.record("password_reset.dropped", ("passwordreset", reset.id), metadata={"why": refusal}, user=user)
            security.info("forgot_password", outcome=refusal, user=str(user.pk) if user else None)
            return True
        links.withdraw(user, PasswordReset)
        PasswordReset.objects.filter(pk=reset.pk).update(user=user, expires_at=Now() + VALID_FOR)
        outbox.enqueue(
            "password-reset", user=user, cause=f"password-reset:{reset.pk}", context={"reset_id": str(reset.pk)}
        )
        audit.record("password_reset.issued", reset, user=user, personal={"email": user.email})
    security.info("forgot_password", outcome="mailed", user=str(user.pk))
    return True


def _refusal(user: User | None) -> str:
    """Why no mail is sent; empty when one is."""
    if user is None:
        return "unknown_address"
    if not user.is_active:
        return "account_not_active"
    recent = PasswordReset.objects.filter(user=user, created_at__gt=Now() - timedelta(days=1))
    if recent.filter(created_at__gt=Now() - AGAIN_AFTER).exists() or recent.count() >= A_DAY:
        return "mailed_before"
    return ""
