"""What happened on a person's account, newest first: jobs, avatars, payments, orders, calls and credits in one list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.postgres.aggregates import StringAgg
from django.db.models import Case, F, OuterRef, QuerySet, Subquery, TextField, Value, When
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, Coalesce, Concat, JSONObject, Left, NullIf, Trim

from accounts.models import Look
from billing.models import LedgerEntry, LedgerTransaction, Payment, Subscription, Wallet
from calls import terms
from calls.models import Call
from core.money import CREDIT
from generation.models import Avatar, Generation, Kind
from generation.models.avatars import IS_STATUS
from store.models import Order, OrderLine

Activity = dict[str, Any]

TYPES = ("generation", "avatar", "payment", "subscription", "order", "call", "credits", "look")
CREDITS = {
    LedgerTransaction.Kind.PURCHASE.value: "Credits bought",
    LedgerTransaction.Kind.GRANT.value: "Credits received",
    LedgerTransaction.Kind.SPEND.value: "Credits spent",
    LedgerTransaction.Kind.REFUND.value: "Credits returned",
    LedgerTransaction.Kind.CLAWBACK.value: "Credits taken back",
    LedgerTransaction.Kind.DEBT_REPAYMENT.value: "Debt repaid",
    LedgerTransaction.Kind.TRANSFER.value: "Credits moved",
    LedgerTransaction.Kind.EXPIRY.value: "Credits expired",
    LedgerTransaction.Kind.ADJUSTMENT.value: "Credits corrected",
}
# What is not told in somebody's own words.
TITLES = {"generation": {kind.value: kind.label for kind in Kind}, "credits": CREDITS}
DESCRIBED = 200  # characters of a prompt or a description
# A wallet's entries are read in the order of their ids, which waiting for the wallet can turn against that of their
# times. Only those who waited at once change places, so the newest by time are among this many more of the newest.
OUT_OF_ORDER = 100


@dataclass(frozen=True, slots=True)
class Source:
    """One kind of thing that happens: its rows in the order of their index, how they are placed and how told."""

    rows: QuerySet[Any]
    place: dict[str, Any]
    told: dict[str, Any]

    def newest(self, number: int) -> QuerySet[Any, Any]:
        """Where as many as that stand; what is told of them would make a late page dear."""
        found: QuerySet[Any, Any] = self.rows.annotate(**self.place).values(*self.place)[:number]
        return found

    def these(self, keys: list[Any]) -> QuerySet[Any, Any]:
        """What is told of these, in the shape that all sources share."""
        columns = self.place | self.told
        found: QuerySet[Any, Any] = self.rows.order_by().annotate(**columns).filter(key__in=keys).values(*columns)
        return found


class Feed:
    """The list, as a paginator wants it: one query counts, two read a page, whatever the history."""

    def __init__(self, viewer: Any) -> None:
        self.sources = [
            _jobs(viewer),
            _avatars(viewer),
            _payments(viewer),
            _subscriptions(viewer),
            _orders(viewer),
            _calls_made(viewer),
            _calls_received(viewer),
            _looks(viewer),
            _credits(viewer),
        ]

    def count(self) -> int:
        """How many there are."""
        first, *others = [source.rows.order_by().values(one=Value(1)) for source in self.sources]
        return first.union(*others, all=True).count()

    def __getitem__(self, page: slice) -> list[Activity]:
        """A page. Each source gives what the page could want of it, off its index, and the newest of those win."""
        if not page.stop:
            return []
        *sources, credits = self.sources
        first, *others = [
            *(source.newest(page.stop) for source in sources),
            credits.newest(page.stop + OUT_OF_ORDER),
        ]
        keys = [row["key"] for row in first.union(*others, all=True).order_by("-at", "-key")[page]]
        if not keys:
            return []
        first, *others = [source.these(keys) for source in self.sources]
        rows = {row["key"]: row for row in first.union(*others, all=True)}
        return [_shown(rows[key]) for key in keys if key in rows]


def _jobs(viewer: Any) -> Source:
    """Without the orders of avatars, which are told as avatars."""
    mine = Generation.objects.visible_to(viewer)
    return _source(
        mine.exclude(pk__in=Avatar.objects.visible_to(viewer).values("generation")),
        type="generation",
        headline="kind",
        about=Coalesce(Left(KT("params__prompt"), DESCRIBED), KT("params__name"), Value(""), output_field=TextField()),
        standing="state",
        facts={"kind": "kind", "operation": "operation", "price": "price", "error": "error_code"},
    )


def _avatars(viewer: Any) -> Source:
    status = Case(*[When(condition, then=Value(name.value)) for name, condition in IS_STATUS.items()])
    return _source(
        Avatar.objects.visible_to(viewer),
        type="avatar",
        headline="name",
        about=Left("description", DESCRIBED),
        standing=status,
        facts={"generation": "generation_id", "price": "generation__price"},
    )


def _payments(viewer: Any) -> Source:
    return _source(
        Payment.objects.visible_to(viewer),
        type="payment",
        headline="title",
        about=Value(""),
        standing="state",
        facts={name: name for name in ("item", "gateway", "amount", "currency", "credits")},
    )


def _subscriptions(viewer: Any) -> Source:
    return _source(
        Subscription.objects.visible_to(viewer),
        type="subscription",
        headline="plan__name",
        about=Value(""),
        standing="state",
        facts={"plan": "plan__code", "interval": "plan__interval", "cancel_at_period_end": "cancel_at_period_end"},
    )


def _orders(viewer: Any) -> Source:
    names = OrderLine.objects.filter(order=OuterRef("pk")).order_by().values("order")
    return _source(
        Order.objects.visible_to(viewer),
        type="order",
        headline=Value("Order"),
        about=Left(Subquery(names.values(all=StringAgg("name", ", ", order_by="position"))), DESCRIBED),
        standing="state",
        facts={name: name for name in ("amount", "currency", "tracking")},
    )


def _looks(viewer: Any) -> Source:
    """Who of the staff it was is theirs; that they looked, and why, is the customer's."""
    return _source(
        Look.objects.filter(user=viewer),
        type="look",
        headline=Value("Support looked at your account"),
        about=F("reason"),
        standing=Value("read_only"),
        facts={"until": "ends_at"},
    )


