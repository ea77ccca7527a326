"""What generation does when a person is erased: jobs end, and pictures, avatars, words and files go."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Coalesce, Now

import audit
from generation import jobs, photos, uploads
from generation.engine import finish
from generation.models import Attempt, Avatar, Generation, Photo


@audit.writes("generation")
def erase(*, user: Any) -> list[str]:
    """Cancel what runs, delete what ended (settings.ACCOUNT_ERASED). Answers what is still open.

    A job whose output is being stored ends by itself and is deleted by the next call. What people pay for cancelling
    started jobs, a limit a day, does not hold them here.
    Idempotent: by state.
    Locks: one job or photo a transaction, as `jobs.delete` and `photos.delete`.
    """
    for job_id in list(Generation.objects.open().filter(user=user).values_list("pk", flat=True)):
        finish.cancel(job_id, where=Q())
    _forget_avatars(user)
    ended = Generation.objects.visible_to(user).filter(finished_at__isnull=False)
    for job_id in list(ended.values_list("pk", flat=True)):
        jobs.delete(user=user, job_id=job_id)
    for photo_id in list(Photo.objects.visible_to(user).values_list("pk", flat=True)):
        photos.delete(user=user, photo_id=photo_id)
    uploads.forget(user=user)
    _forget_words(user)
    return ["jobs"] if Generation.objects.open().filter(user=user).exists() else []


def _forget_avatars(user: Any) -> None:
    """Who they invented. That there was an avatar stays, for the job that made it."""
    nothing: dict[str, Any] = {"name": "", "description": "", "style": "", "profile": {}, "thumbnail": None}
    with transaction.atomic():
        known = Avatar.objects.filter(user=user).exclude(**nothing)
        forgotten = known.update(**nothing, deleted_at=Coalesce("deleted_at", Now()))
        if forgotten:
            audit.record("avatar.erased", ("user", user.pk), user=user, metadata={"avatars": forgotten})


def _forget_words(user: Any) -> None:
    """What they typed, and what we told providers of it. What a job was and cost stays: it is in the books."""
    with transaction.atomic():
        closed = Generation.objects.filter(user=user, finished_at__isnull=False, deleted_at__isnull=False)
        words = closed.exclude(params={}, data={}).update(params={}, data={})
        Attempt.objects.filter(generation__in=closed).exclude(request={}, answer={}).update(request={}, answer={})
        named = Photo.objects.filter(user=user, deleted_at__lte=Now()).exclude(filename="")
        named.update(filename="", title="", description="", camera_make="", camera_model="", focal_length_mm=None)
        if words:
            audit.record("generation.words_erased", ("user", user.pk), user=user, metadata={"jobs": words})
