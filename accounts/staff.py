"""People who work in the ops console."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models.functions import Now

import audit
from accounts.models import User

EDITABLE = ("first_name", "last_name", "is_staff", "is_superuser")


@audit.writes("user")
def create(user: User, *, actor: User) -> User:
    """Store a new member of staff, made from a form with the password set; their mailbox is vouched for by `actor`."""
    with transaction.atomic():
        user.is_staff = True
        user.save(force_insert=True)
        User.objects.filter(pk=user.pk).update(verified_at=Now())
        user.refresh_from_db(fields=["verified_at"])
        audit.record("user.staff_created", user, user=user, actor_id=actor.pk, personal={"email": user.email})
    return user


@audit.writes("user")
def update(user: User, changes: dict[str, Any], *, actor: User) -> User:
    """Change a person's name or standing as staff (those of EDITABLE).

    Locks: the user.
    """
    if unknown := changes.keys() - set(EDITABLE):
        raise ValueError(f"not for staff to change: {', '.join(sorted(unknown))}")
    with transaction.atomic():
        user = User.objects.select_for_update(of=("self",), no_key=True).get(pk=user.pk)
        old = {name: getattr(user, name) for name in changes}
        User.objects.filter(pk=user.pk).update(**changes, updated_at=Now())
        user.refresh_from_db(fields=[*changes, "updated_at"])
        flags = {name for name in changes if name.startswith("is_")}
        audit.record(
            "user.updated",
            user,
            old={name: old[name] for name in flags},
            new={name: changes[name] for name in flags},
            metadata={"fields": sorted(changes)},
            user=user,
            actor_id=actor.pk,
            personal={"old": _names(old), "new": _names(changes)},
        )
    return user


def _names(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if not name.startswith("is_")}


@audit.writes("user")
def note_groups(user: User, *, before: set[str], after: set[str], actor: User) -> None:
    """Put a change of groups, which the form has just made in this transaction, on record."""
    audit.record(
        "user.groups_changed",
        user,
        old={"groups": sorted(before)},
        new={"groups": sorted(after)},
        user=user,
        actor_id=actor.pk,
    )
