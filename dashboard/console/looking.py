"""The product as one customer sees it: what their own API answers, by its own views, in a transaction that only reads.

No token is made: the views are called here, as the customer, and are asked nothing but GET. Addresses and secrets that
they answer are left out, save the small pictures that the person looking sees in the lists, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.http import HttpRequest, QueryDict
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from accounts.api.me import MeViewSet
from accounts.api.notifications import NotificationViewSet
from accounts.api.views import SessionViewSet
from accounts.models import Look, Session, User
from billing.api.payments.views import PaymentViewSet
from billing.api.subscriptions.views import SubscriptionViewSet
from billing.api.wallets.views import CreditsViewSet, WalletViewSet
from calls.api.views import CallViewSet
from core import context
from core.api.views import ViewSet
from core.money import EXPONENTS, display
from dashboard.api.views import DashboardViewSet
from generation.api.avatars import AvatarViewSet
from generation.api.generations import GenerationViewSet
from generation.api.photos import PhotoViewSet
from store.api.views import OrderViewSet
from wearables.api.views import CustomizationViewSet, SelectionViewSet


class _AsCustomer(BaseAuthentication):
    """Takes the request for the customer's, in a session that exists nowhere."""

    def authenticate(self, request: Request) -> tuple[User, Session]:
        customer: User = request._request.customer  # type: ignore[attr-defined]
        return customer, Session(user=customer)


@dataclass(frozen=True, slots=True)
class Section:
    """A read of the API, and what whoever looks needs to be allowed to see anyway."""

    code: str
    title: str
    needed: tuple[str, ...]
    viewset: type[ViewSet]
    action: str


_JOBS = ("generation.view_generation",)
_CREDITS = ("billing.view_wallet", "billing.view_ledgerentry")
SECTIONS = {
    section.code: section
    for section in (
        Section("account", "Account", (), MeViewSet, "retrieve"),
        Section("overview", "Dashboard", (*_CREDITS, *_JOBS), DashboardViewSet, "overview"),
        Section("activity", "Activity", (*_CREDITS, *_JOBS, "billing.view_payment"), DashboardViewSet, "activity"),
        Section("limits", "Limits", ("billing.view_wallet",), DashboardViewSet, "limits"),
        Section("balance", "Balance", _CREDITS, CreditsViewSet, "explain"),
        Section("history", "Credits", _CREDITS, CreditsViewSet, "history"),
        Section("wallets", "Wallets", _CREDITS, WalletViewSet, "list"),
        Section("payments", "Payments", ("billing.view_payment",), PaymentViewSet, "list"),
        Section("subscriptions", "Subscriptions", ("billing.view_payment",), SubscriptionViewSet, "list"),
        Section("jobs", "Jobs", _JOBS, GenerationViewSet, "list"),
        Section("avatars", "Avatars", ("generation.view_avatar",), AvatarViewSet, "list"),
        Section("photos", "Photos", ("generation.view_photo",), PhotoViewSet, "list"),
        Section("orders", "Orders", ("store.view_order",), OrderViewSet, "list"),
        Section("calls", "Calls", ("calls.view_call",), CallViewSet, "list"),
        Section("selections", "Wardrobe", ("wearables.view_selection",), SelectionViewSet, "list"),
        Section("customizations", "Custom looks", ("wearables.view_customization",), CustomizationViewSet, "list"),
        Section("mails", "Mails wanted", (), NotificationViewSet, "retrieve"),
        Section("sessions", "Sessions", ("accounts.view_session",), SessionViewSet, "list"),
    )
}
# What opens, pays or joins something for whoever has it.
SECRETS = frozenset({"client", "livekit", "token", "secret"})
PICTURE = "thumbnail_url"
AMOUNTS = frozenset(
    {
        "amount",
        "received",
        "refunded",
        "balance",
        "held",
        "frozen",
        "available",
        "cost",
        "rate",
        "balance_after",
        "total",
    }
)


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` as the page draws it; of a list one page, and how many there are in all."""

    status: int
    body: Any
    count: int | None = None
    has_next: bool = False


def sections(viewer: Any) -> list[Section]:
    """Those that the person looking may see."""
    return [section for section in SECTIONS.values() if viewer.has_perms(section.needed)]


def read(look: Look, section: Section, *, page: int = 1) -> Answer:
    """What the customer would be answered now. The database refuses whatever would write."""
    request = HttpRequest()
    request.method, request.path = "GET", f"/{section.code}"
    request.GET = QueryDict(f"page={page}" if page > 1 else "")
    request.META = {"REQUEST_METHOD": "GET", "SERVER_NAME": "console", "SERVER_PORT": "443"}
    request.customer = look.user  # type: ignore[attr-defined]
    view = section.viewset.as_view({"get": section.action}, authentication_classes=[_AsCustomer], throttle_classes=[])
    with context.use(on_behalf_of_id=look.user_id), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")
        response: Any = view(request)
        transaction.set_rollback(True)
    told: Any = response.data
    if isinstance(told, Mapping) and {"count", "next", "results"} <= told.keys():
        return Answer(response.status_code, tell(told["results"]), told["count"], bool(told["next"]))
    return Answer(response.status_code, tell(told))


def tell(value: Any, *, name: str = "", unit: str = "") -> dict[str, Any]:
    """The answer as the page draws it, without what opens something: facts, items, a picture or a text."""
    if isinstance(value, Mapping):
        unit = str(value.get("currency") or value.get("unit") or "")
        facts = [
            (key.replace("_", " "), tell(one, name=key, unit=unit))
            for key, one in value.items()
            if not _opens(key, one)
        ]
        return {"facts": facts} if facts else {"text": "-"}
    if isinstance(value, list | tuple):
        return {"items_of": [tell(one, name=name, unit=unit) for one in value]}
    if name == PICTURE and value:
        return {"picture": value}
    return {"text": _text(value, name, unit)}


def _text(value: Any, name: str, unit: str) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and name in AMOUNTS and unit in EXPONENTS:
        return display(value, unit)
    if name.endswith(("_at", "_until", "_start", "_end")) and (moment := parse_datetime(str(value))):
        return f"{timezone.localtime(moment):%d %b %Y %H:%M:%S}"
    return str(value)


def _opens(name: str, value: Any) -> bool:
    return name in SECRETS or (name != PICTURE and isinstance(value, str) and "://" in value)
