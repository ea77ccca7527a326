"""How many avatars a person may have, by their plan. Those that failed do not count; those that are there stay."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from django.db import connection

from billing import plans
from generation.errors import AvatarLimitReached
from generation.models import Avatar, AvatarStatus


@dataclass(frozen=True, slots=True)
class Limit:
    """`current_count` may be above `max_avatars`: the plan was a larger one."""

    current_count: int
    max_avatars: int

    @property
    def remaining(self) -> int:
        return max(0, self.max_avatars - self.current_count)

    @property
    def allowed(self) -> bool:
        return self.remaining > 0


def of(user: Any) -> Limit:
    """The person's limit as it stands. Two queries."""
    counted = Avatar.objects.visible_to(user).having(AvatarStatus.READY, AvatarStatus.CREATING)
    return Limit(counted.count(), plans.avatar_limit(user.pk))


def take_place(user: Any) -> None:
    """In the transaction that makes an avatar, or makes a failed one count again: insist that there is room.

    Locks: this person's places, by an advisory lock, so that parallel requests cannot all be the last.
    Raises: AvatarLimitReached.
    """
    number = int.from_bytes(hashlib.sha256(f"avatars:{user.pk}".encode()).digest()[:8], signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [number])
    if not of(user).allowed:
        raise AvatarLimitReached
