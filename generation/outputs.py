"""What jobs made, once it is to go."""

from __future__ import annotations

from django.db.models import QuerySet
from django.db.models.functions import Now

from core import files
from generation.models import Asset


def purge(found: QuerySet[Asset]) -> None:
    """In the transaction that ends their use: let go of the outputs' files. The rows stay.

    Enqueues: core.remove_files
    """
    with_bytes = list(found.filter(purged_at=None).values_list("pk", "file", "thumbnail"))
    Asset.objects.filter(pk__in=[pk for pk, *_ in with_bytes]).update(file=None, thumbnail=None, purged_at=Now())
    files.let_go([file_id for _, *pair in with_bytes for file_id in pair if file_id])
