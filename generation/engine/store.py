"""Bringing the outputs home: fetched safely, decoded to the last byte, stored under keys of this try alone."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import ExitStack
from functools import partial
from typing import IO, Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db.models import F

from core import clock, files, http, pictures, storage
from core.errors import Error
from core.killpoints import reach
from core.models import StoredObject
from generation import keys, providers
from generation.engine import finish, moves
from generation.engine.finish import Output
from generation.engine.scripts import Call, Script
from generation.models import Attempt, Generation, Kind
from generation.providers.base import ProviderError, Seen

log = structlog.get_logger("engine")

FETCH_TIMEOUT_S = 60
_TRIES = 3

# What a kind's outputs may be. The provider's word and the file's name say nothing; the decoder does.
_PICTURES = ("image/png", "image/jpeg", "image/webp")
CONTENT_TYPES: dict[str, tuple[str, ...]] = {
    Kind.HEADSHOT: _PICTURES,
    Kind.IMAGE: _PICTURES,
    Kind.AVATAR: _PICTURES,
}


class BadOutput(Exception):
    """What came is not what a job of this kind makes."""


class StorageFailed(Exception):
    """Our own storage did not take the bytes."""


def script(job: Generation, token: UUID, seen: Seen | None = None) -> Script:
    """Store the outputs of a finished job that we hold under `token`, in state `storing`, and settle it.

    Without `seen` the provider is asked again: its links are short-lived and never kept.
    """
    attempt = job.attempt
    if attempt is None or attempt.provider_job_id is None:
        raise AssertionError(f"storing job {job.pk} has no provider id")
    reach("generation.store.claimed")
    try:
        if seen is None:
            seen = yield partial(providers.get(attempt.provider).poll, attempt.provider_job_id)
        if seen.status != "succeeded" or not seen.outputs:
            raise BadOutput(f"the provider says {seen.status} with {len(seen.outputs)} outputs")
        outputs = []
        for n, url in enumerate(seen.outputs, start=1):
            if not moves.renew(job.pk, token):
                return
            number = n if len(seen.outputs) > 1 else None
            outputs.append((yield from _bring_home(job, attempt, token, number, url)))
    except http.FetchTooLarge as error:
        finish.fail(job.pk, code="output_too_large", where=moves.mine(token), detail=str(error))
    except (BadOutput, http.FetchRefused) as error:
        _bad(job, token, attempt, str(error))
    except (ProviderError, http.FetchFailed, StorageFailed) as error:
        # The network, the provider or our storage: it may pass, and the deadline bounds it.
        log.warning("store_failed", generation=str(job.pk), error=str(error), kind=type(error).__name__)
        moves.put_back(job.pk, token, after_s=settings.GENERATION_POLL_MIN_S)
    else:
        if moves.renew(job.pk, token):
            reach("generation.store.saved")
            finish.succeed(job.pk, token=token, outputs=outputs)


def _bring_home(
    job: Generation, attempt: Attempt, token: UUID, number: int | None, url: str
) -> Generator[Call, Any, Output]:
    with ExitStack() as kept:
        file = kept.enter_context(tempfile.TemporaryFile())
        fetched, picture = yield partial(_take, job, attempt, url, file)
        kept.enter_context(picture.jpeg)
        reach("generation.store.fetched")
        ending = files.extension(picture.content_type)
        key = keys.output(job, token=token, at=clock.now(), ending=ending, n=number)
        whole, thumbnail = files.intend([key, keys.thumbnail(key)])
        reach("generation.store.intended")
        yield partial(_save, whole, file, picture.content_type)
        yield partial(_save, thumbnail, picture.jpeg, "image/jpeg")
        return Output(
            file=whole,
            thumbnail=thumbnail,
            content_type=picture.content_type,
            bytes=fetched.bytes,
            sha256=fetched.sha256,
            width=picture.original_width,
            height=picture.original_height,
        )


def _take(job: Generation, attempt: Attempt, url: str, file: IO[bytes]) -> tuple[http.Fetched, pictures.Picture]:
    """Fetch and prove one output.

    Raises: http.FetchError, BadOutput.
    """
    fetched = http.fetch(
        url,
        file,
        max_bytes=settings.OUTPUT_MAX_BYTES[job.kind],
        timeout_s=FETCH_TIMEOUT_S,
        trusted_origin=providers.get(attempt.provider).base_url,
    )
    try:
        picture = pictures.inspect(file)
    except Error as error:
        raise BadOutput(error.message) from error
    if picture.content_type not in CONTENT_TYPES.get(job.kind, ()):
        picture.jpeg.close()
        raise BadOutput(f"it is {picture.content_type}")
    return fetched, picture


def _save(target: StoredObject, file: IO[bytes], content_type: str) -> None:
    file.seek(0)
    try:
        storage.save(target.key, file, content_type)
    except Exception as error:  # each storage has errors of its own
        raise StorageFailed(f"{type(error).__name__}: {error}") from error


def _bad(job: Generation, token: UUID, attempt: Attempt, detail: str) -> None:
    """Unusable, which a broken transfer can also look like: fetch it afresh a few times before giving up."""
    tries = attempt.store_tries + 1
    Attempt.objects.filter(pk=attempt.pk).update(store_tries=F("store_tries") + 1, error_message=detail[:300])
    log.warning("output_bad", generation=str(job.pk), tries=tries, error=detail)
    if tries >= _TRIES:
        finish.fail(job.pk, code="bad_output", where=moves.mine(token), detail=detail)
    else:
        moves.put_back(job.pk, token, after_s=settings.GENERATION_POLL_MIN_S)
