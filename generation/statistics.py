"""What users/me/statistics says of jobs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import Count, Q
from django.db.models.functions import Now

from generation.models import OPEN, Generation, State

_FIGURES = {
    "total": Count("id"),
    "completed": Count("id", filter=Q(state=State.SUCCEEDED)),
    "processing": Count("id", filter=Q(state__in=OPEN)),
    "failed": Count("id", filter=Q(state=State.FAILED)),
}
_LATELY = Count("id", filter=Q(created_at__gt=Now() - timedelta(days=30)))


def of(*, user: Any) -> dict[str, dict[str, Any]]:
    """Jobs in all and videos among them, deleted ones included (settings.ACCOUNT_STATISTICS). One query."""
    rows: list[Any] = list(Generation.objects.filter(user=user).values("kind").annotate(lately=_LATELY, **_FIGURES))
    videos = [row for row in rows if row["kind"] == "video"]
    return {
        "generations": _sum(rows),
        "videos": _sum(videos),
        "usage": {
            "generations_last_30_days": sum(row["lately"] for row in rows),
            "videos_last_30_days": sum(row["lately"] for row in videos),
        },
    }


def _sum(rows: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {name: sum(row[name] for row in rows) for name in _FIGURES}
    ended = found["completed"] + found["failed"]
    return found | {"success_rate": round(found["completed"] / ended, 4) if ended else None}
