"""A job's inputs. A picture named by `image_url` is fetched here, by a worker, into the same checks as an upload."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from functools import partial
from typing import IO, Any
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction

from core import http, pictures, storage
from core.errors import Error
from core.ids import new_id
from core.killpoints import reach
from generation import photos
from generation.engine import finish, moves
from generation.engine.scripts import Call
from generation.models import Generation, JobPhoto

log = structlog.get_logger("engine")

FETCH_TIMEOUT_S = 30
READING = "reading "  # and how many times in vain
_TRIES = 3


def script(job: Generation, token: UUID) -> Generator[Call, Any, bool]:
    """Make the inputs ready. Returns False when the job is not to go on now."""
    url = job.params.get("image_url")
    if not url or JobPhoto.objects.filter(generation=job).exists():
        return True
    with tempfile.TemporaryFile() as file:
        try:
            picture = yield partial(_take, url, file)
        except http.FetchFailed as error:
            return _again(job, token, str(error))
        except http.FetchError as error:
            finish.fail(job.pk, code="image_url_refused", where=moves.mine(token), detail=str(error))
            return False
        except Error as error:
            finish.fail(job.pk, code="image_unreadable", where=moves.mine(token), detail=error.message)
            return False
        with picture.jpeg:
            photo = photos.draft(picture, user=job.user, filename=urlsplit(url).path)
            try:
                yield partial(photos.keep_bytes, photo, picture.jpeg)
            except storage.StorageAway:
                moves.put_back(job.pk, token, **storage_away(job))
                return False
            reach("generation.inputs.saved")
            with transaction.atomic():
                if not moves.renew(job.pk, token):
                    return False
                photos.keep(photo)
                JobPhoto.objects.create(id=new_id(), generation=job, photo=photo)
    return True


def storage_away(job: Generation) -> dict[str, Any]:
    """How a job waits whose photo our storage does not give or take: 2, 4, 8 … 60 s, for nobody else could either."""
    tries = 1 + (int(job.step.removeprefix(READING)) if job.step.startswith(READING) else 0)
    log.warning("photo_unreadable", generation=str(job.pk), tries=tries)
    return {"after_s": moves.backoff_s(tries), "step": f"{READING}{tries}"}


def _take(url: str, file: IO[bytes]) -> pictures.Picture:
    http.fetch(url, file, max_bytes=settings.PHOTO_MAX_BYTES, timeout_s=FETCH_TIMEOUT_S)
    return pictures.photo(file)


def _again(job: Generation, token: UUID, detail: str) -> bool:
    """The other side failed: try again a few times, since it may be passing."""
    tries = int(job.step.removeprefix("fetching ") or 0) if job.step.startswith("fetching ") else 0
    if tries + 1 >= _TRIES:
        finish.fail(job.pk, code="image_url_refused", where=moves.mine(token), detail=detail)
    else:
        moves.put_back(job.pk, token, after_s=2 * (tries + 1), step=f"fetching {tries + 1}")
    return False
