"""Zips of photos, which are anybody's bytes: looked through before anything is unpacked, unpacked one at a time."""

from __future__ import annotations

import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import IO

from django.conf import settings

from core import pictures
from core.errors import Error

MAX_FILES = 500
_MAX_MEMBER_BYTES = 50_000_000  # as a photo sent alone
_MAX_UNPACKED_BYTES = 8_000_000_000
_MAX_RATIO, _SMALL_BYTES = 100, 5_000_000  # photos hardly shrink, drawings may; a bomb does little else
_MAX_TABLE_BYTES = 1 << 20
_TAIL = 65_557  # the end of the table and the longest comment
_CHUNK = 1 << 20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_PICTURES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".tif", ".tiff")
_ARCHIVES = (".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".jar")
_LITTER = ("__MACOSX/", ".DS_Store", "Thumbs.db", "desktop.ini")  # what file managers leave in every zip


class ArchiveRefused(Exception):
    """Why, in a sentence for its sender."""


def check(file: IO[bytes]) -> list[zipfile.ZipInfo]:
    """The pictures in the archive, by its own table. Nothing is unpacked.

    Raises: ArchiveRefused.
    """
    if file.seek(0, 2) > settings.ARCHIVE_MAX_BYTES:
        raise ArchiveRefused(f"The archive is larger than {settings.ARCHIVE_MAX_BYTES // 1_000_000} MB.")
    _check_table(file)
    file.seek(0)
    try:
        with zipfile.ZipFile(file) as packed:
            members = packed.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, EOFError) as error:
        raise ArchiveRefused("The file is not a zip archive, or it is damaged.") from error
    if len(members) > 2 * MAX_FILES:
        raise ArchiveRefused(f"The archive holds more than {MAX_FILES} files.")
    seen: set[str] = set()
    found = []
    for member in members:
        _check_name(member, seen)
        if member.is_dir() or _is_litter(member.filename):
            continue
        _check_member(member)
        found.append(member)
    if len(found) > MAX_FILES:
        raise ArchiveRefused(f"The archive holds more than {MAX_FILES} files.")
    if sum(member.file_size for member in found) > _MAX_UNPACKED_BYTES:
        raise ArchiveRefused(f"The archive unpacks to more than {_MAX_UNPACKED_BYTES // 1_000_000_000} GB.")
    if sum(member.compress_size for member in found) > file.seek(0, 2):
        raise ArchiveRefused("The archive's files overlap.")
    if not found:
        raise ArchiveRefused("The archive holds no pictures.")
    return found


def _check_table(file: IO[bytes]) -> None:
    """Python reads the whole table into memory, so its length comes first. Five hundred files need no zip64.

    Source: APPNOTE.TXT 6.3.10, 4.3.15 and 4.3.16.
    """
    size = file.seek(0, 2)
    file.seek(max(0, size - _TAIL))
    tail = file.read()
    ends = {at for at in (tail.rfind(b"PK\5\6"), len(tail) - 22) if at >= 0 and tail[at : at + 4] == b"PK\5\6"}
    for at in ends:
        table_bytes = int.from_bytes(tail[at + 12 : at + 16], "little")
        if table_bytes > _MAX_TABLE_BYTES or tail[max(0, at - 20) : at].startswith(b"PK\6\7"):
            raise ArchiveRefused(f"The archive holds more than {MAX_FILES} files.")


def _check_name(member: zipfile.ZipInfo, seen: set[str]) -> None:
    """No path leads out of the archive, and no name is there twice: which of the two was meant, nobody knows."""
    raw, name = member.orig_filename, member.filename
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if "\0" in raw or name.startswith(("/", "\\")) or ".." in parts or (parts and ":" in parts[0]):
        raise ArchiveRefused(f"The archive has a file outside its own folder: {_shown(name)}.")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise ArchiveRefused(f"The archive has a link in it: {_shown(name)}.")
    key = "/".join(parts).casefold()
    if key in seen:
        raise ArchiveRefused(f"The archive has two files of the same name: {_shown(name)}.")
    seen.add(key)


def _check_member(member: zipfile.ZipInfo) -> None:
    name = member.filename.casefold()
    if member.flag_bits & 0x1:
        raise ArchiveRefused("The archive is encrypted; send it without a password.")
    if name.endswith(_ARCHIVES):
        raise ArchiveRefused(f"The archive has another archive in it: {_shown(member.filename)}.")
    if not name.endswith(_PICTURES):
        raise ArchiveRefused(f"The archive holds something that is no picture: {_shown(member.filename)}.")
    if member.compress_type not in _METHODS:
        raise ArchiveRefused("The archive is compressed in a way we do not read; use a plain zip.")
    if member.file_size > _MAX_MEMBER_BYTES:
        raise ArchiveRefused(
            f"A picture is larger than {_MAX_MEMBER_BYTES // 1_000_000} MB: {_shown(member.filename)}."
        )
    if member.file_size > max(_SMALL_BYTES, _MAX_RATIO * member.compress_size):
        raise ArchiveRefused(f"A file unpacks to far more than its size: {_shown(member.filename)}.")


def _is_litter(name: str) -> bool:
    return name.startswith(_LITTER[0]) or name.rsplit("/", 1)[-1] in _LITTER or name.rsplit("/", 1)[-1].startswith("._")


def _shown(name: str) -> str:
    return "".join(c for c in name if c.isprintable())[-80:]


def views(file: IO[bytes]) -> Iterator[pictures.Picture]:
    """Each picture in the order of names, decoded and re-encoded; one that does not decode is left out.

    `jpeg` is closed by whoever asked.

    Raises: ArchiveRefused, when a member is not what the archive's table says.
    """
    members = check(file)
    with zipfile.ZipFile(file) as packed:
        for member in sorted(members, key=lambda member: member.filename):
            with tempfile.TemporaryFile() as unpacked:
                _unpack(packed, member, unpacked)
                try:
                    picture = pictures.view(unpacked)
                except Error:
                    continue
            yield picture


def _unpack(packed: zipfile.ZipFile, member: zipfile.ZipInfo, to: IO[bytes]) -> None:
    """Never more bytes than the table says: what it says has been checked."""
    total = 0
    try:
        with packed.open(member) as source:
            while chunk := source.read(_CHUNK):
                total += len(chunk)
                if total > member.file_size:
                    raise ArchiveRefused(f"A file unpacks to more than it says: {_shown(member.filename)}.")
                to.write(chunk)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise ArchiveRefused(f"The archive is damaged at {_shown(member.filename)}.") from error
