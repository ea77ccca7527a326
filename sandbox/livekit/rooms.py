"""Rooms and who is in them; every change is told by webhook."""

from __future__ import annotations

import time
from typing import Any

from sandbox.box import Box
from sandbox.state import Doc
from sandbox.tokens import new_id

KIND = "livekit.room"


def create(box: Box, name: str, body: Doc) -> Doc:
    """Make the room; one of that name that is there is answered as it is."""
    found = box.store.get(KIND, name)
    if found:
        return found
    room: Doc = {
        "sid": new_id("RM_"),
        "name": name,
        "emptyTimeout": int(body.get("empty_timeout") or body.get("emptyTimeout") or 300),
        "maxParticipants": int(body.get("max_participants") or body.get("maxParticipants") or 0),
        "created_at": int(time.time()),
        "people": {},
    }
    box.store.put(KIND, name, room)
    tell(box, "room_started", room)
    return room


def delete(box: Box, name: str) -> bool:
    """Everybody is put out. Answers whether there was such a room."""
    room = box.store.get(KIND, name)
    if room is None:
        return False
    box.store.delete(KIND, name)
    for person in room["people"].values():
        tell(box, "participant_left", room, person | {"state": "DISCONNECTED", "disconnectReason": "ROOM_DELETED"})
    tell(box, "room_finished", room)
    return True


def join(box: Box, name: str, identity: str) -> Doc:
    room = create(box, name, {})
    person = {"sid": new_id("PA_"), "identity": identity, "state": "ACTIVE", "joinedAt": str(int(time.time()))}
    room["people"][identity] = person
    box.store.put(KIND, name, room)
    tell(box, "participant_joined", room, person)
    return person


def leave(box: Box, name: str, identity: str, *, event: str, reason: str) -> bool:
    room = box.store.get(KIND, name)
    person = room["people"].pop(identity, None) if room else None
    if room is None or person is None:
        return False
    box.store.put(KIND, name, room)
    tell(box, event, room, person | {"state": "DISCONNECTED", "disconnectReason": reason})
    return True


def public(room: Doc) -> Doc:
    """protojson: 64-bit numbers are texts, what is nothing is left out."""
    shown: dict[str, Any] = {
        "sid": room["sid"],
        "name": room["name"],
        "emptyTimeout": room["emptyTimeout"],
        "maxParticipants": room["maxParticipants"],
        "creationTime": str(room["created_at"]),
        "numParticipants": len(room["people"]),
    }
    return {name: value for name, value in shown.items() if value}


def tell(box: Box, event: str, room: Doc, person: Doc | None = None) -> None:
    body: Doc = {"event": event, "room": public(room)}
    if person:
        body["participant"] = person
    body |= {"id": new_id("EV_"), "createdAt": str(int(time.time()))}
    box.webhooks.send("livekit", event, body, subject=room["name"])
