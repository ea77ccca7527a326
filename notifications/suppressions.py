"""Addresses that get no mail but what keeps an account its owner's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth import get_user_model
from django.db import transaction

import audit
from notifications.mails import is_essential
from notifications.models import Mail, Suppression, SuppressionReason

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser


def against(mail: Mail) -> Suppression | None:
    """What stands against sending this mail. No query for mails that nothing stands against."""
    return None if is_essential(mail.name) else Suppression.objects.filter(email=mail.to).first()


@audit.writes("suppression")
def add(
    email: str,
    reason: SuppressionReason,
    *,
    words: str = "",
    mail: Mail | None = None,
    actor: AbstractBaseUser | None = None,
) -> Suppression:
    """Send this address nothing more that it can do without.

    Idempotent: by address; the first reason stays.
    """
    with transaction.atomic():
        row, is_new = Suppression.objects.get_or_create(
            email=email, defaults={"reason": reason, "words": words[:500], "mail": mail}
        )
        if is_new:
            reader = mail.user if mail else get_user_model().objects.filter(email=email).first()
            audit.record(
                "suppression.added",
                row,
                new={"reason": reason},
                metadata={"mail": mail.pk if mail else None},
                user=reader,
                actor_id=actor.pk if actor else None,
                personal={"email": email, "words": row.words},
            )
    return row


@audit.writes("suppression")
def lift(row: Suppression, *, actor: AbstractBaseUser, reason: str) -> None:
    """Let the address have mail again.

    Idempotent: by the row, which goes.
    """
    with transaction.atomic():
        if Suppression.objects.filter(pk=row.pk).delete()[0]:
            audit.record(
                "suppression.lifted",
                row,
                old={"reason": row.reason},
                metadata={"reason": reason},
                actor_id=actor.pk,
                personal={"email": row.email},
            )
