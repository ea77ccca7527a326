"""Where a job's files lie in the storage.

The token is the storing worker's lease: two that store the same output never write the same key.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from generation.models import Generation, Kind

_NOUNS: dict[str, str] = {Kind.HEADSHOT: "image"}


def output(job: Generation, *, token: UUID, at: datetime, ending: str, n: int | None = None) -> str:
    """`content/{user}/{image|video|…}_{job}_{time}_{token}[_{n}].{ending}`; `n` from 1 where there are several.

    The face of an avatar lies at `avatars/{user}/thumbnail_{avatar}_{token}.{ending}`.
    """
    if job.kind == Kind.AVATAR:
        return f"avatars/{job.user_id}/thumbnail_{job.avatar_id}_{token}.{ending}"
    noun = _NOUNS.get(job.kind, job.kind)
    number = f"_{n}" if n else ""
    return f"content/{job.user_id}/{noun}_{job.pk}_{at:%Y%m%dT%H%M%SZ}_{token}{number}.{ending}"


def thumbnail(key: str) -> str:
    """The key of an output's thumbnail, beside it."""
    return f"{key.rpartition('.')[0]}_thumbnail.jpg"
