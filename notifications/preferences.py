"""Which mails a person does not want. Only those of mails.OPTIONAL can be declined."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core import signing
from django.db import transaction

import audit
from notifications.mails import OPTIONAL
from notifications.models import Refusal

_SALT = "notifications.unsubscribe"


@dataclass(frozen=True, slots=True)
class Link:
    """What an unsubscribe link is for."""

    user_id: uuid.UUID
    name: str


def wanted(user: Any) -> dict[str, bool]:
    """For each optional mail whether the person wants it. One query."""
    refused = set(Refusal.objects.filter(user=user).values_list("name", flat=True))
    return {name: name not in refused for name in OPTIONAL}


def is_refused(user_id: uuid.UUID | None, name: str) -> bool:
    """Whether the reader has declined this kind of mail. No query for what cannot be declined."""
    return name in OPTIONAL and Refusal.objects.filter(user=user_id, name=name).exists()


@audit.writes("refusal")
def change(user_id: uuid.UUID, choices: Mapping[str, bool]) -> None:
    """Set whether the person wants each of the named mails; those that are not named stay.

    Idempotent: by what is wanted already.
    Raises: ValueError for a mail that cannot be declined.
    """
    if unknown := choices.keys() - OPTIONAL.keys():
        raise ValueError(f"cannot be declined: {', '.join(sorted(unknown))}")
    off = [name for name, is_wanted in choices.items() if not is_wanted]
    on = [name for name, is_wanted in choices.items() if is_wanted]
    with transaction.atomic():
        before = set(Refusal.objects.filter(user=user_id, name__in=choices).values_list("name", flat=True))
        if set(off) == before:
            return
        Refusal.objects.filter(user=user_id, name__in=on).delete()
        Refusal.objects.bulk_create([Refusal(user_id=user_id, name=name) for name in off], ignore_conflicts=True)
        audit.record(
            "user.notifications_changed",
            ("user", user_id),
            user=user_id,
            old={"refused": sorted(before)},
            new={"refused": sorted(off)},
        )


def token_of(user_id: uuid.UUID, name: str) -> str:
    """What the link carries: good for as long as SECRET_KEY, since old mails are read late."""
    return signing.dumps({"u": str(user_id), "n": name}, salt=_SALT)


def link(user_id: uuid.UUID, name: str) -> str:
    """The address that ends one kind of mail. Ours, not the client app's: mail providers post to it themselves."""
    return f"{settings.PUBLIC_URL}/unsubscribe/{token_of(user_id, name)}"


def read(token: str) -> Link | None:
    """What a link is for; None for one that is not ours."""
    try:
        found = signing.loads(token, salt=_SALT)
        name = str(found["n"])
        return Link(uuid.UUID(found["u"]), name) if name in OPTIONAL else None
    except (signing.BadSignature, KeyError, TypeError, ValueError):
        return None
