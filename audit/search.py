"""Finding rows of the log by what an index knows. Nothing here counts: a page costs the same at any size of the log."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet

from audit.models import AuditLog

EXACT = {
    "user": "user_id",
    "actor": "actor_id",
    "action": "action",
    "entity": "entity_id",
    "entity_type": "entity_type",
    "request": "request_id",
    "ip": "detail__ip",
}


def rows(sought: Mapping[str, Any]) -> QuerySet[AuditLog]:
    """The rows that fit, newest first. `sought` holds any of EXACT, `since` and `until` (the latter not included).

    Times are datetimes, or text as isoformat writes it.
    """
    found = AuditLog.objects.filter(**{EXACT[name]: sought[name] for name in EXACT if sought.get(name)})
    if sought.get("since"):
        found = found.filter(at__gte=_time(sought["since"]))
    if sought.get("until"):
        found = found.filter(at__lt=_time(sought["until"]))
    # Addresses lie in another table, which knows a row's number only: it grows with the time but for neighbours.
    return found.order_by("-id") if sought.get("ip") else found.order_by("-at", "-id")


def after(found: QuerySet[AuditLog], last: AuditLog) -> QuerySet[AuditLog]:
    """What follows a row in the order of `rows`."""
    if found.query.order_by == ("-id",):
        return found.filter(id__lt=last.pk)
    return found.filter(Q(at__lt=last.at) | Q(at=last.at, id__lt=last.pk), at__lte=last.at)


def _time(given: datetime | str) -> datetime:
    return datetime.fromisoformat(given) if isinstance(given, str) else given
