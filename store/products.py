"""What staff put on the shelf: each change is on record, and the public list is made anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils.module_loading import import_string

import audit
from core import public
from core.errors import Invalid, NotFound, detail
from store import stock
from store.errors import StockReserved
from store.models import OrderLine, Product

FIELDS = ("name", "description", "category", "amount", "currency", "image_url", "model", "stock", "is_active")


@audit.writes("product")
def create(*, values: Mapping[str, Any], actor: Any) -> Product:
    """Put a new product on the shelf."""
    with transaction.atomic():
        made = Product(**values)
        return save(made, changed=list(values), actor=actor)


@audit.writes("product")
def change(*, product_id: UUID, values: Mapping[str, Any], actor: Any) -> Product:
    """Change what is named. Orders that were placed keep their names and prices.

    Locks: as `save`. Raises: NotFound, and as `save`.
    """
    with transaction.atomic():
        found = stock.lock([product_id]).get(product_id)
        if found is None:
            raise NotFound
        for name, value in values.items():
            setattr(found, name, value)
        return save(found, changed=list(values), actor=actor)


@audit.writes("product")
def save(row: Product, *, changed: Sequence[str], actor: Any) -> Product:
    """Keep a new or an edited product, with what it was and what it is. What is reserved is never staff's to write.

    Locks: the product, then the job of a new 3D model. Raises: StockReserved, Invalid for a model as `model_file`.
    """
    with transaction.atomic():
        before = stock.lock([row.pk]).get(row.pk)
        if before is not None and row.stock < before.reserved:
            raise StockReserved(f"{before.reserved} of these are reserved for orders that have not been shipped.")
        names = [name for name in FIELDS if name in changed]
        if before is None or row.model != before.model:
            row.model_file_id = model_file(actor, row.model)
        if before is None:
            row.save(force_insert=True)
        elif names:
            row.save(update_fields=[*names, *(["model_file"] if "model" in names else []), "updated_at"])
        public.changed("products")
        audit.record(
            "product.updated" if before else "product.created",
            row,
            old={name: getattr(before, name) for name in names} if before else None,
            new={name: getattr(row, name) for name in names},
            actor_id=actor.pk,
        )
    row.refresh_from_db()
    return row


def model_file(actor: Any, job_id: UUID | None) -> UUID | None:
    """The stored GLB of a 3D job of who puts it on the shelf; from now on, if in a transaction, it stays till the end.

    Locks: the job.
    Raises: Invalid for somebody else's job, or one that has no such file.
    """
    if job_id is None:
        return None
    found: UUID | None = import_string(settings.STORE_MODELS)(user=actor, job_id=job_id)
    if found is None:
        message = "Name a finished 3D job of your own whose model is still there."
        raise Invalid(details=[detail("unknown_model", message, "model")])
    return found


@audit.writes("product")
def remove(*, product_id: UUID, actor: Any) -> None:
    """Take a product off the shelf: for good, or out of sight if it was ever ordered.

    Idempotent: by state. Locks: the product, as whoever orders it does. Raises: NotFound.
    """
    with transaction.atomic():
        found = stock.lock([product_id]).get(product_id)
        if found is None:
            raise NotFound
        public.changed("products")
        if not OrderLine.objects.filter(product=found).exists():
            audit.record("product.deleted", found, old={"name": found.name}, actor_id=actor.pk)
            found.delete()
        elif found.is_active:
            found.is_active = False
            found.save(update_fields=["is_active", "updated_at"])
            audit.record("product.hidden", found, new={"is_active": False}, actor_id=actor.pk)
