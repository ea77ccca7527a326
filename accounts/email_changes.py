"""Changing the address: the new mailbox proves itself, the old one is told."""

from __future__ import annotations

import uuid
from datetime import timedelta

import structlog
from django.db import IntegrityError, transaction
from django.db.models.functions import Now

import audit
from accounts import links, passwords, users
from accounts.emails import fold
from accounts.errors import EmailTaken
from accounts.models import EmailChange, EmailVerification, PasswordReset, User
from core import clock
from core.errors import Invalid, detail
from core.ids import new_id
from notifications import outbox
from notifications.models import Mail

security = structlog.get_logger("security")

VALID_FOR = timedelta(hours=24)


def mail_secrets(mail: Mail) -> dict[str, str]:
    """The parts of a confirm-email mail that exist only while it is rendered (settings.MAIL_SECRETS)."""
    return {"link": links.url("confirm-email", uuid.UUID(mail.context["change_id"]))}


@audit.writes("email_change")
def ask(user: User, *, password: str, email: str) -> EmailChange:
    """Mail a link to the new address; a link to any other one asked for before stops working.

    Nothing else changes until the link is used.
    Locks: the user.
    Raises: PasswordWrong, EmailTaken; Invalid for an address that is none, or is the person's already.
    Enqueues: notifications.deliver
    """
    passwords.confirm(user, password)
    try:
        address = fold(email)
    except ValueError as error:
        raise Invalid(details=[detail("invalid", "Enter a valid email address.", "email")]) from error
    if address == user.email:
        raise Invalid(details=[detail("unchanged", "This is your address already.", "email")])
    if User.objects.filter(email=address).exists():
        raise EmailTaken("There is another account with this e-mail address.")
    change_id = new_id()
    with transaction.atomic():
        user = User.objects.select_for_update(of=("self",), no_key=True).get(pk=user.pk)
        links.withdraw(user, EmailChange)
        change = EmailChange.objects.create(
            id=change_id,
            user=user,
            email=address,
            token_hash=links.hash_of(links.token_of(change_id)),
            expires_at=Now() + VALID_FOR,
        )
        outbox.enqueue(
            "confirm-email",
            user=user,
            to=address,
            cause=f"confirm-email:{change_id}",
            context={"change_id": str(change_id)},
        )
        audit.record("email_change.issued", change, user=user, personal={"email": address})
    security.info("change_email", outcome="mailed", user=str(user.pk))
    return change


@audit.writes("user")
def confirm(*, token: str) -> User:
    """Change the address to the one that the token was mailed to, and tell the old one.

    The new mailbox counts as verified. Somebody whose old one was never verified gets now what verifying gives;
    everybody else had it.
    Locks: the user; then what the named functions of settings.EMAIL_VERIFIED lock.
    Raises: VerificationInvalid, VerificationExpired; EmailTaken when somebody else took the address meanwhile.
    Enqueues: notifications.deliver
    """
    try:
        with transaction.atomic():
            change = links.consume(EmailChange, token)
            user, old = change.user, change.user.email
            was_verified = user.is_verified
            User.objects.filter(pk=user.pk).update(email=change.email, verified_at=Now(), updated_at=Now())
            user.refresh_from_db(fields=["email", "verified_at", "updated_at"])
            links.withdraw(user, EmailVerification, PasswordReset)  # they prove the old mailbox
            audit.record(
                "user.email_changed",
                user,
                user=user,
                actor_id=user.pk,
                personal={"old": {"email": old}, "new": {"email": user.email}},
            )
            outbox.enqueue(
                "email-changed",
                user=user,
                to=old,
                cause=f"email-changed:{change.pk}",
                context={"at": clock.now().isoformat(timespec="minutes")},
            )
            if not was_verified:
                users.welcome(user)
    except IntegrityError as error:
        if not users.violates(error, "accounts_user_email"):
            raise
        security.info("confirm_email", outcome="email_taken")
        raise EmailTaken("Meanwhile there is another account with this e-mail address.") from error
    security.info("confirm_email", outcome="ok", user=str(user.pk))
    return user
