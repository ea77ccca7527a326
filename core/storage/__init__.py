"""Files: one storage (S3-compatible, or a local folder), keys of our own making, links that are minted on read.

Which of the two it is, is a setting (settings.STORAGES); nothing outside this package knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

import structlog
from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import default_storage

from core.errors import Unavailable

log = structlog.get_logger("storage")

# Both kinds have the methods of Django's storages, and link, door, check, make and FAILURES besides.
_storage: Any = default_storage


class StorageAway(Unavailable):
    message = "The file storage cannot be reached right now and nothing was kept; try again."


class StorageUnusable(Exception):
    """The storage as it is set up does not work; the text is one sentence for its operator."""


@dataclass(frozen=True, slots=True)
class Door:
    """An address that takes the bytes of one key, once or again, until it expires; the headers are part of it."""

    url: str
    method: str = "PUT"
    headers: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def reached() -> Iterator[None]:
    """For what reads and writes files: a storage that fails is one error, whichever storage it is.

    Raises: StorageAway; FileNotFoundError as it is.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except _storage.FAILURES as error:
        log.error("storage_away", error=f"{type(error).__name__}: {error}"[:300])
        raise StorageAway(retry_after=5) from error


def save(key: str, file: IO[bytes], content_type: str) -> str:
    """Store the bytes under exactly this key, streamed. Keys are never reused, so nothing is overwritten.

    Raises: StorageAway; ValueError when the storage would have renamed it: the key was taken.
    """
    wrapped = File(file, name=key)
    wrapped.content_type = content_type  # type: ignore[attr-defined]  # read by the S3 storage
    with reached():
        stored: str = _storage.save(key, wrapped)
    if stored != key:
        _storage.delete(stored)
        raise ValueError(f"storage key {key!r} is taken")
    return stored


def open(key: str) -> IO[bytes]:
    """The stored bytes, as a file to read in pieces.

    Raises: StorageAway; FileNotFoundError when there is none.
    """
    with reached():
        file: Any = _storage.open(key, "rb")
        # A bucket's bytes are brought here by the first look at them; one that failed would leave an empty file.
        _ = file.file
    return file  # type: ignore[no-any-return]


def delete(key: str) -> None:
    """Remove the bytes. Idempotent: what is gone is gone."""
    _storage.delete(key)


def exists(key: str) -> bool:
    """Whether bytes are stored under the key."""
    return bool(_storage.exists(key))


def names(folder: str) -> list[str]:
    """What is stored directly in the folder of keys, without its name."""
    try:
        _, files = _storage.listdir(folder)
    except FileNotFoundError:
        return []
    return list(files)


def signed_url(key: str, *, filename: str | None = None, expires_s: int | None = None) -> str:
    """An absolute link that anybody may follow until it expires. Never store it.

    Units: seconds; default settings.SIGNED_URL_S.
    """
    link: str = _storage.link(key, filename=filename, expires_s=expires_s or settings.SIGNED_URL_S)
    return link


def door(key: str, *, content_type: str, bytes: int, expires_s: int) -> Door:
    """An absolute address where whoever has it may PUT exactly so many bytes of this type under the key.

    Units: seconds.
    """
    opened: Door = _storage.door(key, content_type=content_type, bytes=bytes, expires_s=expires_s)
    return opened


def check() -> None:
    """Look whether the storage can be reached and used.

    Raises: StorageUnusable.
    """
    _storage.check()


def make() -> bool:
    """Make the place where files lie, if it is ours to make and is not there; whether it was made.

    Idempotent. Raises: StorageUnusable when it cannot be used even so.
    """
    made: bool = _storage.make()
    check()
    return made
