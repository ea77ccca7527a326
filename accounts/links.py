"""One-time links in mails: their tokens, looking at one, using one up, forgetting old ones."""

from __future__ import annotations

import base64
import hashlib
import uuid
from datetime import timedelta
from typing import Literal, TypeVar

from django.conf import settings
from django.db import transaction
from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet
from django.db.models.functions import Now
from django.utils.crypto import salted_hmac

import audit
from accounts.errors import VerificationExpired, VerificationInvalid
from accounts.models import EmailChange, EmailVerification, MailedLink, PasswordReset, User

L = TypeVar("L", bound=MailedLink)

Outlook = Literal["ready", "used", "expired", "invalid"]
KINDS: tuple[type[MailedLink], ...] = (EmailVerification, EmailChange, PasswordReset)
KEEP = timedelta(days=90)
PURGE_BATCH = 5000


def token_of(link_id: uuid.UUID) -> str:
    """The link's token. It is derived, so that no table and no outbox row has to hold it.

    The hash that is kept lets links that are under way outlive a change of SECRET_KEY. No two links share an id, so
    one kind's token is never another's.
    """
    mac = salted_hmac("accounts.verification", str(link_id), algorithm="sha256")
    return base64.urlsafe_b64encode(mac.digest()).rstrip(b"=").decode()


def hash_of(token: str) -> str:
    """What is stored of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def url(page: str, link_id: uuid.UUID) -> str:
    """Where the mail points: the client app when there is one, else our own page."""
    return f"{settings.FRONTEND_URL or settings.PUBLIC_URL}/{page}/{token_of(link_id)}"


def find(links: QuerySet[L], token: str) -> tuple[L, bool]:
    """The link and whether it has run out.

    Raises: VerificationInvalid for a token that no link has, or one that was mailed to nobody.
    """
    expired = ExpressionWrapper(Q(expires_at__lte=Now()), output_field=BooleanField())
    found = links.annotate(is_expired=expired).filter(token_hash=hash_of(token), user__isnull=False).first()
    if found is None:
        raise VerificationInvalid
    return found, found.is_expired  # type: ignore[attr-defined]  # annotated above


def look(kind: type[L], token: str) -> tuple[Outlook, L | None]:
    """What using the link up would do, without doing it; and the link, if there is one."""
    try:
        link, is_expired = find(kind._default_manager.select_related("user"), token)
    except VerificationInvalid:
        return "invalid", None
    if link.used_at is not None:
        return "used", link
    return "expired" if is_expired else "ready", link


@audit.writes("link")
def consume(kind: type[L], token: str) -> L:
    """Use up a link, in the caller's transaction; every other open link of that kind and person is used up with it.

    Locks: the user, whatever the link: two links of one person used at once must not wait for each other.
    Raises: VerificationInvalid, VerificationExpired.
    """
    links = kind._default_manager.all()
    found, _ = find(links, token)
    user = User.objects.select_for_update(of=("self",), no_key=True).get(pk=found.user_id)
    link, is_expired = find(links, token)  # as it is now that nobody else can use it
    if link.used_at is not None or not user.is_active:
        raise VerificationInvalid
    if is_expired:
        raise VerificationExpired
    # The address may have been changed since the mail left: then it proves the wrong mailbox.
    if link.email != user.email and kind is not EmailChange:
        raise VerificationInvalid
    link.user = user
    _use_up(kind, user)
    audit.record(f"{_name(kind)}.used", link, user=user, actor_id=user.pk)
    return link


@audit.writes("link")
def withdraw(user: User, *kinds: type[MailedLink]) -> None:
    """Make the person's open links of these kinds useless, in the caller's transaction.

    Idempotent: what is used or withdrawn is not found again.
    """
    for kind in kinds:
        if withdrawn := _use_up(kind, user):
            audit.record(f"{_name(kind)}.withdrawn", user, user=user, metadata={"count": withdrawn})


def _use_up(kind: type[MailedLink], user: User) -> int:
    return kind._default_manager.filter(user=user, used_at__isnull=True).update(used_at=Now())


def _name(kind: type[MailedLink]) -> str:
    return kind._meta.verbose_name.replace(" ", "_")  # type: ignore[union-attr]


@audit.writes("link")
def purge() -> int:
    """Forget links that ran out KEEP ago; answers how many.

    Idempotent: what is forgotten is not found again.
    """
    forgotten = 0
    for kind in KINDS:
        links = kind._default_manager
        with transaction.atomic():
            over = links.filter(expires_at__lt=Now() - KEEP).order_by("pk").values_list("pk", flat=True)
            ids = list(over[:PURGE_BATCH])
            if ids:
                links.filter(pk__in=ids).delete()
                audit.record(f"{_name(kind)}.purged", (_name(kind), "purged"), metadata={"count": len(ids)})
            forgotten += len(ids)
    return forgotten
