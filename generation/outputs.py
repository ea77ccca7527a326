"""What jobs made: once it is to go, or to be shown by others."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.db.models.functions import Now

from core import files
from generation.models import Asset, Generation, Kind, State


def purge(found: QuerySet[Asset]) -> None:
    """In the transaction that ends their use: let go of the outputs' files. The rows stay.

    Enqueues: core.remove_files
    """
    with_bytes = list(found.filter(purged_at=None).values_list("pk", "file", "thumbnail"))
    Asset.objects.filter(pk__in=[pk for pk, *_ in with_bytes]).update(file=None, thumbnail=None, purged_at=Now())
    files.let_go([file_id for _, *pair in with_bytes for file_id in pair if file_id])


def model_file(*, user: Any, job_id: UUID) -> UUID | None:
    """The stored GLB that a person's 3D job made, if it is still there (settings.STORE_MODELS).

    Locks: the job, so that it is not deleted or taken down while something begins to refer to the file.
    """
    jobs = Generation.objects.visible_to(user).filter(
        pk=job_id, kind=Kind.MODEL3D, state=State.SUCCEEDED, taken_down_at=None
    )
    job = jobs.select_for_update(of=("self",), no_key=True).first()
    made = Asset.objects.filter(generation=job, content_type="model/gltf-binary", purged_at=None)
    return made.values_list("file_id", flat=True).first() if job else None