def _calls_made(viewer: Any) -> Source:
    whom = Coalesce(NullIf("recipient_name", Value("")), "recipient_phone")
    return _calls(Call.objects.filter(caller=viewer), role="caller", headline="Call made", about=whom)


def _calls_received(viewer: Any) -> Source:
    who = Trim(Concat("caller__first_name", Value(" "), "caller__last_name"))
    return _calls(Call.objects.filter(callee=viewer), role="callee", headline="Call received", about=who)


def _calls(rows: QuerySet[Any], *, role: str, headline: str, about: Any) -> Source:
    """Two sources, since no one index has both what somebody made and what they received."""
    return _source(
        rows,
        type="call",
        headline=Value(headline),
        about=about,
        standing="state",
        facts={
            "role": Value(role),
            "type": "type",
            "billed_s": "billed_s",
            "amount": "cost",
            "currency": Value(terms.UNIT),
        },
    )


def _credits(viewer: Any) -> Source:
    wallet = Wallet.objects.filter(user=viewer, kind="credits", unit=CREDIT)
    return _source(
        LedgerEntry.objects.filter(wallet=Subquery(wallet.values("pk")[:1])),
        type="credits",
        headline="transaction__kind",
        about=Value(""),
        standing=Value("posted"),
        facts={
            "kind": "transaction__kind",
            "amount": "amount",
            "balance_after": "balance_after",
            "subject": JSONObject(type="transaction__subject_type", id="transaction__subject_id"),
        },
        at="transaction__created_at",
        key="transaction_id",
    )


def _source(
    rows: QuerySet[Any],
    *,
    type: str,
    headline: Any,
    about: Any,
    standing: Any,
    facts: dict[str, Any],
    at: str = "created_at",
    key: str = "id",
) -> Source:
    """The rows with what is told of them."""
    place = {"at": F(at), "key": F(key)}
    told = {
        "what": Value(type, TextField()),
        "headline": Cast(headline, TextField()),
        "about": Cast(about, TextField()),
        "standing": Cast(standing, TextField()),
        "facts": JSONObject(**facts),
    }
    newest = ("-created_at", "-id") if at == "created_at" else ("-id",)
    return Source(rows.order_by(*newest), place, told)


def _shown(row: dict[str, Any]) -> Activity:
    return {
        "id": row["key"],
        "type": row["what"],
        "title": TITLES.get(row["what"], {}).get(row["headline"], row["headline"]),
        "description": row["about"],
        "status": row["standing"],
        "created_at": row["at"],
        "metadata": row["facts"],
    }
