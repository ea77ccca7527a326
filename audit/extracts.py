"""Rows of the log as a file for a member of staff: CSV or JSONL, written by a worker, downloaded for a week.

It proves nothing: audit.export is what proves itself. That somebody took rows away is a row of the log, too.
"""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import IO, Any

import orjson
import structlog
from django.db import connection, transaction
from django.db.models.functions import Now

from audit import search, trail
from audit.models import AuditLog, Extract, ExtractState
from core import files, jobs, storage
from core.errors import NotFound
from core.ids import new_id
from core.texts import cell

log = structlog.get_logger("audit")

PAGE = 2000
LEASE = timedelta(minutes=10)  # renewed with every page
RETRY_AFTER = timedelta(minutes=2)
MAX_TRIES = 5
KEPT = timedelta(days=7)
COLUMNS = (
    *("id", "at", "action", "entity_type", "entity_id", "user_id", "actor_id", "on_behalf_of_id"),
    *("source", "request_id", "old", "new", "metadata"),
)
DETAILS = ("ip", "user_agent", "personal")
_TYPES = {Extract.Format.CSV: "text/csv; charset=utf-8", Extract.Format.JSONL: "application/jsonl"}


class _Overtaken(Exception):
    """Another worker has it, or it has ended."""


@trail.writes("extract")
def request(*, sought: Mapping[str, str], format: str, has_details: bool, requester: Any) -> Extract:
    """Ask for a file of the rows that fit and are there by now.

    Enqueues: audit.extract
    """
    with transaction.atomic():
        made = Extract.objects.create(
            requester_id=requester.pk, sought=dict(sought), format=format, has_details=has_details
        )
        trail.record("extract.requested", made, metadata=_told(made), actor_id=requester.pk)
        jobs.wake("audit.extract")
    return made


def make_due() -> int:
    """Write what has been asked for. Answers how many were taken up.

    Idempotent: by state; one that a dead worker left is due again after LEASE.
    """
    taken = 0
    while (extract := _claim()) is not None:
        taken += 1
        try:
            make(extract)
        except _Overtaken:
            log.warning("extract_overtaken", extract=str(extract.pk))
        except Exception:
            log.exception("extract_failed", extract=str(extract.pk), tries=extract.tries)
            connection.close_if_unusable_or_obsolete()
            _give_up_or_wait(extract)
    return taken


def _claim() -> Extract | None:
    found = Extract.objects.raw(
        """
        UPDATE audit_extract SET next_at = statement_timestamp() + %s, tries = tries + 1, done = 0
        WHERE id = (
            SELECT id FROM audit_extract WHERE state = 'preparing' AND next_at <= statement_timestamp()
            ORDER BY next_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
        )
        RETURNING *
        """,
        [LEASE],
    )
    return next(iter(found), None)


def _mine(extract: Extract) -> Any:
    return Extract.objects.filter(pk=extract.pk, state=ExtractState.PREPARING, tries=extract.tries)


def _give_up_or_wait(extract: Extract) -> None:
    if extract.tries < MAX_TRIES:
        _mine(extract).update(next_at=Now() + RETRY_AFTER)
        return
    with transaction.atomic():
        if _mine(extract).update(state=ExtractState.FAILED):
            trail.record("extract.failed", extract, metadata={"tries": extract.tries}, actor_id=extract.requester_id)


@trail.writes("extract")
def make(extract: Extract) -> None:
    """Write the file and store it, telling after each page how far it has come.

    Idempotent: by state and try; a file that comes second is dropped by the sweeper.
    """
    # Later rows are none of it: somebody who exports all would else chase what exporting itself writes.
    found = search.rows(extract.sought).filter(at__lt=extract.created_at)
    _progress(extract, total=found.order_by().count())
    with tempfile.TemporaryFile() as file:
        write(extract, _pages(extract, found), file)
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        [stored] = files.intend([f"audit/extracts/{new_id()}.{extract.format}"])
        storage.save(stored.key, file, _TYPES[Extract.Format(extract.format)])
    with transaction.atomic():
        done = _mine(extract).update(
            state=ExtractState.READY, file=stored, bytes=size, ready_at=Now(), expires_at=Now() + KEPT
        )
        if not done:
            raise _Overtaken
        files.adopt([stored.pk])
        trail.record(
            "extract.ready",
            extract,
            metadata={"rows": extract.done, "bytes": size},
            actor_id=extract.requester_id,
        )


def _pages(extract: Extract, found: Any) -> Iterator[list[AuditLog]]:
    if extract.has_details:
        found = found.select_related("detail")
    rest = found
    while page := list(rest[:PAGE]):
        yield page
        extract.done += len(page)
        _progress(extract, done=extract.done)
        rest = search.after(found, page[-1])


def _progress(extract: Extract, **figures: int) -> None:
    if not _mine(extract).update(next_at=Now() + LEASE, **figures):
        raise _Overtaken


def write(extract: Extract, pages: Iterator[list[AuditLog]], to: IO[bytes]) -> None:
    """The file itself, page by page: nothing of it is ever whole in memory."""
    columns = COLUMNS + (DETAILS if extract.has_details else ())
    is_csv = extract.format == Extract.Format.CSV
    if is_csv:
        to.write("\ufeff".encode())  # which spreadsheets ask for
        to.write(_csv([columns]))
    for page in pages:
        told = [_row(row, has_details=extract.has_details) for row in page]
        if is_csv:
            to.write(_csv([cell(_text(value)) for value in row.values()] for row in told))
        else:
            to.write(b"".join(orjson.dumps(row, default=str) + b"\n" for row in told))


def _row(row: AuditLog, *, has_details: bool) -> dict[str, Any]:
    told = {name: getattr(row, name) for name in COLUMNS}
    if has_details:
        detail = getattr(row, "detail", None)
        told |= {name: getattr(detail, name, None) for name in DETAILS}
    return told


def _text(value: Any) -> str:
    if value is None:
        return ""
    return orjson.dumps(value).decode() if isinstance(value, dict | list) else str(value)


def _csv(rows: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


@trail.writes("extract")
def link(extract_id: Any, *, actor: Any) -> str:
    """A link to the file, good for five minutes. Whoever takes one is told of in the log.

    Raises: NotFound while there is none, or no longer.
    """
    with transaction.atomic():
        extract = Extract.objects.select_related("file").filter(pk=extract_id, state=ExtractState.READY).first()
        if extract is None or extract.file is None:
            raise NotFound
        trail.record("extract.downloaded", extract, metadata=_told(extract), actor_id=actor.pk)
    name = f"audit-{extract.created_at:%Y%m%d-%H%M}.{extract.format}"
    return storage.signed_url(extract.file.key, filename=name, expires_s=300)


@trail.writes("extract")
def purge() -> int:
    """Let go of files whose time is over. Answers how many.

    Idempotent: by state.
    """
    with transaction.atomic():
        over = Extract.objects.filter(state=ExtractState.READY, expires_at__lte=Now()).order_by("pk")
        found = list(over.select_for_update(of=("self",), no_key=True, skip_locked=True)[:500])
        if found:
            Extract.objects.filter(pk__in=[one.pk for one in found]).update(state=ExtractState.EXPIRED, file=None)
            files.let_go([one.file_id for one in found if one.file_id])
        for one in found:
            trail.record("extract.expired", one)
    return len(found)


def _told(extract: Extract) -> dict[str, Any]:
    """What is said of it in the log: by which fields it was sought, never for what: an address is a personal part."""
    return {
        "format": extract.format,
        "by": sorted(extract.sought),
        "has_details": extract.has_details,
    }
