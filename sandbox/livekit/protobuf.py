"""The room service's messages as LiveKit's SDKs send them: protobuf, by hand as far as it is used here.

Source: LiveKit's protocol repository, livekit_room.proto and livekit_models.proto
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sandbox.state import Doc

CONTENT_TYPE = "application/protobuf"

_ASKED = {
    "CreateRoom": {1: "name", 2: "empty_timeout", 3: "max_participants"},
    "DeleteRoom": {1: "room"},
    "ListRooms": {1: "names"},
}
_ROOM = {
    "sid": 1,
    "name": 2,
    "emptyTimeout": 3,
    "maxParticipants": 4,
    "creationTime": 5,
    "numParticipants": 9,
}
_NUMBER, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5


def read(method: str, body: bytes) -> Doc:
    """What the method is asked, under the names that JSON has.

    Raises: ValueError for what is no such message.
    """
    said: Doc = {}
    for field, value in _fields(body):
        name = _ASKED[method].get(field)
        if name is None:
            continue
        told = value.decode() if isinstance(value, bytes) else value
        said[name] = [*said.get(name, []), told] if name == "names" else told
    return said


def room(shown: Doc) -> bytes:
    """A room, of what rooms.public says of it."""
    return b"".join(_field(_ROOM[name], value, is_number=name not in ("sid", "name")) for name, value in shown.items())


def list_of(found: list[Doc]) -> bytes:
    return b"".join(_field(1, room(shown)) for shown in found)


def _fields(body: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(body):
        key, at = _number(body, at)
        kind = key & 7
        if kind == _NUMBER:
            value, at = _number(body, at)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            length, at = _number(body, at)
        elif kind in (_EIGHT, _FOUR):
            length = 8 if kind == _EIGHT else 4
        else:
            raise ValueError("no kind of field")
        if at + length > len(body):
            raise ValueError("the message is cut off")
        yield key >> 3, body[at : at + length]
        at += length


def _number(body: bytes, at: int) -> tuple[int, int]:
    """Seven bits a byte, the least first; and where it ends."""
    value = 0
    for place, byte in enumerate(body[at : at + 10]):
        value |= (byte & 127) << (7 * place)
        if byte < 128:
            return value, at + place + 1
    raise ValueError("the number does not end")


def _field(number: int, value: Any, *, is_number: bool = False) -> bytes:
    if is_number:
        return _varint(number << 3 | _NUMBER) + _varint(int(value))
    told = value if isinstance(value, bytes) else str(value).encode()
    return _varint(number << 3 | _BYTES) + _varint(len(told)) + told


def _varint(value: int) -> bytes:
    told = bytearray()
    while value > 127:
        told.append(value & 127 | 128)
        value >>= 7
    return bytes([*told, value])
