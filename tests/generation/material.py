"""Pictures, good and hostile, and jobs made by the functions that clients reach."""

from __future__ import annotations

import io
import json
import struct
import tempfile
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from django.db import connection
from django.db.models import Q
from django.db.models.functions import Now
from PIL import Image, ImageDraw

from accounts.models import User
from billing import ledger
from core import files
from core.errors import Error
from core.ids import new_id
from generation import avatars, jobs, photos
from generation.engine import bulk, finish, moves
from generation.engine import sweep as sweeper
from generation.engine.advance import advance
from generation.engine.scripts import Script
from generation.models import Avatar, Generation, Kind, Photo, State
from generation.webhooks import handle_magic_hour
from tests.sandbox.process import RunningSandbox


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    to = io.BytesIO()
    image.save(to, format, **options)
    return to.getvalue()


def portrait(seed: int = 1, size: tuple[int, int] = (300, 400)) -> Image.Image:
    """A drawn face on a plain ground; its corner is green, so that orientation shows."""
    image = Image.new("RGB", size, (200 - seed % 60, 210, 220))
    draw = ImageDraw.Draw(image)
    w, h = size
    draw.ellipse((w * 0.3, h * 0.15, w * 0.7, h * 0.6), fill=(224, 172 + seed % 40, 140))
    draw.rectangle((w * 0.15, h * 0.62, w * 0.85, h), fill=(40 + 37 * seed % 160, 60, 90))
    draw.rectangle((0, 0, w // 8, h // 8), fill=(10, 200, 10))
    return image


def jpeg(seed: int = 1, size: tuple[int, int] = (300, 400), **options: Any) -> bytes:
    return encoded(portrait(seed, size), "JPEG", quality=95, **options)


def png_chunks(width: int, height: int, depth: int, colour: int, row: bytes) -> bytes:
    """A PNG by hand: modes that Pillow cannot write, or sizes that nobody should decode."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    packer = zlib.compressobj(9)
    body = b"".join(packer.compress(b"\0" + row) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def fund(user: User, amount: int) -> None:
    """Credits out of the air, through the ledger's own door."""
    key = f"test:{new_id()}"
    ledger.grant(user_id=user.pk, amount=amount, category="paid", key=key, subject=("user", user.pk))


def photo_of(user: User, picture: bytes | None = None) -> Photo:
    with tempfile.TemporaryFile() as file:
        file.write(picture or jpeg())
        return photos.upload(user=user, file=file, filename="me.jpg")


def order(user: User, photo: Photo | None = None, *, quote: str | None = None, **params: Any) -> Generation:
    """A headshot, as POST headshots makes it."""
    photo = photo or photo_of(user)
    request = jobs.Request(kind=Kind.HEADSHOT, params=params, photo_ids=[photo.pk], consent=True, quote=quote)
    return jobs.create(user=user, request=request)


DESCRIPTION = "A botanist in her forties, silver streak in dark hair, field jacket."


def avatar_of(user: User, **params: Any) -> Avatar:
    """An avatar, as POST avatars makes it."""
    return avatars.create(user=user, params={"name": "Mira", "description": DESCRIPTION} | params)


def fail(job: Generation, code: str = "provider_failed") -> Generation:
    """End the job as the engine does when the provider says no."""
    assert finish.fail(job.pk, code=code, where=Q())
    job.refresh_from_db()
    return job


def order_of(user: User, kind: Kind, *, operation: str | None = None, **params: Any) -> Generation:
    """A picture, a film …, as their POST makes it."""
    return jobs.create(user=user, request=jobs.Request(kind=kind, operation=operation, params=params))


def lapse(job: Generation) -> None:
    """Whoever holds the job has been silent for longer than its lease."""
    Generation.objects.filter(pk=job.pk, lease_until__isnull=False).update(lease_until=Now() - timedelta(seconds=1))


def sweep() -> int:
    """Clean up as beat makes the workers do."""
    return sweeper.sweep() + files.remove_expired()


def until(condition: Callable[[], Any], what: str, *, within_s: float = 150, pause_s: float = 0.02) -> Any:
    """Wait for the condition.

    Raises: AssertionError after the deadline.
    """
    end = time.monotonic() + within_s
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {within_s} s")
        time.sleep(pause_s)
    return found


def run_until(job: Generation, *states: State, within_s: float = 150) -> Generation:
    """Let the engine pass over the table until the job is in one of these states (ended, when none is named)."""
    wanted = states or (State.SUCCEEDED, State.FAILED, State.CANCELED)

    def there() -> bool:
        for queue in moves.WAKES:
            bulk.work() if queue == "bulk" else advance(queue)
        sweep()
        job.refresh_from_db()
        return job.state in wanted

    try:
        until(there, f"{job} becomes {wanted}", within_s=within_s)
    except AssertionError as error:
        tries = list(job.attempts.values_list("n", "outcome", "error_message"))
        raise AssertionError(f"{error}; it is {job.state}, next at {job.next_at}, attempts {tries}") from None
    return job


def in_parallel(*works: Callable[[], Any]) -> list[Any]:
    """Start all at the same moment, each in a thread with its own connection; results, or our own refusals, in order.

    Raises: whatever else one of them raised.
    """
    gate = threading.Barrier(len(works))

    def run(work: Callable[[], Any]) -> Any:
        try:
            gate.wait(60)
            return work()
        except Error as refusal:
            return refusal
        finally:
            connection.close()

    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result(300) for future in [pool.submit(run, work) for work in works]]


def tell(sandbox: RunningSandbox, *, kind: str = "", stale: bool = False) -> list[Any]:
    """Hand every webhook that the sandbox would have sent to its handler; what it said of each."""
    bodies = [json.loads(found["body"]) for found in sandbox.deliveries(provider="magic-hour")]
    return [handle_magic_hour(event, stale=stale) for event in bodies if kind in event["type"]]


def drive(script: Script, call: Callable[[], Any] | None = None) -> None:
    """Run a script and what follows it to their ends on this thread, from its first call or the one it waits for."""
    try:
        call = call or next(script)
        while True:
            call = script.send(call())
    except StopIteration as end:
        for following in end.value or ():
            drive(following)
