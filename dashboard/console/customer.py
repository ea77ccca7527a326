"""Everything about one person on one page: standing, money with what it is made of, the acts, and their timeline."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from django.contrib import admin
from django.db.models import Case, Value, When
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from billing import subscriptions
from billing.models import CreditLot, Debt, Hold, Payment, StaffGrant, Subscription, Wallet
from calls.models import Call
from core.money import CREDIT, display
from dashboard.console import timeline
from generation.models import Generation
from notifications.models import Mail
from store.models import Order

LISTED = 20  # of lots, holds and debts; the rest is a click away


def page(request: HttpRequest, person: User, *, before: str) -> dict[str, Any]:
    """What the page shows to the person asking. Twelve queries at most, whatever the history."""
    events = timeline.events(request, person, timeline.cursor(before))
    return {
        "person": person,
        "profile": _url(person),
        "acts": _acts(request, person),
        "wallets": _wallets(request, person),
        "money": _money(request, person),
        "subscription": _subscription(request, person),
        "events": events[: timeline.SHOWN],
        "older": events[timeline.SHOWN - 1].cursor if len(events) > timeline.SHOWN else "",
        "is_first": not before,
        "lists": _lists(request, person),
    }


def _may_see(request: HttpRequest, model: Any) -> bool:
    return admin.site.get_model_admin(model).has_view_permission(request)


def _acts(request: HttpRequest, found: Any) -> list[dict[str, Any]]:
    """The buttons of an object's own page that make sense now, for whoever may press them."""
    page: Any = admin.site.get_model_admin(type(found))
    return [
        {
            "title": button.description,
            "url": reverse(f"admin:{button.action_name}", args=[found.pk]),
            "variant": button.variant,
        }
        for button in page.buttons(request, found)
    ]


def _wallets(request: HttpRequest, person: User) -> list[dict[str, Any]]:
    if not _may_see(request, Wallet):
        return []
    credits_first = Case(When(unit=CREDIT, then=Value(0)), default=Value(1))
    return [
        {
            "title": wallet.kind.capitalize(),
            "url": reverse("admin:billing_wallet_change", args=[wallet.pk]),
            "figures": [
                (name, display(amount, wallet.unit))
                for name, amount in (
                    ("Balance", wallet.balance or 0),
                    ("Available", wallet.available),
                    ("Held", wallet.held),
                    ("Frozen", wallet.frozen),
                )
                if amount or name in ("Balance", "Available")
            ],
            "acts": _acts(request, wallet),
        }
        for wallet in Wallet.objects.filter(user=person).order_by(credits_first, "kind", "unit")
    ]


def _money(request: HttpRequest, person: User) -> list[dict[str, Any]]:
    """What the balances are made of: live lots, open holds, debts."""
    mine = {"wallet__user": person}
    kinds: tuple[tuple[str, Any, Any], ...] = (
        ("Lots", CreditLot.objects.filter(exhausted_at=None, **mine).order_by("expires_at", "id"), _lot),
        ("Holds", Hold.objects.filter(state=Hold.State.OPEN, **mine).select_related("wallet").order_by("-id"), _hold),
        ("Debts", Debt.objects.filter(user=person, remaining__gt=0).order_by("-id"), _debt),
    )
    shown = [
        {"title": title, "rows": [tell(row) for row in rows[:LISTED]]}
        for title, rows, tell in kinds
        if _may_see(request, rows.model)
    ]
    return [kind for kind in shown if kind["rows"]]


def _lot(lot: CreditLot) -> dict[str, Any]:
    ends = f"until {timezone.localtime(lot.expires_at):%d %b %Y %H:%M}" if lot.expires_at else "for good"
    frozen = f", {lot.frozen:,} frozen" if lot.frozen else ""
    return {"url": _url(lot), "text": f"{lot.remaining:,} of {lot.amount:,} {lot.category}{frozen}", "note": ends}


def _hold(hold: Hold) -> dict[str, Any]:
    return {"url": _url(hold), "text": display(hold.amount, hold.wallet.unit), "note": f"for {hold.subject_type}"}


def _debt(debt: Debt) -> dict[str, Any]:
    note = "blocks spending" if debt.is_blocking else ""
    return {
        "url": _url(debt),
        "text": f"{display(debt.remaining, debt.unit)} of {display(debt.amount, debt.unit)}",
        "note": note,
    }


def _subscription(request: HttpRequest, person: User) -> Subscription | None:
    return subscriptions.live_of(person) if _may_see(request, Subscription) else None


def _lists(request: HttpRequest, person: User) -> list[tuple[str, str]]:
    """The person's rows in the lists, where more can be filtered."""
    return [
        (title, f"{reverse(f'admin:{model._meta.app_label}_{model._meta.model_name}_changelist')}?q={quote(str(term))}")
        for title, model, term in (
            ("Payments", Payment, person.pk),
            ("Jobs", Generation, person.email),
            ("Mail", Mail, person.email),
            ("Orders", Order, person.email),
            ("Calls", Call, person.email),
            ("Grants", StaffGrant, person.pk),
        )
        if _may_see(request, model)
    ]


def _url(row: Any) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
