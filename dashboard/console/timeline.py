"""What happened to one person, newest first, each kind read off an index of its own and only as far as a page goes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.db.models import BigIntegerField, F, OuterRef, Q, QuerySet, Subquery, TextField, Value
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, Coalesce, Concat, Left, Now, NullIf
from django.http import HttpRequest
from django.urls import reverse
from django.utils.dateparse import parse_datetime

from accounts.models import Session, User
from audit.models import AuditLog
from billing.models import Dispute, LedgerEntry, LedgerTransaction, Payment, Refund, Subscription, Wallet
from calls import terms
from calls.models import Call
from core import storage
from core.ids import highest_id
from core.money import CREDIT, display
from generation.models import Asset, Generation
from notifications.models import Mail
from store.models import Order

SHOWN = 30
# A wallet's entries are numbered under its lock, and a transaction's id may be of a moment earlier, or of another
# clock: those who waited at once change places.
OUT_OF_ORDER = 100
GRACE = timedelta(minutes=10)
Cursor = tuple[datetime, str]


@dataclass(frozen=True, slots=True)
class Event:
    """A line of the timeline."""

    at: datetime
    key: str
    label: str
    title: str
    state: str
    about: str
    amount: str
    icon: str
    url: str
    picture: str

    @property
    def cursor(self) -> str:
        return f"{self.at.isoformat()}~{self.key}"


@dataclass(frozen=True, slots=True)
class Source:
    """One kind of thing that happens, and how it is told. Its page is that of `model`, by `key`."""

    model: Any
    rows: QuerySet[Any]
    icon: str
    title: Any
    state: Any = ""
    about: Any = ""
    amount: str | None = None
    unit: Any = ""
    at: Any = "created_at"
    key: str = "pk"

    def newest(self, before: Cursor | None) -> QuerySet[Any, Any]:
        """As many as a page could want of it, in the shape that all share."""
        shape = {
            "event_at": F(self.at) if isinstance(self.at, str) else self.at,
            "event_key": _text(F(self.key)),
            "event_label": _text(self.model._meta.label_lower),
            "event_icon": _text(self.icon),
            "event_title": _text(self.title),
            "event_state": _text(self.state),
            "event_about": Left(_text(self.about), 200),
            "event_amount": Cast(F(self.amount) if self.amount else Value(None), BigIntegerField()),
            "event_unit": _text(self.unit),
        }
        rows = self.rows.annotate(**shape)
        if before is not None:
            at, key = before
            # The first half is what an index can answer.
            rows = rows.filter(Q(event_at__lte=at) & (Q(event_at__lt=at) | Q(event_key__lt=key)))
        found: QuerySet[Any, Any] = rows.order_by("-event_at", "-event_key").values(*shape)[: SHOWN + 1]
        return found


def _text(what: Any) -> Any:
    return Value(what, TextField()) if isinstance(what, str) else Cast(what, TextField())


def events(request: HttpRequest, person: User, before: Cursor | None = None) -> list[Event]:
    """The newest, or those before one of them: one more than a page shows, if there are more. Two queries."""
    seen = [
        source.newest(before)
        for source in (*_money(person, before), *_made(person), *_others(person))
        if admin.site.get_model_admin(source.model).has_view_permission(request)
    ]
    if not seen:
        return []
    first, *others = seen
    rows = list(first.union(*others, all=True).order_by("-event_at", "-event_key")[: SHOWN + 1])
    jobs = [row["event_key"] for row in rows if row["event_label"] == Generation._meta.label_lower]
    pictures = _pictures(jobs)
    return [_event(row, pictures) for row in rows]


def cursor(text: str) -> Cursor | None:
    """The event before which to go on; what is none begins anew."""
    moment, _, key = text.partition("~")
    try:
        at = parse_datetime(moment)
    except ValueError:
        return None
    return (at, key) if at is not None and at.tzinfo and "\0" not in key else None


def _money(person: User, before: Cursor | None) -> list[Source]:
    payments = Payment.objects.filter(user=person)
    amount: dict[str, Any] = {"amount": "amount", "unit": F("currency")}
    # Gathered by the person's payments, then sorted: walking everybody's backwards for one person's would not end.
    of_theirs: dict[str, Any] = {"state": F("state"), "at": Coalesce("created_at", Now()), **amount}
    return [
        Source(
            Payment,
            payments,
            "payments",
            F("title"),
            F("state"),
            Concat("gateway", Value(" "), "failure_message"),
            **amount,
        ),
        Source(
            Refund,
            Refund.objects.filter(payment__user=person),
            "undo",
            "Refund",
            about=F("reason"),
            **of_theirs,
        ),
        Source(
            Dispute,
            Dispute.objects.filter(payment__user=person),
            "gavel",
            "Dispute",
            about=F("reason_code"),
            **of_theirs,
        ),
        Source(
            Subscription,
            Subscription.objects.filter(user=person),
            "autorenew",
            Concat(Value("Subscription "), "plan__name"),
            F("state"),
        ),
        Source(
            LedgerTransaction,
            _entries(person, before),
            "toll",
            Concat("wallet__kind", Value(": "), "transaction__kind"),
            about=F("transaction__key"),
            amount="amount",
            unit=F("wallet__unit"),
            at="transaction__created_at",
            key="transaction_id",
        ),
    ]


def _entries(person: User, before: Cursor | None) -> QuerySet[LedgerEntry]:
    """Those that a page may show: the last numbered of what was born until then."""
    rows = LedgerEntry.objects.filter(wallet__in=Wallet.objects.filter(user=person).values("pk"))
    if before is not None:
        rows = rows.filter(transaction_id__lte=highest_id(before[0] + GRACE))
    return LedgerEntry.objects.filter(pk__in=rows.order_by("-id").values("pk")[: SHOWN + 1 + OUT_OF_ORDER])


def _made(person: User) -> list[Source]:
    about = Coalesce(NullIf("error_message", Value("")), KT("params__prompt"), Value(""), output_field=TextField())
    return [
        Source(
            Generation,
            Generation.objects.filter(user=person),
            "image",
            F("operation"),
            F("state"),
            about,
            "price",
            CREDIT,
        ),
        Source(
            Order,
            Order.objects.filter(user=person),
            "local_shipping",
            "Order",
            F("state"),
            F("tracking"),
            "amount",
            F("currency"),
        ),
        Source(Call, Call.objects.filter(caller=person), "call", "Called", F("state"), F("reason"), "cost", terms.UNIT),
        Source(Call, Call.objects.filter(callee=person), "call", "Was called", F("state"), F("reason")),
    ]


def _others(person: User) -> list[Source]:
    actor = User.objects.filter(pk=OuterRef("actor_id")).values("email")[:1]
    by_staff = AuditLog.objects.filter(user_id=person.pk, source=AuditLog.Source.ADMIN).exclude(action="look.shown")
    return [
        Source(Mail, Mail.objects.filter(user=person), "mail", F("name"), F("state"), F("subject")),
        Source(Session, Session.objects.filter(user=person), "login", "Signed in", F("end_reason"), F("user_agent")),
        Source(
            AuditLog,
            by_staff,
            "policy",
            F("action"),
            about=Concat(Subquery(actor), Value(" "), KT("metadata__reason"), output_field=TextField()),
            at="at",
        ),
    ]


def _event(row: dict[str, Any], pictures: dict[str, str]) -> Event:
    label, key, amount = row["event_label"], row["event_key"], row["event_amount"]
    return Event(
        at=row["event_at"],
        key=key,
        label=label,
        title=_words(row["event_title"]),
        state=_words(row["event_state"]),
        about=row["event_about"].strip(),
        amount="" if amount is None else display(amount, row["event_unit"]),
        icon=row["event_icon"],
        url=reverse(f"admin:{label.replace('.', '_')}_change", args=[key]),
        picture=pictures.get(key, ""),
    )


def _words(name: str) -> str:
    """`payment_confirmation`, `headshot-generated` as people write them."""
    return name.replace("_", " ").replace("-", " ")


def _pictures(jobs: list[str]) -> dict[str, str]:
    """The first output of each job, by a link made now."""
    if not jobs:
        return {}
    first = Asset.objects.filter(generation_id__in=jobs, position=0, thumbnail__isnull=False)
    return {str(job): storage.signed_url(key) for job, key in first.values_list("generation_id", "thumbnail__key")}
