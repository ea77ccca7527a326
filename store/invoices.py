"""The invoice of a paid order, as a page. The link is signed: whoever holds it may read this invoice, nothing else."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.core import signing

from core.money import display
from store.models import Order

_SALT = "store.invoices"
GOOD_FOR_S = 90 * 86_400  # it stands in mails; who lost it reads the order again


def path_to(order_id: UUID | str) -> str:
    """The page's address on our host."""
    return f"/invoices/{signing.dumps(str(order_id), salt=_SALT)}"


def url_of(order: Order) -> str | None:
    """A fresh link, once there is something to invoice."""
    return f"{settings.PUBLIC_URL}{path_to(order.pk)}" if order.payment_id else None


def at(signed: str) -> dict[str, Any] | None:
    """What the page shows; None for a forged or an old link, an unpaid order, or one whose buyer was erased."""
    try:
        named = signing.loads(signed, salt=_SALT, max_age=GOOD_FOR_S)
    except signing.BadSignature:
        return None
    paid = Order.objects.filter(pk=named, payment__isnull=False).select_related("payment").prefetch_related("lines")
    order = paid.first()
    if order is None or not order.address or order.payment is None:
        return None
    refunded = order.payment.refunded
    return {
        "order": order,
        "payment": order.payment,
        "lines": [
            {
                "name": line.name,
                "quantity": line.quantity,
                "each": display(line.amount, order.currency),
                "total": display(line.total, order.currency),
            }
            for line in order.lines.all()
        ],
        "total": display(order.amount, order.currency),
        "refunded": display(refunded, order.currency) if refunded else "",
    }
