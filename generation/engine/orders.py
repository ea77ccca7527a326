"""What a provider is asked for on behalf of a job."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from core import storage
from generation import prompts, providers
from generation.engine import avatars
from generation.models import Attempt, Generation, JobPhoto, Kind, Outcome
from generation.providers.base import Input, Order, Treatment

MODEL_OUTPUTS = 4


def full(job: Generation) -> Order:
    """The order of the job's stage, under a fresh token. The photos are read from the storage when they are sent."""
    photos = [use.photo for use in JobPhoto.objects.filter(generation=job).select_related("photo__file")]
    inputs = tuple(
        Input(photo.content_type, photo.bytes, partial(storage.open, photo.file.key), photo.camera)
        for photo in photos
        if photo.file
    )
    if job.archive is not None:
        inputs = (Input("application/zip", 0, partial(storage.open, job.archive.key)),)
    order = _order(job, token=_fresh_token(), inputs=inputs, previous=_previous(job))
    if job.avatar_id is None:
        return order
    asked, face = avatars.likeness(job)
    return replace(order, params={**order.params, **asked}, inputs=face + order.inputs)


def is_last_stage(job: Generation) -> bool:
    """Whether the stage that the job is in makes what was ordered."""
    return job.stage >= stages(job)


def stages(job: Generation) -> int:
    """How many orders, one after the other, make what was ordered. No query."""
    return providers.get(job.provider).stages(_order(job))


def treatment(job: Generation) -> Treatment:
    """What is done to the job's outputs before they are stored. No query."""
    return providers.get(job.provider).treatment(_order(job))


def outputs(job: Generation) -> int:
    """How many outputs were ordered. A model comes in a zip and in each format."""
    return MODEL_OUTPUTS if job.kind == Kind.MODEL3D else int(job.params.get("count") or 1)


def _order(job: Generation, **more: Any) -> Order:
    params = job.params
    if "optimized_prompt" in job.data:
        params = params | {"optimized_prompt": job.data["optimized_prompt"]}
    params = prompts.dressed(job.kind, params, job.data.get("wearing", ""))
    asked: dict[str, Any] = {"token": "", **more}
    return Order(kind=job.kind, model=job.model, params=params, stage=job.stage, operation=job.operation, **asked)


def _previous(job: Generation) -> str:
    """The provider's address of what the stage before made."""
    if job.stage == 1:
        return ""
    before = Attempt.objects.filter(generation=job, round=job.round, stage=job.stage - 1, outcome=Outcome.SUCCEEDED)
    return str(before.get().made["outputs"][0])


def _fresh_token() -> str:
    token: str = Attempt._meta.get_field("token").get_default()
    return token
