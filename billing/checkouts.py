"""How an open payment is paid: what the client's library needs, and the page for those who have none."""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from django.conf import settings
from django.core import signing
from django.db.models import QuerySet

from billing.gateways import GATEWAYS
from billing.gateways.base import StartFact
from billing.models import Payment, PaymentStart
from billing.models.payments import Flow

_SALT = "billing.checkouts"
PAGE_GOOD_FOR_S = 7 * 86_400  # the money may be late; after that the page has nothing to tell


def payments_of(user: Any) -> QuerySet[Payment]:
    """A person's payments, newest first, with what `client_of` and `url_of` look at."""
    return Payment.objects.visible_to(user).prefetch_related("starts").order_by("-created_at", "-id")


def payment(payment_id: uuid.UUID) -> Payment:
    """One payment as it is now, the same way."""
    return Payment.objects.prefetch_related("starts").get(pk=payment_id)


def start_of(row: Payment) -> PaymentStart | None:
    """The start that can be paid now, if the payment is open and its gateway has answered."""
    if not row.is_open or row.gateway not in GATEWAYS:
        return None
    known = [begun for begun in row.starts.all() if begun.ref]
    return max(known, key=lambda begun: begun.n, default=None)


def fact_of(begun: PaymentStart) -> StartFact:
    """What the gateway told of a start when it was opened."""
    return StartFact(begun.ref or "", begun.reference, begun.amount, begun.currency, begun.url, begun.secret)


def client_of(row: Payment) -> dict[str, Any] | None:
    """What the gateway's front-end library needs, while the payment can be paid."""
    begun = start_of(row)
    if begun is None or begun.ref is None:
        return None
    return GATEWAYS[row.gateway].client(fact_of(begun)) or None


def url_of(row: Payment) -> str | None:
    """Where a browser pays; never null in hosted flow, for our own page also tells how a payment has ended."""
    if row.flow != Flow.HOSTED:
        return None
    begun = start_of(row)
    if begun is None or begun.ref is None:
        return page_url(row.pk)
    return GATEWAYS[row.gateway].checkout_url(
        fact_of(begun),
        page_url=page_url(row.pk),
        return_url=done_url(row.pk) if row.return_url else "",
    )


def page_url(payment_id: uuid.UUID) -> str:
    return f"{settings.PUBLIC_URL}/pay/{signing.dumps(str(payment_id), salt=_SALT)}"


def done_url(payment_id: uuid.UUID) -> str:
    return f"{page_url(payment_id)}/done"


def payment_at(signed: str) -> Payment | None:
    """The payment that one of our page links names; None for a forged or an old one."""
    try:
        named = signing.loads(signed, salt=_SALT, max_age=PAGE_GOOD_FOR_S)
    except signing.BadSignature:
        return None
    return Payment.objects.prefetch_related("starts").filter(pk=named).first()


def return_url_of(row: Payment) -> str:
    """The client's own address with `?payment=<id>` added to its query; empty where it gave none."""
    if not row.return_url:
        return ""
    parts = urlsplit(row.return_url)
    query = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] != "payment"]
    return urlunsplit(parts._replace(query=urlencode([*query, ("payment", str(row.pk))])))
