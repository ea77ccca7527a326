"""One box for everything that support has in hand: an address, a name, any id of ours, of a gateway or a provider.

Each kind of thing is looked up by its own index, and only where the person asking may look at such things.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.db.models import F, Q, QuerySet, TextField, Value
from django.db.models.functions import Cast, Lower
from django.http import HttpRequest
from django.urls import reverse

from accounts.emails import fold
from accounts.models import User
from audit.models import AuditLog
from billing import gateways
from billing.models import (
    Dispute,
    GatewayCustomer,
    Hold,
    LedgerTransaction,
    Payment,
    PaymentAttempt,
    PaymentStart,
    Refund,
    Subscription,
    SubscriptionInvoice,
)  # fmt: skip
from core.models import UUIDModel
from generation.models import Attempt
from notifications.models import Mail

LISTED = 20  # of each kind: whoever has more in hand types more
MOST_CHARACTERS = 254


@dataclass(frozen=True, slots=True)
class Hit:
    kind: str
    title: str
    url: str


Kind = tuple[Any, QuerySet[Any, Any]]  # whose page it leads to, and the rows in the shape that all kinds share


def find(request: HttpRequest, text: str) -> list[Hit]:
    """What the text may mean, the surest first. Two queries at most."""
    text = text.strip()[:MOST_CHARACTERS]
    if not text or "\0" in text:
        return []
    return _hits(request, [*(_by_uuid(text) or _by_reference(text))]) or _hits(request, [*_by_name(text)])


def _hits(request: HttpRequest, kinds: list[Kind]) -> list[Hit]:
    """Of what the person asking may look at, by one query."""
    seen = [rows for model, rows in kinds if admin.site.get_model_admin(model).has_view_permission(request)]
    if not seen:
        return []
    first, *others = seen
    rows = first.union(*others, all=True) if others else first
    return list(dict.fromkeys(_hit(*row) for row in rows))


def _hit(label: str, key: str, title: str) -> Hit:
    options = apps.get_model(label)._meta
    kind = str(options.verbose_name).capitalize()
    if label == User._meta.label_lower:
        return Hit("Person", title, reverse("console-customer", args=[key]))
    if label == AuditLog._meta.label_lower:
        page = reverse("admin:audit_auditlog_changelist")
        return Hit("Audit log", f"What the request {key} did", f"{page}?request={key}")
    return Hit(kind, title, reverse(f"admin:{options.app_label}_{options.model_name}_change", args=[key]))


def _by_uuid(text: str) -> list[Kind]:
    """Each thing of ours has one of its own, and so has each request."""
    try:
        uuid = UUID(text)
    except ValueError:
        return []
    ours: list[Any] = [
        model for model in apps.get_models() if issubclass(model, UUIDModel) and admin.site.is_registered(model)
    ]
    titles = {User: "email", Payment: "title", Mail: "name"}
    return [
        *(
            _kind(model.objects.filter(pk=uuid), F(titles[model]) if model in titles else Value(str(uuid)))
            for model in ours
        ),
        _by_request(uuid.hex),
        _by_request(str(uuid)),
    ]


def _by_reference(text: str) -> list[Kind]:
    """Addresses, the ids that others gave, and keys of ours that are no UUIDs."""
    if "@" in text:
        return [_kind(User.objects.filter(email=_folded(text)), F("email")), _by_cause(text)]
    of_gateway = {"gateway__in": gateways.names(), "ref": text}  # all of them: their unique index begins with it
    of_provider = {"provider__in": list(settings.PROVIDER_RATES), "provider_job_id": text}
    return [
        _kind(PaymentStart.objects.filter(**of_gateway), F("payment__title"), of="payment"),
        _kind(PaymentStart.objects.filter(reference=text), F("payment__title"), of="payment"),
        _kind(PaymentAttempt.objects.filter(**of_gateway), F("payment__title"), of="payment"),
        _kind(Refund.objects.filter(**of_gateway), F("ref")),
        _kind(Dispute.objects.filter(**of_gateway), F("ref")),
        _kind(GatewayCustomer.objects.filter(**of_gateway), F("user__email"), of="user"),
        _kind(Subscription.objects.filter(ref=text), F("ref")),
        _kind(SubscriptionInvoice.objects.filter(ref=text), F("ref")),
        _kind(Attempt.objects.filter(**of_provider), F("provider_job_id"), of="generation"),
        _kind(Attempt.objects.filter(token=text), F("token"), of="generation"),
        _kind(LedgerTransaction.objects.filter(key=text), F("key")),
        _kind(Hold.objects.filter(key=text), F("key")),
        _by_cause(text),
        _by_request(text),
    ]


def _by_cause(text: str) -> Kind:
    return _kind(Mail.objects.filter(cause=text), F("name"))


def _by_request(request_id: str) -> Kind:
    """One hit for all that the request did."""
    return _kind(AuditLog.objects.filter(request_id=request_id)[:1], F("action"), of="request_id")


def _by_name(text: str) -> list[Kind]:
    """People by the beginning of their address or of a name; `ada love` begins both names."""
    words = text.casefold().split()
    if not words:
        return []
    first = Q(first__startswith=words[0])
    either = (
        [first & Q(last__startswith=words[-1])]
        if len(words) > 1
        else [first, Q(last__startswith=words[0]), Q(email__startswith=words[0])]
    )  # each by its own index
    people = User.objects.annotate(first=Lower("first_name"), last=Lower("last_name"))
    return [_kind(people.filter(one), F("email")) for one in either]


def _folded(text: str) -> str:
    try:
        return fold(text)
    except ValueError:
        return text


def _kind(found: QuerySet[Any], title: Any, of: str = "pk") -> Kind:
    """Rows as (model, key, title); `of` names the relation whose page is meant instead of their own."""
    relation = None if of == "pk" else found.model._meta.get_field(of).related_model
    model = relation or found.model
    shape = {
        "hit_model": Value(model._meta.label_lower, TextField()),
        "hit_key": Cast(f"{of}_id" if relation else of, TextField()),
        "hit_title": Cast(title, TextField()),
    }
    rows = found if found.query.is_sliced else found.order_by()[:LISTED]
    return model, rows.annotate(**shape).values_list(*shape)
