"""What made things must go: people report them, staff take them down or let them stay, in time."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Now

import audit
from core import files, storage
from core.errors import Conflict, NotFound
from core.ids import new_id
from generation import jobs
from generation.errors import NotFinished
from generation.models import Asset, Generation, Report, ReportStatus, State

log = structlog.get_logger("moderation")


def time_limit() -> timedelta:
    """How long a report may wait for staff."""
    return timedelta(seconds=settings.REMOVAL_WITHIN_S)


def overdue() -> Q:
    """Open reports that have waited too long, by the database's clock."""
    return Q(status=ReportStatus.OPEN, created_at__lte=Now() - time_limit())


def waiting() -> dict[str, int]:
    """What needs a human: open reports, and those of them that are overdue. One query over an index."""
    found: dict[str, int] = Report.objects.filter(status=ReportStatus.OPEN).aggregate(
        open=Count("id"), overdue=Count("id", filter=overdue())
    )
    return found


@audit.writes("report")
def report(*, user: Any, job_id: UUID, reason: str, comment: str = "") -> tuple[Report, bool]:
    """Say that what one's job made must go. Answers the report, and whether it is new.

    Idempotent: one a person and job; the first stands.
    Locks: the job, so that it is not deleted meanwhile.
    Raises: NotFound; NotFinished where there is nothing to report.
    """
    with transaction.atomic():
        visible = Generation.objects.visible_to(user).filter(pk=job_id)
        job = visible.select_for_update(of=("self",), no_key=True).first()
        if job is None:
            raise NotFound
        former = Report.objects.filter(generation=job, user=user).first()
        if former is not None:
            return former, False
        if job.state != State.SUCCEEDED or job.taken_down_at is not None:
            raise NotFinished("There is nothing here to report.", charged=jobs.charged(job))
        made = Report.objects.create(id=new_id(), generation=job, user=user, reason=reason, comment=comment)
        made.refresh_from_db(fields=["created_at"])
        audit.record("report.made", made, user=user, new={"reason": reason}, metadata={"generation": job.pk})
    log.warning("report_made", report=str(made.pk), reason=reason)
    return made, True


@audit.writes("generation")
def take_down(job: Generation, *, actor: Any, reason: str) -> Generation:
    """Remove what a job made, at once and for good; the job and what it cost stay. Its open reports are upheld.

    Idempotent: by the job.
    Locks: the job, then its reports.
    Raises: Conflict for a job that has made nothing.
    Enqueues: core.remove_files
    """
    with transaction.atomic():
        job = Generation.objects.select_for_update(of=("self",), no_key=True).get(pk=job.pk)
        if job.taken_down_at is not None:
            return job
        if job.state != State.SUCCEEDED:
            raise Conflict("This job has made nothing that could be taken down.")
        Generation.objects.filter(pk=job.pk).update(taken_down_at=Now())
        assets = Asset.objects.filter(generation=job, purged_at=None)
        doomed = assets.values_list("file", "file__key", "thumbnail", "thumbnail__key")
        gone = {pair[0]: pair[1] for row in doomed for pair in (row[:2], row[2:]) if pair[0]}
        assets.update(file=None, thumbnail=None, purged_at=Now())
        files.let_go(gone)
        open_reports = Report.objects.filter(generation=job, status=ReportStatus.OPEN)
        upheld = _decide(open_reports, ReportStatus.UPHELD, actor=actor, reason=reason)
        audit.record(
            "generation.taken_down",
            job,
            user=job.user_id,
            actor_id=actor.pk,
            metadata={"reason": reason, "files": len(gone), "reports": upheld},
        )
        transaction.on_commit(partial(_remove_now, list(gone.values())))
    job.refresh_from_db()
    return job


def _remove_now(keys: list[str]) -> None:
    """The links are dead with the bytes. Whatever fails here the sweeper does again."""
    for key in keys:
        try:
            storage.delete(key)
        except Exception:  # each storage has errors of its own
            log.exception("file_not_deleted", key=key)


@audit.writes("report")
def dismiss(found: Report, *, actor: Any, reason: str) -> Report:
    """Let it stay.

    Idempotent: by state.
    Locks: the report.
    Raises: Conflict for one that was upheld.
    """
    with transaction.atomic():
        locked = Report.objects.select_for_update(of=("self",), no_key=True).get(pk=found.pk)
        if locked.status == ReportStatus.DISMISSED:
            return locked
        if not _decide(Report.objects.filter(pk=locked.pk), ReportStatus.DISMISSED, actor=actor, reason=reason):
            raise Conflict("This report was upheld: what it was about is gone.")
        old, new = {"status": ReportStatus.OPEN}, {"status": ReportStatus.DISMISSED}
        audit.record(
            "report.dismissed",
            locked,
            user=locked.user_id,
            actor_id=actor.pk,
            old=old,
            new=new,
            metadata={"reason": reason},
        )
    locked.refresh_from_db()
    return locked


def _decide(found: QuerySet[Report], status: ReportStatus, *, actor: Any, reason: str) -> int:
    still_open = found.filter(status=ReportStatus.OPEN)
    return still_open.update(status=status, decided_at=Now(), decided_by=actor, decision=reason)
