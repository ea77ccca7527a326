"""Telling people of their orders: mails, and what an export holds (settings.ACCOUNT_EXPORT)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.db.models import F
from django.utils.translation import gettext_noop

from accounts.exports import Part, Rows
from core.money import display
from notifications import outbox
from notifications.models import Mail
from store import invoices
from store.models import Because, Order, OrderLine

_REASONS = {
    Because.BUYER: gettext_noop("You canceled it."),
    Because.STAFF: gettext_noop("We had to cancel it."),
    Because.UNPAID: gettext_noop("It was not paid in time."),
    Because.ERASED: gettext_noop("Your account is being deleted."),
}
_ORDER = (
    "id", "created_at", "state", "amount", "currency", "address", "payment", "tracking", "because", "confirmed_at",
    "shipped_at", "delivered_at", "canceled_at",
)  # fmt: skip


def confirmed(order: Order) -> None:
    """Idempotent: one mail for each payment that confirmed it. Enqueues: order-confirmed"""
    _write("order-confirmed", order, f"order:{order.pk}:confirmed", amount=_amount(order))


def shipped(order: Order) -> None:
    """Idempotent: by order. Enqueues: order-shipped"""
    _write("order-shipped", order, f"order:{order.pk}:shipped", tracking=order.tracking)


def canceled(order: Order, *, refunded: str) -> None:
    """Idempotent: by order and reason. Enqueues: order-canceled"""
    because = Because(order.because)
    cause = f"order:{order.pk}:canceled:{because}"
    _write("order-canceled", order, cause, amount=_amount(order), reason=_REASONS[because], refunded=refunded)


def _write(name: str, order: Order, cause: str, **more: str) -> None:
    shown = {"order_id": str(order.pk), "items": ", ".join(map(str, order.lines.all()))}
    outbox.enqueue(name, user=order.user, cause=cause, context=shown | more)


def _amount(order: Order) -> str:
    return display(order.amount, order.currency)


def mail_secrets(mail: Mail) -> dict[str, str]:
    """The link to the invoice exists only while the mail is rendered (settings.MAIL_SECRETS)."""
    return {"invoice_link": f"{settings.PUBLIC_URL}{invoices.path_to(mail.context['order_id'])}"}


def export(*, user: Any) -> Iterator[Part]:
    """Orders and their lines."""
    mine = Order.objects.visible_to(user).order_by("created_at")
    yield Rows("orders", mine.values(*_ORDER).iterator())
    lines = OrderLine.objects.filter(order__user=user).order_by("order_id", "position")
    shown = ("product", "name", "quantity", "amount")
    yield Rows("order_lines", lines.values(*shown, of_order=F("order_id")).iterator())
