"""Archives of photos: what is refused, each in a sentence of its own, and what comes out of the others."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from generation.photogrammetry import archives
from tests.generation.material import encoded, jpeg, portrait


def packed(*members: tuple[str | zipfile.ZipInfo, bytes], compression: int = zipfile.ZIP_STORED) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return info


def encrypted() -> io.BytesIO:
    file = packed(("a.jpg", jpeg()))
    raw = bytearray(file.getvalue())
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        raw[raw.index(signature) + offset] |= 1
    return io.BytesIO(bytes(raw))


def overlapping() -> io.BytesIO:
    """Two entries of the table for the same bytes."""
    raw = packed(("a.jpg", jpeg() * 4), ("b.jpg", b"x")).getvalue()
    first = raw.index(b"PK\1\2")
    second = raw.index(b"PK\1\2", first + 1)
    again = bytearray(raw[first:second])
    again[46:51] = b"b.jpg"
    end = raw.index(b"PK\5\6")
    return io.BytesIO(raw[:second] + bytes(again) + raw[end:])


def liar() -> io.BytesIO:
    """Its table tells of a hundred bytes, and more come out."""
    raw = bytearray(packed(("a.jpg", b"\0" * 200_000), compression=zipfile.ZIP_DEFLATED).getvalue())
    for signature, offset in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        struct.pack_into("<I", raw, raw.index(signature) + offset, 100)
    return io.BytesIO(bytes(raw))


def long_table() -> io.BytesIO:
    raw = bytearray(packed(("a.jpg", jpeg())).getvalue())
    struct.pack_into("<I", raw, raw.rindex(b"PK\5\6") + 12, 500_000_000)
    return io.BytesIO(bytes(raw))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: io.BytesIO(b"no zip at all"), "not a zip archive"),
        (lambda: io.BytesIO(packed(("a.jpg", jpeg())).getvalue()[:-30]), "not a zip archive"),
        (lambda: packed(("../a.jpg", jpeg())), "outside its own folder: ../a.jpg"),
        (lambda: packed(("x/../../a.jpg", jpeg())), "outside its own folder"),
        (lambda: packed(("/etc/a.jpg", jpeg())), "outside its own folder"),
        (lambda: packed(("..\\a.jpg", jpeg())), "outside its own folder"),
        (lambda: packed(("C:\\a.jpg", jpeg())), "outside its own folder"),
        (lambda: packed((link("a.jpg"), b"/etc/passwd")), "a link in it: a.jpg"),
        (encrypted, "encrypted"),
        (lambda: packed(("a.jpg", jpeg()), ("more.zip", packed(("b.jpg", jpeg())).getvalue())), "another archive"),
        (lambda: packed(("a.jpg", jpeg()), ("A.JPG", jpeg())), "two files of the same name: A.JPG"),
        (lambda: packed(("a.jpg", b"\0" * 9_000_000), compression=zipfile.ZIP_DEFLATED), "far more than its size"),
        (lambda: packed(("a.jpg", jpeg()), compression=zipfile.ZIP_LZMA), "in a way we do not read"),
        (lambda: packed(("a.exe", b"MZ")), "no picture: a.exe"),
        (lambda: packed(*((f"{n}.jpg", b"x") for n in range(501))), "more than 500 files"),
        (lambda: packed(("photos/", b"")), "no pictures"),
        (overlapping, "overlap"),
        (long_table, "more than 500 files"),
    ],
)
def test_refused_before_anything_is_unpacked(make: Callable[[], io.BytesIO], sentence: str) -> None:
    with pytest.raises(archives.ArchiveRefused) as refusal:
        archives.check(make())

    assert sentence in str(refusal.value)


def test_too_large(settings: Any) -> None:
    settings.ARCHIVE_MAX_BYTES = 1000

    with pytest.raises(archives.ArchiveRefused, match="larger than"):
        archives.check(packed(("a.jpg", jpeg())))


def test_more_bytes_than_announced_are_not_unpacked() -> None:
    with pytest.raises(archives.ArchiveRefused, match=r"damaged|more than it says"):
        list(archives.views(liar()))


def test_a_damaged_member_is_told_by_name() -> None:
    raw = bytearray(packed(("good.jpg", jpeg())).getvalue())
    raw[600] ^= 0xFF

    with pytest.raises(archives.ArchiveRefused, match=r"damaged at good\.jpg"):
        list(archives.views(io.BytesIO(bytes(raw))))


def test_pictures_come_out_in_order_and_what_is_none_is_left_out() -> None:
    file = packed(
        ("b/2.png", encoded(portrait(2), "PNG")),
        ("1.JPG", jpeg(1)),
        ("3.tif", encoded(portrait(3), "TIFF")),
        ("__MACOSX/._1.JPG", b"litter"),
        ("b/.DS_Store", b"litter"),
        ("broken.jpg", b"not a picture"),
        compression=zipfile.ZIP_DEFLATED,
    )

    found = []
    for picture in archives.views(file):
        with picture.jpeg as copy:
            found.append((picture.format, copy.read(2)))

    assert found == [("JPEG", b"\xff\xd8"), ("TIFF", b"\xff\xd8"), ("PNG", b"\xff\xd8")]
