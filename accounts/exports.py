"""Making a person's copy of what we keep of them: a ZIP of JSON files, with their pictures in it.

The apps of settings.ACCOUNT_EXPORT tell what they keep, as `Rows` and `Bytes`. The archive is made on disk and
streamed into the storage; whoever dies on the way leaves it due again, to be made anew under another key.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import IO, Any

import orjson
import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils.module_loading import import_string

import audit
from accounts.models import Export, ExportState, User, UserStatus
from core import files, jobs, storage
from core.ids import new_id
from core.killpoints import reach
from notifications import outbox

log = structlog.get_logger("exports")

BATCH = 5
LEASE = timedelta(minutes=30)
RETRY_AFTER = timedelta(minutes=2)
MAX_TRIES = 5


@dataclass(frozen=True, slots=True)
class Rows:
    """`<name>.json`: a list, written as it comes."""

    name: str
    rows: Iterable[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Bytes:
    """A stored file under its own name in the archive."""

    name: str
    key: str


Part = Rows | Bytes


@audit.writes("export")
def request(user: User) -> Export:
    """Ask for a copy. While one is being prepared, that is it.

    Idempotent: one open export per person.
    Enqueues: accounts.export
    """
    with transaction.atomic():
        export = Export(user=user)
        Export.objects.bulk_create([export], ignore_conflicts=True)
        made = Export.objects.filter(pk=export.pk).first()
        if made is None:
            # Another was there, or has just ended: the newest tells.
            return Export.objects.filter(user=user).latest("created_at")
        audit.record("export.requested", made, user=user)
        jobs.wake("accounts.export")
    return made


def latest(user: User) -> Export | None:
    """The person's newest export, with its file. One query."""
    return Export.objects.filter(user=user).select_related("file").order_by("-created_at").first()


def make_due() -> int:
    """Make what has been asked for, one archive after the other. Answers how many were taken up.

    Idempotent: by state; one that a dead worker left is due again after LEASE.
    """
    taken = 0
    while taken < BATCH and (export := _claim()) is not None:
        taken += 1
        reach("accounts.exports.claimed")
        try:
            make(export)
        except Exception:
            # A storage that is away, or a row that cannot be told: by its own clock again, a few times.
            log.exception("export_failed", export=str(export.pk), tries=export.tries)
            connection.close_if_unusable_or_obsolete()
            _give_up_or_wait(export)
    return taken


def _claim() -> Export | None:
    found = Export.objects.raw(
        """
        UPDATE accounts_export SET next_at = statement_timestamp() + %s, tries = tries + 1
        WHERE id = (
            SELECT id FROM accounts_export WHERE state = 'preparing' AND next_at <= statement_timestamp()
            ORDER BY next_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
        )
        RETURNING *
        """,
        [LEASE],
    )
    return next(iter(found), None)


def _give_up_or_wait(export: Export) -> None:
    mine = Export.objects.filter(pk=export.pk, state=ExportState.PREPARING)
    if export.tries < MAX_TRIES:
        mine.update(next_at=Now() + RETRY_AFTER)
        return
    with transaction.atomic():
        if mine.update(state=ExportState.FAILED):
            audit.record("export.failed", export, user=export.user_id, metadata={"tries": export.tries})


@audit.writes("export")
def make(export: Export) -> None:
    """Write the archive, store it, and tell its owner.

    Idempotent: by state; an archive that comes second is dropped by the sweeper.
    Enqueues: export-ready
    """
    if export.user.status != UserStatus.ACTIVE:
        export.tries = MAX_TRIES
        _give_up_or_wait(export)
        return
    with tempfile.TemporaryFile() as archive:
        write(export.user, archive)
        size = archive.seek(0, 2)
        archive.seek(0)
        [stored] = files.intend([f"exports/{export.user_id}/{new_id()}.zip"])
        storage.save(stored.key, archive, "application/zip")
    reach("accounts.exports.saved")
    with transaction.atomic():
        done = Export.objects.filter(pk=export.pk, state=ExportState.PREPARING).update(
            state=ExportState.READY,
            file=stored,
            bytes=size,
            ready_at=Now(),
            expires_at=Now() + timedelta(days=settings.EXPORT_KEEP_DAYS),
        )
        if not done:
            return
        files.adopt([stored.pk])
        outbox.enqueue(
            "export-ready",
            user=export.user,
            cause=f"export:{export.pk}",
            context={"days": str(settings.EXPORT_KEEP_DAYS)},
        )
        audit.record("export.ready", export, user=export.user_id, metadata={"bytes": size})


def write(user: User, to: IO[bytes]) -> None:
    """The archive itself, part by part: nothing of it is ever whole in memory."""
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in settings.ACCOUNT_EXPORT:
            parts: Iterator[Part] = import_string(path)(user=user)
            for part in parts:
                _add(archive, part)


def _add(archive: zipfile.ZipFile, part: Part) -> None:
    if isinstance(part, Rows):
        with archive.open(f"{part.name}.json", "w", force_zip64=True) as member:
            member.write(b"[")
            for number, row in enumerate(part.rows):
                member.write((b",\n" if number else b"\n") + orjson.dumps(dict(row), default=str))
            member.write(b"\n]\n")
        return
    try:
        source = storage.open(part.key)
    except FileNotFoundError:  # deleted by its owner since it was listed
        return
    info = zipfile.ZipInfo(part.name)  # stored as it is: pictures and videos do not shrink
    with source, archive.open(info, "w", force_zip64=True) as member:
        shutil.copyfileobj(source, member)


@audit.writes("export")
def purge() -> int:
    """Let go of archives whose time is over. Answers how many.

    Idempotent: by state.
    """
    with transaction.atomic():
        over = Export.objects.filter(state=ExportState.READY, expires_at__lte=Now())
        return _drop(list(over.select_for_update(of=("self",), no_key=True, skip_locked=True).order_by("pk")[:500]))


@audit.writes("export")
def forget(user: User) -> None:
    """Let go of the person's archives, in the transaction that erases them; the rows go with them."""
    mine = Export.objects.filter(user=user)
    _drop(list(mine.filter(state=ExportState.READY).select_for_update(of=("self",), no_key=True).order_by("pk")))
    if mine.delete()[0]:
        audit.record("export.forgotten", ("user", user.pk), user=user)


def _drop(ready: list[Export]) -> int:
    if ready:
        Export.objects.filter(pk__in=[export.pk for export in ready]).update(state=ExportState.EXPIRED, file=None)
        files.let_go([export.file_id for export in ready if export.file_id])
        for export in ready:
            audit.record("export.expired", export, user=export.user_id)
    return len(ready)
