"""Links that prove a mailbox: made, mailed, and used once."""

from __future__ import annotations

import base64
import hashlib
import uuid
from datetime import timedelta
from typing import Literal

from django.conf import settings
from django.db import transaction
from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet
from django.db.models.functions import Now
from django.utils.crypto import salted_hmac

import audit
from accounts.errors import VerificationExpired, VerificationInvalid
from accounts.models import EmailVerification, User
from core.ids import new_id
from notifications import outbox
from notifications.models import Mail

VALID_FOR = timedelta(hours=24)
RESEND_AFTER = timedelta(minutes=1)
RESENDS_A_DAY = 10
KEEP = timedelta(days=90)
PURGE_BATCH = 5000


def token_of(verification_id: uuid.UUID) -> str:
    """The link's token. It is derived, so that no table and no outbox row has to hold it.

    The hash that is kept lets links that are under way outlive a change of SECRET_KEY.
    """
    mac = salted_hmac("accounts.verification", str(verification_id), algorithm="sha256")
    return base64.urlsafe_b64encode(mac.digest()).rstrip(b"=").decode()


def hash_of(token: str) -> str:
    """What is stored of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def link(token: str) -> str:
    """Where the mail points: the client app when there is one, else our own page."""
    return f"{settings.FRONTEND_URL or settings.PUBLIC_URL}/verify-email/{token}"


def mail_secrets(mail: Mail) -> dict[str, str]:
    """The parts of a verify-email mail that exist only while it is rendered (settings.MAIL_SECRETS)."""
    return {"link": link(token_of(uuid.UUID(mail.context["verification_id"])))}


@audit.writes("email_verification")
def issue(user: User) -> EmailVerification:
    """Make a link for the person's mailbox and queue its mail, in the caller's transaction.

    Enqueues: notifications.deliver
    """
    verification_id = new_id()
    verification = EmailVerification.objects.create(
        id=verification_id,
        user=user,
        email=user.email,
        token_hash=hash_of(token_of(verification_id)),
        expires_at=Now() + VALID_FOR,
    )
    outbox.enqueue(
        "verify-email",
        user=user,
        cause=f"verify-email:{verification_id}",
        context={"verification_id": str(verification_id)},
    )
    audit.record("email_verification.issued", verification, user=user, personal={"email": user.email})
    return verification


@audit.writes("email_verification")
def resend(user: User) -> EmailVerification | None:
    """Issue another link unless the mailbox is verified or was written to a moment ago.

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
        return issue(user)


def look(token: str) -> Literal["ready", "done", "expired", "invalid"]:
    """What using the link up would do, without doing it."""
    try:
        verification, is_expired = _by_token(EmailVerification.objects.select_related("user"), token)
    except VerificationInvalid:
        return "invalid"
    if verification.used_at is not None:
        return "done" if verification.user.is_verified else "invalid"
    return "expired" if is_expired else "ready"


def _by_token(links: QuerySet[EmailVerification], token: str) -> tuple[EmailVerification, bool]:
    """The link and whether it has run out.

    Raises: VerificationInvalid for a token that no link has.
    """
    expired = ExpressionWrapper(Q(expires_at__lte=Now()), output_field=BooleanField())
    found = links.annotate(is_expired=expired).filter(token_hash=hash_of(token)).first()
    if found is None:
        raise VerificationInvalid
    return found, found.is_expired


@audit.writes("email_verification")
def consume(token: str) -> EmailVerification:
    """Use up a link, in the caller's transaction; every other open link of that person is used up with it.

    Locks: the user, whatever the link: two links of one person used at once must not wait for each other.
    Raises: VerificationInvalid, VerificationExpired.
    """
    links = EmailVerification.objects.all()
    found, _ = _by_token(links, token)
    user = User.objects.select_for_update(of=("self",), no_key=True).get(pk=found.user_id)
    verification, is_expired = _by_token(links, token)  # as it is now that nobody else can use it
    if verification.used_at is not None:
        raise VerificationInvalid
    if is_expired:
        raise VerificationExpired
    verification.user = user
    # The address may have been changed since the mail left: then it proves the wrong mailbox.
    if verification.email != verification.user.email or not verification.user.is_active:
        raise VerificationInvalid
    EmailVerification.objects.filter(user=verification.user, used_at__isnull=True).update(used_at=Now())
    audit.record("email_verification.used", verification, user=verification.user, actor_id=verification.user_id)
    return verification


@audit.writes("email_verification")
def purge() -> int:
    """Forget links that ran out KEEP ago.

    Idempotent: what is forgotten is not found again.
    """
    over = EmailVerification.objects.filter(expires_at__lt=Now() - KEEP)
    with transaction.atomic():
        ids = list(over.order_by("pk").values_list("pk", flat=True)[:PURGE_BATCH])
        if ids:
            EmailVerification.objects.filter(pk__in=ids).delete()
            audit.record("email_verification.purged", ("email_verification", "purged"), metadata={"count": len(ids)})
    return len(ids)
