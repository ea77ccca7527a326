"""What needs a human now: each line is a count, as far as it matters, with the list that it counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet, Value
from django.db.models.functions import Now
from django.urls import reverse

from audit.models import Approval, ApprovalState
from billing.models import BookCheck, Break, BreakKind, Dispute, DisputeState, Hold
from generation import reports
from generation.models import Generation, Report, ReportStatus
from inbox.models import Delivery
from notifications.models import Mail
from store.models import Order, OrderState

ENOUGH = 100  # from here on it is "100+": nobody works on a number


@dataclass(frozen=True, slots=True)
class Work:
    """A kind of thing that waits: rows off an index that holds little besides them."""

    title: str
    rows: QuerySet[Any]
    filters: str = ""
    is_urgent: bool = False

    @property
    def model(self) -> Any:
        return self.rows.model

    @property
    def url(self) -> str:
        options = self.model._meta
        page = reverse(f"admin:{options.app_label}_{options.model_name}_changelist")
        return f"{page}?{self.filters}" if self.filters else page


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is shown of it."""

    title: str
    url: str
    count: int
    is_urgent: bool

    @property
    def shown(self) -> str:
        return f"{ENOUGH}+" if self.count > ENOUGH else str(self.count)


def kinds() -> list[Work]:
    """In the order of their haste."""
    open_reports = Report.objects.filter(status=ReportStatus.OPEN)
    late_holds = Hold.objects.filter(state=Hold.State.OPEN, alarm_at__lt=Now())
    breaks = Break.objects.filter(resolved_at=None)
    asked = Approval.objects.filter(state=ApprovalState.PENDING, expires_at__gt=Now())
    disputes = Dispute.objects.filter(state=DisputeState.OPEN)
    dead = Delivery.objects.filter(state=Delivery.State.DEAD)
    unsent = Mail.objects.dead()
    paid = Order.objects.filter(state=OrderState.CONFIRMED)
    return [
        Work("Takedowns overdue", open_reports.filter(reports.overdue()), "overdue=yes", is_urgent=True),
        Work("Jobs past their deadline", Generation.objects.late(), "due=late", is_urgent=True),
        Work("Holds past their alarm", late_holds, "due=late", is_urgent=True),
        Work("Refunds that failed", breaks.filter(kind=BreakKind.REFUND_FAILED), "kind__exact=refund_failed", True),
        Work("Reports to decide", open_reports, "status__exact=open"),
        Work("Breaks to resolve", breaks.exclude(kind=BreakKind.REFUND_FAILED)),
        Work("Disputes to answer", disputes, "state__exact=open"),
        Work("Approvals asked for", asked, "state__exact=pending"),
        Work("Webhooks nobody could handle", dead, "state__exact=dead"),
        Work("Mails that did not arrive", unsent, "dead=1"),
        Work("Orders to ship", paid, "state__exact=confirmed"),
    ]


def waiting(request: Any) -> list[Waiting]:
    """What the person asking may see of it, all counted by one query; none are listed, too: that is good news."""
    seen = [work for work in kinds() if admin.site.get_model_admin(work.model).has_view_permission(request)]
    if not seen:
        return []
    first, *others = [
        work.rows.order_by().annotate(title=Value(work.title)).values("title")[: ENOUGH + 1] for work in seen
    ]
    found = Counter(row["title"] for row in first.union(*others, all=True))
    return [Waiting(work.title, work.url, found[work.title], work.is_urgent) for work in seen]


def broken(request: Any, names: Collection[str]) -> Waiting | None:
    """The rules of the books that the newest check found broken, for whoever may see checks."""
    if not admin.site.get_model_admin(BookCheck).has_view_permission(request):
        return None
    return Waiting("Invariants broken", reverse("console-invariants"), len(names), is_urgent=True)
