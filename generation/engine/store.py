"""Bringing the outputs home: fetched safely, decoded to the last byte, stored under keys of this try alone."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Generator
from contextlib import ExitStack
from functools import partial
from typing import IO, Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db.models import F

from core import clock, files, http, storage, videos
from core.killpoints import reach
from core.models import StoredObject
from generation import keys, providers
from generation.engine import finish, moves, orders
from generation.engine.finish import Output
from generation.engine.proof import BadOutput, Proved, prove
from generation.engine.scripts import Call, Script
from generation.models import Attempt, Generation
from generation.providers.base import ProviderError, Seen

log = structlog.get_logger("engine")

FETCH_TIMEOUT_S = 60
_TRIES = 3


class StorageFailed(Exception):
    """Our own storage did not take the bytes."""


def script(job: Generation, token: UUID, seen: Seen | None = None) -> Script:
    """Store the outputs of a finished job that we hold under `token`, in state `storing`, and settle it.

    What a synchronous provider made is in the attempt; any other is asked again, unless it was just `seen`: its links
    are short-lived and never kept.
    """
    attempt = job.attempt
    if attempt is None or not (attempt.made or attempt.provider_job_id):
        raise AssertionError(f"storing job {job.pk} has nothing to store")
    reach("generation.store.claimed")
    if attempt.made:
        seen = Seen("succeeded", outputs=tuple(attempt.made["outputs"]))
    try:
        if seen is None:
            seen = yield partial(providers.get(attempt.provider).poll, str(attempt.provider_job_id))
        wanted = orders.outputs(job)
        if seen.status != "succeeded" or len(seen.outputs) < wanted:
            raise BadOutput(f"the provider says {seen.status} with {len(seen.outputs)} of {wanted} outputs")
        outputs = []
        for n, url in enumerate(seen.outputs[:wanted], start=1):
            if not moves.renew(job.pk, token):
                return
            number = n if wanted > 1 else None
            outputs.append((yield from _bring_home(job, attempt, token, number, url)))
    except http.FetchTooLarge as error:
        finish.fail(job.pk, code="output_too_large", where=moves.mine(token), detail=str(error))
    except (BadOutput, http.FetchRefused) as error:
        _bad(job, token, attempt, str(error))
    except (ProviderError, http.FetchFailed, StorageFailed, videos.TookTooLong) as error:
        # The network, the provider, our storage, a busy machine: it may pass, and the deadline bounds it.
        log.warning("store_failed", generation=str(job.pk), error=str(error), kind=type(error).__name__)
        moves.put_back(job.pk, token, after_s=settings.GENERATION_POLL_MIN_S)
    else:
        if moves.renew(job.pk, token):
            reach("generation.store.saved")
            finish.succeed(job.pk, token=token, outputs=outputs, data=attempt.made.get("data"))


def _bring_home(
    job: Generation, attempt: Attempt, token: UUID, number: int | None, url: str
) -> Generator[Call, Any, Output]:
    with ExitStack() as kept:
        file = kept.enter_context(tempfile.TemporaryFile())
        proved = yield partial(_take, job, attempt, url, file)
        kept.enter_context(proved.file)
        picture = kept.enter_context(proved.thumbnail) if proved.thumbnail else None
        reach("generation.store.fetched")
        ending = files.extension(proved.content_type)
        key = keys.output(job, token=token, at=clock.now(), ending=ending, n=number)
        whole, *rest = files.intend([key, keys.thumbnail(key)] if picture else [key])
        reach("generation.store.intended")
        yield partial(_save, whole, proved.file, proved.content_type)
        thumbnail = rest[0] if rest else None
        if thumbnail and picture:
            yield partial(_save, thumbnail, picture, "image/jpeg")
        return Output(
            file=whole,
            thumbnail=thumbnail,
            content_type=proved.content_type,
            bytes=proved.bytes,
            sha256=proved.sha256,
            width=proved.width,
            height=proved.height,
            duration_s=proved.duration_s,
        )


def _take(job: Generation, attempt: Attempt, url: str, file: IO[bytes]) -> Proved:
    """Fetch, prove and treat one output.

    Raises: http.FetchError, BadOutput.
    """
    limit: int = settings.OUTPUT_MAX_BYTES[job.kind]
    if url.startswith("data:"):
        _unpack(url, file, max_bytes=limit)
    else:
        providers.get(attempt.provider).fetch(url, file, max_bytes=limit, timeout_s=FETCH_TIMEOUT_S)
    return prove(job.kind, file, orders.treatment(job))


def _unpack(url: str, file: IO[bytes], *, max_bytes: int) -> None:
    """Write down what a data: URL holds.

    Raises: BadOutput, http.FetchTooLarge.
    """
    head, _, body = url.partition(",")
    if not head.endswith(";base64"):
        raise BadOutput("its data: URL is not base64")
    if len(body) // 4 * 3 > max_bytes + 2:
        raise http.FetchTooLarge(f"The file is larger than {max_bytes} bytes.")
    try:
        file.write(base64.b64decode(body, validate=True))
    except ValueError as error:
        raise BadOutput("its data: URL is not base64") from error


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
