"""The picture that a person shows of themselves."""

from __future__ import annotations

from typing import IO

from accounts.models import User
from core import files, pictures, storage
from core.ids import new_id
from core.killpoints import reach
from core.models import StoredObject


def take(user: User, file: IO[bytes]) -> StoredObject:
    """Decode a picture, cut it square and store it; nothing refers to it until the profile does.

    Raises: UnsupportedMediaType, TooLarge, TooManyPixels, ImageUnreadable; nothing is kept then.
    """
    picture = pictures.avatar(file)
    with picture.jpeg:
        [stored] = files.intend([f"people/{user.pk}/{new_id()}.jpg"])
        storage.save(stored.key, picture.jpeg, "image/jpeg")
    reach("accounts.avatars.saved")
    return stored


def link(user: User) -> str | None:
    """Where the picture can be fetched for a while, if there is one."""
    return storage.signed_url(user.avatar_id) if user.avatar_id else None
